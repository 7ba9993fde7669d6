"""Where the commands print: text that stays whole in a file or a pipe, tables, JSON, and the pieces of these."""

from __future__ import annotations

import dataclasses
import json
import sys
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

__all__ = [
    "coloured",
    "console",
    "emit",
    "escape_text",
    "grid",
    "json_text",
    "local_time",
    "show_json",
    "table_of",
    "title",
]

PLAIN_WIDTH = 1000
"""Width where the output is not a terminal: nothing is folded, so that paths and names can be searched for."""

COLOURS = {"Completed": "green", "Failed": "red", "Aborted": "yellow", "Running": "cyan"}


def console(*, stderr: bool = False) -> Console:
    """A console that keeps lines whole when the output is a file or a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False, emoji=False)


def emit(*parts: RenderableType) -> None:
    """Print parts one after the other, each with its lines' padding cut off."""
    from rich.table import Table

    out = console()
    width = out.width
    for part in parts:
        out.width = max(width, _fixed_width(part)) if isinstance(part, Table) else width
        with out.capture() as text:
            out.print(part)
        for line in text.get().splitlines():
            print(line.rstrip())


FLEXIBLE_WIDTH = 12
"""What a column whose text may be folded gets at least."""


def _fixed_width(table: Table) -> int:
    """Keep the columns that may not be folded as wide as their content; how wide the table is then at least.

    In a terminal that is narrower the lines are broken by the terminal, and nothing is cut off.
    """
    from rich.text import Text

    total = 0
    for column in table.columns:
        if column.no_wrap:
            cells = [str(column.header), *(cell for cell in column.cells if isinstance(cell, str))]
            column.min_width = max(Text.from_markup(cell).cell_len for cell in cells)
        total += (column.min_width or FLEXIBLE_WIDTH) + 3
    return total


def show_json(value: Any) -> None:
    """Print a value, dataclasses included, as JSON."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """A value, dataclasses included, as JSON."""
    return json.dumps(value, default=_plain, indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def title(text: str) -> str:
    """A heading above a table."""
    return f"\n[bold]{text}[/bold]"


def table_of(*columns: str) -> Table:
    """A table whose columns have the house's widths and alignments."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for name in columns:
        right = name in ("Size", "Values", "Time", "Job")
        fixed = name in ("RID", "Execution", "Started", "Version", "Status", "Size", "Time", "Job")
        table.add_column(name, justify="right" if right else "left", no_wrap=fixed, overflow="fold")
    return table


def grid() -> Table:
    """Names and what they stand for, side by side."""
    from rich.table import Table

    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    return made


def escape_text(text: str) -> str:
    """Text in which nothing is taken for markup."""
    from rich.markup import escape

    return escape(text)


def coloured(status: str) -> str:
    """A status in its colour."""
    colour = COLOURS.get(status)
    return f"[{colour}]{status}[/{colour}]" if colour else status


def local_time(moment: datetime) -> str:
    """A moment in this machine's time."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
