"""The CSV of bags."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.dataset.cells import csv_lines, read_csv, reader, sql_type
from deriva_ml.wire.model import Column, ColumnType

TEXT = Column("1", "Text", ColumnType("text"))
WHOLE = Column("2", "Whole", ColumnType("int8"))
REAL = Column("3", "Real", ColumnType("float8"))
FLAG = Column("4", 'A "flag", so to say', ColumnType("boolean"))
LIST = Column("5", "List", ColumnType("text[]", ColumnType("text"), is_array=True))
DOCUMENT = Column("6", "Document", ColumnType("jsonb"))
COLUMNS = (TEXT, WHOLE, REAL, FLAG, LIST, DOCUMENT)

_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
_JSON = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=5,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            TEXT.name: st.none() | _TEXTS,
            WHOLE.name: st.none() | st.integers(-(2**63), 2**63 - 1),
            REAL.name: st.none() | st.floats(allow_nan=False, allow_infinity=False),
            FLAG.name: st.none() | st.booleans(),
            LIST.name: st.none() | st.lists(st.none() | _TEXTS, max_size=3),
            DOCUMENT.name: st.none() | _JSON,
        }
    ),
    max_size=5,
)


def _value(column: Column, text: str | None) -> Any:
    if text is None:
        return None
    read = reader(column)
    if column is FLAG:
        return {"t": True, "f": False}[text]
    return read(text) if read else {"INTEGER": int, "REAL": float, "TEXT": str}[sql_type(column)](text)


@given(ROWS)
def test_rows_without_special_columns_are_written_as_others_are(rows: list[dict[str, Any]]) -> None:
    plain = list(csv_lines((TEXT, WHOLE), rows))
    beside_an_empty_flag = list(csv_lines((TEXT, WHOLE, FLAG), [{**row, FLAG.name: None} for row in rows]))
    assert plain[1:] == [f"{line[:-2]}\n" for line in beside_an_empty_flag[1:]]


@given(ROWS)
def test_rows_survive_being_written_and_read(rows: list[dict[str, Any]]) -> None:
    text = "".join(csv_lines(COLUMNS, rows))
    header, *read = read_csv(io.StringIO(text, newline="\n"))
    assert header == [column.name for column in COLUMNS]
    assert [{c.name: _value(c, cell) for c, cell in zip(COLUMNS, row, strict=True)} for row in read] == rows


def test_null_is_an_empty_field_and_empty_text_a_quoted_one() -> None:
    assert list(csv_lines([TEXT, WHOLE], [{"Text": "", "Whole": None}, {"Text": None, "Whole": 3}])) == [
        "Text,Whole\n",
        '"",\n',
        ",3\n",
    ]


def test_a_value_may_hold_ends_of_lines_and_quotes() -> None:
    lines = list(csv_lines([TEXT], [{"Text": 'a\n"b",\r\nc'}]))
    assert lines[1] == '"a\n""b"",\r\nc"\n'
    assert list(read_csv(io.StringIO("".join(lines), newline="\n")))[1] == ['a\n"b",\r\nc']


@pytest.mark.parametrize("text", ['A\n"open\n', 'A\na"b"\n', 'A\n"a"b\n'])
def test_broken_quotes_are_an_error_that_says_where(text: str) -> None:
    with pytest.raises(DerivaMLDataError, match=r"table\.csv"):
        list(read_csv(io.StringIO(text, newline="\n"), "table.csv"))
