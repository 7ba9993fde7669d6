"""Request targets of the catalog service that are not queries: catalogs, model elements, and writes; no I/O.

What is below a catalog is given relative to it, beginning with a slash. Names are percent-encoded here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from deriva_ml.wire.syntax import encode

__all__ = [
    "ALIASES",
    "CATALOGS",
    "SERVICE",
    "SESSION",
    "acl",
    "annotation",
    "catalog",
    "column",
    "comment",
    "element",
    "entity_rid",
    "foreign_key",
    "insertion",
    "key",
    "schema",
    "table",
    "update",
    "upsert",
]

SERVICE = "/ermrest/"
"""The service's advertisement."""

CATALOGS = "/ermrest/catalog"
"""Where catalogs are made."""

ALIASES = "/ermrest/alias"
"""Where second names of catalogs are made."""

SESSION = "/authn/session"
"""Who the client is."""


def _list(names: Collection[str]) -> str:
    return ",".join(map(encode, names))


def catalog(catalog_id: str, snaptime: str | None = None) -> str:
    """A catalog, or its state at a moment."""
    moment = f"@{encode(snaptime)}" if snaptime else ""
    return f"{CATALOGS}/{encode(catalog_id)}{moment}"


def schema(name: str | None = None) -> str:
    """A schema, or all of them."""
    return f"/schema/{encode(name)}" if name else "/schema"


def table(schema_name: str, name: str | None = None) -> str:
    """A table, or all of a schema's."""
    base = f"{schema(schema_name)}/table"
    return f"{base}/{encode(name)}" if name else base


def column(schema_name: str, table_name: str, name: str | None = None) -> str:
    """A column, or all of a table's."""
    base = f"{table(schema_name, table_name)}/column"
    return f"{base}/{encode(name)}" if name else base


def key(schema_name: str, table_name: str, columns: Sequence[str] = ()) -> str:
    """A unique key, named by its columns, or all of a table's."""
    base = f"{table(schema_name, table_name)}/key"
    return f"{base}/{_list(columns)}" if columns else base


def foreign_key(
    schema_name: str,
    table_name: str,
    columns: Sequence[str] = (),
    referenced: tuple[str, str] | None = None,
    referenced_columns: Sequence[str] = (),
) -> str:
    """A foreign key, named by both of its ends, or all of a table's."""
    base = f"{table(schema_name, table_name)}/foreignkey"
    if not columns:
        return base
    if referenced is None:
        return f"{base}/{_list(columns)}"
    other = f"{encode(referenced[0])}:{encode(referenced[1])}"
    return f"{base}/{_list(columns)}/reference/{other}/{_list(referenced_columns)}"


def element(schema_name: str | None = None, table_name: str | None = None, column_name: str | None = None) -> str:
    """The most special element that is named: a column, a table, a schema, or (an empty text) the catalog."""
    if schema_name is None:
        return ""
    if table_name is None:
        return schema(schema_name)
    return table(schema_name, table_name) if column_name is None else column(schema_name, table_name, column_name)


def annotation(base: str, name: str | None = None) -> str:
    """One annotation of an element, or all of them."""
    return f"{base}/annotation/{encode(name)}" if name else f"{base}/annotation"


def acl(base: str, name: str | None = None) -> str:
    """One access list of an element, or all of them."""
    return f"{base}/acl/{encode(name)}" if name else f"{base}/acl"


def comment(base: str) -> str:
    """An element's comment."""
    return f"{base}/comment"


def entity_rid(rid: str) -> str:
    """What an RID names."""
    return f"/entity_rid/{encode(rid)}"


def upsert(schema_name: str, table_name: str) -> str:
    """Where rows are put that may be there already."""
    return f"/entity/{encode(schema_name)}:{encode(table_name)}"


def insertion(
    schema_name: str,
    table_name: str,
    *,
    defaults: Collection[str] = (),
    nondefaults: Collection[str] = (),
    on_conflict_skip: bool = False,
) -> str:
    """Where new rows are posted.

    Args:
        schema_name: The table's schema.
        table_name: The table.
        defaults: Columns that take their default, whatever the rows say.
        nondefaults: System columns that take what the rows say.
        on_conflict_skip: Leave out rows that are there already, by any key.
    """
    query = []
    if on_conflict_skip:
        query.append("onconflict=skip")
    if defaults:
        query.append(f"defaults={_list(defaults)}")
    if nondefaults:
        query.append(f"nondefaults={_list(nondefaults)}")
    return upsert(schema_name, table_name) + (f"?{'&'.join(query)}" if query else "")


def update(schema_name: str, table_name: str, keys: Sequence[str], columns: Sequence[str]) -> str:
    """Where rows are put that change ``columns`` of the rows found by ``keys``."""
    return f"/attributegroup/{encode(schema_name)}:{encode(table_name)}/{_list(keys)};{_list(columns)}"
