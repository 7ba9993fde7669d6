"""Lines that come in some order, written in the order of their keys; memory holds a part of them at a time.

Parts are sorted in memory and laid aside. Parts of which each begins after the end of the last, as with rows of a
catalog that sorts as we do, lie in one file and are copied from it; else the files are merged.
"""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import IO, TypeAlias

from deriva_ml.core.files import Digests, hash_parts

__all__ = ["write_sorted"]

Line: TypeAlias = tuple[str, str]
"""A key, and the line, which may hold ends of lines within quotes."""

PART = 20_000
_BLOCK = 1000
"""Lines that are laid aside, and read back, at a time."""


def write_sorted(path: Path, header: str, lines: Iterable[Line], *, part: int = PART) -> Digests:
    """Write a header, and lines in the order of their keys.

    Args:
        path: The file.
        header: The first line.
        lines: The lines, each key once.
        part: How many are sorted at a time.
    """
    rest = iter(lines)
    first = sorted(islice(rest, part))
    with ExitStack() as stack, path.open("wb") as out:
        ordered = _laid_aside(chain([first], _groups(rest, part)), path, stack) if len(first) == part else [first]
        return hash_parts(chain((header.encode(),), ("".join([line for _, line in b]).encode() for b in ordered)), out)


def _groups(lines: Iterator[Line], size: int) -> Iterator[list[Line]]:
    while group := sorted(islice(lines, size)):
        yield group


def _laid_aside(groups: Iterable[list[Line]], path: Path, stack: ExitStack) -> Iterator[list[Line]]:
    """The lines of all groups in order, some at a time."""
    runs: list[IO[bytes]] = []
    last = ""
    for group in groups:
        if not runs or group[0][0] < last:
            made = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  # the stack closes it
            runs.append(stack.enter_context(made))
        for at in range(0, len(group), _BLOCK):
            pickle.dump(group[at : at + _BLOCK], runs[-1], pickle.HIGHEST_PROTOCOL)
        last = group[-1][0]
    for run in runs:
        run.seek(0)
    if len(runs) == 1:
        yield from _blocks(runs[0])
        return
    merged = heapq.merge(*(chain.from_iterable(_blocks(run)) for run in runs))
    while block := list(islice(merged, _BLOCK)):
        yield block


def _blocks(run: IO[bytes]) -> Iterator[list[Line]]:
    while True:
        try:
            block: list[Line] = pickle.load(run)  # noqa: S301  # written above, in a file without a name
        except EOFError:
            return
        yield block
