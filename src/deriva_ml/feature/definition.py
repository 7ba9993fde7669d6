"""The columns of a new feature's table, from what ``create_feature`` is given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from deriva_ml.core.constants import DerivaSystemColumns
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLTableTypeError, DerivaMLValidationError
from deriva_ml.core.files import nearest
from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.feature.shape import EXECUTION, FEATURE_NAME
from deriva_ml.schema.session import NamedTable, Session
from deriva_ml.schema.tables import is_asset, is_vocabulary
from deriva_ml.schema.vocabulary import vocabulary_columns
from deriva_ml.wire.model import Key, Table

__all__ = ["FeatureColumns", "KeyOfTable", "Metadata", "TableLike", "feature_columns", "listed"]

T = TypeVar("T")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@runtime_checkable
class KeyOfTable(Protocol):
    """A key of the ``deriva`` package, as far as it is looked at."""

    @property
    def table(self) -> NamedTable:
        """Its table."""

    @property
    def unique_columns(self) -> Iterable[_Named]:
        """Its columns."""


TableLike: TypeAlias = Table | NamedTable | str
Metadata: TypeAlias = ColumnDef | Mapping[str, Json] | Key | KeyOfTable | TableLike


@dataclass(frozen=True, slots=True)
class FeatureColumns:
    """What the table of a feature has besides its three fixed columns.

    Attributes:
        columns: The documents of its columns.
        references: Where they refer to.
    """

    columns: list[dict[str, Json]]
    references: list[ForeignKeyDef]


_Part: TypeAlias = tuple[list[dict[str, Json]], ForeignKeyDef | None]


def listed(given: Iterable[T] | T | None) -> list[T]:
    """What was given as a list: a single name is one item, not its letters."""
    if given is None:
        return []
    return [given] if isinstance(given, str | Mapping | ColumnDef) else list(given)  # type: ignore[list-item, arg-type]


def feature_columns(
    session: Session,
    target: Table,
    feature_name: str,
    terms: Iterable[TableLike],
    assets: Iterable[TableLike],
    metadata: Iterable[Metadata],
    optional: Collection[str],
) -> FeatureColumns:
    """The columns of a feature's values.

    Raises:
        DerivaMLTableTypeError: Something in ``terms`` is no vocabulary, or in ``assets`` no asset table.
        DerivaMLDataError: Two columns have one name.
        DerivaMLValidationError: ``optional`` names a column that there is not, or an item is no column.
    """
    parts: list[_Part] = [
        *(_reference(_table_of_type(session, each, "vocabulary")) for each in terms),
        *(_reference(_table_of_type(session, each, "asset table")) for each in assets),
        *(_metadata(session, each) for each in metadata),
    ]
    columns = [column for part, _ in parts for column in part]
    _check(target, feature_name, [str(column["name"]) for column in columns], optional)
    for column in columns:
        if column["name"] in optional:
            column["nullok"] = True
    return FeatureColumns(columns, [reference for _, reference in parts if reference is not None])


def _check(target: Table, feature_name: str, names: Sequence[str], optional: Iterable[str]) -> None:
    if target.name in (EXECUTION, FEATURE_NAME):
        raise DerivaMLDataError(
            f"A table called {target.name} can have no features: each feature has a column of that name for itself.",
            hint="record the values as columns of a table of your own",
        )
    taken = [*names, EXECUTION, FEATURE_NAME, target.name, *DerivaSystemColumns]
    for name in names:
        if taken.count(name) > 1:
            raise DerivaMLDataError(
                f"Feature {feature_name} would have two columns called {name}.",
                hint="give a column of another name as metadata",
            )
    for name in optional:
        if name not in names:
            raise DerivaMLValidationError(
                f"The optional column {name} is not a column of feature {feature_name}.", allowed=nearest(name, names)
            )


def _table_of_type(session: Session, given: TableLike, kind: str) -> Table:
    found = session.table(given)
    if not (is_vocabulary(found) if kind == "vocabulary" else is_asset(found)):
        raise DerivaMLTableTypeError(kind, found.name, source="create_feature")
    return found


def _reference(table: Table) -> _Part:
    """A column that refers to a table: to a vocabulary by its terms' names, to any other by RID."""
    key = vocabulary_columns(table)["Name"] if is_vocabulary(table) else "RID"
    return _key_reference(table, (key,))


def _key_reference(table: Table, key: Sequence[str]) -> _Part:
    """Columns that refer to a key of a table, named like the table; of several each has its own name behind it."""
    names = [table.name] if len(key) == 1 else [f"{table.name}_{column}" for column in key]
    columns = []
    for name, referenced in zip(names, key, strict=True):
        kind = next(column.type for column in table.columns if column.name == referenced)
        while kind.base is not None and not kind.is_array:  # RIDs and the like are referred to as what they are made of
            kind = kind.base
        columns.append(ColumnDef(name, kind.name, nullok=False, comment=f"The {table.name}.").to_dict())
    return columns, ForeignKeyDef(names, table.schema, table.name, list(key))


def _metadata(session: Session, given: Metadata) -> _Part:
    document = _column(given)
    if document is not None:
        return [document], None
    if isinstance(given, Key):
        return _key_reference(_table_of_key(session, given), given.columns)
    if isinstance(given, KeyOfTable):
        return _key_reference(session.table(given.table), [column.name for column in given.unique_columns])
    if isinstance(given, str | Table) or (hasattr(given, "schema") and hasattr(given, "name")):
        return _reference(session.table(given))  # the deriva package's
    raise _no_column(given)


def _column(given: Metadata) -> dict[str, Json] | None:
    """The document of a column; None of what defines no column."""
    if isinstance(given, ColumnDef):
        return given.to_dict()
    if not isinstance(given, Mapping):
        return None
    document = dict(given)
    if not isinstance(document.get("name"), str) or "type" not in document:
        raise _no_column(given)
    if isinstance(document["type"], str):
        document["type"] = {"typename": document["type"]}
    return document


def _no_column(given: Any) -> DerivaMLValidationError:
    return DerivaMLValidationError(
        f"Not the definition of a column: {given!r}.",
        source="metadata of create_feature",
        allowed=[
            "ColumnDefinition(...)",
            "a table, its name, or a key of it",
            "{'name': ..., 'type': {'typename': ...}, ...}",
        ],
    )


def _table_of_key(session: Session, key: Key) -> Table:
    schema = session.model().schemas.get(key.name[0])
    for table in () if schema is None else schema.tables.values():
        if any(each.name == key.name for each in table.keys):
            return table
    raise DerivaMLValidationError(f"No table has the key {key.name[0]}:{key.name[1]}.", source="create_feature")
