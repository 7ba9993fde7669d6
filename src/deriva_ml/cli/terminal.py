"""Where the commands print: text that stays whole in a file or a pipe, tables, JSON, and the pieces of these."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.tables import Table, escape_text, plain_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "coloured",
    "console",
    "emit",
    "escape_text",
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


def emit(*parts: str | Table | RenderableType) -> None:
    """Print parts one after the other, each with its lines' padding cut off."""
    if sys.stdout.isatty() or not all(isinstance(part, (str, Table)) for part in parts):
        _emit_rich(parts)
        return
    for part in parts:
        for line in part.lines() if isinstance(part, Table) else plain_text(str(part)).split("\n"):
            print(line.rstrip())


def _emit_rich(parts: Iterable[str | Table | RenderableType]) -> None:
    """Print parts in colours, as wide as the terminal; whole lines where it is a file or a pipe."""
    out = console()
    width = out.width
    for part in parts:
        out.width = max(width, part.least_width()) if isinstance(part, Table) else width
        with out.capture() as text:
            out.print(part.rich() if isinstance(part, Table) else part)
        for line in text.get().splitlines():
            print(line.rstrip())


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
    """A table whose columns have the house's alignments."""
    return Table(
        columns,
        right=("Size", "Values", "Time", "Job", "Files"),
        fixed=("RID", "Execution", "Started", "Version", "Status", "Size", "Time", "Job"),
    )


def coloured(status: str) -> str:
    """A status in its colour."""
    colour = COLOURS.get(status)
    return f"[{colour}]{status}[/{colour}]" if colour else status


def local_time(moment: datetime) -> str:
    """A moment in this machine's time."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
