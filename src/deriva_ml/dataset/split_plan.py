"""Which rows go where: sizes of partitions, and functions that choose rows. Nothing here reads or writes a catalog.

The choice depends on the seed and on the rows alone, and is the same with every version of numpy: the order is that of
the raw output of the PCG64 bit generator, which numpy promises not to change (as it does not for what is made of it,
such as ``Generator.shuffle``), and shares are counted in whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, Protocol

from deriva_ml.core.exceptions import DerivaMLSelectionError
from deriva_ml.core.files import nearest, require

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "TESTING",
    "TRAINING",
    "VALIDATION",
    "SelectionFunction",
    "checked_choice",
    "ordered_split",
    "partition_sizes",
    "random_split",
    "sample_size",
    "stratified_split",
]

TRAINING, TESTING, VALIDATION = "Training", "Testing", "Validation"

EXTRA = "split"
"""The extra of deriva-ml that installs what this needs."""

Rows = Any
"""A data frame, or anything else that has a length where no column is looked at."""


class SelectionFunction(Protocol):
    """Chooses the rows of each partition."""

    def __call__(self, df: Rows, partition_sizes: dict[str, int], seed: int) -> Mapping[str, np.ndarray]:
        """Choose rows.

        Args:
            df: The rows: a data frame with one row for each unit that must not be divided.
            partition_sizes: How many rows each partition gets.
            seed: What the choice depends on, beside the rows.

        Returns:
            The positions of the rows of each partition.
        """


# ------------------------------------------------------------------------------------------------ sizes


def _count(name: str, size: float, total: int) -> int:
    """How many of ``total`` a size means: a fraction below 1, or a number."""
    if isinstance(size, bool) or not isinstance(size, int | float) or not size > 0:
        raise DerivaMLSelectionError(
            f"{name}={size!r} is no size.", hint="give a fraction between 0 and 1, or a whole number from 1"
        )
    if size < 1:
        return round(total * size)
    if size != int(size):
        raise DerivaMLSelectionError(
            f"{name}={size!r} is neither a fraction nor a whole number.",
            hint="give a fraction between 0 and 1, or a whole number from 1",
        )
    return int(size)


def partition_sizes(
    total: int,
    test_size: float = 0.2,
    train_size: float | None = None,
    val_size: float | None = None,
    *,
    units: str = "elements",
) -> dict[str, int]:
    """How many of ``total`` each partition gets.

    Args:
        total: How many there are.
        test_size: A fraction between 0 and 1, which is rounded, or a number.
        train_size: Likewise; by default what the others leave.
        val_size: Likewise; by default there is no validation partition.
        units: What is counted, for errors.

    Raises:
        DerivaMLSelectionError: There are not enough, or a partition would be empty; the error has the counts.
    """
    testing = _count("test_size", test_size, total)
    validation = 0 if val_size is None else _count("val_size", val_size, total)
    rest = total - testing - validation
    training = rest if train_size is None else _count("train_size", train_size, total)
    fractions = [size for size in (train_size, test_size, val_size or 0) if size is not None and size < 1]
    if train_size is not None and training > rest > 0 and len(fractions) == 3 and sum(fractions) <= 1 + 1e-9:
        training = rest  # only because the fractions were rounded up
    sizes = {TRAINING: training, TESTING: testing} | ({} if val_size is None else {VALIDATION: validation})
    told = ", ".join(f"{name} {size}" for name, size in sizes.items())
    if testing + validation + max(training, 0) > total:
        raise DerivaMLSelectionError(
            f"The partitions ({told}) need {sum(sizes.values())} {units} and there are {total}.",
            hint="make test_size, val_size or train_size smaller",
        )
    empty = [name for name, size in sizes.items() if size < 1]
    if empty:
        raise DerivaMLSelectionError(
            f"The partition {empty[0]} of {total} {units} would be empty ({told}).",
            hint="choose other sizes, or a larger dataset",
        )
    return sizes


def sample_size(total: int, size: float, *, units: str = "elements") -> int:
    """How many of ``total`` a sample gets.

    Args:
        total: How many there are.
        size: A fraction between 0 and 1, which is rounded, or a number.
        units: What is counted, for errors.

    Raises:
        DerivaMLSelectionError: There are not enough, or the sample would be empty; the error has the counts.
    """
    count = _count("size", size, total)
    if not 1 <= count <= total:
        raise DerivaMLSelectionError(f"A sample of {count} of {total} {units} is not possible (size={size!r}).")
    return count


# ------------------------------------------------------------------------------------------------ choices


def _numpy() -> Any:
    return require("numpy", EXTRA)


def _require_room(rows: int, sizes: Mapping[str, int], what: str = "rows") -> None:
    wanted = sum(sizes.values())
    if wanted > rows:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise DerivaMLSelectionError(f"The partitions ({told}) need {wanted} {what} and there are {rows}.")


def _keys(count: int, seed: int) -> np.ndarray:
    """A random number for each row, the same with every version of numpy."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DerivaMLSelectionError(f"seed={seed!r} is no seed.", hint="give a whole number from 0")
    keys: np.ndarray = _numpy().random.PCG64(seed).random_raw(count)
    return keys


