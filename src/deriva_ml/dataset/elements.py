"""What a dataset can hold: the element types, read from a model alone, so that catalog and bag agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from deriva_ml.core.enums import MLTable
from deriva_ml.core.values import dataclass
from deriva_ml.schema.tables import is_association
from deriva_ml.wire.model import ForeignKey, Model, Table

__all__ = ["Element", "dataset_table", "elements", "labels"]

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Element:
    """A kind of member.

    Attributes:
        table: The members' table.
        association: The table that relates datasets to members.
        holder: The association's column that names the dataset.
        member: The association's column that names the member.
        key: The member's column that is named, ``RID`` as a rule.
    """

    table: Table
    association: Table
    holder: str
    member: str
    key: str


def dataset_table(model: Model, ml_schema: str) -> Table:
    """The table of datasets."""
    return model.schemas[ml_schema].tables[MLTable.dataset.value]


def _ends(association: Table, dataset: Name) -> tuple[ForeignKey, ForeignKey] | None:
    """The reference to the dataset and that to the member; None if the table relates no dataset to anything."""
    columns = {name for key in association.keys for name in key.columns if set(key.columns) != {"RID"}}
    ends = [fkey for fkey in association.foreign_keys if len(fkey.columns) == 1 and fkey.columns[0] in columns]
    holders = [fkey for fkey in ends if fkey.referenced_table == dataset]
    # In the nesting of datasets both ends are datasets: the holder's column is named for the table.
    holders.sort(key=lambda fkey: fkey.columns[0] != MLTable.dataset.value)
    if not holders:
        return None
    others = [fkey for fkey in ends if fkey is not holders[0]]
    return (holders[0], others[0]) if len(others) == 1 else None


def elements(model: Model, ml_schema: str, domain_schemas: Collection[str]) -> dict[Name, Element]:
    """The kinds of member that datasets of this catalog can have, by schema and table.

    These are the tables of the project's schemas that an association relates to ``Dataset``, and of the ML schema
    ``Dataset`` itself and ``File``. If there are two associations, the one named ``Dataset_<Table>`` is used.
    """
    dataset = dataset_table(model, ml_schema)
    own = {(ml_schema, MLTable.dataset.value), (ml_schema, MLTable.file.value)}
    found: dict[Name, Element] = {}
    for schema in (*sorted(domain_schemas), ml_schema):
        for association in model.schemas[schema].tables.values() if schema in model.schemas else ():
            ends = _ends(association, dataset.qualified) if is_association(association) else None
            if ends is None:
                continue
            holder, member = ends
            name = member.referenced_table
            table = model.table(*name)
            if table is None or not (name in own or name[0] in domain_schemas):
                continue
            if name not in found or association.name == f"{MLTable.dataset.value}_{table.name}":
                found[name] = Element(
                    table, association, holder.columns[0], member.columns[0], member.referenced_columns[0]
                )
    return dict(sorted(found.items(), key=lambda item: (item[0][0] == ml_schema, item[0])))


def labels(tables: Iterable[Table]) -> Mapping[Name, str]:
    """What each table is called in results: its name, with the schema where two tables share the name."""
    named = list(tables)
    counts: dict[str, int] = {}
    for table in named:
        counts[table.name] = counts.get(table.name, 0) + 1
    return {
        table.qualified: table.name if counts[table.name] == 1 else f"{table.schema}:{table.name}" for table in named
    }
