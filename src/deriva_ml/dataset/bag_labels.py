"""What features and columns say of the records of a table: the labels that samples are grouped and trained by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLNotFoundError, DerivaMLValidationError
from deriva_ml.core.fields import refuse_text
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.bag_features import find_features, read_values
from deriva_ml.feature.feature import Feature
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.wire.model import Json, Table

__all__ = ["MISSING", "Label", "LabelReader", "Labels", "Missing", "Targets", "check_missing"]

Row = Mapping[str, Json]
Choose: TypeAlias = "Callable[[list[FeatureRecord]], FeatureRecord | None]"
"""Takes the values of one record and gives one of them, or none."""

Targets: TypeAlias = "Sequence[str] | Mapping[str, Choose | None]"
"""Names of labels; with each, which of several values is meant."""

Missing: TypeAlias = Literal["error", "skip", "unknown"]
"""What becomes of records of which nothing is said."""
MISSING: tuple[Missing, ...] = ("error", "skip", "unknown")


def check_missing(missing: str) -> None:
    """Refuse a policy that there is not.

    Raises:
        DerivaMLValidationError: There is none of this name.
    """
    if missing not in MISSING:
        raise DerivaMLValidationError(f"There is no policy missing={missing!r}.", allowed=list(MISSING))


@dataclass(frozen=True, slots=True)
class Label:
    """What is said of one record.

    Attributes:
        value: The value; None if nothing is said.
        record: The feature's record, if it is a feature's value.
    """

    value: Any
    record: FeatureRecord | None = None

    @property
    def given(self) -> Any:
        """What a transformation is given: the whole record where there is one, else the value."""
        return self.value if self.record is None else self.record


@dataclass(frozen=True)
class LabelReader:
    """One label of the records of a table.

    Attributes:
        name: The label as it was asked for.
        column: The column that holds the value: of the feature, or of the table itself.
        key: The table's column by whose value the feature's records are found; None for a column of the table.
        records: The feature's records by that value.
        strict: Several different values for one record are an error.
        choose: Which of several is meant.
    """

    name: str
    column: str
    key: str | None
    records: Mapping[str, list[FeatureRecord]]
    strict: bool = True
    choose: Choose | None = None

    def of(self, row: Row) -> Label:
        """What is said of a record.

        Raises:
            DerivaMLDataError: There are several different values.
        """
        if self.key is None:
            return Label(row[self.column])
        found = self.records.get(str(row[self.key]), [])
        if not found:
            return Label(None)
        chosen = self._chosen(found, row) if len(found) > 1 else found[0]
        return Label(None) if chosen is None else Label(chosen.column_value(self.column), chosen)

    def _chosen(self, found: list[FeatureRecord], row: Row) -> FeatureRecord | None:
        if self.choose is not None:
            return self.choose(found)
        values = {repr(record.column_value(self.column)) for record in found}
        if self.strict and len(values) > 1:
            said = ", ".join(
                f"{record.column_value(self.column)!r} by execution {record.Execution}" for record in found
            )
            raise DerivaMLDataError(
                f"Record {row['RID']} has several values of {self.name}: {said}.",
                hint="say which one is meant with a selector, such as FeatureRecord.select_newest",
            )
        return found[0]


class Labels:
    """Finds labels by name.

    A name is that of a column of the table, of a feature of the table or of a table that it refers to, or
    ``Feature.column`` for one column of a feature.

    Args:
        database: The bag's tables.
        table: The table whose records are described.
        terms_only: A feature must have a term of a vocabulary.
        unambiguous: A record must not have two different values.
    """

    def __init__(
        self, database: BagDatabase, table: Table, *, terms_only: bool = True, unambiguous: bool = True
    ) -> None:
        self._database = database
        self._table = table
        self._terms_only = terms_only
        self._unambiguous = unambiguous

    def readers(self, names: Targets, choose: Choose | None = None) -> list[LabelReader]:
        """The labels of these names.

        Args:
            names: The names; with each, which of several values is meant.
            choose: Which of several values is meant, of those for which nothing is said.

        Raises:
            DerivaMLNotFoundError: There is no such column or feature.
            DerivaMLDataError: It is not said which of several columns is meant, or the feature has no term.
        """
        refuse_text("targets", names)
        own: Mapping[str, Choose | None] = names if isinstance(names, Mapping) else dict.fromkeys(names)
        return [self.reader(name, chosen or choose) for name, chosen in own.items()]

    def reader(self, name: str, choose: Choose | None = None) -> LabelReader:
        """The label of this name; see ``readers``."""
        if self._table.column(name) is not None:
            return LabelReader(name, name, None, {})
        feature, key, named = self._feature(name)
        column = self._column(feature, named)
        by_target: dict[str, list[FeatureRecord]] = {}
        for record in read_values(self._database, feature):
            by_target.setdefault(record.target_rid, []).append(record)
        return LabelReader(name, column, key, by_target, self._unambiguous, choose)

    def _feature(self, name: str) -> tuple[Feature, str, str | None]:
        """The feature, the table's column that leads to what it describes, and the column that is named."""
        known = [
            (feature, key) for target, key in self._described() for feature in find_features(self._database, target)
        ]
        for wanted, column in ((name, None), (name.rpartition(".")[0], name.rpartition(".")[2])):
            found = [(feature, key) for feature, key in known if feature.feature_name == wanted]
            own = [(feature, key) for feature, key in found if key == "RID"]
            if len(own or found) > 1:
                tables = ", ".join(f"{feature.target_table.name} (by {key})" for feature, key in found)
                raise DerivaMLDataError(f"Feature {wanted} is found in several ways from {self._table.name}: {tables}.")
            if found:
                feature, key = (own or found)[0]
                return feature, key, column
        names = [feature.feature_name for feature, _key in known] + [c.name for c in self._table.user_columns]
        raise DerivaMLNotFoundError(
            f"{name} is neither a column of {self._table.name} nor a feature of it or of a table that it refers to.",
            allowed=nearest(name, names),
        )

    def _described(self) -> list[tuple[Table, str]]:
        """The table, and those that it refers to by their RID."""
        found = [(self._table, "RID")]
        for fkey in self._table.foreign_keys:
            target = self._database.model.table(*fkey.referenced_table)
            if target is not None and fkey.referenced_columns == ("RID",) and target.qualified != self._table.qualified:
                found.append((target, fkey.columns[0]))
        return found

    def _column(self, feature: Feature, named: str | None) -> str:
        columns = sorted(column.name for column in feature.feature_columns)
        terms = sorted(column.name for column in feature.term_columns)
        if self._terms_only and not terms:
            raise DerivaMLDataError(
                f"Feature {feature} has no column with terms of a vocabulary.",
                hint="pass enforce_vocabulary=False to use its other values",
            )
        if named is not None:
            if named not in columns:
                raise DerivaMLNotFoundError(
                    f"Feature {feature} has no column {named}.", allowed=nearest(named, columns)
                )
            return named
        candidates = terms or columns
        if len(candidates) != 1:
            raise DerivaMLDataError(
                f"Feature {feature} has {len(candidates)} columns that may be meant.",
                allowed=[f"{feature.feature_name}.{column}" for column in candidates],
            )
        return candidates[0]