def _cut(order: np.ndarray, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    start = 0
    for name, size in sizes.items():
        found[name] = _numpy().sort(order[start : start + size])
        start += size
    return found


def random_split(df: Rows, partition_sizes: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """Choose rows at random.

    Args:
        df: The rows.
        partition_sizes: How many rows each partition gets.
        seed: What the choice depends on, beside the number of rows.

    Returns:
        The positions of the rows of each partition.

    Raises:
        DerivaMLSelectionError: There are not enough rows.
    """
    _require_room(len(df), partition_sizes)
    return _cut(_numpy().argsort(_keys(len(df), seed), kind="stable"), partition_sizes)


def ordered_split(df: Sized, partition_sizes: dict[str, int], seed: int) -> dict[str, np.ndarray]:  # noqa: ARG001
    """Choose rows in their order: the first for training, then those for testing, then those for validation.

    Args:
        df: The rows.
        partition_sizes: How many rows each partition gets.
        seed: Without effect.

    Returns:
        The positions of the rows of each partition.

    Raises:
        DerivaMLSelectionError: There are not enough rows.
    """
    _require_room(len(df), partition_sizes)
    return _cut(_numpy().arange(len(df)), partition_sizes)


_MISSING = ("error", "drop", "include")


def stratified_split(stratify_column: str, missing: str = "error") -> SelectionFunction:
    """A function that chooses rows so that each value of a column has the same share of every partition.

    Shares are exact to less than one row of each value and partition.

    Args:
        stratify_column: The column.
        missing: What becomes of rows without a value: an error (``error``), they go nowhere (``drop``), or they count
            as a value of their own (``include``).

    Raises:
        DerivaMLSelectionError: There is no such way to treat missing values.
    """
    if missing not in _MISSING:
        raise DerivaMLSelectionError(f"missing={missing!r} is not possible.", allowed=_MISSING)

    def select(df: Rows, partition_sizes: dict[str, int], seed: int) -> dict[str, np.ndarray]:
        return _stratified(df, partition_sizes, seed, stratify_column, missing)

    return select


def column_of(df: Rows, name: str) -> list[Any]:
    """The values of a column; None where there is none.

    Raises:
        DerivaMLSelectionError: There is no such column; the error names those that there are, the nearest first.
    """
    columns = [str(column) for column in df.columns]
    if name not in columns:
        close = nearest(name, columns)
        rest = [column for column in columns if column not in close]
        raise DerivaMLSelectionError(f"There is no column {name!r}.", allowed=[*close, *rest])
    series = df[name]
    return [None if missing else value for value, missing in zip(series.tolist(), series.isna().tolist(), strict=True)]


def _strata(labels: Sequence[Any], column: str, missing: str) -> list[list[int]]:
    """The positions of the rows of each value, in the order of the values."""
    nulls = sum(label is None for label in labels)
    if nulls and missing == "error":
        raise DerivaMLSelectionError(
            f"Column {column} has no value in {nulls} of {len(labels)} rows.",
            hint="stratify_missing='drop' leaves such rows out, 'include' makes them a stratum of their own",
        )
    found: dict[str, list[int]] = {}
    for at, label in enumerate(labels):
        if label is not None or missing == "include":
            found.setdefault("" if label is None else f"{type(label).__name__} {label!r}", []).append(at)
    return [found[value] for value in sorted(found)]


def _shares(counts: Sequence[int], size: int) -> list[int]:
    """Shares of ``size`` in proportion to the counts: rounded down, the rest to the largest remainders."""
    total = sum(counts)
    shares = [count * size // total for count in counts]
    remainders = sorted(range(len(counts)), key=lambda at: (-(counts[at] * size % total), at))
    for at in remainders[: size - sum(shares)]:
        shares[at] += 1
    return shares


def _stratified(df: Rows, sizes: dict[str, int], seed: int, column: str, missing: str) -> dict[str, np.ndarray]:
    labels = column_of(df, column)
    strata = _strata(labels, column, missing)
    usable = sum(map(len, strata))
    _require_room(usable, sizes, f"rows with a value in {column}" if missing == "drop" else "rows")
    keys = _keys(len(labels), seed)
    left = [sorted(rows, key=lambda at: (int(keys[at]), at)) for rows in strata]
    found: dict[str, np.ndarray] = {}
    for name, size in sizes.items():
        chosen: list[int] = []
        for at, share in enumerate(_shares([len(rows) for rows in left], size)):
            chosen += left[at][:share]
            left[at] = left[at][share:]
        found[name] = _numpy().array(sorted(chosen), dtype="int64")
    return found


def checked_choice(found: Mapping[str, Iterable[int]], sizes: Mapping[str, int], rows: int) -> dict[str, list[int]]:
    """What a selection function has chosen, as plain numbers.

    Raises:
        DerivaMLSelectionError: A partition is missing, empty or unknown, a row does not exist, or is chosen twice.
    """
    if set(found) != set(sizes):
        raise DerivaMLSelectionError(
            f"The selection function gave the partitions {', '.join(sorted(found)) or 'none'}.", allowed=list(sizes)
        )
    choice = {name: [int(at) for at in found[name]] for name in sizes}
    seen: dict[int, str] = {}
    for name, chosen in choice.items():
        if not chosen:
            raise DerivaMLSelectionError(f"The selection function left the partition {name} of {rows} rows empty.")
        for at in chosen:
            if not 0 <= at < rows:
                raise DerivaMLSelectionError(f"The selection function chose row {at} of {rows} for {name}.")
            if at in seen:
                raise DerivaMLSelectionError(f"The selection function chose row {at} for {seen[at]} and for {name}.")
            seen[at] = name
    return choice
