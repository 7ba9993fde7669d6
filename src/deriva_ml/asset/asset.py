"""Assets of a catalog: their tables, their records, finding them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from deriva_ml.asset.aux_classes import AssetFilePath
from deriva_ml.asset.tables import ROLE, Companion, asset_table, asset_tables, execution_companion, type_companion
from deriva_ml.asset.transfer import download
from deriva_ml.core.enums import AssetRole, MLVocab
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.core.json_types import Json
from deriva_ml.feature.feature import Feature, find_features
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.values import list_feature_values
from deriva_ml.schema.chaise import record_url, refresh_menu
from deriva_ml.schema.create_schema import asset_table_documents
from deriva_ml.schema.ordering import Sort, arranged, sorted_path
from deriva_ml.schema.rids import resolve_rid
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.tables import asset_document, is_asset, is_vocabulary
from deriva_ml.schema.vocabulary import add_term, check_terms
from deriva_ml.wire.model import Table
from deriva_ml.wire.path import both, eq, table
from deriva_ml.wire.path import table as rows_of

__all__ = [
    "Asset",
    "asset_executions",
    "create_asset",
    "find_assets",
    "list_asset_tables",
    "list_assets",
    "lookup_asset",
]

Owner = HasSession | Session
ColumnLike = ColumnDef | Mapping[str, Json]


@runtime_checkable
class ExecutionFinder(Protocol):
    """What an asset needs to give the executions that used it as records; a ``DerivaML`` is one."""

    def list_asset_executions(self, asset_rid: str, asset_role: str | None = None) -> list[Any]:
        """The executions that read or made an asset."""


def create_asset(
    session: Session,
    asset_name: str,
    column_defs: Iterable[ColumnLike] | None = None,
    fkey_defs: Sequence[ForeignKeyDef | Mapping[str, Json]] | None = None,
    referenced_tables: Iterable[Table | str] | None = None,
    comment: str = "",
    schema: str | None = None,
    update_navbar: bool = True,
) -> Table:
    """Make an asset table, with the tables of its types and of its executions, and a type of its name.

    Args:
        session: The catalog.
        asset_name: The table's name.
        column_defs: Metadata columns.
        fkey_defs: Foreign keys of these columns.
        referenced_tables: Tables that each file refers to: a column for each, named like it; a vocabulary is referred
            to by its terms' names.
        comment: What the files are.
        schema: Where the table is made; by default in the default schema.
        update_navbar: Let the table join the menu of the catalog's web interface, if it has one.

    Raises:
        DerivaMLDataError: There is a table of this name, or two columns have one name.
    """
    session.require_writable()
    where = session.domain(schema)
    if session.model().table(where, asset_name) is not None:
        raise DerivaMLDataError(f"Table {asset_name} exists already in schema {where}.", hint="choose another name")
    columns: list[ColumnLike] = list(column_defs or ())
    references: list[ForeignKeyDef | Mapping[str, Json]] = list(fkey_defs or ())
    for other in (session.table(each) for each in referenced_tables or ()):
        columns.append(ColumnDef(other.name, comment=f"The {other.name} that the file belongs to."))
        references.append(ForeignKeyDef([other.name], other.schema, other.name, [_key_column(other)]))
    document = asset_document(where, asset_name, columns, references, comment=comment or None)
    _check_columns(asset_name, document)
    # the type first: a table that cannot be given its own type would be of no use
    add_term(session, MLVocab.asset_type.value, asset_name, comment or f"A file of {asset_name}.")
    ml = session.ml_schema
    types, roles = (session.table(f"{ml}:{each.value}") for each in (MLVocab.asset_type, MLVocab.asset_role))
    made = asset_table_documents(where, document, ml, type_key=_key_column(types), role_key=_key_column(roles))
    session.catalog.create_tables(list(made))
    if update_navbar:
        refresh_menu(session)
    return session.catalog.table(where, asset_name)


def _key_column(table: Table) -> str:
    if not is_vocabulary(table):
        return "RID"
    return next(column.name for column in table.columns if column.name.lower() == "name")


def _check_columns(asset_name: str, document: Mapping[str, Json]) -> None:
    names = [str(column["name"]) for column in cast("list[dict[str, Json]]", document["column_definitions"])]
    for name in names:
        if names.count(name) > 1:
            raise DerivaMLDataError(f"Asset table {asset_name} would have two columns called {name}.")


class Asset:
    """A file that the catalog knows.

    Args:
        catalog: A ``DerivaML``, or a session.
        asset_rid: Its RID.
        asset_table: Name of its table.
        filename: Its name.
        url: Where the object store holds it.
        length: Its size in bytes.
        md5: MD5 of its content.
        description: Its description.
        asset_types: Its types; asked of the catalog when they are first read, if they are not given.
        execution_rid: The execution that made it; asked likewise.
    """

    def __init__(
        self,
        catalog: Owner,
        asset_rid: str,
        asset_table: str,
        filename: str = "",
        url: str = "",
        length: int = 0,
        md5: str = "",
        description: str = "",
        asset_types: Iterable[str] | None = None,
        execution_rid: str | None = None,
    ) -> None:
        self._owner = catalog
        self.asset_rid = asset_rid
        self.asset_table = asset_table
        self.filename = filename
        self.url = url
        self.length = length
        self.md5 = md5
        self.description = description
        if asset_types is not None:
            self.__dict__["asset_types"] = list(asset_types)
        if execution_rid is not None:
            self.__dict__["execution_rid"] = execution_rid

    def __repr__(self) -> str:
        return f"Asset({self.asset_rid!r}, {self.asset_table!r}, {self.filename!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and self.asset_rid == other.asset_rid

    def __hash__(self) -> int:
        return hash(self.asset_rid)

    @cached_property
    def asset_types(self) -> list[str]:
        """Its types, in order; asked of the catalog once, unless the asset came with them."""
        session = session_of(self._owner)
        companion = type_companion(session, self._table())
        path = table(*companion.table.qualified).where(eq(companion.asset, self.asset_rid))
        return sorted(str(row[companion.other]) for row in session.catalog.attributes(path, companion.other))

    @cached_property
    def execution_rid(self) -> str | None:
        """The execution that made it; None if that is not known. Asked of the catalog once."""
        made_by = asset_executions(session_of(self._owner), self.asset_rid, AssetRole.output, self._table())
        return made_by[0][0] if made_by else None

    def list_executions(self, asset_role: str | None = None) -> list[Any]:
        """The executions that read or made it, as records.

        Raises:
            DerivaMLConfigurationError: The asset was not got from a ``DerivaML``.
        """
        if not isinstance(self._owner, ExecutionFinder):
            raise DerivaMLConfigurationError(
                "Only an asset that was got from a DerivaML can list its executions.", hint="ml.lookup_asset(rid)"
            )
        return self._owner.list_asset_executions(self.asset_rid, asset_role)

    def find_features(self) -> list[Feature]:
        """The features of its table."""
        return find_features(session_of(self._owner), self._table())

    def list_feature_values(self, feature_name: str) -> list[FeatureRecord]:
        """The values of a feature for this asset."""
        return list_feature_values(session_of(self._owner), self._table(), feature_name, target=self.asset_rid)

    def add_asset_type(self, name: str) -> None:
        """Give it another type; without effect if it has it.

        Raises:
            DerivaMLInvalidTerm: There is no such type.
        """
        session = session_of(self._owner)
        session.require_writable()
        (preferred,) = check_terms(session, MLVocab.asset_type.value, [name])
        companion = type_companion(session, self._table())
        row: dict[str, Json] = {companion.asset: self.asset_rid, companion.other: preferred}
        session.catalog.insert(*companion.table.qualified, [row], on_conflict_skip=True)
        self.__dict__.pop("asset_types", None)

    def remove_asset_type(self, name: str) -> None:
        """Take a type from it; without effect if it has it not."""
        session = session_of(self._owner)
        session.require_writable()
        companion = type_companion(session, self._table())
        path = table(*companion.table.qualified)
        session.catalog.delete(path.where(both(eq(companion.asset, self.asset_rid), eq(companion.other, name))))
        self.__dict__.pop("asset_types", None)

    def get_metadata(self) -> dict[str, Json]:
        """Its whole row."""
        found = self._table()
        return session_of(self._owner).catalog.rows(table(*found.qualified).where(eq("RID", self.asset_rid)))[0]

    def get_chaise_url(self) -> str:
        """The page of its record in Deriva's browser."""
        session, found = session_of(self._owner), self._table()
        return record_url(session, found.schema, found.name, self.asset_rid)

    def download(self, dest_dir: str | Path, update_catalog: bool = False) -> AssetFilePath:
        """Bring its file to ``<dest_dir>/<RID>/<name>``, verified.

        Raises:
            DerivaMLValidationError: ``update_catalog`` was asked for, which only an execution can do.
        """
        if update_catalog:
            raise DerivaMLValidationError(
                "An asset can be recorded as the input of an execution only.",
                hint="use download_asset of the execution",
            )
        return download(session_of(self._owner), self.asset_rid, Path(dest_dir))

    def _table(self) -> Table:
        return asset_table(session_of(self._owner), self.asset_table)


