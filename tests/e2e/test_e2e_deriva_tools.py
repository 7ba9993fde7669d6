"""The ``deriva`` package's own command-line tools on a served folder, as its users start them; over TLS."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.serving import served

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.users import users_of
from deriva_ml.wire.http import Request

BIN = Path(sys.executable).parent
SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
UPLOAD = "tag:isrd.isi.edu,2017:bulk-upload"
DISPLAY = "tag:misd.isi.edu,2015:display"
CONTENT = {"a": b"first image", "b": b"second image", "c": os.urandom(200_000)}


def table(name: str, columns: dict[str, str], keys: list[list[str]], fks: list[Any] | None = None) -> dict[str, Any]:
    made = [{"name": column, "type": {"typename": kind}} for column, kind in columns.items()]
    return {
        "table_name": name,
        "column_definitions": [*SYSTEM, *made],
        "keys": [{"unique_columns": key} for key in [["RID"], *keys]],
        "foreign_keys": fks or [],
    }


SUBJECT = {
    "foreign_key_columns": [{"column_name": "Subject"}],
    "referenced_columns": [{"schema_name": "lab", "table_name": "Subject", "column_name": "name"}],
    "names": [["lab", "Image_Subject_fkey"]],
}
MODEL = {
    "schema_name": "lab",
    "tables": {
        "Subject": table("Subject", {"name": "text", "age": "int4", "note": "jsonb"}, [["name"]]),
        "Image": table(
            "Image",
            {"URL": "text", "Filename": "text", "Length": "int8", "MD5": "text", "Subject": "text"},
            [["URL"]],
            [SUBJECT],
        ),
    },
}
UPLOAD_CONFIG = {
    "version_compatibility": [[">=1.5.0"]],
    "version_update_url": "https://github.com/informatics-isi-edu/deriva-py/releases",
    "asset_mappings": [
        {
            "asset_type": "table",
            "default_columns": ["RID", "RCB", "RMB", "RCT", "RMT"],
            "file_pattern": "^.*/records/(?P<schema>.+?)/(?P<table>.+?)[.]",
            "ext_pattern": "^.*[.](?P<file_ext>json|csv)$",
        },
        {
            "column_map": {
                "URL": "{URI}",
                "Filename": "{file_name}",
                "Length": "{file_size}",
                "MD5": "{md5}",
                "Subject": "{subject}",
            },
            "file_pattern": "^.*/images/(?P<subject>[^/]+)/(?P<file>[^/]+)$",
            "ext_pattern": "^.*[.](?P<file_ext>bin)$",
            "target_table": ["lab", "Image"],
            "checksum_types": ["md5"],
            "hatrac_templates": {"hatrac_uri": "/hatrac/images/{subject}/{md5}.{file_name}"},
            "hatrac_options": {"versioned_uris": True},
            "record_query_template": "/entity/{target_table}/MD5={md5}&Filename={file_name}",
        },
    ],
}


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, which signs itself, and its key."""
    made, key = folder / "cert.pem", folder / "key.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    arguments = [*command.split(), names, "-keyout", str(key), "-out", str(made)]
    subprocess.run(arguments, check=True, capture_output=True, timeout=60)
    return made, key


