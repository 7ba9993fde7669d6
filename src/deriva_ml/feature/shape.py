"""What makes a table a feature table, read from the catalog's model; no I/O.

A feature F of a table T is one table with a unique key over three references: ``Execution``, T and ``Feature_Name``.
The default of its column ``Feature_Name`` is F. Its other columns are the feature's values.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from deriva_ml.core.constants import is_system_schema
from deriva_ml.core.values import dataclass
from deriva_ml.schema.tables import is_asset, is_vocabulary
from deriva_ml.wire.model import Column, ForeignKey, Model, Table

__all__ = ["EXECUTION", "FEATURE_NAME", "FeatureShape", "feature_shape", "feature_shapes"]

EXECUTION, FEATURE_NAME = "Execution", "Feature_Name"
"""The columns that every feature table has, besides the one that refers to its target."""


@dataclass(frozen=True, eq=False)
class FeatureShape:
    """A feature as the model describes it.

    Attributes:
        feature_table: The table that holds the values.
        target_table: The table that the values describe.
        feature_name: The feature's name.
        target_column: The column that refers to the target.
        model: The model that the tables are of.
    """

    feature_table: Table
    target_table: Table
    feature_name: str
    target_column: str
    model: Model

    @cached_property
    def feature_columns(self) -> frozenset[Column]:
        """The columns that hold the values."""
        fixed = {EXECUTION, FEATURE_NAME, self.target_column}
        return frozenset(column for column in self.feature_table.user_columns if column.name not in fixed)

    @cached_property
    def asset_columns(self) -> frozenset[Column]:
        """The values that are references to assets."""
        return frozenset(c for c in self.feature_columns if (t := self.referenced(c)) is not None and is_asset(t))

    @cached_property
    def term_columns(self) -> frozenset[Column]:
        """The values that are terms of a vocabulary."""
        return frozenset(c for c in self.feature_columns if (t := self.referenced(c)) is not None and is_vocabulary(t))

    @cached_property
    def value_columns(self) -> frozenset[Column]:
        """The other values."""
        return self.feature_columns - self.asset_columns - self.term_columns

    def referenced(self, column: Column) -> Table | None:
        """The table that a column refers to, if it does."""
        reference = _reference(self.feature_table, column.name)
        return None if reference is None else self.model.table(*reference.referenced_table)

    def __str__(self) -> str:
        return f"{self.target_table.name}:{self.feature_name}"


def _reference(table: Table, column: str) -> ForeignKey | None:
    return next((fkey for fkey in table.foreign_keys if fkey.columns == (column,)), None)


def feature_shape(model: Model, table: Table) -> FeatureShape | None:
    """The feature that a table is of; None if it is no feature table."""
    name = table.column(FEATURE_NAME)
    if name is None or table.column(EXECUTION) is None:
        return None
    for key in table.keys:
        others = set(key.columns) - {EXECUTION, FEATURE_NAME}
        if len(key.columns) != 3 or len(others) != 1:
            continue
        column = others.pop()
        references = [_reference(table, each) for each in (EXECUTION, FEATURE_NAME, column)]
        if any(reference is None for reference in references):
            continue
        target = model.table(*references[2].referenced_table) if references[2] else None
        if target is not None and isinstance(name.default, str):
            return FeatureShape(table, target, name.default, column, model)
    return None


def feature_shapes(model: Model, target: Table | None = None) -> Iterator[FeatureShape]:
    """The features of a table, or of all tables, in the model's order."""
    for schema in model.schemas.values():
        if is_system_schema(schema.name, ""):
            continue
        for table in schema.tables.values():
            shape = feature_shape(model, table)
            if shape is not None and (target is None or shape.target_table.qualified == target.qualified):
                yield shape
