"""Files that a catalog refers to: how they are described."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLException, DerivaMLValidationError
from deriva_ml.core.filespec import FileSpec


def spec(url: str) -> FileSpec:
    return FileSpec(url=url, md5="0" * 32, length=1)


def test_a_path_becomes_a_tag_with_host_and_date() -> None:
    for url in ("/data/a.csv", "file:///data/a.csv"):
        host = re.escape(socket.gethostname())
        assert re.fullmatch(rf"tag://{host},\d{{4}}-\d\d-\d\d:file:///data/a\.csv", spec(url).url)
    tag = "tag://host,2020-01-01:file:///data/a.csv"
    assert spec(tag).url == tag
    assert spec(tag).path == Path("/data/a.csv")


@pytest.mark.parametrize("url", ["https://example.org/a", "s3://bucket/a", "ftp://x/y"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url is not a file URL"):
        spec(url)


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_any_name_of_a_file_is_read_back(name: bytes) -> None:
    path = Path("/data") / os.fsdecode(name)
    made = spec(str(path))
    assert made.path == path
    made.url.encode("utf-8")
    assert "\n" not in made.url
    assert FileSpec.model_validate_json(made.model_dump_json()) == made


def test_names_and_aliases_are_both_understood() -> None:
    tag = "tag://h,2020-01-01:file:///x"
    assert FileSpec(URL=tag, MD5="m", Length=3, Description="d") == FileSpec(
        url=tag, md5="m", length=3, description="d"
    )


def test_a_file_and_a_directory_are_described(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("d/b.txt", "d/a b.txt", "d/e/c.bin"):
        (tmp_path / name).write_bytes(name.encode())
    (one,) = FileSpec.create_filespecs(tmp_path / "d" / "b.txt", "one")
    assert (one.md5, one.length) == (hashlib.md5(b"d/b.txt").hexdigest(), 7)
    assert (one.description, one.file_types) == ("one", ["File"])
    found = list(FileSpec.create_filespecs(tmp_path / "d", "all", lambda path: [path.suffix.strip(".")]))
    assert [each.path.relative_to(tmp_path).as_posix() for each in found] == ["d/a b.txt", "d/b.txt", "d/e/c.bin"]
    assert [each.length for each in found] == [9, 7, 9]
    assert found[2].file_types == ["File", "bin"]
    (same,) = FileSpec.create_filespecs(tmp_path / "d" / "e", "", ["Image", "File"])
    assert same.file_types == ["Image", "File"]


def test_what_is_no_plain_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dead").symlink_to("nowhere")
    for name, text in (("pipe", "not a plain file"), ("dead", "does not exist"), ("none", "does not exist")):
        with pytest.raises(DerivaMLDataError, match=f"{name}.*{text}"):
            FileSpec.create_filespecs(tmp_path / name, "")
    with pytest.raises(DerivaMLException, match="dead"):
        FileSpec.create_filespecs(tmp_path, "")


def test_descriptions_are_read_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "files.jsonl"
    lines = [{"url": "/a", "md5": "m", "length": 1}, {"URL": "/b", "MD5": "n", "Length": 2, "file_types": ["Image"]}]
    path.write_text("\n\n".join(json.dumps(line) for line in lines) + "\n  \n")
    found = list(FileSpec.read_filespec(path))
    assert [(each.path, each.md5, each.file_types) for each in found] == [
        (Path("/a"), "m", []),
        (Path("/b"), "n", ["Image"]),
    ]
    for bad, text in (('{"url": "/a", "md5": "m"}', "Length"), ("{", "Not the description")):
        path.write_text("\n" + bad)
        with pytest.raises(DerivaMLValidationError, match=text) as caught:
            list(FileSpec.read_filespec(path))
        assert str(caught.value.source).endswith("files.jsonl:2")