def _assets(
    owner: Owner, found: Table, rows: Sequence[Mapping[str, Json]], types: Mapping[str, list[str]]
) -> list[Asset]:
    return [
        Asset(
            owner,
            str(row["RID"]),
            found.name,
            str(row["Filename"] or ""),
            str(row["URL"] or ""),
            int(cast("int", row["Length"] or 0)),
            str(row["MD5"] or ""),
            str(row.get("Description") or ""),
            types.get(str(row["RID"]), []),
        )
        for row in rows
    ]


def _types_of(session: Session, companion: Companion, asset_rid: str | None = None) -> dict[str, list[str]]:
    """The types of one asset, or of all assets of the table, in one request."""
    path = table(*companion.table.qualified)
    if asset_rid is not None:
        path = path.where(eq(companion.asset, asset_rid))
    found: dict[str, list[str]] = {}
    for row in session.catalog.attributes(path, companion.asset, companion.other):
        found.setdefault(str(row[companion.asset]), []).append(str(row[companion.other]))
    return {rid: sorted(names) for rid, names in found.items()}


def lookup_asset(owner: Owner, rid: str) -> Asset:
    """The asset with this RID.

    Raises:
        DerivaMLRidsNotFound: There is no such record.
        DerivaMLTableTypeError: It is not an asset.
    """
    session = session_of(owner)
    found = resolve_rid(session, rid).table
    if not is_asset(found):
        raise DerivaMLTableTypeError(
            "asset table", found.name, source=f"RID {rid} is not an asset (table: {found.name})"
        )
    rows = session.catalog.rows(table(*found.qualified).where(eq("RID", rid)))
    return _assets(owner, found, rows, _types_of(session, type_companion(session, found), rid))[0]


