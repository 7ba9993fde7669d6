"""Selectors: which of several values of one feature for one record is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLNotFoundError
from deriva_ml.core.files import nearest

if TYPE_CHECKING:
    from deriva_ml.feature.records import FeatureRecord

__all__ = ["Chooser", "Selector", "by_execution", "first", "majority_vote", "newest", "stored_at"]

Selector: TypeAlias = "Callable[[Sequence[FeatureRecord]], FeatureRecord | None]"
"""Takes the values for one record and gives one of them, or none."""

Chooser: TypeAlias = "Callable[[Sequence[FeatureRecord]], FeatureRecord]"
"""A selector that always gives one."""

_NEVER = datetime.min.replace(tzinfo=UTC)


def stored_at(record: FeatureRecord) -> datetime:
    """When a value was stored; one that is not stored yet counts as the oldest."""
    if record.RCT is None:
        return _NEVER
    moment = datetime.fromisoformat(record.RCT)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def newest(records: Sequence[FeatureRecord]) -> FeatureRecord:
    """The record that was stored last; of several at one moment the last in the list."""
    return max(enumerate(records), key=lambda pair: (stored_at(pair[1]), pair[0]))[1]


def first(records: Sequence[FeatureRecord]) -> FeatureRecord:
    """The record that was stored first."""
    return min(records, key=stored_at)


def by_execution(execution_rid: str) -> Chooser:
    """A selector of the newest record that an execution made.

    The selector raises ``DerivaMLNotFoundError`` for a record of which the execution made no value.
    """

    def select(records: Sequence[FeatureRecord]) -> FeatureRecord:
        made = [record for record in records if record.Execution == execution_rid]
        if not made:
            raise DerivaMLNotFoundError(
                f"Execution {execution_rid} made no value of feature {records[0].Feature_Name} for record "
                f"{records[0].target_rid}.",
                allowed=sorted({record.Execution for record in records if record.Execution}),
            )
        return newest(made)

    return select


def majority_vote(column: str | None = None) -> Chooser:
    """A selector of the value that most records have; of values that are equally frequent the newest is taken.

    Args:
        column: The column that holds the value; by default the feature's only term column.

    The selector raises ``DerivaMLDataError`` where no column was named and there is not exactly one term column.
    """

    def select(records: Sequence[FeatureRecord]) -> FeatureRecord:
        chosen = _vote_column(records[0], column)
        votes = Counter(_ballot(record.column_value(chosen)) for record in records)
        most = max(votes.values())
        return newest([record for record in records if votes[_ballot(record.column_value(chosen))] == most])

    return select


def _ballot(value: object) -> object:
    # a list is a value like any other and has no hash
    return repr(value) if isinstance(value, list | dict) else value


def _vote_column(record: FeatureRecord, column: str | None) -> str:
    names = sorted(each.name for each in record.feature_columns())
    if column is not None:
        if column not in names:
            raise DerivaMLDataError(
                f"Feature {record.Feature_Name} has no column {column}.", allowed=nearest(column, names)
            )
        return column
    terms = sorted(each.name for each in record.term_columns())
    if len(terms) != 1:
        raise DerivaMLDataError(
            f"Feature {record.Feature_Name} has {len(terms)} term columns: the column to vote on must be named.",
            allowed=names,
            hint="select_majority_vote(column=...)",
        )
    return terms[0]
