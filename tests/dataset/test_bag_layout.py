"""Names and tag files of bags."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.codes import encode
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import Digests
from deriva_ml.dataset.bag_layout import (
    Payload,
    bag_info,
    fetch_text,
    manifest_text,
    payload_of,
    payload_path,
    read_fetch,
    read_info,
    read_manifest,
    table_path,
)
from deriva_ml.wire.model import Table

IMAGE = Table("1", "demo", "Image", ())
BASE = "deriva-ml://0000"


def _row(name: str | None, **more: Any) -> dict[str, Any]:
    row = {"RID": "1-ABCD", "Filename": name, "URL": "/hatrac/Image/a%20b.png:XYZ", "Length": 3, "MD5": "0" * 32}
    return {**row, **more}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a\nb", "a_b"),
        ("50%0A.png", "50_0A.png"),
        ("50% of it.tar.gz", "50% of it.tar.gz"),
        (" blank ", "_blank_"),
        ("..", "file.."),
        ("Ünïcode 図.png", "Ünïcode 図.png"),
        (None, "a b.png"),
        ("", "a b.png"),
    ],
)
def test_a_file_has_a_safe_name_in_a_bag(name: str | None, expected: str) -> None:
    assert payload_path(IMAGE, _row(name)) == f"data/asset/1-ABCD/Image/{expected}"


@given(st.text(st.characters(codec="utf-8")))
def test_a_files_name_never_leaves_its_directory_and_survives_the_tag_files(name: str) -> None:
    (item,) = payload_of(IMAGE, [_row(name)])
    assert item.path.count("/") == 4
    assert item.path.rpartition("/")[2] not in {"", ".", ".."}
    md5 = read_manifest(manifest_text([(item.path, item.md5)]))
    assert md5 == {item.path: item.md5}
    assert read_fetch(fetch_text([item], BASE), BASE, md5) == [item]


def test_rows_that_only_refer_to_files_elsewhere_have_no_payload() -> None:
    rows = [_row("a", URL="tag://host,2026-01-01:file:///a"), _row("b", URL="file:///b"), _row("c", URL=None)]
    assert payload_of(IMAGE, rows) == []


@pytest.mark.parametrize("wrong", [{"MD5": None}, {"MD5": "abc"}, {"Length": None}])
def test_a_record_without_size_or_md5_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(DerivaMLDataError, match="1-ABCD"):
        payload_of(IMAGE, [_row("a", **wrong)])


def test_tables_of_one_name_in_two_schemas_lie_apart() -> None:
    assert table_path("demo", "Image") == "data/demo/Image.csv"
    assert table_path("deriva-ml", "Image") == "data/deriva-ml/Image.csv"
    assert table_path("a/b", "..") == "data/a=2Fb/=2E=2E.csv"


def test_the_files_of_a_service_with_an_address_can_be_fetched_by_anyone() -> None:
    item = Payload("data/asset/1/Image/a b.png", "/hatrac/a b.png:X", 3, "0" * 32)
    assert fetch_text([item], "https://host") == "https://host/hatrac/a%20b.png:X\t3\tdata/asset/1/Image/a b.png\n"


def test_bag_info_has_the_date_of_the_snapshot_and_no_line_breaks() -> None:
    text = bag_info({"External-Description": "two\nlines"}, encode(0), [Digests("", "", 10)], [])
    assert text == (
        "Bag-Software-Agent: deriva-ml\nBagging-Date: 1970-01-01\nExternal-Description: two lines\nPayload-Oxum: 10.1\n"
    )
    assert read_info(text)["Payload-Oxum"] == "10.1"
