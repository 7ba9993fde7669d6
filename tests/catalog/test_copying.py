"""A catalog arrives elsewhere with its rows, its objects, and its datasets as they were at each version."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.copying import Copied, copy_catalog
from deriva_ml.catalog.transport import Http
from deriva_ml.connect import Connection, open_connection
from deriva_ml.core.config import Settings
from deriva_ml.core.ermrest import ColumnDef, TableDef
from deriva_ml.dataset import DatasetSpec
from deriva_ml.ml import DerivaML
from deriva_ml.schema.tables import table_document
from deriva_ml.server.app import local_client, open_service
from deriva_ml.wire.http import Request
from deriva_ml.wire.path import table

TOKEN = "token"


@contextmanager
def in_process(root: Path) -> Iterator[Connection]:
    with open_connection(str(root), create=True) as connection:
        yield connection


@contextmanager
def served(root: Path) -> Iterator[Connection]:
    """A folder behind HTTP."""
    import uvicorn

    from deriva_ml.server.app import create_folder
    from deriva_ml.server.http import Application, listen
    from deriva_ml.server.sessions import Gate

    create_folder(root)
    service = open_service(root, time_limit=15)
    with listen("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        gate = Gate(service, {TOKEN: local_client()})
        config = uvicorn.Config(Application(gate), log_level="error", h11_max_incomplete_event_size=1 << 20)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with open_connection(url, credential={"bearer-token": TOKEN}) as connection:
                yield connection
        finally:
            server.should_exit = True
            thread.join()
            service.close()


WAYS: list[Any] = [in_process, served]


@pytest.fixture
def versions(ml: DerivaML) -> list[tuple[str, str, int]]:
    """A catalog with a dataset of three versions and an asset: RID, version, number of members."""
    client = ml.session.catalog
    (workflow,) = client.insert("deriva-ml", "Workflow", [{"Name": "w", "URL": "https://example.org/w"}])
    (execution,) = client.insert("deriva-ml", "Execution", [{"Workflow": workflow["RID"], "Status": "Created"}])
    client.create_table(
        "demo-schema",
        {
            "schema_name": "demo-schema",
            "table_name": "Subject",
            "column_definitions": [
                *(
                    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
                    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
                ),
                {"name": "Name", "type": {"typename": "text"}},
                {"name": "Parent", "type": {"typename": "text"}},
            ],
            "keys": [{"unique_columns": ["RID"]}, {"unique_columns": ["Name"]}],
            "foreign_keys": [
                {
                    "foreign_key_columns": [{"column_name": "Parent"}],
                    "referenced_columns": [
                        {"schema_name": "demo-schema", "table_name": "Subject", "column_name": "RID"}
                    ],
                }
            ],
        },
    )
    from deriva_ml.dataset import Dataset
    from deriva_ml.dataset.members import add_dataset_element_type

    ml.session.model()
    add_dataset_element_type(ml.session, "Subject")
    dataset = Dataset.create_dataset(ml.session, str(execution["RID"]), ["Training"], "d")
    found = [(dataset.dataset_rid, str(dataset.current_version), 0)]
    subjects = client.insert("demo-schema", "Subject", [{"Name": f"s{n}"} for n in range(6)])
    client.update("demo-schema", "Subject", [{"RID": subjects[1]["RID"], "Parent": subjects[5]["RID"]}])
    dataset.add_dataset_members([str(row["RID"]) for row in subjects[:2]])
    found.append((dataset.dataset_rid, str(dataset.current_version), 2))
    dataset.add_dataset_members([str(row["RID"]) for row in subjects[2:5]])
    found.append((dataset.dataset_rid, str(dataset.current_version), 5))
    dataset.delete_dataset_members([str(subjects[0]["RID"])])
    found.append((dataset.dataset_rid, str(dataset.current_version), 4))
    client.update("demo-schema", "Subject", [{"RID": subjects[2]["RID"], "Name": "renamed"}])
    objects = ml.session.objects
    url = objects.put("/hatrac/a%20b/%C3%A9", b"content", content_type="text/x-mine", filename="é")
    client.insert(
        "deriva-ml",
        "Execution_Metadata",
        [{"URL": url, "Filename": "é", "Length": 7, "MD5": objects.head(url).md5}],
    )
    return found


def do(source: Connection, target: Connection) -> tuple[Copied, CatalogClient]:
    made = copy_catalog(
        source.catalog(1), source.objects(), target.create_catalog("copy"), target.objects(), same_store=False
    )
    return made, target.catalog("copy")


def rows(client: CatalogClient, schema: str, name: str) -> list[dict[str, Any]]:
    found = client.rows(table(schema, name).sorted("RID"))
    return [{key: value for key, value in row.items() if key not in ("RMT", "RMB", "URL", "Snapshot")} for row in found]


@pytest.mark.parametrize("to", WAYS)
@pytest.mark.parametrize("start", WAYS)
def test_a_copy_holds_what_the_source_holds(
    versions: list[tuple[str, str, int]],
    catalog_root: Path,
    tmp_path: Path,
    settings: Settings,
    start: Callable[[Path], Any],
    to: Callable[[Path], Any],
) -> None:
    with ExitStack() as stack:
        source = stack.enter_context(start(catalog_root))
        target = stack.enter_context(to(tmp_path / "target"))
        made, copy = do(source, target)
        assert made.missing == []
        assert made.objects == 1
        assert made.versions == 4
        old, new = source.catalog(1), copy
        before, after = old.model(), new.model()
        for one in before.tables():
            other = after.table(one.schema, one.name)
            assert other is not None
            assert [(c.name, c.type, c.nullok, c.default) for c in one.columns] == [
                (c.name, c.type, c.nullok, c.default) for c in other.columns
            ]
            assert {(fk.name, fk.columns, fk.referenced_table) for fk in one.foreign_keys} == {
                (fk.name, fk.columns, fk.referenced_table) for fk in other.foreign_keys
            }
            if one.schema != "public":
                assert rows(old, one.schema, one.name) == rows(new, one.schema, one.name)
        (asset,) = new.rows(table("deriva-ml", "Execution_Metadata"))
        target.objects().fetch(str(asset["URL"]), tmp_path / "asset", md5=str(asset["MD5"]))
        assert (tmp_path / "asset").read_bytes() == b"content"
        assert ":" in str(asset["URL"])
    with DerivaML(str(tmp_path / "target"), "copy") as ml:
        from deriva_ml.dataset import Dataset

        for rid, version, count in versions:
            members = Dataset(ml.session, rid).list_dataset_members(version=version)
            assert len(members.get("Subject", [])) == count, version
        names = {
            row["Name"]
            for row in Dataset(ml.session, versions[2][0]).list_dataset_members(version=versions[2][1])["Subject"]
        }
        assert names == {"s0", "s1", "s2", "s3", "s4"}


@pytest.mark.parametrize(("start", "to"), [(in_process, served), (served, in_process)])
def test_the_deriva_client_s_own_clone_works(
    versions: list[tuple[str, str, int]],
    catalog_root: Path,
    tmp_path: Path,
    start: Callable[[Path], Any],
    to: Callable[[Path], Any],
) -> None:
    with ExitStack() as stack:
        source = stack.enter_context(start(catalog_root))
        target = stack.enter_context(to(tmp_path / "target"))
        fresh = target.create_catalog("clone")
        theirs, ours = source.deriva().catalog("1"), target.deriva().catalog("clone")
        theirs.clone_catalog(ours)
        for one in source.catalog(1).model().tables():
            if one.schema != "public":
                assert rows(source.catalog(1), one.schema, one.name) == rows(fresh, one.schema, one.name)
        before, after = source.catalog(1).model(), fresh.model(refresh=True)
        assert {t.qualified for t in before.tables()} == {t.qualified for t in after.tables()}
        for handle in (theirs, ours):
            close = getattr(handle, "_close_session", None)
            if close:
                close()


@pytest.mark.parametrize("to", WAYS)
def test_objects_keep_their_names_and_the_rights_that_they_have_of_their_own(
    versions: list[tuple[str, str, int]], catalog_root: Path, tmp_path: Path, to: Callable[[Path], Any]
) -> None:
    with served(catalog_root) as source, to(tmp_path / "target") as target:
        ours, theirs = source.objects(), target.objects()
        client = source.catalog(1)
        named = [ours.put(f"/hatrac/lab/{n}%2Fx.bin", f"content {n}".encode()) for n in range(20)]
        host = str(source.place.base_url)
        urls = [*named[:18], host + named[18], f"{host}/hatrac/lab/19%2Fx.bin", "https://example.org/hatrac/lab/0:1"]
        client.insert("demo-schema", "Subject", [{"Name": url} for url in urls])
        for change in ("lab;acl/subtree-read/team", "lab/3%2Fx.bin;acl/read/ann%20b", f"{named[4][8:]};acl/read/bob"):
            source.transport.send(Request("PUT", f"/hatrac/{change}")).read()
        theirs.create_namespace("/hatrac/a%20b")
        made = copy_catalog(client, ours, target.create_catalog("copy"), theirs, origin=host)
        assert made.missing == []
        assert made.objects == 21
        found = [str(row["Name"]) for row in target.catalog("copy").rows(table("demo-schema", "Subject").sorted("RID"))]
        brought = found[-len(urls) :]
        assert brought[-1] == urls[-1]
        for n, url in enumerate(brought[:-1]):
            assert url.partition(":")[0] == f"/hatrac/lab/{n}%2Fx.bin"
            assert (":" in url) == (n != 19)
            path = tmp_path / str(n)
            theirs.fetch(url, path)
            assert path.read_bytes() == f"content {n}".encode()

        def lists(url: str) -> dict[str, list[str]]:
            answer = target.transport.send(Request("GET", f"{url};acl"))
            return {name: roles for name, roles in json.loads(answer.read()).items() if roles and name != "owner"}

        assert lists("/hatrac/lab") == {"subtree-read": ["team"]}
        assert lists("/hatrac/lab/3%2Fx.bin") == {"read": ["ann b"]}
        assert lists(brought[4]) == {"read": ["bob"]}
        assert lists("/hatrac/lab/5%2Fx.bin") == {}


def _bag_tables(root: Path, rid: str, version: str) -> dict[str, list[dict[str, str]]]:
    """The tables of a version's bag, by file."""
    with DerivaML(str(root), 1) as ml:
        ml.download_dataset_bag(DatasetSpec(rid=rid, version=version))
        (mark,) = ml.session.cache_dir.rglob("bagit.txt")
        data = mark.parent / "data"
        found = {
            str(path.relative_to(data)): list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
            for path in data.rglob("*.csv")
        }
        ml.clear_cache()
    return found


