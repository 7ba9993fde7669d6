"""The model documents that clients send: read, checked, and completed; pure.

Each function takes one member of a document and gives it back as it is stored, or refuses it with ERMrest's status.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from deriva_ml.server.errors import BadRequest, Conflict, Forbidden, ServiceError
from deriva_ml.wire.model import ColumnType, Document, Json, Table
from deriva_ml.wire.values import cell, codec, parse_type, plain, storage

__all__ = [
    "ACL_NAMES",
    "SYSTEM_DEFAULTS",
    "acl_set",
    "annotation_set",
    "column_parts",
    "comment_of",
    "constraint_name",
    "default_of",
    "given_name",
    "identifier",
    "member_list",
    "read_type",
    "referential_action",
    "require_object",
]

LONGEST_NAME = 63

SYSTEM_DEFAULTS: Mapping[str, str] = {
    "RID": "_ermrest.urlb32_encode(nextval('_ermrest.rid_seq'::regclass))",
    "RCT": "now()",
    "RMT": "now()",
    "RCB": "_ermrest.current_client()",
    "RMB": "_ermrest.current_client()",
}
"""The defaults that documents show for the system columns: the original's, since clients compare them."""

ACL_NAMES: Mapping[str, tuple[str, ...]] = {
    "catalog": ("owner", "create", "enumerate", "write", "insert", "update", "delete", "select"),
    "schema": ("owner", "create", "enumerate", "write", "insert", "update", "delete", "select"),
    "table": ("owner", "enumerate", "write", "insert", "update", "delete", "select"),
    "column": ("enumerate", "write", "insert", "update", "select"),
    "foreign key": ("write", "insert", "update", "enumerate"),
}

ACTIONS = ("NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT")


def require_object(document: Json, what: str) -> Document:
    """The document, if it is an object."""
    if not isinstance(document, dict):
        raise BadRequest(f"{what} representation must be a JSON object.")
    return document


def member_list(document: Mapping[str, Json], member: str, what: str) -> list[Json]:
    """A member that is an array; absent and null count as empty."""
    value = document.get(member)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequest(f"{what} {member} document must be an array.")
    return value


def identifier(name: Json, what: str) -> str:
    """A name for a new element."""
    if not isinstance(name, str):
        raise BadRequest(f'{what} "{name}" "{type(name)}" is unsupported and should be unicode string.')
    if not name:
        raise BadRequest(f"{what} name must not be empty.")
    if "\0" in name or any("\ud800" <= symbol <= "\udfff" for symbol in name):
        raise BadRequest(f"{what} name holds a character that cannot be stored.")
    if len(name.encode()) > LONGEST_NAME:
        raise BadRequest(f'{what} name "{name}" exceeded {LONGEST_NAME}-byte limit.')
    return name


def comment_of(document: Mapping[str, Json], old: str | None = None) -> str | None:
    """The comment, or the old one where there is none in the document."""
    value = document.get("comment", old)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"Model comment {value!r} must be text or null.")
    return value


def annotation_set(value: Json) -> Document:
    """A set of annotations."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"Annotation set {value} must be a dictionary.")
    return value


def acl_members(name: str, value: Json, kind: str, label: str) -> list[Json]:
    """The members of one ACL."""
    if name not in ACL_NAMES[kind]:
        raise Conflict(f"ACL name {name} not supported on {label}.")
    if not isinstance(value, list):
        raise BadRequest(f"ACL {name} representation must be an array.")
    for member in value:
        if not isinstance(member, str):
            raise BadRequest("ACL member representation must be a string literal.")
        if member == "*" and name not in ("enumerate", "select") and kind != "foreign key":
            raise BadRequest(f"ACL name {name} does not support wildcard member.")
    return value


def acl_set(value: Json, kind: str, label: str) -> Document:
    """A set of ACLs; a null ACL counts as absent."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest("ACL set representation must be a JSON object.")
    return {name: acl_members(name, members, kind, label) for name, members in value.items() if members is not None}


# ---------------------------------------------------------------------------------------------- columns


def read_type(document: Json) -> ColumnType:
    """A column's type."""
    if not isinstance(document, dict):
        raise BadRequest("Column type representation must be a JSON object.")
    if "typename" not in document and not document.get("is_array"):
        raise BadRequest("Table document missing required field \"'typename'\"")
    try:
        return parse_type(document)
    except ValueError as error:
        raise Conflict(str(error)) from error


