"""Files of rows: read, and held against the columns of their table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.schema.row_files import read_row_file
from deriva_ml.wire.column_types import known_type
from deriva_ml.wire.model import Column, Table

KINDS = {
    "Name": "text",
    "Count": "int4",
    "Size": "float8",
    "Usable": "boolean",
    "Day": "date",
    "At": "timestamptz",
    "Info": "jsonb",
    "Tags": "text[]",
}


def table(**more: Column) -> Table:
    system = [Column("", name, known_type("text")) for name in ("RID", "RCT", "RMT", "RCB", "RMB")]  # type: ignore[arg-type]
    plain = {name: Column("", name, known_type(kind)) for name, kind in KINDS.items()}  # type: ignore[arg-type]
    return Table("T", "s", "Subject", (*system, *{**plain, **more}.values()))


def column(name: str, kind: str = "text", **more: Any) -> Column:
    found = known_type(kind)
    assert found is not None
    return Column("", name, found, **more)


def rows(
    tmp_path: Path, content: str | bytes, suffix: str = "csv", *, into: Table | None = None
) -> list[dict[str, Any]]:
    path = tmp_path / f"Subject.{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_row_file(path, into or table()).rows


def test_csv_becomes_values_of_the_columns_types(tmp_path: Path) -> None:
    text = (
        "Name,Count,Size,Usable,Day,At,Info,Tags\n"
        'a,5,0.5,True,2024-02-29,2024-02-29 12:00:00-08:00,"{""n"": [1]}","{a,""b c""}"\n'
        '"",3.0,NaN,f,,,,"[""x"", null]"\n'
        ",,,,,,,\n"
    )
    assert rows(tmp_path, text) == [
        {
            "Name": "a",
            "Count": 5,
            "Size": 0.5,
            "Usable": True,
            "Day": "2024-02-29",
            "At": "2024-02-29T20:00:00+00:00",
            "Info": {"n": [1]},
            "Tags": ["a", "b c"],
        },
        {
            "Name": "",
            "Count": 3,
            "Size": "NaN",
            "Usable": False,
            "Day": None,
            "At": None,
            "Info": None,
            "Tags": ["x", None],
        },
        dict.fromkeys(KINDS),
    ]


def test_json_is_a_list_of_objects_or_an_object_on_each_line(tmp_path: Path) -> None:
    objects = [{"Name": "a", "Count": 1.0, "Info": {"x": 0.1}}, {"Name": 'b "\n', "Tags": ["x"]}]
    wanted = [
        {"Name": "a", "Count": 1, "Info": {"x": 0.1}, "Tags": None},
        {"Name": 'b "\n', "Count": None, "Info": None, "Tags": ["x"]},
    ]
    assert rows(tmp_path, json.dumps(objects, indent=2), "json") == wanted
    assert rows(tmp_path, "\n".join(map(json.dumps, objects)) + "\n\n", "json") == wanted


def test_what_pandas_and_spreadsheets_write_is_read(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"Name": ["a", None, "b, c"], "Count": [1, None, 3], "Usable": [True, False, True]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    wanted = [("a", 1, True), (None, None, False), ("b, c", 3, True)]
    assert [tuple(row.values()) for row in rows(tmp_path, (tmp_path / "x.csv").read_bytes())] == wanted
    frame.to_json(tmp_path / "x.json", orient="records")
    assert [tuple(row.values()) for row in rows(tmp_path, (tmp_path / "x.json").read_bytes(), "json")] == wanted
    assert rows(tmp_path, b"\xef\xbb\xbfName,Count\r\nx,1\r\n") == [{"Name": "x", "Count": 1}]


def test_a_file_without_rows_has_none(tmp_path: Path) -> None:
    for content, suffix in (("", "csv"), ("Name\n", "csv"), ("[]", "json"), ("", "json"), ("\n", "json")):
        assert rows(tmp_path, content, suffix) == []


def test_a_default_stands_for_what_an_object_lacks(tmp_path: Path) -> None:
    into = table(Kind=column("Kind", nullok=False, default="plain"))
    assert [row["Kind"] for row in rows(tmp_path, '[{"Kind": "x"}, {"Name": "n"}]', "json", into=into)] == [
        "x",
        "plain",
    ]
    assert rows(tmp_path, "Name\nx\n", into=into) == [{"Name": "x"}]


WRONG = {
    "column 'Naem': the table has no such column .*allowed: Name": "Naem\nx\n",
    "column '': the table has no such column; pandas .*index=False": ",Name\n0,x\n",
    "column 'RID': the catalog itself fills": "RID,Name\n1-A,x\n",
    "column 'Name': the column is there twice": "Name,Name\nx,y\n",
    "row 2, column 'Count': invalid input syntax for type integer: \"x\"": "Name,Count\na,1\nb,x\n",
    "row 1, column 'Count': value \"3000000000\" is out of range": "Count\n3000000000\n",
    "row 3, column 'Day': date/time field value out of range": "Day\n2024-01-01\n2024-01-02\n2023-02-29\n",
    "row 1, column 'Usable'": "Usable\nperhaps\n",
    "row 1, column 'Info'": "Info\n{x}\n",
    'cannot be read: missing data for column "Count"': "Name,Count\nx\n",
    "cannot be read: extra data": "Name\nx,y\n",
    "cannot be read: unterminated": 'Name\n"x\n',
    "cannot be read: invalid byte sequence": b"Name\n\xff\n",
}


@pytest.mark.parametrize("message", WRONG)
def test_an_error_names_the_file_the_row_and_the_column(tmp_path: Path, message: str) -> None:
    with pytest.raises(DerivaMLDataError, match=f"(?s)^Subject.csv.*{message}") as caught:
        rows(tmp_path, WRONG[message])
    assert "s:Subject" in str(caught.value)
    assert caught.value.source == str(tmp_path / "Subject.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"Name": "a"}, 5]', "row 2 is no object"),
        ('{"Name": "a"}\n[1]\n', "row 2 is no object"),
        ('{"Name": "a"}\n{"Name"\n', "line 2"),
        ("[1", "ended unexpectedly"),
        ('[{"Count": "x"}]', "row 1, column 'Count'"),
        ('[{"Tags": "x"}]', "row 1, column 'Tags'"),
        ('[{"Nmae": "x"}]', "column 'Nmae'"),
    ],
)
def test_errors_in_json_are_named_too(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DerivaMLDataError, match=f"(?s)^Subject.json.*{message}"):
        rows(tmp_path, content, "json")


def test_values_that_must_be_there_are_asked_for(tmp_path: Path) -> None:
    into = table(Needed=column("Needed", nullok=False), Number=column("Number", "serial4", nullok=False))
    with pytest.raises(DerivaMLDataError, match="column 'Needed': the column must have values and is missing"):
        rows(tmp_path, "Name\nx\n", into=into)
    with pytest.raises(DerivaMLDataError, match="row 2, column 'Needed': a value is required"):
        rows(tmp_path, "Needed,Name\na,b\n,c\n", into=into)
    with pytest.raises(DerivaMLDataError, match="row 2, column 'Needed': a value is required"):
        rows(tmp_path, '[{"Needed": "x"}, {"Name": "y"}]', "json", into=into)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DerivaMLDataError, match="cannot be read: No such file"):
        read_row_file(tmp_path / "Subject.csv", table())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers(-(2**31), 2**31 - 1))
    )
)
def test_whatever_csv_is_written_is_read_again(tmp_path: Path, values: list[tuple[str, int]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["Name", "Count"])
    writer.writerows(values)
    assert [tuple(row.values()) for row in rows(tmp_path, out.getvalue())] == values
