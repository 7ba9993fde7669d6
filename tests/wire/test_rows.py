"""Rows as JSON, JSON lines and CSV: what is written reads back as the same rows."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.wire.json_text import Number
from deriva_ml.wire.model import ColumnType
from deriva_ml.wire.rows import (
    CSV,
    JSON,
    JSON_STREAM,
    Field,
    encode,
    in_batches,
    media_type,
    read_cells,
    read_csv,
    read_objects,
    store_column,
)
from deriva_ml.wire.values import known_type, storage

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
hard_words = st.text('a,"\r\n \\{}%é', max_size=6)
VALUES = {
    "int8": st.integers(-(1 << 63), (1 << 63) - 1),
    "float8": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    "boolean": st.booleans(),
    "text": words | hard_words,
    "markdown": hard_words,
    "timestamptz": st.datetimes().map(lambda value: value.isoformat()),
    "date": st.dates().map(str),
    "text[]": st.lists(st.none() | hard_words, max_size=3),
    "int4[]": st.lists(st.integers(-9, 9), max_size=3),
    "jsonb": st.dictionaries(words, st.none() | st.integers() | words, max_size=2),
}


def of(name: str) -> ColumnType:
    """The type of this name."""
    found = known_type(name)
    assert found is not None
    return found


@st.composite
def relations(draw: st.DrawFn) -> tuple[list[Field], list[tuple]]:
    """Some fields and some rows of stored values, nulls among them."""
    types = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    names = draw(
        st.lists(words.filter(bool) | hard_words.filter(bool), min_size=len(types), max_size=len(types), unique=True)
    )
    fields = [Field(name, of(type_)) for name, type_ in zip(names, types, strict=True)]
    row = st.tuples(*(st.none() | VALUES[type_].map(lambda v, t=type_: storage(of(t), v)) for type_ in types))
    return fields, draw(st.lists(row, max_size=7))


def written(fields, rows, media, **options) -> bytes:
    """All of the content, from batches of three rows."""
    return b"".join(encode(fields, in_batches(rows, 3), media, **options))


@given(relations(), st.sampled_from([JSON, JSON_STREAM]))
def test_json_reads_back(relation, media):
    fields, rows = relation
    objects = read_objects(written(fields, rows, media), media)
    columns = [store_column(field.type, field.name, objects) for field in fields]
    # a null is a value of its own in a JSON column
    nulls = [("null" if field.type.name == "jsonb" else None) for field in fields]
    expected = [tuple(nulls[at] if value is None else value for at, value in enumerate(row)) for row in rows]
    assert [tuple(row) for row in zip(*columns, strict=True)] == expected


@given(relations(), st.booleans())
def test_csv_reads_back(relation, arrays_as_json):
    fields, rows = relation
    header, records = read_csv(written(fields, rows, CSV, arrays_as_json=arrays_as_json))
    assert header == [field.name for field in fields]
    columns = [read_cells(f.type, f.name, [r[at] for r in records]) for at, f in enumerate(fields)]
    assert [tuple(row) for row in zip(*columns, strict=True)] == rows


@given(relations())
def test_any_csv_reader_finds_the_same_fields(relation):
    fields, rows = relation
    text = written(fields, rows, CSV).decode()
    header, records = read_csv(text.encode())
    lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    if len(fields) > 1 or all(any(record) for record in records):
        assert lines == [header, *([field or "" for field in record] for record in records)]


@given(st.lists(st.lists(st.none() | hard_words | words, min_size=2, max_size=2), max_size=5))
def test_csv_with_other_line_ends_reads_the_same(records):
    def quoted(text):
        return "" if text is None else '"' + text.replace('"', '""') + '"'

    lines = ["a,b", *(",".join(map(quoted, record)) for record in records)]
    for end in ("\n", "\r\n"):
        assert read_csv((end.join(lines) + end).encode()) == (["a", "b"], records)


def test_rows_have_the_forms_of_the_original():
    fields = [Field("a%s", of("int4")), Field('q"', of("text")), Field("f", of("float8"))]
    rows = [(1, "x", 2.0), (None, 'y"\n', "NaN")]
    assert written(fields, rows, JSON) == b'[{"a%s":1,"q\\"":"x","f":2},\n {"a%s":null,"q\\"":"y\\"\\n","f":"NaN"}]\n'
    assert written(fields, rows, JSON_STREAM).count(b"\n") == 2
    assert written(fields, rows, CSV) == b'a%s,"q""",f\n1,x,2\n,"y""\n",NaN\n'
    assert [written(fields, [], media) for media in (JSON, JSON_STREAM, CSV)] == [b"[]\n", b"", b'a%s,"q""",f\n']


