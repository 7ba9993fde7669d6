"""What a catalog holds of what runs name, read at once: datasets with their histories, other records, the first moment.

The number of requests does not grow with the number of runs, datasets or versions. Of other records it grows with the
number of tables that they are in (two for each), and with that of RIDs that name nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field

from deriva_ml.core.codes import normalise
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLSchemaError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetVersion
from deriva_ml.dataset.clones import first_moment
from deriva_ml.dataset.versions import entries
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import col, table
from deriva_ml.wire.syntax import Filter

__all__ = ["DatasetFacts", "Facts", "RecordFacts"]

Row = Mapping[str, Json]

DATASET, VERSION = str(MLTable.dataset), str(MLTable.dataset_version)
ASSET_COLUMNS = ("RID", "Filename", "Length", "MD5")


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """A dataset and its history.

    Attributes:
        rid: The dataset.
        description: What it is.
        deleted: It was deleted.
        versions: Its versions, the oldest number first.
        rows: Their rows, by the RID of each.
    """

    rid: str
    description: str
    deleted: bool
    versions: tuple[DatasetHistory, ...]
    rows: Mapping[str, Row] = field(default_factory=dict)

    def version(self, number: DatasetVersion | str) -> DatasetHistory | None:
        """The version of this number, if there is one."""
        return next((entry for entry in self.versions if entry.dataset_version == number), None)


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """A record that is no dataset, or was not looked for as one.

    Attributes:
        rid: Its RID.
        schema: The schema of its table.
        table: Its table.
        is_asset: It is a file.
        row: Of a file, its name, length and checksum.
    """

    rid: str
    schema: str
    table: str
    is_asset: bool
    row: Row

    @property
    def length(self) -> int | None:
        """The file's length in bytes, if the catalog says it."""
        value = self.row.get("Length")
        return value if isinstance(value, int) else None


@dataclass(frozen=True)
class Facts:
    """What a catalog holds of what runs name.

    Attributes:
        datasets: The datasets, by RID.
        records: Other records, by RID; those of no record are absent.
        first: The first moment of the catalog that is known, in microseconds; 0 where nothing is said of it.
    """

    datasets: Mapping[str, DatasetFacts] = field(default_factory=dict)
    records: Mapping[str, RecordFacts] = field(default_factory=dict)
    first: int = 0

    @classmethod
    def read(cls, session: Session, datasets: Iterable[str] = (), others: Iterable[str] = ()) -> Facts:
        """Ask the catalog.

        Args:
            session: The catalog.
            datasets: RIDs that are named as datasets; what they are is found out where they are none.
            others: Other RIDs.
        """
        wanted = list(dict.fromkeys(datasets))
        found = _datasets(session, wanted) if wanted else {}
        strangers = [rid for rid in wanted if rid not in found]
        records = locate(session, [*others, *strangers], _columns_in(session))
        return cls(found, records, first_moment(session) if found else 0)


def _datasets(session: Session, rids: Sequence[str]) -> dict[str, DatasetFacts]:
    """Datasets with all their versions, in one request."""
    model = _ml_tables(session)
    own = {f"D_{column.name}": col("D", column.name) for column in model[DATASET].columns}
    theirs = {f"V_{column.name}": col("V", column.name) for column in model[VERSION].columns}

    def ask(chosen: Filter) -> str:
        path = table(session.ml_schema, DATASET, alias="D").where(chosen)
        path = path.link(session.ml_schema, VERSION, on=[(col("D", "RID"), "Dataset")], alias="V", how="left")
        return path.attributes(**own, **theirs)

    rows = session.catalog.get_by("RID", rids, ask)
    versions: dict[str, list[dict[str, Json]]] = {}
    for row in rows:
        entry = {name[2:]: value for name, value in row.items() if name.startswith("V_")}
        versions.setdefault(str(row["D_RID"]), []).extend([entry] if entry["RID"] is not None else [])
    return {
        rid: DatasetFacts(
            rid,
            str(row.get("D_Description") or ""),
            bool(row.get("D_Deleted")),
            tuple(entries(versions[rid])),
            {str(entry["RID"]): entry for entry in versions[rid]},
        )
        for row in rows
        if (rid := str(row["D_RID"]))
    }


def _ml_tables(session: Session) -> Mapping[str, Table]:
    """The tables of the ML schema.

    Raises:
        DerivaMLSchemaError: The catalog has none that datasets could be in.
    """
    schema = session.model().schemas.get(session.ml_schema)
    if schema is None or not {DATASET, VERSION} <= schema.tables.keys():
        raise DerivaMLSchemaError(
            f"Catalog {session.catalog_id} at {session.place} has no datasets: there is no table {DATASET} with a "
            f"table {VERSION} in a schema {session.ml_schema}.",
            hint="deriva-ml-check-catalog-schema says what is missing; choose another catalog, or ml_schema",
        )
    return schema.tables


def _columns_in(session: Session) -> Callable[[str, str], Sequence[str]]:
    def columns(schema: str, name: str) -> Sequence[str]:
        return ASSET_COLUMNS if is_asset(session.model().schemas[schema].tables[name]) else ("RID",)

    return columns


def locate(
    session: Session, rids: Iterable[str], columns: Callable[[str, str], Sequence[str]]
) -> dict[str, RecordFacts]:
    """Find records and read them: one is asked for by itself, then all are looked for in its table, and so on."""
    left = list(dict.fromkeys(rids))
    found: dict[str, RecordFacts] = {}
    while left:
        rid = left[0]
        place = session.catalog.place_of_rid(rid)
        if place is not None:
            chosen = columns(*place)
            rows = {
                str(row["RID"]): row for row in session.catalog.rows_by(*place, "RID", _forms(left), columns=chosen)
            }
            is_file = len(chosen) > 1
            for other in left:
                row = rows.get(other) or rows.get(normalise(other) or "")
                if row is not None:
                    found[other] = RecordFacts(other, *place, is_file, row)
        left = [other for other in left if other != rid and other not in found]
    return found


def _forms(rids: Iterable[str]) -> list[str]:
    """RIDs as they were written, and as a catalog writes them."""
    return list(dict.fromkeys(form for rid in rids for form in (rid, normalise(rid)) if form))
