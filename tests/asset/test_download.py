"""Inputs on their way from the catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.asset.sessions import Run, new_execution, no_file_longer_than, over
from tests.fakes import Counting, Failing

from deriva_ml.asset.asset import create_asset
from deriva_ml.asset.aux_classes import AssetFilePath
from deriva_ml.asset.transfer import download, download_many, link_inputs, upload
from deriva_ml.core.ermrest import ColumnDef
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
    DerivaMLUnreachable,
    DerivaMLValidationError,
)
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import table


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    create_asset(session, "Image", [ColumnDef("Width", "int4")])
    return Run(session, tmp_path / "runs")


def add(run: Run, *names: str, content: bytes = b"content") -> list[str]:
    paths = [run.stage.register("Image", name, Width=3) for name in names]
    for path in paths:
        path.write_bytes(content)
    upload(run.session, run.rid, run.manifest).require_complete()
    return [str(path.asset_rid) for path in paths]


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_file_comes_under_the_rid_of_its_asset(run: Run, tmp_path: Path, use_cache: bool) -> None:
    (rid,) = add(run, "a b.png")
    path = download(run.session, rid, tmp_path / "inputs", use_cache=use_cache)
    assert isinstance(path, AssetFilePath)
    assert path == tmp_path / "inputs" / rid / "a b.png"
    assert path.read_bytes() == b"content"
    assert (path.asset_table, path.asset_rid, path.asset_types, path.metadata) == (
        "Image",
        rid,
        ["Image"],
        {"Width": 3},
    )
    assert download(run.session, rid, tmp_path / "inputs", use_cache=use_cache) == path


def test_two_inputs_of_one_name_do_not_meet(run: Run, tmp_path: Path) -> None:
    one, two = add(run, "a.png", content=b"one"), add(run, "a.png", content=b"two")
    paths = download_many(run.session, one + two, tmp_path / "inputs")
    assert [path.read_bytes() for path in paths] == [b"one", b"two"]


def test_a_cached_file_is_taken_without_asking_for_its_bytes(run: Run, tmp_path: Path) -> None:
    (rid,) = add(run, "a.png")
    download(run.session, rid, tmp_path / "one")
    transport = Counting(run.session.catalog.transport)
    path = download(over(run.session, transport), rid, tmp_path / "two")
    assert path.read_bytes() == b"content"
    assert not [target for _, target in transport.requests if target.startswith("/hatrac")]
    assert path.samefile(tmp_path / "one" / rid / "a.png")


def test_a_damaged_cached_file_is_fetched_again(run: Run, tmp_path: Path) -> None:
    (rid,) = add(run, "a.png")
    first = download(run.session, rid, tmp_path / "one")
    first.chmod(0o644)
    first.write_bytes(b"CONTENT")  # through the hard link: the cache holds it too
    assert download(run.session, rid, tmp_path / "two").read_bytes() == b"content"


def test_a_different_file_at_the_destination_is_an_error(run: Run, tmp_path: Path) -> None:
    (rid,) = add(run, "a.png")
    for use_cache in (True, False):
        target = tmp_path / str(use_cache) / rid / "a.png"
        target.parent.mkdir(parents=True)
        target.write_bytes(b"mine")
        with pytest.raises(DerivaMLDataError, match="is there already, with other content"):
            download(run.session, rid, tmp_path / str(use_cache), use_cache=use_cache)
        assert target.read_bytes() == b"mine"


@pytest.mark.parametrize("use_cache", [True, False])
def test_bytes_that_are_not_what_the_record_says_are_refused(run: Run, tmp_path: Path, use_cache: bool) -> None:
    (rid,) = add(run, "a.png")
    for wrong in ({"MD5": "0" * 32}, {"Length": 8}):
        run.session.catalog.update("demo-schema", "Image", [{"RID": rid, **wrong}])
        with pytest.raises(DerivaMLValidationError, match=rf"asset {rid} \(Image, a.png\)"):
            download(run.session, rid, tmp_path / "inputs", use_cache=use_cache)
        assert not [path for path in (tmp_path / "inputs").rglob("*") if path.is_file()]


def test_an_object_that_is_gone_is_an_error_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (rid,) = add(run, "a.png")
    (row,) = run.session.catalog.rows(table("demo-schema", "Image"))
    run.session.objects.delete(str(row["URL"]))
    with pytest.raises(DerivaMLDataError, match=rf"asset {rid} \(Image, a.png\)"):
        download(run.session, rid, tmp_path / "inputs")
    assert not [path for path in (tmp_path / "inputs").rglob("*") if path.is_file()]


def test_a_reference_to_a_file_elsewhere_is_not_downloaded(run: Run, tmp_path: Path) -> None:
    row = {"URL": "tag://host,2026-01-01:file:///data/x", "Filename": "x", "MD5": "0" * 32, "Length": 1}
    rid = str(run.session.catalog.insert("deriva-ml", "File", [row])[0]["RID"])
    with pytest.raises(DerivaMLDataError, match=f"asset {rid} .* not in the catalog's object store"):
        download(run.session, rid, tmp_path)


def test_what_is_no_asset_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DerivaMLTableTypeError, match=f"RID {run.rid} is not for an asset table"):
        download(run.session, run.rid, tmp_path)
    with pytest.raises(DerivaMLRidsNotFound, match="9-9999"):
        download(run.session, "9-9999", tmp_path)


def test_a_name_cannot_lead_out_of_the_directory(run: Run, tmp_path: Path) -> None:
    (rid,) = add(run, "a.png")
    for name, safe in (("../../evil", ".._.._evil"), ("..", "_.."), ("/etc/passwd", "_etc_passwd")):
        run.session.catalog.update("demo-schema", "Image", [{"RID": rid, "Filename": name}])
        path = download(run.session, rid, tmp_path / "inputs", use_cache=False)
        assert path == tmp_path / "inputs" / rid / safe
        path.unlink()


def test_a_broken_connection_is_taken_up_where_it_broke(run: Run, tmp_path: Path) -> None:
    (rid,) = add(run, "big.bin", content=bytes(range(256)) * 100)
    transport = Failing(
        run.session.catalog.transport,
        break_after=lambda request, number: 5000 if "/hatrac/" in request.target and number < 8 else None,
    )
    path = download(over(run.session, transport), rid, tmp_path / "inputs")
    assert path.read_bytes() == bytes(range(256)) * 100


def test_a_connection_that_is_lost_leaves_nothing_and_the_next_attempt_succeeds(run: Run, tmp_path: Path) -> None:
    (rid,) = add(run, "a.png")
    transport = Failing(run.session.catalog.transport, lose=lambda request, _: "/hatrac/" in request.target)
    session = over(run.session, transport)
    from deriva_ml.catalog.objects import ObjectClient
    from deriva_ml.catalog.transport import Retry

    session = replace(session, objects=ObjectClient(transport, retry=Retry(attempts=1)))
    with pytest.raises(DerivaMLUnreachable):
        download(session, rid, tmp_path / "inputs")
    assert not [path for path in (tmp_path / "inputs").rglob("*") if path.is_file()]
    assert download(run.session, rid, tmp_path / "inputs").read_bytes() == b"content"


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_disk_that_is_full_in_the_middle_leaves_nothing(run: Run, tmp_path: Path, use_cache: bool) -> None:
    (rid,) = add(run, "a.png", content=b"x" * (9 << 20))
    with no_file_longer_than(1 << 20), pytest.raises(DerivaMLException, match="File too large"):
        download(run.session, rid, tmp_path / "inputs", use_cache=use_cache)
    assert [path for path in (tmp_path / "inputs").rglob("*") if path.is_file()] == []
    assert [path for path in run.session.cache_dir.rglob("*.png*") if path.is_file()] == []
    assert download(run.session, rid, tmp_path / "inputs", use_cache=use_cache).stat().st_size == 9 << 20


@pytest.mark.parametrize("count", [10, 200])
def test_records_are_asked_for_together(run: Run, tmp_path: Path, count: int) -> None:
    rids = add(run, *(f"{number}.png" for number in range(count)))
    transport = Counting(run.session.catalog.transport)
    paths = download_many(over(run.session, transport), rids, tmp_path / "inputs", use_cache=False)
    assert [path.asset_rid for path in paths] == rids
    assert len([target for _, target in transport.requests if target.startswith("/ermrest")]) <= 6


def test_inputs_are_linked_once(run: Run) -> None:
    rids = add(run, "a.png", "b.png")
    reader = new_execution(run.session)
    for _ in range(2):
        link_inputs(run.session, reader, rids)
    links = run.session.catalog.rows(table("demo-schema", "Image_Execution"))
    found = {(link["Image"], link["Execution"], link["Asset_Role"]) for link in links}
    assert found == {(rid, reader, "Input") for rid in rids} | {(rid, run.rid, "Output") for rid in rids}
    with pytest.raises(DerivaMLTableTypeError):
        link_inputs(run.session, reader, [run.rid])
