"""The tables of ``states`` as a page shows them: ``python -m deriva_ml.execution.state_page FILE``.

What stands in the page between the two marks is replaced; the rest is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from deriva_ml.core.enums import Status
from deriva_ml.execution.states import FINAL, MOVES, UPLOAD_MOVES, Mover, Upload

__all__ = ["diagram", "filled", "main", "tables"]

BEGIN = "<!-- states: written by `make docs` -->"
END = "<!-- /states -->"


def diagram() -> str:
    """The moves as a Mermaid state diagram; a move that is not the holder's alone says whose it is."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.created}"]
    for start, finish in dict.fromkeys((move.start, move.finish) for move in MOVES):
        movers = [move.by for move in MOVES if (move.start, move.finish) == (start, finish)]
        label = "" if movers == [Mover.holder] else f" : {' or '.join(movers)}"
        lines.append(f"    {start} --> {finish}{label}")
    lines += [f"    {status} --> [*]" for status in Status if status in FINAL]
    lines += ["    state Upload {", f"        [*] --> {Upload.none}"]
    lines += [f"        {move.start} --> {move.finish}" for move in UPLOAD_MOVES]
    return "\n".join([*lines, "    }"]) + "\n"


def tables() -> str:
    """The moves as tables in Markdown, with who makes them and why."""
    runs = [(move.start, move.finish, move.by, move.why) for move in MOVES]
    uploads = [tuple(move) for move in UPLOAD_MOVES]
    return (
        f"{_table(('a run that is', 'can become', 'by its', 'when'), runs)}\n"
        f"{_table(('an upload that is', 'can become', 'when'), uploads)}"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(page: str) -> str:
    """The page with the tables as they are now.

    Args:
        page: The page as it is.

    Raises:
        ValueError: It has not the two marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page has not the marks {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n```mermaid\n{diagram()}```\n\n{tables()}\n{END}{after}"


def main() -> None:
    """Write the tables into the pages that the command line names."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