def test_text_is_quoted_only_where_it_must_be():
    rows = [("a b",), (" sp ",), ("",), (None,), ("x,y",), ("\\.",), ("'",)]
    assert written([Field("t", of("text"))], rows, CSV) == b't\na b\n sp \n""\n\n"x,y"\n\\.\n\'\n'


def test_values_that_repeat_are_written_each_time():
    moments = [(0,), (1_000_000,), (0,), (None,), (0,), (0,), (0,)]
    objects = json.loads(written([Field("t", of("timestamptz"))], moments, JSON))
    assert [row["t"] for row in objects][:4] == [
        "1970-01-01T00:00:00+00:00",
        "1970-01-01T00:00:01+00:00",
        "1970-01-01T00:00:00+00:00",
        None,
    ]
    zeros = [(0.0,), (-0.0,), (0.0,), (0.0,), (0.0,), (0.0,)]
    assert written([Field("f", of("float8"))], zeros, CSV) == b"f\n0\n-0\n0\n0\n0\n0\n"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("application/json", JSON),
        ("Text/CSV; charset=utf-8", CSV),
        ("application/x-json-stream", JSON_STREAM),
        ("text/html", None),
        (None, None),
    ],
)
def test_media_types_are_read_without_their_parameters(header, expected):
    assert media_type(header) == expected


@pytest.mark.parametrize(
    ("body", "media", "phrase"),
    [
        (b"", JSON, "The input string ended unexpectedly."),
        (b"[1,", JSON, "The input string ended unexpectedly."),
        (b"[1 2]", JSON, "invalid input syntax for type json"),
        (b"{}", JSON, "non-array"),
        (b'"x"', JSON, "scalar"),
        (b"[\xff]", JSON, 'invalid byte sequence for encoding "UTF8": 0xff'),
        (b"[Infinity]", JSON, "Infinity"),
        (b'{"a": 1} {"a": 2}\n', JSON_STREAM, "invalid input syntax for type json"),
        (b'{"a": 1}, {"a": 2}\n', JSON_STREAM, "one JSON object"),
    ],
)
def test_what_is_not_rows_is_refused(body, media, phrase):
    with pytest.raises(ValueError) as caught:
        read_objects(body, media)
    assert phrase in str(caught.value)


def test_things_that_are_no_objects_have_no_members():
    assert read_objects(b'[1, null, [2], {"a": 1}]') == [{}, {}, {}, {"a": 1}]


def test_missing_members_differ_from_nulls_only_in_lists_and_documents():
    objects = [{"x": None}, {}]
    assert store_column(of("text"), "x", objects) == [None, None]
    assert store_column(of("text[]"), "x", objects) == [None, "[]"]
    assert store_column(of("jsonb"), "x", objects) == ["null", None]


def test_numbers_keep_their_digits_where_a_column_can_hold_them():
    objects = read_objects(b'[{"x": 2.50}]')
    assert isinstance(objects[0]["x"], Number)
    assert store_column(of("jsonb"), "x", objects) == ["2.50"]
    assert store_column(of("text"), "x", objects) == ["2.50"]
    (value,) = store_column(of("float8"), "x", objects)
    assert (type(value), value) == (float, 2.5)


def test_whole_numbers_are_floats_in_a_float_column():
    values = store_column(of("float8"), "x", [{"x": 1}, {"x": 2.5}, {}])
    assert [type(value) for value in values] == [float, float, type(None)]
    with pytest.raises(ValueError, match="out of range"):
        store_column(of("float8"), "x", [{"x": 10**400}])


def test_a_bad_field_of_csv_is_placed():
    with pytest.raises(ValueError, match='line 2, column n: "x"'):
        read_cells(of("int4"), "n", ["1", "x"])


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('x"y"z', "xyz"),
        ('"x"y', "xy"),
        ('x"a,b\n"y', "xa,b\ny"),
        ('"a""b"c"d"', 'a"bcd'),
        ('x""', "x"),
        ('""x', "x"),
        ('""', ""),
        ("", None),
    ],
)
def test_quotes_may_stand_anywhere_in_a_field(field, expected):
    assert read_csv(f"a,b\n{field},1\n2,{field}\n".encode())[1] == [[expected, "1"], ["2", expected]]


@pytest.mark.parametrize("field", ['x"y', '"x', 'x"y"z"', '"'])
def test_a_quote_that_is_not_closed_is_refused(field):
    with pytest.raises(ValueError, match="unterminated"):
        read_csv(f"a,b\n1,{field}\n".encode())
