"""Catalog tables as SQLAlchemy's: their definitions, and a class for the rows of each.

1. A table is called ``schema:Table`` in the database, as in a bag's own, so that tables of one name stay apart.
2. References are declared and not enforced: a bag, and a part of a catalog, refer to rows that they do not hold.
3. A class has an attribute for each column, by its name. For each reference it has ``ref_<columns>``, which gives the
   row that is referred to, and that row's class has ``<Table>_by_<columns>``, which gives all rows that refer to it.
   They are for reading: who writes sets the column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from deriva_ml.model.sql_types import sql_type
from deriva_ml.wire.model import ForeignKey, Name, Table

__all__ = ["Record", "map_tables"]


class Record:
    """A row; the classes of the tables are made from this one.

    Args:
        values: Values by column.
    """

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no column {name!r}")
            setattr(self, name, value)

    def __repr__(self) -> str:
        identity = sa.inspect(self).identity
        return f"<{type(self).__name__} {', '.join(map(str, identity or ['(new)']))}>"


def map_tables(tables: Iterable[Table]) -> tuple[sa.MetaData, Mapping[Name, type[Record]]]:
    """Define tables, and a class for each.

    Args:
        tables: The tables; references to others are left out.

    Returns:
        The definitions; the classes by schema and table, each with its definition as ``__table__``.
    """
    known = {table.qualified: table for table in tables}
    metadata = sa.MetaData()
    defined = {name: _define(metadata, table, known) for name, table in known.items()}
    classes = {name: _row_class(table) for name, table in known.items()}
    properties: dict[Name, dict[str, Any]] = {
        name: {column.key: column for column in definition.columns} for name, definition in defined.items()
    }
    for table in known.values():
        for fkey in _kept(table, known):
            _relate(fkey, defined, classes, properties)
    registry = orm.registry(metadata=metadata)
    for name, cls in classes.items():
        registry.map_imperatively(cls, defined[name], properties=properties[name])
    orm.configure_mappers()
    return metadata, classes


def _kept(table: Table, known: Mapping[Name, Table]) -> list[ForeignKey]:
    """The references of a table to tables that are defined."""
    return [fkey for fkey in table.foreign_keys if fkey.referenced_table in known]


def _define(metadata: sa.MetaData, table: Table, known: Mapping[Name, Table]) -> sa.Table:
    primary = _primary(table)
    columns = [
        sa.Column(
            column.name,
            sql_type(column.type),
            primary_key=column.name in primary,
            nullable=column.name not in primary,
            autoincrement=False,
            comment=column.comment,
        )
        for column in table.columns
    ]
    keys = [sa.UniqueConstraint(*key.columns) for key in table.keys if set(key.columns) != set(primary)]
    references = [
        sa.ForeignKeyConstraint(
            fkey.columns,
            [f"{_sql_name(fkey.referenced_table)}.{column}" for column in fkey.referenced_columns],
            link_to_name=True,
        )
        for fkey in _kept(table, known)
    ]
    return sa.Table(_sql_name(table.qualified), metadata, *columns, *keys, *references, comment=table.comment)


def _sql_name(name: Name) -> str:
    return f"{name[0]}:{name[1]}"


def _primary(table: Table) -> tuple[str, ...]:
    """What tells a table's rows apart: the RID, else its first key, else everything."""
    if table.column("RID"):
        return ("RID",)
    return table.keys[0].columns if table.keys else tuple(column.name for column in table.columns)


def _row_class(table: Table) -> type[Record]:
    text = f"A row of {table.schema}:{table.name}."
    # SQLAlchemy tells classes apart by module and name.
    return type(table.name, (Record,), {"__doc__": text, "__module__": f"{__name__}.{table.schema}"})


def _relate(
    fkey: ForeignKey,
    defined: Mapping[Name, sa.Table],
    classes: Mapping[Name, type[Record]],
    properties: Mapping[Name, dict[str, Any]],
) -> None:
    """Add the attributes of a reference, on both of its sides."""
    here, there = defined[fkey.table], defined[fkey.referenced_table]
    near = [here.columns[name] for name in fkey.columns]
    far = [there.columns[name] for name in fkey.referenced_columns]
    joined = sa.and_(*(one == other for one, other in zip(near, far, strict=True)))
    label = "_".join(fkey.columns)
    schema, table = fkey.table
    plain = f"{table}_by_{label}"
    forward, backward = properties[fkey.table], properties[fkey.referenced_table]
    forward[_free(f"ref_{label}", forward)] = orm.relationship(
        classes[fkey.referenced_table], primaryjoin=joined, foreign_keys=near, remote_side=far, viewonly=True
    )
    backward[_free(f"{schema}_{plain}" if plain in backward else plain, backward)] = orm.relationship(
        classes[fkey.table],
        primaryjoin=joined,
        foreign_keys=near,
        remote_side=near,
        viewonly=True,
        uselist=True,
        order_by=list(here.primary_key.columns),
    )


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name
