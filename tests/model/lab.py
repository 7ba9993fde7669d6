"""A project with tables of one name in two schemas, odd names, and columns of every kind of type."""

from __future__ import annotations

from typing import Any

from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, TableDef
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.model import Json

DEMO, OTHER = "demo-schema", "other"

KINDS = {
    "Flag": ("boolean", True),
    "Small": ("int2", -3),
    "Whole": ("int8", 2**53 + 1),
    "Real": ("float8", 0.1),
    "Odd": ("float8", "NaN"),
    "Day": ("date", "2024-02-29"),
    "Time": ("time", "04:05:06.5"),
    "Moment": ("timestamptz", "2024-02-29T12:00:00.5+00:00"),
    "Plain_Moment": ("timestamp", "2024-02-29T12:00:00"),
    "Info": ("jsonb", {"n": [1, None, 'a "q",\n']}),
    "Tags": ("text[]", ["a", "", None]),
    "Text": ("text", ""),
    "Long": ("markdown", "x\ny"),
}
"""A column of each kind: its type, and a value of a JSON row."""


def documents() -> list[dict[str, Json]]:
    """The tables; ``Subject`` is in both schemas."""
    subject = TableDef(
        "Subject", [ColumnDef("Name"), ColumnDef("Parent")], [], [ForeignKeyDef(["Parent"], DEMO, "Subject")]
    )
    other = TableDef("Subject", [ColumnDef("Kind"), ColumnDef("Of")], [], [ForeignKeyDef(["Of"], DEMO, "Subject")])
    kinds = TableDef(
        'Odd 50% "name"',
        [
            *(ColumnDef(name, kind) for name, (kind, _value) in KINDS.items()),
            ColumnDef('a:b %(c)s "d"'),
            ColumnDef("Subject"),
        ],
        [],
        [ForeignKeyDef(["Subject"], DEMO, "Subject")],
    )
    return [
        {"schema_name": OTHER},
        table_document(DEMO, subject),
        table_document(OTHER, other),
        table_document(DEMO, kinds),
    ]


ODD = 'Odd 50% "name"'
ODD_COLUMN = 'a:b %(c)s "d"'


def fill(catalog: Any, subjects: int = 3) -> list[str]:
    """Make the tables and some rows; the RIDs of the subjects."""
    catalog.create_tables(documents())
    made = [str(row["RID"]) for row in catalog.insert(DEMO, "Subject", [{"Name": f"s{n}"} for n in range(subjects)])]
    catalog.update(DEMO, "Subject", [{"RID": made[1], "Parent": made[0]}])
    catalog.insert(OTHER, "Subject", [{"Kind": "k", "Of": made[0]}, {"Kind": "l", "Of": made[0]}])
    values = {name: value for name, (_kind, value) in KINDS.items()}
    catalog.insert(DEMO, ODD, [{**values, ODD_COLUMN: "x", "Subject": made[2]}, {"Subject": None}])
    return made
