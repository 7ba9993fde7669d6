"""The ways between tables that joins and reports follow, read from the model alone.

1. A way leads where the walk leads that makes bags (``reach``): within the project's schemas and the ML schema; not on
   from ``Execution`` and ``Workflow``, nor from a vocabulary to anything but vocabularies, nor from a dataset that a
   member is in.
2. It may pass tables that are in the list or that it is to go by (``via``), and pure associations. Where there is no
   such way it may pass feature tables too, between what a feature describes and what its values refer to: so a list of
   a table and a vocabulary needs not name the feature.
3. Of several ways, those by most tables of ``via`` are meant. Of these, that which passes other tables; of several
   such, the longest, and of these that which passes most tables of the list. What follows references in their own
   direction only, and so gives each row one partner, goes before what turns round on the way. If that leaves more than
   one, or there is no way, it is an error that says what to add.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDenormalizeAmbiguousPath, DerivaMLDenormalizeUnrelatedAnchor
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.elements import dataset_table
from deriva_ml.feature.shape import FeatureShape, feature_shapes
from deriva_ml.schema.tables import is_association, is_vocabulary
from deriva_ml.wire.model import Model, Table

__all__ = ["LONGEST", "Ground", "Name", "Way", "way_between"]

Name = tuple[str, str]
Way = tuple[Table, ...]

LONGEST = 4
"""Ways of at most so many steps are named in errors and reports."""


@dataclass(frozen=True)
class Ground:
    """The ways that there are; rule 1.

    Attributes:
        model: The model.
        ml_schema: Name of the ML schema.
        domain_schemas: The project's schemas.
    """

    model: Model
    ml_schema: str
    domain_schemas: Collection[str]

    @cached_property
    def dataset(self) -> Name:
        """The table of datasets."""
        return dataset_table(self.model, self.ml_schema).qualified

    @cached_property
    def features(self) -> dict[Name, FeatureShape]:
        """The features by their tables."""
        return {shape.feature_table.qualified: shape for shape in feature_shapes(self.model)}

    @cached_property
    def _ends(self) -> set[Name]:
        return {(self.ml_schema, MLTable.execution.value), (self.ml_schema, MLTable.workflow.value)}

    @cached_property
    def _closed(self) -> Name:
        return (self.ml_schema, MLTable.dataset_dataset.value)

    def _onward(self, way: Way) -> Iterator[Table]:
        """The tables that a way, which begins with its start, can go on to."""
        at = way[-1]
        if at.qualified in self._ends or (len(way) > 1 and at.qualified == self.dataset):
            return
        passed = {table.qualified for table in way}
        for following in self._neighbours(at):
            if following.qualified not in passed and (is_vocabulary(following) or not is_vocabulary(at)):
                yield following

    def _neighbours(self, table: Table) -> Iterator[Table]:
        names = dict.fromkeys(
            [fkey.referenced_table for fkey in table.foreign_keys]
            + [fkey.table for fkey in self.model.referenced_by(table)]
        )
        for name in names:
            found = self.model.table(*name)
            inside = name[0] == self.ml_schema or name[0] in self.domain_schemas
            if found is not None and inside and name != self._closed:
                yield found

    def ways(self, start: Table, target: Table, may_pass: Callable[[Way], bool]) -> list[Way]:
        """The ways from one table to another, each as the tables after the start, the shortest first."""
        name = target.qualified
        every = self.every_way(start, lambda way: way[-1].qualified != name and may_pass(way))
        found = [way for way in every if way[-1].qualified == name]
        return sorted(found, key=lambda way: (len(way), [table.qualified for table in way]))

    def every_way(self, start: Table, may_pass: Callable[[Way], bool]) -> Iterator[Way]:
        """The ways from a table to any other, each as the tables after the start."""
        front: list[Way] = [(start,)]
        while front:
            way = front.pop()
            for following in self._onward(way):
                longer = (*way, following)
                yield longer[1:]
                if may_pass(longer[1:]):
                    front.append(longer)

    def is_bridge(self, before: Table, feature: Table, after: Table) -> bool:
        """Whether a feature table leads from what it describes to what its values refer to, or back."""
        shape = self.features.get(feature.qualified)
        if shape is None:
            return False
        referred = [shape.referenced(column) for column in shape.feature_columns]
        values = {table.qualified for table in referred if table is not None}
        target = shape.target_table.qualified
        one, other = before.qualified, after.qualified
        return (one == target and other in values) or (other == target and one in values)


def way_between(ground: Ground, start: Table, target: Table, listed: Collection[Name], via: Collection[Name]) -> Way:
    """The way that is meant, as the tables after the start; see the rules above.

    Args:
        ground: The ways that there are.
        start: Where it begins.
        target: Where it ends.
        listed: The tables that are joined.
        via: The tables to go by.

    Raises:
        DerivaMLDenormalizeAmbiguousPath: Several ways may be meant.
        DerivaMLDenormalizeUnrelatedAnchor: There is none.
    """
    known = {*listed, *via}
    bound = len(known) + LONGEST

    def may_pass(way: Way) -> bool:
        last = way[-1]
        return last.qualified in known or (is_association(last) and len(way) <= bound)

    ways = ground.ways(start, target, may_pass) or _bridged(ground, start, target, may_pass, bound)
    if not ways:
        raise _no_way(ground, start, target)
    most = max(_passed(way, via) for way in ways)
    ways = [way for way in ways if _passed(way, via) == most]
    straight = [way for way in ways if _is_straight(start, way)]
    if straight:
        ways = [way for way in ways if way in straight or any(is_association(table) for table in way)]
    best = max((len(way), _passed(way, known)) for way in ways)
    meant = [way for way in ways if (len(way), _passed(way, known)) == best]
    if len(meant) > 1:
        raise _ambiguous(start, target, meant)
    return meant[0]


def _bridged(ground: Ground, start: Table, target: Table, may_pass: Callable[[Way], bool], bound: int) -> list[Way]:
    """The ways that pass feature tables too; rule 2."""

    def may_pass_features(way: Way) -> bool:
        return may_pass(way) or (way[-1].qualified in ground.features and len(way) <= bound)

    def crosses_well(way: Way) -> bool:
        whole = (start, *way)
        return all(
            may_pass(whole[1 : at + 1]) or ground.is_bridge(whole[at - 1], whole[at], whole[at + 1])
            for at in range(1, len(whole) - 1)
        )

    return [way for way in ground.ways(start, target, may_pass_features) if crosses_well(way)]


def _passed(way: Way, tables: Collection[Name]) -> int:
    return sum(table.qualified in tables for table in way[:-1])


def _is_straight(start: Table, way: Way) -> bool:
    """Whether each step follows a reference in its own direction."""
    return all(before.references(after) for before, after in zip((start, *way), way, strict=False))


def _no_way(
    ground: Ground, start: Table, target: Table
) -> DerivaMLDenormalizeUnrelatedAnchor | DerivaMLDenormalizeAmbiguousPath:
    ways = ground.ways(start, target, lambda way: len(way) < LONGEST)
    if not ways:
        return DerivaMLDenormalizeUnrelatedAnchor(start.name, target.name)
    return _ambiguous(start, target, ways)


def _ambiguous(start: Table, target: Table, ways: Sequence[Way]) -> DerivaMLDenormalizeAmbiguousPath:
    named = [(start.name, *(table.name for table in way)) for way in ways]
    return DerivaMLDenormalizeAmbiguousPath(start.name, target.name, named)
