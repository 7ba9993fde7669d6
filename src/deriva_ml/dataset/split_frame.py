"""What is divided by a split: units, each of which goes to one side as a whole, and one row for each to choose by.

1. A unit is an element, or all elements that share a value of the partition column (an element with several values
   joins theirs: then all of them are one unit).
2. Elements are those of the version that is split, of the dataset and of all nested in it, each once.
3. The rows are the join of the tables that were asked for. A unit with several rows is still one: its label is the only
   one that they have. Where they differ that is an error, unless units were chosen on purpose (by a partition column or
   ``row_per``): then it is the most frequent one, of several equally frequent ones the first in order.
4. An element that the join has no row for has a row without values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLSelectionError
from deriva_ml.core.files import nearest, require
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.dataset.split_plan import EXTRA, SelectionFunction, column_of
from deriva_ml.wire.model import Json

__all__ = ["Choice", "Units", "read_units", "several"]

_NAMED = 5
"""How many elements an error names."""


def several(what: str, names: Sequence[str] | None) -> tuple[str, ...]:
    """Names as they were given, none if nothing was.

    Raises:
        DerivaMLSelectionError: It is one text, whose letters would be taken for names.
    """
    if isinstance(names, str):
        raise DerivaMLSelectionError(f"{what}: {names!r} is one text, not several.", hint=f"write [{names!r}]")
    return tuple(names or ())


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is divided, and by what.

    Attributes:
        element_table: The table of the elements; None if there is only one with members.
        include_tables: The tables that are joined.
        stratify_by_column: The column whose values have the same share of each partition.
        stratify_missing: What becomes of elements without a value there.
        partition_by: The column whose values are not divided.
        row_per: The table that a row stands for.
        via: Tables that the join goes by, which add no columns.
        selection_fn: The function that chooses.
        shuffle: Whether to choose at random.
        seed: What the choice depends on.
    """

    element_table: str | None = None
    include_tables: tuple[str, ...] = ()
    stratify_by_column: str | None = None
    stratify_missing: str = "error"
    partition_by: str | None = None
    row_per: str | None = None
    via: tuple[str, ...] = ()
    selection_fn: SelectionFunction | None = None
    shuffle: bool = True
    seed: int = 42

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            DerivaMLSelectionError: Something does not.
        """
        if self.stratify_by_column is not None and self.selection_fn is not None:
            raise DerivaMLSelectionError("stratify_by_column and selection_fn exclude each other.")
        needs = [name for name in ("stratify_by_column", "selection_fn", "row_per") if getattr(self, name) is not None]
        needs += ["via"] * bool(self.via)
        if needs and not self.include_tables:
            raise DerivaMLSelectionError(
                f"{needs[0]} needs include_tables.", hint="name the tables whose columns the choice is made by"
            )
        if self.stratify_by_column is not None and not self.shuffle:
            raise DerivaMLSelectionError("A stratified choice is made at random.", hint="leave shuffle=False out")
        if self.row_per is not None and self.row_per not in self.include_tables:
            raise DerivaMLSelectionError(
                f"row_per={self.row_per!r} is not among include_tables.", allowed=self.include_tables
            )

    @property
    def strategy(self) -> str:
        """How it is chosen, in words."""
        if self.selection_fn is not None:
            words = f"by {getattr(self.selection_fn, '__qualname__', type(self.selection_fn).__name__)}"
        elif self.stratify_by_column is not None:
            words = f"stratified by {self.stratify_by_column}"
        else:
            words = "random" if self.shuffle else "in order"
        return f"{words}, undivided by {self.partition_by}" if self.partition_by else words

    def to_dict(self) -> dict[str, Json]:
        """What is recorded of it."""
        return {
            "include_tables": list(self.include_tables),
            "stratify_by_column": self.stratify_by_column,
            "stratify_missing": self.stratify_missing,
            "partition_by": self.partition_by,
            "row_per": self.row_per,
            "via": list(self.via),
            "shuffle": self.shuffle,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Units:
    """What is divided.

    Attributes:
        element_table: The table of the elements.
        members: The elements of each unit.
        frame: One row for each unit, a data frame where tables were joined.
        noun: What a unit is called.
    """

    element_table: str
    members: Sequence[Sequence[str]]
    frame: Any
    noun: str

    def elements(self, units: Sequence[int]) -> list[str]:
        """The elements of some units, in order."""
        return sorted(rid for unit in units for rid in self.members[unit])


def read_units(dataset: Dataset, version: str, choice: Choice) -> Units:
    """What is to be divided of a version of a dataset.

    Args:
        dataset: The dataset.
        version: The version.
        choice: What is divided, and by what.

    Raises:
        DerivaMLSelectionError: There is nothing to divide, it cannot be told what, or labels contradict each other.
    """
    listed = dataset.list_dataset_members(recurse=True, version=version)
    name = _element_table(listed, choice.element_table)
    rows = sorted(listed[name], key=lambda row: str(row["RID"]))
    rids = [str(row["RID"]) for row in rows]
    if not choice.include_tables and choice.partition_by is None:
        return Units(name, [[rid] for rid in rids], range(len(rids)), "elements")
    frame = _joined(dataset, version, name, choice) if choice.include_tables else _plain(name, rows)
    owners, frame = _with_all(frame, rids, f"{name}.RID")
    return _united(name, owners, frame, choice)


def _element_table(listed: dict[str, list[dict[str, Json]]], wanted: str | None) -> str:
    present = [name for name, rows in listed.items() if rows and name != MLTable.dataset.value]
    counts = ", ".join(f"{name} {len(listed[name])}" for name in present) or "none"
    if wanted is not None:
        if wanted not in listed:
            raise DerivaMLSelectionError(f"{wanted} is no element type.", allowed=nearest(wanted, listed))
        if wanted not in present:
            raise DerivaMLSelectionError(f"The dataset has no members of {wanted} (members: {counts}).")
        return wanted
    if len(present) != 1:
        raise DerivaMLSelectionError(
            f"It cannot be told which members to divide: the dataset has members of {len(present)} tables ({counts}).",
            hint="name one with element_table" if present else "add members to the dataset first",
        )
    return present[0]


def _joined(dataset: Dataset, version: str, element: str, choice: Choice) -> Any:
    """The join of the tables, as of the version."""
    if element not in choice.include_tables:
        raise DerivaMLSelectionError(
            f"include_tables lacks {element}, whose records are divided.", allowed=choice.include_tables
        )
    frame = dataset.denormalize_as_dataframe(list(choice.include_tables), version, via=choice.via)
    # columns have the schema's name in front where tables of several schemas are joined
    full = _column(frame, f"{element}.RID")
    if choice.row_per is not None:
        frame = frame.drop_duplicates(_column(frame, f"{choice.row_per}.RID"))
    return frame.rename(columns={full: f"{element}.RID"})


def _column(frame: Any, name: str) -> str:
    found = [str(column) for column in frame.columns if column == name or str(column).endswith(f".{name}")]
    if len(found) != 1:
        column_of(frame, name)
    return found[0]


def _plain(name: str, rows: Sequence[dict[str, Json]]) -> Any:
    """The members themselves as a data frame."""
    frame = require("pandas", EXTRA).DataFrame
    return frame([{f"{name}.{column}": value for column, value in row.items()} for row in rows])


def _with_all(frame: Any, rids: Sequence[str], column: str) -> tuple[list[str], Any]:
    """The element of each row, and the rows by element; each of the elements has one, and nothing else has."""
    pandas = require("pandas", EXTRA)
    wanted = set(rids)
    owners = frame[column].astype(str).tolist()
    kept = sorted((owner, at) for at, owner in enumerate(owners) if owner in wanted)
    missing = sorted(wanted - {owner for owner, _at in kept})
    chosen = frame.iloc[[at for _owner, at in kept]]
    if missing:
        empty = pandas.DataFrame({column: missing}).reindex(columns=frame.columns).astype(object)
        chosen = pandas.concat([chosen.astype(object), empty]).infer_objects()
    return [*(owner for owner, _at in kept), *missing], chosen.reset_index(drop=True)


def _united(name: str, owners: Sequence[str], frame: Any, choice: Choice) -> Units:
    """The rows as units."""
    groups = _groups(name, owners, frame, choice.partition_by)
    rows_of: dict[str, list[int]] = {}
    for at, owner in enumerate(owners):
        rows_of.setdefault(groups[owner], []).append(at)
    members = [sorted({owners[at] for at in rows}) for rows in rows_of.values()]
    first = frame.iloc[[rows[0] for rows in rows_of.values()]].reset_index(drop=True)
    if choice.stratify_by_column is not None:
        labels = column_of(frame, choice.stratify_by_column)
        on_purpose = choice.partition_by is not None or choice.row_per is not None
        found = [[labels[at] for at in rows if labels[at] is not None] for rows in rows_of.values()]
        if not on_purpose:
            _refuse_contradictions(name, members, found, choice.stratify_by_column)
        pandas = require("pandas", EXTRA)
        first[choice.stratify_by_column] = pandas.Series([_most_frequent(values) for values in found], dtype=object)
    noun = "elements" if choice.partition_by is None else f"groups of {choice.partition_by}"
    return Units(name, members, first, noun)


def _most_frequent(values: Sequence[Any]) -> Any:
    if not values:
        return None
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], repr(value)))


def _refuse_contradictions(
    name: str, members: Sequence[Sequence[str]], found: Sequence[Sequence[Any]], column: str
) -> None:
    torn = [unit[0] for unit, values in zip(members, found, strict=True) if len(set(values)) > 1]
    if torn:
        few = ", ".join(torn[:_NAMED]) + (f" and {len(torn) - _NAMED} more" if len(torn) > _NAMED else "")
        raise DerivaMLSelectionError(
            f"{len(torn)} of {len(members)} records of {name} have several values of {column}: {few}.",
            hint="row_per names the table whose record decides; else the values must agree",
        )


def _groups(name: str, owners: Sequence[str], frame: Any, partition_by: str | None) -> dict[str, str]:
    """The group of each element, named by one of its elements."""
    if partition_by is None:
        return {owner: owner for owner in owners}
    short = f"{name}.{partition_by}"
    values = column_of(frame, short if short in frame.columns else partition_by)
    missing = {owner for owner, value in zip(owners, values, strict=True) if value is None}
    if missing:
        raise DerivaMLSelectionError(
            f"{len(missing)} of {len(set(owners))} records of {name} have no {partition_by}: it cannot be told which "
            "of them must stay together.",
            hint="complete the records, or take them out of the dataset",
        )
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for owner, value in zip(owners, values, strict=True):
        one, other = root(f"element {owner}"), root(f"group {type(value).__name__} {value!r}")
        parent[max(one, other)] = min(one, other)
    return {owner: root(f"element {owner}") for owner in owners}