def list_assets(owner: Owner, table: str | Table, *, sort: Sort[Asset] = None) -> list[Asset]:
    """The assets of a table with their types, in two requests.

    Args:
        owner: The catalog: a ``DerivaML`` or its session.
        table: The table.
        sort: True for the newest first, or a function that gives what to sort by.

    Raises:
        DerivaMLTableTypeError: The table is no asset table.
    """
    session = session_of(owner)
    found = asset_table(session, table)
    rows = session.catalog.rows(sorted_path(rows_of(*found.qualified), sort))
    return arranged(_assets(owner, found, rows, _types_of(session, type_companion(session, found))), sort)


def find_assets(
    owner: Owner,
    asset_table: str | Table | None = None,
    asset_type: str | None = None,
    *,
    sort: Sort[Asset] = None,
) -> Iterator[Asset]:
    """The assets of one table or of all, of one type or of any.

    Args:
        owner: The catalog: a ``DerivaML`` or its session.
        asset_table: The table; by default all asset tables, one after the other.
        asset_type: A term of ``Asset_Type``.
        sort: True for the newest of each table first, or a function that gives what to sort all of them by.

    Raises:
        DerivaMLInvalidTerm: There is no such type.
    """
    session = session_of(owner)
    wanted = None if asset_type is None else check_terms(session, MLVocab.asset_type.value, [asset_type])[0]
    tables = list_asset_tables(session) if asset_table is None else [asset_table]
    found = (asset for table in tables for asset in list_assets(owner, table, sort=sort is True))
    chosen = (asset for asset in found if wanted is None or wanted in asset.asset_types)
    yield from arranged(chosen, sort) if callable(sort) else chosen


def list_asset_tables(session: Session) -> list[Table]:
    """The asset tables of the catalog."""
    return asset_tables(session)


def asset_executions(
    session: Session, asset_rid: str, asset_role: str | None = None, found: Table | None = None
) -> list[tuple[str, str]]:
    """The executions that read or made an asset, the first first: RID and role of each.

    Args:
        session: The catalog.
        asset_rid: The asset.
        asset_role: Only executions in which it has this role.
        found: The asset's table, if it is known.

    Raises:
        DerivaMLTableTypeError: It is not an asset.
    """
    where = found or resolve_rid(session, asset_rid).table
    companion = execution_companion(session, asset_table(session, where))
    path = table(*companion.table.qualified).where(eq(companion.asset, asset_rid))
    if asset_role is not None:
        path = path.where(eq(ROLE, str(asset_role)))
    rows = session.catalog.attributes(path.sorted("RCT").sorted("RID"), companion.other, ROLE, "RCT", "RID")
    return [(str(row[companion.other]), str(row[ROLE])) for row in rows]
