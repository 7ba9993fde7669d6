"""The order in which records are listed: the usual one, the newest first, or one of the caller's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from deriva_ml.wire.path import Path

__all__ = ["Sort", "arranged", "sorted_path"]

T = TypeVar("T")
Sort: TypeAlias = bool | Callable[[T], Any] | None
"""True for the newest first; or a function that gives of each item what to sort by, as for ``sorted``."""


def sorted_path(path: Path, sort: object, *usual: str) -> Path:
    """A path whose rows come in the order of ``sort``, as far as the catalog can give it.

    Args:
        path: The path.
        sort: The order; see ``Sort``.
        usual: The columns to sort by if the newest need not come first.
    """
    if sort is True:
        return path.sorted("RCT", desc=True).sorted("RID", desc=True)
    for column in usual:
        path = path.sorted(column)
    return path


def arranged(items: Iterable[T], sort: Sort[T]) -> list[T]:
    """Items in the order of ``sort``, which the catalog has sorted already unless a function is given."""
    return sorted(items, key=sort) if callable(sort) else list(items)
