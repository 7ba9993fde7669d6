"""Tables as plain text are what a terminal shows of them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from deriva_ml.cli.tables import Table, cell_width, escape_text, plain_text
from deriva_ml.cli.terminal import coloured, title

TEXT = st.lists(st.sampled_from([*"ab1/]# \n\r日éx", "e\u0301"]), max_size=9).map("".join).map(str.strip)
TAGS = st.sampled_from(["[bold]", "[/bold]", "[red]", "[/]", "[link]"])


def as_rich_prints(*parts: Any) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=1000, highlight=False, emoji=False)
    for part in parts:
        console.print(part)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@given(st.lists(st.tuples(TEXT, TEXT | TAGS, TEXT), min_size=1, max_size=4), st.booleans())
def test_plain_text_is_what_rich_prints(rows: list[tuple[str, ...]], has_head: bool) -> None:
    table = Table(("Job", "What", "Size") if has_head else (), right=("Job", "Size"), fixed=("Job",))
    for row in rows:
        table.add_row(*map(escape_text, row if has_head else row[:2]))
    assert [line.rstrip() for line in table.lines()] == as_rich_prints(table.rich())


@given(st.lists(TEXT | TAGS | st.just("\\"), max_size=5).map("".join))
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    assert plain_text(f"[bold]{escape_text(text)}.[/bold]") == f"{text.translate({13: None})}."


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_the_width_of_a_text_is_that_on_a_terminal(text: str, width: int) -> None:
    assert cell_width(text) == width


def test_colours_and_titles_are_left_out_of_plain_text() -> None:
    assert plain_text(title("Inputs") + coloured("Completed")) == "\nInputsCompleted"


def test_a_table_is_at_least_as_wide_as_what_may_not_be_folded() -> None:
    table = Table(("RID", "What"), fixed=("RID",))
    table.add_row("1-ABCD", "much text that may be folded as the terminal likes")
    assert table.least_width() == 6 + 3 + 12 + 3
