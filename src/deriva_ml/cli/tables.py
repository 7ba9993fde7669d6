"""Tables as the commands print them: to a file or a pipe as plain text, to a terminal through ``rich``.

Both look the same but for colours and folding. Plain text is made here, because most runs are not watched and loading
``rich`` takes longer than all that a short command has to print.

Texts are in the markup of ``rich``: ``[bold]...[/bold]``, and a backslash before a bracket that is not markup.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["Table", "cell_width", "escape_text", "plain_text"]

_TAG = re.compile(r"(\\*)(\[[a-z#/@][^\[]*?\])")
"""What ``rich`` takes for markup, and the backslashes before it."""

_DROPPED = dict.fromkeys((7, 8, 11, 12, 13))
"""Control codes that ``rich`` drops: they would move what is printed."""

FLEXIBLE_WIDTH = 12
"""What a column whose text may be folded gets at least."""


class Table:
    """Rows of texts below the names of their columns; without names, values beside what they are called.

    Args:
        columns: The columns' names; none for two columns without a head.
        right: Those whose texts stand at the right.
        fixed: Those whose texts are never folded.
    """

    def __init__(self, columns: Sequence[str] = (), *, right: Sequence[str] = (), fixed: Sequence[str] = ()) -> None:
        self.columns = tuple(columns)
        self.right = frozenset(right)
        self.fixed = frozenset(fixed)
        self.rows: list[tuple[str, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def lines(self) -> Iterator[str]:
        """The table as plain text, nothing folded."""
        rows = [[_cell_lines(cell) for cell in row] for row in self.rows]
        head = [[name] for name in self.columns]
        count = max((len(row) for row in [*rows, head]), default=0)
        widths = [
            max((cell_width(line) for row in [head, *rows] for line in (row[at] if at < len(row) else ())), default=0)
            for at in range(count)
        ]
        if head:
            yield self._line(self.columns, widths)
            yield "─" * (sum(widths) + 3 * (count - 1))
        for row in rows:
            for parts in zip_longest(*row, fillvalue=""):
                yield self._line(parts, widths)

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        right = [name in self.right for name in self.columns] or [False] * len(widths)
        placed = [_placed(cell, widths[at], right[at]) for at, cell in enumerate(cells)]
        return ("   " if self.columns else "  ").join(placed).rstrip()

    def rich(self) -> RichTable:
        """The table for a terminal; a column that may not be folded is as wide as its content.

        In a terminal that is narrower the lines are broken by the terminal, and nothing is cut off.
        """
        from rich import box
        from rich.table import Table as RichTable

        if not self.columns:
            table = RichTable.grid(padding=(0, 2))
            table.add_column(style="dim", no_wrap=True, min_width=self._width(0))
            table.add_column(overflow="fold")
        else:
            table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
            for at, name in enumerate(self.columns):
                fixed = name in self.fixed
                table.add_column(
                    name,
                    justify="right" if name in self.right else "left",
                    no_wrap=fixed,
                    overflow="fold",
                    min_width=self._width(at) if fixed else None,
                )
        for row in self.rows:
            table.add_row(*row)
        return table

    def least_width(self) -> int:
        """How wide the table is at least, with what may not be folded as wide as its content."""
        fixed = [name in self.fixed for name in self.columns] or [True, False]
        return sum((self._width(at) if stays else FLEXIBLE_WIDTH) + 3 for at, stays in enumerate(fixed))

    def _width(self, at: int) -> int:
        head = cell_width(self.columns[at]) if self.columns else 0
        return max([head, *(cell_width(line) for row in self.rows for line in _cell_lines(row[at]))])


def plain_text(markup: str) -> str:
    """What a terminal would show of a text with markup."""
    return _TAG.sub(_shown, markup).translate(_DROPPED)


def _shown(found: re.Match[str]) -> str:
    slashes, tag = found.groups()
    return "\\" * (len(slashes) // 2) + (tag if len(slashes) % 2 else "")


def escape_text(text: str) -> str:
    """Text in which nothing is taken for markup; if it may end in a backslash, something must stand before a tag."""
    return _TAG.sub(lambda found: f"{found[1]}{found[1]}\\{found[2]}", text)


def cell_width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _cell_lines(markup: str) -> list[str]:
    text = plain_text(markup)
    return text.removesuffix("\n").split("\n")


def _placed(text: str, width: int, right: bool) -> str:
    text = text.rstrip() if right else text
    blanks = " " * (width - cell_width(text))
    return blanks + text if right else text + blanks