class Laboratory:
    """A folder that is served over TLS to the users ``admin``, who owns the catalog, and ``reader``."""

    def __init__(self, home: Path, root: Path, host: str, cert: Path, tokens: dict[str, str], service: Service) -> None:
        self.home = home
        self.host = host
        self.tokens = tokens
        self.service = service
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "REQUESTS_CA_BUNDLE": str(cert),
            "SSL_CERT_FILE": str(cert),
        }
        for name, token in tokens.items():
            (home / f"{name}.json").write_text(json.dumps({host: {"bearer-token": token}}))
            (home / f"{name}.json").chmod(0o600)

    def credentials(self, name: str) -> list[str]:
        return ["--credential-file", str(self.home / f"{name}.json")]

    def tool(self, name: str, *arguments: str, fails: bool = False, stdin: str = "") -> str:
        """Start a tool; give what it says."""
        done = subprocess.run(
            [str(BIN / name), *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=90,
            input=stdin,
        )
        if (done.returncode != 0) != fails:
            pytest.fail(f"{name} {arguments}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done.stdout + (done.stderr if fails else "")

    def inside(self, method: str, target: str, body: Any = None) -> Any:
        """Use the same folder in process, while it is served."""
        content = None if body is None else json.dumps(body).encode()
        answer = self.service(Request(method, target, {}, content), local_client())
        got = answer.read()
        assert answer.status < 400, (target, got)
        return json.loads(got) if got else None

    def rows(self, name: str, catalog: str = "1") -> list[dict[str, Any]]:
        return self.inside("GET", f"/ermrest/catalog/{catalog}/entity/lab:{name}@sort(RID)")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    home = tmp_path_factory.mktemp("home")
    root = home / "folder"
    create_folder(root)
    users = users_of(root)
    tokens = {name: users.add(name, groups=["lab"]) for name in ("admin", "reader")}
    users.close()
    cert, key = certificate(home)
    service = open_service(root)
    try:
        with served(root, "--tls-cert", str(cert), "--tls-key", str(key)) as server:
            host = "localhost:" + server.url.rpartition(":")[2]
            made = Laboratory(home, root, host, cert, tokens, service)
            made.inside("POST", "/ermrest/catalog", {"id": "1", "owner": ["admin"], "name": "lab"})
            made.inside("POST", "/ermrest/catalog/1/schema", [MODEL])
            made.inside("PUT", f"/ermrest/catalog/1/annotation/{quote(UPLOAD, safe='')}", UPLOAD_CONFIG)
            made.inside("PUT", "/ermrest/catalog/1/acl/enumerate", ["*"])
            yield made
    finally:
        service.close()


@pytest.fixture(scope="module")
def uploaded(lab: Laboratory) -> Laboratory:
    """The laboratory with two subjects and three images, brought by the upload tool."""
    data = lab.home / "data"
    (data / "records" / "lab").mkdir(parents=True)
    (data / "records" / "lab" / "Subject.csv").write_text('name,age,note\nann,41,"{""a"": 1}"\nbob,,\n')
    for name, content in CONTENT.items():
        folder = data / "images" / ("ann" if name == "a" else "bob")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.bin").write_bytes(content)
    lab.tool("deriva-upload-cli", *lab.credentials("admin"), "--catalog", "1", lab.host, str(data))
    return lab


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
    lab.tool("deriva-upload-cli", *lab.credentials("admin"), "--purge-state", lab.host, str(data))
    assert len(lab.rows("Image")) == 3
    assert {row["Filename"]: row["Subject"] for row in lab.rows("Image")}["a.bin"] == "ann"
    refused = lab.tool(
        "deriva-upload-cli", *lab.credentials("reader"), "--purge-state", lab.host, str(data), fails=True
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
        lab.tool("deriva-download-cli", *lab.credentials("admin"), lab.host, str(config), str(out))
    plain = lab.home / "out-plain"
    with (plain / "Subject.csv").open() as lines:
        assert [row["name"] for row in csv.DictReader(lines)] == ["ann", "bob"]
    assert len(json.loads((plain / "Image.json").read_text())) == 3
    assert len((plain / "paged.json").read_text().splitlines()) == 3
    for name, content in CONTENT.items():
        assert (plain / "images" / f"{name}.bin").read_bytes() == content
    fetches = (lab.home / "out-bag" / "lab" / "fetch.txt").read_text().splitlines()
    assert len(fetches) == 3
    assert all(f"https://{lab.host}/hatrac/images/" in line for line in fetches)
    for way in (["--oauth2-token", lab.tokens["reader"]], ["--token", "nobody's"], []):
        arguments = [*way, lab.host, str(config), str(lab.home / "no")]
        refused = lab.tool("deriva-download-cli", *arguments, fails=True)
        assert "requires authentication" in refused or "forbidden" in refused


@pytest.mark.parametrize("way", ["--token", "--oauth2-token"])
def test_the_catalog_tool(uploaded: Laboratory, way: str) -> None:
    lab = uploaded
    common = ["--host", lab.host, way, lab.tokens["admin"]]
    assert "true" in lab.tool("deriva-catalog-cli", *common, "exists", "1").lower()
    assert "false" in lab.tool("deriva-catalog-cli", *common, "exists", "99").lower()
    # To standard output, since the tool removes what it writes to a file.
    found = lab.tool("deriva-catalog-cli", *common, "get", "1", "/entity/lab:Subject")
    assert len(json.loads(found)) == 2


def test_backup_and_restore(uploaded: Laboratory) -> None:
    lab = uploaded
    out = lab.home / "backup"
    refused = lab.tool(
        "deriva-backup-cli", *lab.credentials("reader"), "--catalog", "1", lab.host, str(out), fails=True
    )
    assert "owner" in refused
    lab.tool("deriva-backup-cli", *lab.credentials("admin"), "--bag-archiver", "tgz", lab.host, str(out))
    (archive,) = lab.home.rglob("*.tgz")
    before = {entry["id"] for entry in entries(lab)}
    lab.tool("deriva-restore-cli", *lab.credentials("admin"), lab.host, str(archive))
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
    lab.tool("deriva-catalog-cli", "--host", lab.host, "--oauth2-token", lab.tokens["admin"], "clone", "1")
    (new,) = {entry["id"] for entry in entries(lab)} - before
    assert [row["RID"] for row in lab.rows("Image", new)] == [row["RID"] for row in lab.rows("Image")]
    model = lab.inside("GET", f"/ermrest/catalog/{new}/schema/lab/table/Image")
    assert [fk["names"] for fk in model["foreign_keys"]] == [[["lab", "Image_Subject_fkey"]]]


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
    common = ["--host", lab.host, "--oauth2-token", lab.tokens["reader"]]
    assert len(json.loads(lab.tool("deriva-catalog-cli", *common, "get", "1", "/entity/lab:Image"))) == 3
    lab.tool("deriva-catalog-cli", *common, "delete", "1", "/entity/lab:Image/Filename=a.bin", fails=True)
    assert len(lab.rows("Image")) == 3
    lab.tool("deriva-acl-config", *lab.credentials("reader"), *arguments, fails=True)


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
    # deriva-annotation-rollback 1.7.12 ends with a KeyError on every catalog: it looks for keys by names they lack.


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
