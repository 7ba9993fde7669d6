"""What a run consumed and made, as the catalog holds it: datasets, files, feature values; as plain values."""

from __future__ import annotations

from typing import Any

from deriva_ml.asset.tables import Companion, asset_tables, execution_companion, type_companion
from deriva_ml.core.enums import AssetRole, MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLSchemaError
from deriva_ml.core.values import dataclass
from deriva_ml.feature.shape import feature_shapes
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import Path, both, cnt, eq, table

__all__ = [
    "AssetUse",
    "DatasetUse",
    "FeatureUse",
    "dataset_uses",
    "feature_uses",
    "list_assets",
    "list_input_datasets",
]


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A dataset that a run consumed or made.

    Attributes:
        rid: The dataset.
        version: The version; None where the catalog does not tell.
        description: What the dataset holds.
    """

    rid: str
    version: str | None
    description: str = ""


@dataclass(frozen=True, slots=True)
class AssetUse:
    """A file that a run consumed or made.

    Attributes:
        rid: The asset.
        schema: Schema of the asset table.
        table: The asset table.
        file_name: The file's name.
        role: ``Input`` or ``Output``.
        types: Its types.
        length: Its size in bytes.
        md5: Its MD5.
        url: Where the bytes are.
        description: What it holds.
    """

    rid: str
    schema: str
    table: str
    file_name: str
    role: str
    types: tuple[str, ...]
    length: int
    md5: str
    url: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class FeatureUse:
    """The values that a run gave to a feature: whose table, which feature, how many."""

    table: str
    feature: str
    count: int


def text(value: Json) -> str | None:
    """Text of a row; None for a null."""
    return None if value is None else str(value)


def number(value: Json) -> int | None:
    """A number of a row; None for a null."""
    return value if isinstance(value, int) else None


def _versions_made(session: Session, rid: str) -> dict[str, str]:
    """The datasets of which a run made a version, with the last such version."""
    path = table(session.ml_schema, str(MLTable.dataset_version)).where(eq("Execution", rid)).sorted("RCT")
    return {str(row["Dataset"]): str(row["Version"]) for row in session.catalog.rows(path)}


def dataset_uses(session: Session, rid: str) -> tuple[list[DatasetUse], list[DatasetUse]]:
    """The datasets that a run consumed, and those of which it made a version."""
    schema, link = session.ml_schema, str(MLTable.dataset_execution)
    columns = {column.name for column in session.model().schemas[schema].tables[link].columns}
    path = table(schema, link, alias="L").where(eq("Execution", rid))
    path = path.link(schema, str(MLTable.dataset), on=[("Dataset", "RID")], alias="D")
    wanted: dict[str, Any] = {"Dataset": ("D", "RID"), "Description": ("D", "Description")}
    if "Dataset_Version" in columns:
        version = [(("L", "Dataset_Version"), "RID")]
        path = path.link(schema, str(MLTable.dataset_version), on=version, alias="V", how="left")
        wanted["Version"] = ("V", "Version")
    path = path.context("L")  # one row for each link: several have no version
    made = _versions_made(session, rid)
    consumed: list[DatasetUse] = []
    produced: list[DatasetUse] = []
    for row in session.catalog.attributes(path, **wanted):
        dataset, version_text = str(row["Dataset"]), text(row.get("Version"))
        description = text(row["Description"]) or ""
        if version_text is not None or dataset not in made:
            consumed.append(DatasetUse(dataset, version_text, description))
        if dataset in made:
            produced.append(DatasetUse(dataset, made.pop(dataset), description))
    produced += [DatasetUse(dataset, version_text) for dataset, version_text in made.items()]
    return consumed, produced


def list_input_datasets(session: Session, rid: str) -> list[DatasetUse]:
    """The datasets that a run consumed, with their versions."""
    return dataset_uses(session, rid)[0]


def list_assets(session: Session, rid: str, asset_role: str | None = None) -> list[AssetUse]:
    """The files that a run consumed and made, by table.

    Args:
        session: The catalog.
        rid: The run.
        asset_role: Only those of this role.

    Raises:
        DerivaMLInvalidTerm: There is no such role.
    """
    found: list[AssetUse] = []
    for asset in asset_tables(session):
        try:
            found += _assets_of_table(session, rid, asset, asset_role)
        except DerivaMLSchemaError:  # a table without the association is linked with no run
            continue
    if asset_role is not None and not found and asset_role not in set(AssetRole):
        check_terms(session, f"{session.ml_schema}:{MLVocab.asset_role}", [asset_role])
    return found


def _linked_assets(rid: str, companion: Companion, role: str | None) -> Path:
    path = table(companion.table.schema, companion.table.name, alias="L").where(eq(companion.other, rid))
    if role is not None:
        path = path.where(eq("Asset_Role", str(role)))
    return path


def _assets_of_table(session: Session, rid: str, asset: Table, role: str | None) -> list[AssetUse]:
    executions = execution_companion(session, asset)
    links = _linked_assets(rid, executions, role)
    path = links.link(asset.schema, asset.name, on=[(executions.asset, "RID")], alias="A")
    columns = ("RID", "Filename", "Length", "MD5", "URL", "Description")
    rows = session.catalog.attributes(path, *columns, Role=("L", "Asset_Role"))
    if not rows:
        return []
    kinds = type_companion(session, asset)
    typed = links.link(kinds.table.schema, kinds.table.name, on=[(executions.asset, kinds.asset)], alias="T")
    types: dict[str, set[str]] = {}
    for row in session.catalog.attributes(typed, Asset=kinds.asset, Type=kinds.other):
        types.setdefault(str(row["Asset"]), set()).add(str(row["Type"]))
    uses = [
        AssetUse(
            rid=str(row["RID"]),
            schema=asset.schema,
            table=asset.name,
            file_name=text(row["Filename"]) or "",
            role=str(row["Role"]),
            types=tuple(sorted(types.get(str(row["RID"]), ()))),
            length=number(row["Length"]) or 0,
            md5=text(row["MD5"]) or "",
            url=text(row["URL"]) or "",
            description=text(row["Description"]) or "",
        )
        for row in rows
    ]
    return sorted(uses, key=lambda use: (use.role, use.file_name, use.rid))


def feature_uses(session: Session, rid: str) -> list[FeatureUse]:
    """How many values a run gave to each feature; one request for each feature."""
    found = []
    for shape in feature_shapes(session.model()):
        path = table(shape.feature_table.schema, shape.feature_table.name).where(
            both(eq("Execution", rid), eq("Feature_Name", shape.feature_name))
        )
        count = number(session.catalog.aggregate(path, n=cnt("RID"))["n"]) or 0
        if count:
            found.append(FeatureUse(shape.target_table.name, shape.feature_name, count))
    return found
