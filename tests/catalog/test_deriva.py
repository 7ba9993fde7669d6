"""The public ``deriva`` package, unmodified, on an embedded catalog."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import requests
from deriva.core import DerivaServer, ErmrestCatalogMutationError, ErmrestSnapshot
from deriva.core.datapath import Cnt, DataPathException, Max
from deriva.core.ermrest_model import Column, ForeignKey, Key, Schema, Table, builtin_types
from tests.fakes import Counting, Failing
from tests.serving import served

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.deriva import DerivaHandles, deriva_server, ermrest_catalog, hatrac_store
from deriva_ml.server.app import create_folder


@pytest.fixture
def handles(bare: CatalogClient) -> DerivaHandles:
    return DerivaHandles(bare.transport, "/a/folder")


def test_a_server_makes_and_finds_catalogs(transport: Counting) -> None:
    server = deriva_server(transport, "local")
    made = server.create_ermrest_catalog(name="made by deriva")
    assert made.exists()
    assert server.connect_ermrest(made.catalog_id).get("/").json()["name"] == "made by deriva"
    assert made.deriva_server.get_authn_session().json()["client"]["id"].startswith("local:")
    made.delete_ermrest_catalog(really=True)
    assert not server.connect_ermrest(made.catalog_id).exists()


def test_the_model_api_makes_and_changes_a_schema(handles: DerivaHandles) -> None:
    model = handles.catalog("1").getCatalogModel()
    schema = model.create_schema({"schema_name": "Lab", "comment": "A schema."})
    subject = schema.create_table(
        Table.define(
            "Subject", [Column.define("Name", builtin_types.text, nullok=False)], key_defs=[Key.define(["Name"])]
        )
    )
    image = schema.create_table(
        Table.define(
            "Image",
            [Column.define("Subject", builtin_types.text), Column.define("Size", builtin_types.int8)],
            fkey_defs=[ForeignKey.define(["Subject"], "Lab", "Subject", ["Name"])],
        )
    )
    image.create_column(Column.define("Note", builtin_types.markdown, comment="Said of it."))
    subject.alter(comment="Who was seen.")
    image.annotations["tag:isrd.isi.edu,2016:visible-columns"] = {"*": ["RID"]}
    model.apply()

    again = handles.catalog("1").getCatalogModel().schemas["Lab"]
    assert again.tables["Subject"].comment == "Who was seen."
    assert again.tables["Image"].columns["Note"].type.typename == "markdown"
    assert again.tables["Subject"] in [fk.pk_table for fk in again.tables["Image"].foreign_keys]
    assert again.tables["Image"].annotations["tag:isrd.isi.edu,2016:visible-columns"] == {"*": ["RID"]}
    again.tables["Image"].drop()
    assert "Image" not in handles.catalog("1").getCatalogModel().schemas["Lab"].tables


def test_the_path_builder_writes_and_reads_rows(handles: DerivaHandles) -> None:
    paths = handles.catalog("1").getPathBuilder()
    a, b = paths.schemas["S"].tables["A"], paths.schemas["S"].tables["B"]
    inserted = list(a.insert([{"n": n, "t": f"text/{n}", "u": None} for n in range(10)]))
    assert [row["n"] for row in inserted] == list(range(10))
    b.insert([{"x": "p", "a": 3}, {"x": "q", "a": 3}, {"x": "r", "a": 4}], defaults=set())

    assert [row["n"] for row in a.filter(a.n >= 8).entities().sort(a.n)] == [8, 9]
    assert len(a.path.filter((a.t == "text/1") | (a.t == "text/2")).entities()) == 2
    linked = a.path.link(b)
    linked.filter(linked.A.n == 3)
    assert {(row["x"], row["n"]) for row in linked.attributes(linked.B.x, linked.A.n)} == {("p", 3), ("q", 3)}
    assert a.path.aggregates(Cnt(a.n).alias("count"), Max(a.n).alias("top"))[0] == {"count": 10, "top": 9}
    grouped = b.path.groupby(b.a).attributes(Cnt(b.x).alias("n"))
    assert {(row["a"], row["n"]) for row in grouped} == {(3, 2), (4, 1)}

    a.update([{"RID": inserted[0]["RID"], "u": "changed"}])
    assert a.filter(a.n == 0).entities()[0]["u"] == "changed"
    a.path.filter(a.n == 0).delete()
    assert len(a.path.entities()) == 9
    with pytest.raises(DataPathException):
        a.insert([{"n": 5}])


def test_a_snapshot_shows_the_past(handles: DerivaHandles) -> None:
    catalog = handles.catalog("1")
    a = catalog.getPathBuilder().schemas["S"].tables["A"]
    a.insert([{"n": 1}])
    then = catalog.latest_snapshot()
    a.insert([{"n": 2}])
    assert isinstance(then, ErmrestSnapshot)
    assert [row["n"] for row in then.getPathBuilder().schemas["S"].tables["A"].path.entities()] == [1]
    assert len(ermrest_catalog(handles.server().transport, "local", "1", then.snaptime).get("/entity/S:A").json()) == 1
    named = handles.server().connect_ermrest(f"1@{then.snaptime}")
    assert named.latest_snapshot().snaptime != then.snaptime
    with pytest.raises(ErmrestCatalogMutationError):
        then.post("/entity/S:A", json=[{"n": 3}])


def test_rids_are_resolved(handles: DerivaHandles) -> None:
    catalog = handles.catalog("1")
    [row] = catalog.getPathBuilder().schemas["S"].tables["A"].insert([{"n": 1}])
    assert catalog.resolve_rid(row["RID"]).table.name == "A"
    with pytest.raises(KeyError):
        catalog.resolve_rid("ZZZZ-ZZZ0")


@pytest.mark.parametrize("chunked", [False, True])
def test_the_store_takes_and_gives_files(transport: Counting, tmp_path: Path, chunked: bool) -> None:
    store = hatrac_store(transport, "local")
    source, target = tmp_path / "source.bin", tmp_path / "target.bin"
    source.write_bytes(os.urandom(2_500_000))
    url = store.put_loc("/hatrac/ns/file", str(source), chunked=chunked, chunk_size=1_000_000)
    assert url.startswith("/hatrac/ns/file:")
    assert store.put_loc("/hatrac/ns/file", str(source), chunked=chunked) == url
    store.get_obj(url, destfilename=str(target))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (source, target)]
    assert digests[0] == digests[1]
    assert store.is_valid_namespace("/hatrac/ns")
    assert not store.is_valid_namespace("/hatrac/other")
    store.create_namespace("/hatrac/made/deep")
    assert store.retrieve_namespace("/hatrac/made") == ["/hatrac/made/deep"]
    store.set_acl("/hatrac/ns/file", "read", ["someone"])
    assert store.get_acl("/hatrac/ns/file", "read") == {"read": ["someone"]}
    store.rename_obj("/hatrac/ns/file", "/hatrac/ns/renamed")
    assert store.head("/hatrac/ns/renamed").headers["Content-Length"] == "2500000"
    store.del_obj("/hatrac/ns/file")


def test_large_answers_arrive_whole(handles: DerivaHandles, tmp_path: Path) -> None:
    catalog = handles.catalog("1")
    a = catalog.getPathBuilder().schemas["S"].tables["A"]
    a.insert([{"n": n, "t": "x" * 200} for n in range(2500)])
    catalog.get_as_file("/entity/S:A", str(tmp_path / "rows.csv"), headers={"accept": "text/csv"})
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 2501
    assert len(catalog.get("/entity/S:A").json()) == 2500


def test_the_model_is_fetched_again_only_when_it_changed(handles: DerivaHandles, transport: Counting) -> None:
    catalog = handles.catalog("1")
    catalog.getCatalogModel()
    answers = []
    catalog._session.hooks["response"].append(lambda answer, **_named: answers.append(answer.status_code))
    catalog.getCatalogModel()
    assert answers == [304]


def test_a_lost_connection_is_an_error_that_the_package_knows(transport: Counting) -> None:
    server = deriva_server(Failing(transport, lose=lambda request, number: True), "local")
    with pytest.raises(requests.ConnectionError):
        server.get_authn_session()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_package_s_own_backup_is_restored(tmp_path: Path) -> None:
    # A package that these import warns of another as it is imported.
    from deriva.transfer.backup.deriva_backup import DerivaBackup
    from deriva.transfer.restore.deriva_restore import DerivaRestore

    folder, out = tmp_path / "folder", tmp_path / "backup"
    create_folder(folder)
    out.mkdir()
    with served(folder) as serving:
        token = {"bearer-token": serving.token}
        catalog = DerivaServer("http", serving.host, token).create_ermrest_catalog(name="source")
        schema = catalog.getCatalogModel().create_schema(Schema.define("Lab é", annotations={"a": {"b": None}}))
        schema.create_table(Table.define_vocabulary("Kind", "X:{RID}"))
        rules = {"own": {"types": ["select"], "projection": ["RCB"], "projection_type": "acl"}}
        kind = ForeignKey.define(["Kind"], "Lab é", "Kind", ["Name"])
        columns = [Column.define("Kind", builtin_types.text), Column.define("More", builtin_types.jsonb)]
        schema.create_table(Table.define("Thing", columns, fkey_defs=[kind], acl_bindings=rules))
        paths = catalog.getPathBuilder().schemas["Lab é"].tables
        paths["Kind"].insert([{"Name": "k", "Description": "d"}], defaults={"ID", "URI"})
        paths["Thing"].insert([{"Kind": "k", "More": {"z": [n, None]}} for n in range(5)])
        # The package leaves out files of empty tables, and then misses that of this one.
        catalog.post("/entity/public:ERMrest_Group?defaults=RID,RCT,RMT,RCB,RMB", json=[{"ID": "g"}])

        place = {"host": serving.host, "protocol": "http"}
        made = DerivaBackup(
            {**place, "catalog_id": catalog.catalog_id}, output_dir=str(out / "bag"), credentials=token
        ).download()
        archive = made["bag.tgz"]["local_path"]
        restore = DerivaRestore(place, input_path=archive, oauth2_token=serving.token, no_assets=True)
        restore.restore()
        restored = restore.dst_catalog

        again = restored.getCatalogModel().schemas["Lab é"]
        assert again.annotations == {"a": {"b": None}}
        assert again.tables["Thing"].acl_bindings == {"own": {**rules["own"], "scope_acl": ["*"]}}
        assert [fk.pk_table.name for fk in again.tables["Thing"].foreign_keys if fk.pk_table.schema == again] == [
            "Kind"
        ]
        for table in ("Kind", "Thing"):
            rows = [
                [{**row, "RMT": None} for row in one.get(f"/entity/Lab%20%C3%A9:{table}@sort(RID)").json()]
                for one in (catalog, restored)
            ]
            assert rows[0] == rows[1] != []
        for one in (catalog, restored):
            one._close_session()
