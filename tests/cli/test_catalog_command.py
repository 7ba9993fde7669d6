"""``deriva-ml-catalog`` as a user starts it, and the served folder as other programs see it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from deriva.core import DerivaServer, HatracStore
from tests.serving import COMMAND, served

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.deriva import DerivaHandles
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.service import create_catalog, service_info
from deriva_ml.catalog.transport import Http, InProcess
from deriva_ml.connect import open_connection
from deriva_ml.core.config import Settings
from deriva_ml.core.exceptions import DerivaMLAuthenticationError
from deriva_ml.ml import DerivaML
from deriva_ml.schema.create_schema import create_ml_schema
from deriva_ml.server.app import create_folder, local_client, open_service


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    create_folder(root)
    service = open_service(root)
    transport = InProcess(lambda request: service(request, local_client()), service.close)
    client = create_catalog(transport, catalog_id="1", name="served")
    client.create_schema("S", "A schema.")
    ObjectClient(transport).put("/hatrac/ns/object", b"content")
    transport.close()
    return root


@contextmanager
def serving(folder: Path, *more: str) -> Iterator[tuple[str, str]]:
    """Serve a folder; give its URL, and what was printed as the token."""
    with served(folder, *more) as server:
        yield server.url, server.token


def test_the_deriva_client_reads_and_writes_a_served_folder(folder: Path, tmp_path: Path) -> None:
    with serving(folder) as (url, token):
        credential = {"bearer-token": token}
        server = DerivaServer("http", url.removeprefix("http://"), credentials=credential)
        catalog = server.connect_ermrest("1")
        assert "S" in catalog.getCatalogModel().schemas
        clients = catalog.getPathBuilder().schemas["public"].tables["ERMrest_Client"].path.entities()
        assert [client["ID"] for client in clients] == [local_client().id]
        store = HatracStore("http", url.removeprefix("http://"), credentials=credential)
        store.get_obj("/hatrac/ns/object", destfilename=str(tmp_path / "object"))
        assert (tmp_path / "object").read_bytes() == b"content"
        big = tmp_path / "big"
        big.write_bytes(os.urandom(3_000_000))
        location = store.put_loc("/hatrac/ns/big", str(big), chunked=True, chunk_size=1_000_000)
        assert store.get_obj(location).content == big.read_bytes()
        for handle in (server, catalog, store):
            handle._close_session()


def test_our_client_finds_the_same_folder_behind_the_url(folder: Path, tmp_path: Path) -> None:
    with serving(folder) as (url, token):
        transport = Http(url, {"bearer-token": token})
        assert service_info(transport)["identity"] == open_identity(folder)
        client = CatalogClient(transport, "1")
        client.create_table(
            "S", {"table_name": "T", "column_definitions": COLUMNS, "keys": [{"unique_columns": ["RID"]}]}
        )
        client.insert("S", "T", [{"a": str(n)} for n in range(20)])
        objects = ObjectClient(transport)
        content = os.urandom(5_000_000)
        location = objects.put("/hatrac/ns/mine", content)
        assert objects.fetch(location, tmp_path / "mine").length == len(content)
        assert objects.local_path(location) is None
        # The folder can be used in process at the same time.
        service = open_service(folder)
        inside = InProcess(lambda request: service(request, local_client()), service.close)
        assert CatalogClient(inside, "1").insert("S", "T", [{"a": "inside"}])
        inside.close()
        assert client.table("S", "T")
        # So can the deriva package's own handles, over the same transport.
        handles = DerivaHandles(transport, url)
        assert len(handles.catalog("1").getPathBuilder().schemas["S"].tables["T"].path.entities()) == 21
        assert handles.store().get_obj(location).content == content
        transport.close()


def test_the_environment_s_token_opens_the_url(folder: Path, settings: Settings) -> None:
    with serving(folder) as (url, token):
        with open_connection(url, settings=replace(settings, token=token)) as connection:
            assert connection.catalog(1).info()["name"] == "served"
        refused = pytest.raises(DerivaMLAuthenticationError, match="DERIVA_ML_TOKEN")
        with open_connection(url, settings=settings) as connection, refused:
            connection.catalog(1).info()


def test_a_folder_is_the_same_whether_it_is_served_or_not(folder: Path, settings: Settings) -> None:
    create_ml_schema(local := open_connection(str(folder)).catalog(1))
    local.transport.close()
    with DerivaML(str(folder), 1) as ml:
        here = (ml.session.identity, ml.working_dir, ml.session.runs_dir)
    with serving(folder) as (url, token), DerivaML(url, 1, credential={"bearer-token": token}) as ml:
        assert (ml.session.identity, ml.working_dir, ml.session.runs_dir) == here
    assert here[0] == open_identity(folder)


def test_a_wrong_token_is_told_where_the_right_one_is(folder: Path, settings: Settings) -> None:
    told = r"(?s)not authorized.*do: .*DERIVA_ML_TOKEN.*deriva-ml-catalog serve printed"
    with serving(folder) as (url, _token), pytest.raises(DerivaMLAuthenticationError, match=told) as refused:
        DerivaML(url, 1, credential={"bearer-token": "wrong"})
    assert "login" not in str(refused.value.hint)


def test_nothing_is_served_without_the_token(folder: Path) -> None:
    with serving(folder) as (url, token):
        for path in ("/ermrest/", "/ermrest/catalog/1", "/hatrac/ns/object", "/authn/session", "/"):
            assert requests.get(url + path, timeout=10).status_code == 401
            assert requests.get(url + path, timeout=10, headers={"authorization": "Bearer x"}).status_code == 401
        assert requests.get(url + "/ermrest/", timeout=10, headers={"authorization": f"Bearer {token}"}).ok


def test_a_token_file_keeps_the_token_private_and_the_same(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "token"
    tokens = []
    for _ in range(2):
        with serving(folder, "--token-file", str(path)) as (url, said):
            assert said == f"in {path}"
            tokens.append(path.read_text().strip())
            answer = requests.get(f"{url}/ermrest/", headers={"authorization": f"Bearer {tokens[-1]}"}, timeout=10)
            assert answer.ok
    assert tokens[0] == tokens[1]
    assert path.stat().st_mode & 0o077 == 0


def test_a_stopped_server_leaves_the_folder_closed(folder: Path) -> None:
    with serving(folder) as (url, token):
        requests.get(f"{url}/ermrest/catalog/1", headers={"authorization": f"Bearer {token}"}, timeout=10)
    assert [path.name for path in folder.rglob("*-wal")] == []


def test_other_machines_are_kept_out(folder: Path) -> None:
    refused = run("serve", "--root", str(folder), "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "0.0.0.0" in refused.stderr
    assert "127.0.0.1" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_folder_that_is_no_catalog_is_refused(tmp_path: Path) -> None:
    for command in ("serve", "info"):
        refused = run(command, "--root", str(tmp_path))
        assert refused.returncode == 2
        assert str(tmp_path) in refused.stderr
        assert "Traceback" not in refused.stderr


def test_info_says_what_a_folder_holds_and_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    said = run("info", "--root", str(folder))
    assert said.returncode == 0, said.stderr
    assert open_identity(folder) in said.stdout
    assert "Catalog 1 (served): 2 schemas" in said.stdout
    assert "1 files, 7 B" in said.stdout
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, deriva_ml.cli.catalog as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'requests', 'deriva', 'starlette', 'uvicorn', 'pydantic', 'hydra', 'sqlite3'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout
    assert time.perf_counter() - started < 5


COLUMNS = [
    {"name": name, "type": {"typename": kind, "is_domain": True, "base_type": {"typename": base}}, "nullok": nullok}
    for name, kind, base, nullok in (
        ("RID", "ermrest_rid", "text", False),
        ("RCT", "ermrest_rct", "timestamptz", False),
        ("RMT", "ermrest_rmt", "timestamptz", False),
        ("RCB", "ermrest_rcb", "text", True),
        ("RMB", "ermrest_rmb", "text", True),
    )
] + [{"name": "a", "type": {"typename": "text"}}]


def open_identity(folder: Path) -> str:
    service = open_service(folder)
    try:
        return service.identity
    finally:
        service.close()
