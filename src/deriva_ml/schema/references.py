"""What a table refers to and what refers to it, in the words of annotations and templates."""

from __future__ import annotations

from deriva_ml.core.exceptions import DerivaMLNotFoundError
from deriva_ml.core.files import nearest
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import ForeignKey, Json, Table

__all__ = ["get_handlebars_template_variables", "list_foreign_keys", "require_column"]


def require_column(table: Table, column: str) -> None:
    """Refuse the name of a column that a table does not have.

    Raises:
        DerivaMLNotFoundError: There is none of this name; the nearest are in the error.
    """
    if table.column(column) is None:
        known = nearest(column, [each.name for each in table.columns])
        raise DerivaMLNotFoundError(f"Table {table.name} has no column {column}.", allowed=known)


def _described(fkey: ForeignKey) -> dict[str, Json]:
    return {
        "constraint_name": list(fkey.name),
        "from_table": f"{fkey.table[0]}:{fkey.table[1]}",
        "from_columns": list(fkey.columns),
        "to_table": f"{fkey.referenced_table[0]}:{fkey.referenced_table[1]}",
        "to_columns": list(fkey.referenced_columns),
    }


def list_foreign_keys(session: Session, table: str | Table) -> dict[str, Json]:
    """The foreign keys from a table and to it.

    Returns:
        ``table``, ``outbound`` and ``inbound``: lists with ``constraint_name`` (schema and name, as annotations want
        it), ``from_table``, ``from_columns``, ``to_table``, ``to_columns``.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    found = session.table(table)
    inbound = session.model().referenced_by(found)
    return {
        "table": found.name,
        "outbound": [_described(fkey) for fkey in found.foreign_keys],
        "inbound": [_described(fkey) for fkey in inbound],
    }


def get_handlebars_template_variables(session: Session, table: str | Table) -> dict[str, Json]:
    """What a Handlebars template of a table's annotations can name.

    Returns:
        ``table``; ``columns``, each with ``name``, ``type``, ``template`` (as shown) and ``raw_template`` (as stored);
        ``foreign_keys``, each with ``constraint``, ``to_table``, ``values_template`` and ``row_name_template``;
        ``special_variables``, which every template has.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    found = session.table(table)
    columns: list[Json] = [
        {
            "name": column.name,
            "type": column.type.name,
            "template": "{{{" + column.name + "}}}",
            "raw_template": "{{{_" + column.name + "}}}",
        }
        for column in found.columns
    ]
    references: list[Json] = []
    for fkey in found.foreign_keys:
        path = f"$fkeys.{fkey.name[0]}.{fkey.name[1]}"
        references.append(
            {
                "constraint": list(fkey.name),
                "to_table": f"{fkey.referenced_table[0]}:{fkey.referenced_table[1]}",
                "values_template": "{{{" + path + ".values.NAME}}}",
                "row_name_template": "{{{" + path + ".rowName}}}",
            }
        )
    special: list[Json] = ["{{{$catalog.id}}}", "{{{$catalog.snapshot}}}", "{{{$session.client.full_name}}}"]
    return {"table": found.name, "columns": columns, "foreign_keys": references, "special_variables": special}