def test_a_version_s_bag_differs_only_in_what_is_the_other_catalog_s(
    versions: list[tuple[str, str, int]], catalog_root: Path, tmp_path: Path
) -> None:
    with open_connection(str(catalog_root)) as source, in_process(tmp_path / "target") as target:
        copy_catalog(source.catalog(1), source.objects(), target.create_catalog("1"), target.objects())
    for rid, version, _ in versions:
        before, after = (_bag_tables(root, rid, version) for root in (catalog_root, tmp_path / "target"))
        assert before.keys() == after.keys()
        assert before
        for name, rows in before.items():
            differing = {
                column
                for old, new in zip(rows, after[name], strict=True)
                for column in old
                if old[column] != new[column]
            }
            assert differing <= ({"RMT", "Snapshot"} if "Dataset_Version" in name else {"RMT"}), name


def test_the_next_number_of_a_copy_is_free(ml: DerivaML, catalog_root: Path, tmp_path: Path) -> None:
    client = ml.session.catalog
    columns = [ColumnDef("Note"), ColumnDef("Number", "serial4", nullok=False)]
    client.create_table("demo-schema", table_document("demo-schema", TableDef("Numbered", columns)))
    client.create_key("demo-schema", "Numbered", {"unique_columns": ["Number"]})
    client.insert("demo-schema", "Numbered", [{"Note": str(n)} for n in range(5)])
    with open_connection(str(catalog_root)) as source, in_process(tmp_path / "target") as target:
        _, copy = do(source, target)
        fresh = target.create_catalog("clone")
        theirs, ours = source.deriva().catalog("1"), target.deriva().catalog("clone")
        theirs.clone_catalog(ours)
        for catalog in (copy, fresh):
            (row,) = catalog.insert("demo-schema", "Numbered", [{"Note": "next"}])
            assert row["Number"] == 6


def test_an_object_that_is_gone_is_named_and_the_rest_arrives(
    versions: list[tuple[str, str, int]], catalog_root: Path, tmp_path: Path
) -> None:
    with open_connection(str(catalog_root)) as source, in_process(tmp_path / "target") as target:
        (asset,) = source.catalog(1).rows(table("deriva-ml", "Execution_Metadata"))
        source.objects().delete(str(asset["URL"]))
        made, copy = do(source, target)
        assert len(made.missing) == 1
        assert str(asset["URL"]) in made.missing[0]
        assert len(copy.rows(table("demo-schema", "Subject"))) == 6


def test_http_is_the_transport_of_a_served_folder(tmp_path: Path) -> None:
    with served(tmp_path / "x") as connection:
        assert isinstance(connection.transport, Http)
