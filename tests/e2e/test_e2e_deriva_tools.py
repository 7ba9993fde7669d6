"""The ``deriva`` package's own command-line tools on a served folder, as its users start them: TLS and plain loopback.

Some tools know only ``https``: deriva-hatrac-cli, deriva-acl-config and the annotation tools of release 1.7.12.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.laboratory import CONTENT, DISPLAY, Laboratory, bring, put_to_use

from deriva_ml.server.app import local_client
from deriva_ml.wire.http import Request


@pytest.fixture(scope="module", params=["https", "http"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    yield from put_to_use(tmp_path_factory.mktemp("home"), is_secure=request.param == "https")


@pytest.fixture(scope="module")
def uploaded(lab: Laboratory) -> Laboratory:
    """The laboratory with two subjects and three images."""
    bring(lab)
    return lab


over_tls = pytest.mark.parametrize("lab", ["https"], indirect=True)


def test_upload(uploaded: Laboratory) -> None:
    lab = uploaded
    assert [(row["name"], row["age"], row["note"]) for row in lab.rows("Subject")] == [
        ("ann", 41, {"a": 1}),
        ("bob", None, None),
    ]
    images = {row["Filename"]: row for row in lab.rows("Image")}
    assert {name: row["Length"] for name, row in images.items()} == {f"{n}.bin": len(c) for n, c in CONTENT.items()}
    assert {row["RCB"] for row in images.values()} == {"admin"}
    for name, content in CONTENT.items():
        url = images[f"{name}.bin"]["URL"]
        assert lab.service(Request("GET", url), local_client()).read() == content
    # Once more, nothing is there twice; a changed value is brought up to date.
    lab.inside(
        "PUT", "/ermrest/catalog/1/attributegroup/lab:Image/Filename;Subject", [{"Filename": "a.bin", "Subject": "bob"}]
    )
    data = lab.home / "data"
    (data / "records" / "lab" / "Subject.csv").unlink()
    lab.tool("deriva-upload-cli", *lab.credentials("admin"), "--purge-state", lab.place, str(data))
    assert len(lab.rows("Image")) == 3
    assert {row["Filename"]: row["Subject"] for row in lab.rows("Image")}["a.bin"] == "ann"
    refused = lab.tool(
        "deriva-upload-cli", *lab.credentials("reader"), "--purge-state", lab.place, str(data), fails=True
    )
    assert "403" in refused


def test_download(uploaded: Laboratory) -> None:
    lab = uploaded
    config = lab.home / "download.json"
    processors = [
        {
            "processor": "csv",
            "processor_params": {"query_path": "/entity/lab:Subject@sort(RID)", "output_path": "Subject"},
        },
        {"processor": "json", "processor_params": {"query_path": "/entity/lab:Image", "output_path": "Image"}},
        {
            "processor": "json-stream",
            "processor_params": {
                "query_path": "/entity/lab:Image",
                "output_path": "paged",
                "paged_query": True,
                "paged_query_size": 2,
            },
        },
        {
            "processor": "download",
            "processor_params": {
                "query_path": "/attribute/I:=lab:Image/url:=I:URL,filename:=I:Filename,length:=I:Length,md5:=I:MD5",
                "output_path": "images",
            },
        },
        {
            "processor": "fetch",
            "processor_params": {
                "query_path": "/attribute/I:=lab:Image/url:=I:URL,filename:=I:Filename,length:=I:Length,md5:=I:MD5",
                "output_path": "fetched/{Subject}",
            },
        },
    ]
    bag = {"bag_name": "lab", "bag_algorithms": ["md5", "sha256"]}
    for name, wanted in (("plain", {}), ("bag", {"bag": bag})):
        chosen = processors[:4] if name == "plain" else [*processors[:3], processors[4] | {}]
        if name == "bag":
            chosen[3]["processor_params"]["output_path"] = "fetched"
        config.write_text(json.dumps({"catalog": {"query_processors": chosen}, **wanted}))
        out = lab.home / f"out-{name}"
        lab.tool("deriva-download-cli", *lab.credentials("admin"), lab.place, str(config), str(out))
    plain = lab.home / "out-plain"
    with (plain / "Subject.csv").open() as lines:
        assert [row["name"] for row in csv.DictReader(lines)] == ["ann", "bob"]
    assert len(json.loads((plain / "Image.json").read_text())) == 3
    assert len((plain / "paged.json").read_text().splitlines()) == 3
    for name, content in CONTENT.items():
        assert (plain / "images" / f"{name}.bin").read_bytes() == content
    fetches = (lab.home / "out-bag" / "lab" / "fetch.txt").read_text().splitlines()
    assert len(fetches) == 3
    assert all(f"{lab.scheme}://{lab.host}/hatrac/images/" in line for line in fetches)
    for way in (["--oauth2-token", lab.tokens["reader"]], ["--token", "nobody's"], []):
        arguments = [*way, lab.place, str(config), str(lab.home / "no")]
        refused = lab.tool("deriva-download-cli", *arguments, fails=True)
        assert "requires authentication" in refused or "forbidden" in refused


@pytest.mark.parametrize("way", ["--token", "--oauth2-token"])
def test_the_catalog_tool(uploaded: Laboratory, way: str) -> None:
    lab = uploaded
    common = ["--protocol", lab.scheme, "--host", lab.host, way, lab.tokens["admin"]]
    assert "true" in lab.tool("deriva-catalog-cli", *common, "exists", "1").lower()
    assert "false" in lab.tool("deriva-catalog-cli", *common, "exists", "99").lower()
    # To standard output, since the tool removes what it writes to a file.
    found = lab.tool("deriva-catalog-cli", *common, "get", "1", "/entity/lab:Subject")
    assert len(json.loads(found)) == 2


def test_backup_and_restore(uploaded: Laboratory) -> None:
    lab = uploaded
    out = lab.home / "backup"
    refused = lab.tool(
        "deriva-backup-cli", *lab.credentials("reader"), "--catalog", "1", lab.place, str(out), fails=True
    )
    assert "owner" in refused
    lab.tool("deriva-backup-cli", *lab.credentials("admin"), "--bag-archiver", "tgz", lab.place, str(out))
    (archive,) = lab.home.rglob("*.tgz")
    before = {entry["id"] for entry in entries(lab)}
    lab.tool("deriva-restore-cli", *lab.credentials("admin"), lab.place, str(archive))
    (new,) = {entry["id"] for entry in entries(lab)} - before
    for name in ("Subject", "Image"):
        keep = [{key: row[key] for key in row if key not in ("RMT", "RMB")} for row in lab.rows(name)]
        assert [
            {key: row[key] for key in one if key in row} for row, one in zip(lab.rows(name, new), keep, strict=True)
        ] == keep


def entries(lab: Laboratory) -> list[dict[str, Any]]:
    found = lab.inside("GET", "/ermrest/catalog/0/entity/ermrest:registry")
    return [entry for entry in found if entry["deleted_on"] is None]


def test_a_clone_in_the_served_folder(uploaded: Laboratory) -> None:
    lab = uploaded
    before = {entry["id"] for entry in entries(lab)}
    lab.tool(
        "deriva-catalog-cli",
        "--protocol",
        lab.scheme,
        "--host",
        lab.host,
        "--oauth2-token",
        lab.tokens["admin"],
        "clone",
        "1",
    )
    (new,) = {entry["id"] for entry in entries(lab)} - before
    assert [row["RID"] for row in lab.rows("Image", new)] == [row["RID"] for row in lab.rows("Image")]
    model = lab.inside("GET", f"/ermrest/catalog/{new}/schema/lab/table/Image")
    assert [fk["names"] for fk in model["foreign_keys"]] == [[["lab", "Image_Subject_fkey"]]]


@over_tls
def test_acl_config(uploaded: Laboratory) -> None:
    lab = uploaded
    config = lab.home / "acls.json"
    config.write_text(
        json.dumps(
            {
                "groups": {"owners": ["admin"], "readers": ["reader"], "nobody": []},
                "acl_definitions": {
                    "catalog": {"owner": ["owners"], "enumerate": ["*"], "select": ["nobody"]},
                    "read": {"select": ["readers"]},
                },
                "acl_bindings": {
                    "own_images": {
                        "types": ["update", "delete"],
                        "projection": ["RCB"],
                        "projection_type": "acl",
                        "scope_acl": "readers",
                    }
                },
                "catalog_acl": {"acl": "catalog"},
                "schema_acls": [{"schema": "lab", "acl": "read"}],
                "table_acls": [{"schema": "lab", "table": "Image", "acl_bindings": ["own_images"], "no_acl": True}],
                "column_acls": [],
                "foreign_key_acls": [],
            }
        )
    )
    arguments = ["--host", lab.host, "--config-file", str(config), "1"]
    lab.tool("deriva-acl-config", *lab.credentials("admin"), *arguments)
    schema = lab.inside("GET", "/ermrest/catalog/1/schema")
    assert schema["acls"]["owner"] == ["admin"]
    assert schema["schemas"]["lab"]["acls"] == {"select": ["reader"]}
    assert list(schema["schemas"]["lab"]["tables"]["Image"]["acl_bindings"]) == ["own_images"]
    common = lab.common("reader")
    assert len(json.loads(lab.tool("deriva-catalog-cli", *common, "get", "1", "/entity/lab:Image"))) == 3
    lab.tool("deriva-catalog-cli", *common, "delete", "1", "/entity/lab:Image/Filename=a.bin", fails=True)
    assert len(lab.rows("Image")) == 3
    lab.tool("deriva-acl-config", *lab.credentials("reader"), *arguments, fails=True)


@over_tls
def test_annotation_tools(uploaded: Laboratory) -> None:
    lab = uploaded
    config = lab.home / "annotations.json"
    config.write_text(
        json.dumps(
            {
                "managed_annotations": {DISPLAY: {}},
                "known_attributes": {"managed": [DISPLAY], "ignore_all_unmanaged": True},
                "catalog_annotations": [],
                "schema_annotations": [{"schema": "lab", "uri": DISPLAY, "value": {"name": "The lab"}}],
                "table_annotations": [
                    {"schema": "lab", "table": "Image", "uri": DISPLAY, "value": {"name": "Picture"}}
                ],
                "column_annotations": [],
                "key_annotations": [],
                "foreign_key_annotations": [],
            }
        )
    )
    common = [*lab.credentials("admin"), "--host", lab.host, "--config-file", str(config), "1"]
    lab.tool("deriva-annotation-config", *common)
    shown = lab.inside("GET", "/ermrest/catalog/1/schema/lab/table/Image/annotation")
    assert shown == {DISPLAY: {"name": "Picture"}}
    assert "Picture" in lab.tool("deriva-annotation-dump", *common)
    lab.tool("deriva-annotation-validate", *lab.credentials("admin"), "--tag", DISPLAY, lab.host, "1")
    # The tool's own fault: it looks up the keys of a table by names of another form than the library keeps them under.
    before = lab.inside("GET", "/ermrest/catalog/1")["snaptime"]
    rollback = ["--catalog", "1", "--snapshot", before, lab.host]
    failed = lab.tool("deriva-annotation-rollback", *lab.credentials("admin"), *rollback, fails=True)
    assert "KeyError: ('" in failed
    assert "in rollback_annotation" in failed


def test_a_large_file_and_an_empty_one_are_uploaded_in_chunks(uploaded: Laboratory) -> None:
    lab = uploaded
    contents = {"large.bin": os.urandom((26 << 20) + 17), "empty.bin": b""}
    folder = lab.home / "large" / "images" / "bob"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    lab.tool("deriva-upload-cli", *lab.credentials("admin"), "--catalog", "1", lab.place, str(lab.home / "large"))
    for name, content in contents.items():
        (row,) = lab.inside("GET", f"/ermrest/catalog/1/entity/lab:Image/Filename={name}")
        assert (row["Length"], row["Subject"]) == (len(content), "bob")
        assert lab.service(Request("GET", row["URL"]), local_client()).read() == content
        assert lab.inside("GET", f"{row['URL'].rpartition(':')[0]};upload") == []
        lab.inside("DELETE", f"/ermrest/catalog/1/entity/lab:Image/RID={row['RID']}")


def test_what_the_catalog_tool_does_to_catalogs_and_aliases(uploaded: Laboratory) -> None:
    lab = uploaded
    common = lab.common("admin")

    def tool(*arguments: str, fails: bool = False) -> str:
        return lab.tool("deriva-catalog-cli", *common, *arguments, fails=fails)

    made = json.loads(tool("create", "--id", "made", "--owner", "admin"))
    assert made["id"] == "made"
    assert "exists" in tool("create", "--id", "made")
    assert len(json.loads(tool("get", "1", "/entity/lab:Subject", "-f", "json"))) == 2
    alias = json.loads(tool("create-alias", "--id", "shown", "--alias-target", "1"))
    assert (alias["id"], alias["alias_target"]) == ("shown", "1")
    assert json.loads(tool("get-alias", "shown"))["alias_target"] == "1"
    assert len(json.loads(tool("get", "shown", "/entity/lab:Subject"))) == 2
    tool("update-alias", "--id", "shown", "--alias-target", "made")
    assert lab.inside("GET", "/ermrest/alias/shown")["alias_target"] == "made"
    tool("delete-alias", "shown")
    tool("get-alias", "shown", fails=True)
    tool("drop", "made")
    assert "false" in tool("exists", "made").lower()
    # The tool's own faults: what it calls "input-file" it looks for as "input_file", and of CSV it wants JSON.
    rows = lab.home / "rows.json"
    rows.write_text("[]")
    for command in ("put", "post"):
        assert "no attribute 'input_file'" in tool(command, "1", "/entity/lab:Subject", str(rows), fails=True)
    assert "JSONDecodeError" in tool("get", "1", "/entity/lab:Subject", "-f", "csv", fails=True)


@over_tls
@pytest.mark.slow
def test_every_command_of_the_object_store_s_tool(uploaded: Laboratory) -> None:
    lab = uploaded
    common = ["--host", lab.host, "--oauth2-token", lab.tokens["admin"]]

    def tool(*arguments: str, fails: bool = False) -> str:
        return lab.tool("deriva-hatrac-cli", *common, *arguments, fails=fails)

    source, target = lab.home / "parts", lab.home / "back"
    source.write_bytes(os.urandom(100_001))
    assert "Parent namespace not found" in tool("mkdir", "/hatrac/tool/a/b", fails=True)
    tool("mkdir", "-p", "/hatrac/tool/a/b")
    assert "Namespace exists" in tool("mkdir", "/hatrac/tool", fails=True)
    assert "Parent namespace not found" in tool("put", str(source), "/hatrac/tool/c/d", fails=True)
    put = ["put", "--parents", "--chunk-size", "30000", "--content-type", "application/x-parts", str(source)]
    first = tool(*put, "/hatrac/tool/c/d").strip()
    assert first.startswith("/hatrac/tool/c/d:")
    assert tool(*put, "/hatrac/tool/c/d").strip() == first  # nothing is sent that is there
    second = tool(*put[:1], "--force", *put[1:], "/hatrac/tool/c/d").strip()
    assert second != first
    versions = lab.inside("GET", "/hatrac/tool/c/d;versions")
    assert versions == [second, first]
    assert lab.service(Request("HEAD", second), local_client()).headers["content-type"] == "application/x-parts"
    tool("get", first, str(target))
    assert target.read_bytes() == source.read_bytes()
    text = lab.home / "text"
    text.write_text("some text")
    tool("put", str(text), "/hatrac/tool/text")
    assert "some text" in tool("get", "/hatrac/tool/text", "-")
    assert tool("ls", "/hatrac/tool").split() == ["/hatrac/tool/a", "/hatrac/tool/c", "/hatrac/tool/text"]
    assert "No such object" in tool("get", "/hatrac/tool/none", fails=True)
    assert "in use" in tool("put", str(text), "/hatrac/tool/a", fails=True)
    tool("setacl", "/hatrac/tool/text", "update", "lab", "reader")
    tool("setacl", "--add", "/hatrac/tool/text", "update", "*")
    assert tool("getacl", "/hatrac/tool/text", "--access", "update").split() == ["update:", "lab", "reader", "*"]
    assert "reader" in tool("getacl", "/hatrac/tool/text", "--access", "update", "--role", "reader")
    tool("delacl", "/hatrac/tool/text", "update", "reader")
    assert "No such" in tool("getacl", "/hatrac/tool/text", "--access", "update", "--role", "reader", fails=True)
    tool("delacl", "/hatrac/tool/text", "update")
    assert lab.inside("GET", "/hatrac/tool/text;acl")["update"] == []
    assert "Invalid ACL name" in tool("getacl", "/hatrac/tool/text", "--access", "bogus", fails=True)
    assert "owner:" in tool("getacl", "/hatrac/tool")
    moved = tool("rename", "--copy-acls", "/hatrac/tool/c/d", "/hatrac/tool/a/moved").split()
    assert moved == [f"/hatrac/tool/a/moved:{url.rpartition(':')[2]}" for url in (first, second)]
    tool("get", first, str(target))  # the old URL still answers
    assert target.read_bytes() == source.read_bytes()
    tool("del", "/hatrac/tool/text")
    assert "No such object" in tool("del", "/hatrac/tool/text", fails=True)
    assert "in use" in tool("put", str(text), "/hatrac/tool/text", fails=True)
    tool("rmdir", "/hatrac/tool")
    assert "No such" in tool("ls", "/hatrac/tool", fails=True)
    assert lab.service(Request("GET", second), local_client()).status == 404


@over_tls
def test_the_object_store_s_tool(uploaded: Laboratory) -> None:
    lab = uploaded
    common = ["--host", lab.host, "--oauth2-token", lab.tokens["admin"]]
    source, target = lab.home / "source", lab.home / "target"
    source.write_bytes(os.urandom(100_000))
    lab.tool("deriva-hatrac-cli", *common, "mkdir", "/hatrac/mine")
    lab.tool("deriva-hatrac-cli", *common, "put", str(source), "/hatrac/mine/object")
    assert "/hatrac/mine/object" in lab.tool("deriva-hatrac-cli", *common, "ls", "/hatrac/mine")
    lab.tool("deriva-hatrac-cli", *common, "get", "/hatrac/mine/object", str(target))
    assert target.read_bytes() == source.read_bytes()
    reader = ["--host", lab.host, "--oauth2-token", lab.tokens["reader"]]
    lab.tool("deriva-hatrac-cli", *reader, "get", "/hatrac/mine/object", str(target), fails=True)
    lab.tool("deriva-hatrac-cli", *common, "setacl", "/hatrac/mine/object", "subtree-read", "lab")
    lab.tool("deriva-hatrac-cli", *reader, "get", "/hatrac/mine/object", str(target))
    lab.tool("deriva-hatrac-cli", *reader, "del", "/hatrac/mine/object", fails=True)
    lab.tool("deriva-hatrac-cli", *common, "del", "/hatrac/mine/object")