def default_of(type_: ColumnType, value: Json) -> Json:
    """A column's default as documents show it, if its type takes it: a value of the type, however it was written.

    Moments are shown as in CSV, as with the original; JSON values and lists as they were given.
    """
    if value is None:
        return None
    try:
        if type_.is_array and isinstance(value, str):
            codec(type_).read(value)
            return value
        stored = storage(type_, value)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    name = (type_.base or type_).name
    if type_.is_array or name in ("json", "jsonb"):
        return value
    return cell(type_, stored) if name in ("timestamp", "timestamptz") else plain(type_, stored)


def column_parts(document: Json) -> tuple[str, ColumnType, bool, Json]:
    """Name, type, nullability and default of a new column; a system column gets what belongs to it."""
    column = require_object(document, "Column")
    for member in ("name", "type"):
        if member not in column:
            raise BadRequest(f"Table document missing required field \"'{member}'\"")
    name = identifier(column["name"], "Column")
    type_ = read_type(column["type"])
    nullok = column.get("nullok", True)
    if not isinstance(nullok, bool):
        raise BadRequest(f'Column "{name}" nullok must be true or false.')
    if name in SYSTEM_DEFAULTS:
        if type_.name != f"ermrest_{name.lower()}":
            raise BadRequest(f'Column "{name}" must have type "ermrest_{name.lower()}".')
        if nullok and name in ("RID", "RCT", "RMT"):
            raise BadRequest(f'Column "{name}" must disallow nulls.')
        return name, type_, nullok, SYSTEM_DEFAULTS[name]
    if type_.name.startswith("serial"):
        return name, type_, False, None
    return name, type_, nullok, default_of(type_, column.get("default"))


def refuse_system_change(name: str, document: Mapping[str, Json], current: Mapping[str, Json]) -> None:
    """Refuse a change of what makes a system column one."""
    for member in ("name", "type", "nullok", "default"):
        if member in document and document[member] != current[member]:
            raise Forbidden(f"alteration of system column {name}")


# ---------------------------------------------------------------------------------------------- constraints


def given_name(document: Mapping[str, Json]) -> str | None:
    """The constraint name that a document asks for; the schema beside it does not count."""
    names = document.get("names")
    if not names:
        return None
    first = names[0] if isinstance(names, list) else None
    name = first[1] if isinstance(first, list) and len(first) == 2 else None
    if not isinstance(name, str) or not name:
        raise BadRequest("Constraint names must be an array of [schema, name] pairs.")
    return identifier(name, "Constraint")


def constraint_name(table: str, columns: Iterable[str], suffix: str, taken: Iterable[str]) -> str:
    """A name for a constraint that was given none: from its table and columns, at most 63 bytes, not yet taken."""
    known = set(taken)
    base = "_".join([table, *columns])
    end = f"_{suffix}"
    number = 0
    while True:
        tail = end + (str(number) if number else "")
        name = base + tail
        if len(name.encode()) > LONGEST_NAME:
            digest = hashlib.md5(base.encode(), usedforsecurity=False).hexdigest()[:5]
            room = LONGEST_NAME - len(tail.encode()) - 6
            name = f"{base.encode()[:room].decode(errors='ignore')}_{digest}{tail}"
        if name not in known:
            return name
        number += 1


def referential_action(document: Mapping[str, Json], rule: str, old: str = "NO ACTION") -> str:
    """What a foreign key does on delete or on update."""
    value = document.get(rule, old)
    if value is None:
        return "NO ACTION"
    if not isinstance(value, str) or value.upper() not in ACTIONS:
        raise BadRequest(f'Invalid action "{value}" for reference rule {rule}.')
    return value.upper()


def end_columns(value: Json, member: str, table: Table | None = None) -> tuple[tuple[str, str], list[str]]:
    """One end of a foreign key: the table that its columns name, and the columns.

    Args:
        value: The array of column documents.
        member: What the array is called.
        table: The table that columns belong to which name none.

    Returns:
        Schema and table, and the column names. An empty schema stands for one that was not named.
    """
    if not isinstance(value, list) or not value:
        raise BadRequest(f"Foreign-key {member} must be a non-empty array.")
    homes: list[tuple[str, str]] = []
    columns: list[str] = []
    for item in value:
        column = require_object(item, "Foreign-key column")
        name = column.get("column_name")
        if not isinstance(name, str):
            raise BadRequest("Foreign-key column document missing required field \"'column_name'\"")
        home = (column.get("schema_name") or (table.schema if table else ""), column.get("table_name"))
        if home[1] is None and table is not None:
            home = (home[0], table.name)
        if not isinstance(home[0], str) or not isinstance(home[1], str):
            raise BadRequest("Foreign-key column document missing required field \"'table_name'\"")
        homes.append((home[0], home[1]))
        columns.append(name)
    if len(set(homes)) != 1:
        raise ServiceError(400, f"Foreign-key {member} must all belong to one table.")
    return homes[0], columns
