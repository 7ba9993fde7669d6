"""The metadata of an asset as a Python object: one class for each asset table, made from the catalog's model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, create_model

from deriva_ml.asset.tables import metadata_columns, require_asset_table
from deriva_ml.core.exceptions import DerivaMLTableNotFound, DerivaMLValidationError
from deriva_ml.core.files import nearest
from deriva_ml.core.json_types import Json
from deriva_ml.feature.field_types import field_definition, field_type, safe_name, stored_value
from deriva_ml.feature.records import Terms
from deriva_ml.schema.handles import model_of
from deriva_ml.schema.session import HasSession, Session
from deriva_ml.schema.tables import is_vocabulary
from deriva_ml.wire.model import Column, Model, Table

__all__ = ["AssetRecord", "asset_record_class", "checked_metadata", "record_class"]

TermReader = Callable[[Table], Mapping[str, str]]


class AssetRecord(BaseModel):
    """The metadata of one asset; unknown names are refused.

    The classes of actual tables (:func:`asset_record_class`) have one field for each metadata column.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), populate_by_name=True)

    column_fields: ClassVar[Mapping[str, str]] = {}
    """Column by field, where a column's name cannot be a field's."""

    def to_metadata(self) -> dict[str, Json]:
        """The values by column, without those that are empty."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            self.column_fields.get(name, name): stored_value(value)
            for name, value in values.items()
            if value is not None
        }


def asset_record_class(
    model: Model | HasSession | Any, table_name: str | Table, read_terms: TermReader | None = None
) -> type[AssetRecord]:
    """The class of the metadata of an asset table.

    Args:
        model: The catalog's model: ``ml.model``, ours, or the ``deriva`` package's.
        table_name: The table, or its name.
        read_terms: Reads the terms of a vocabulary, for the check of columns that refer to one.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLTableTypeError: It is no asset table.
    """
    if isinstance(model, HasSession):
        table_name = model.session.table(table_name)
    model = model_of(model)
    table = require_asset_table(table_name if isinstance(table_name, Table) else _named(model, table_name))
    fields: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    for column in metadata_columns(table):
        name = safe_name(column.name, AssetRecord)
        if name != column.name:
            renamed[name] = column.name
        kind = _kind(model, table, column, read_terms)
        fields[name] = field_definition(column, kind, column.name if name != column.name else None)
    made = create_model(
        f"{table.name}AssetRecord",
        __base__=AssetRecord,
        __module__=__name__,
        __doc__=f"The metadata of a file of {table.name}.",
        **fields,
    )
    made.column_fields = renamed
    return made


def record_class(session: Session, table_name: str | Table) -> type[AssetRecord]:
    """The class of the metadata of an asset table of a catalog.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLTableTypeError: It is no asset table.
    """
    return asset_record_class(session.model(), session.table(table_name))


def _named(model: Model, name: Any) -> Table:
    wanted = name if isinstance(name, str) else f"{name.schema.name}:{name.name}"
    known = {label: table for table in model.tables() for label in (f"{table.schema}:{table.name}", table.name)}
    if wanted not in known:
        near = nearest(wanted.rpartition(":")[2], (table.name for table in model.tables()))
        raise DerivaMLTableNotFound(wanted, allowed=near)
    return known[wanted]


def _kind(model: Model, table: Table, column: Column, read_terms: TermReader | None) -> Any:
    reference = next((fkey for fkey in table.foreign_keys if fkey.columns == (column.name,)), None)
    vocabulary = model.table(*reference.referenced_table) if reference else None
    if read_terms is None or vocabulary is None or not is_vocabulary(vocabulary):
        return field_type(column.type)
    if reference is None or reference.referenced_columns[0].lower() != "name":
        return field_type(column.type)
    reader, wanted = read_terms, vocabulary
    return Annotated[str, AfterValidator(Terms(wanted.name, lambda: reader(wanted)).preferred)]


def checked_metadata(cls: type[AssetRecord], given: Mapping[str, Any], what: str) -> dict[str, Json]:
    """Metadata in the form in which it is recorded.

    Args:
        cls: The class of the table's metadata.
        given: Values by column; those that are None count as absent.
        what: What the metadata is of, for the error.

    Raises:
        DerivaMLValidationError: A name is no column, a value is of the wrong type or no term, or one is missing.
    """
    try:
        values = cls(**{name: value for name, value in given.items() if value is not None}).to_metadata()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        names = [cls.column_fields.get(name, name) for name in cls.model_fields]
        unknown = [str(each["loc"][0]) for each in found if each["type"] == "extra_forbidden"]
        raise DerivaMLValidationError(
            f"The metadata of {what} does not fit: "
            + "; ".join(f"{'.'.join(map(str, each['loc']))}: {_reason(each)}" for each in found),
            allowed=nearest(unknown[0], names) if unknown else (),
        ) from error
    for name, value in values.items():
        if not _is_storable(value):
            raise DerivaMLValidationError(
                f"The metadata of {what} does not fit: {name}: no catalog can hold {value!r}.",
                hint="a text has neither NUL characters nor halves of surrogate pairs (bytes that are no text)",
            )
    return values


def _is_storable(value: Json) -> bool:
    """Whether the texts of a value are such as a database can hold; that is not said of them by their type."""
    if value is None or isinstance(value, int | float):
        return True
    try:
        return b"\\u0000" not in json.dumps(value, ensure_ascii=False).replace("\\\\", "").encode()
    except UnicodeEncodeError:
        return False


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "the table has no such column"
    if error["type"] == "missing":
        return "a value is required"
    return f"{error['msg']} (it is {error['input']!r})"
