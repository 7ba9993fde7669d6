"""A folder served to the ``deriva`` package's own command-line tools, which are started as users start them."""

from __future__ import annotations

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
    """A folder that is served to the users ``admin``, who owns the catalog, and ``reader``."""

    def __init__(self, home: Path, url: str, cert: Path | None, tokens: dict[str, str], service: Service) -> None:
        self.home = home
        self.scheme, _, self.host = url.partition("://")
        self.tokens = tokens
        self.service = service
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        if cert is not None:
            self.environment |= {"REQUESTS_CA_BUNDLE": str(cert), "SSL_CERT_FILE": str(cert)}
        for name, token in tokens.items():
            (home / f"{name}.json").write_text(json.dumps({self.host: {"bearer-token": token}}))
            (home / f"{name}.json").chmod(0o600)

    @property
    def place(self) -> str:
        """How the tools that speak plain HTTP too are told where the folder is."""
        return self.host if self.scheme == "https" else f"{self.scheme}://{self.host}"

    def common(self, name: str) -> list[str]:
        """What deriva-catalog-cli is told first: where, and who asks."""
        return ["--protocol", self.scheme, "--host", self.host, "--oauth2-token", self.tokens[name]]

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


def put_to_use(home: Path, *, is_secure: bool) -> Iterator[Laboratory]:
    """Serve a new folder, over TLS or on plain loopback."""
    root = home / "folder"
    create_folder(root)
    users = users_of(root)
    tokens = {name: users.add(name, groups=["lab"]) for name in ("admin", "reader")}
    users.close()
    cert, key = certificate(home) if is_secure else (None, None)
    options = ["--tls-cert", str(cert), "--tls-key", str(key)] if is_secure else []
    service = open_service(root)
    try:
        with served(root, *options) as server:
            url = f"{'https' if is_secure else 'http'}://localhost:{server.url.rpartition(':')[2]}"
            made = Laboratory(home, url, cert, tokens, service)
            made.inside("POST", "/ermrest/catalog", {"id": "1", "owner": ["admin"], "name": "lab"})
            made.inside("POST", "/ermrest/catalog/1/schema", [MODEL])
            made.inside("PUT", f"/ermrest/catalog/1/annotation/{quote(UPLOAD, safe='')}", UPLOAD_CONFIG)
            made.inside("PUT", "/ermrest/catalog/1/acl/enumerate", ["*"])
            yield made
    finally:
        service.close()


def bring(lab: Laboratory) -> None:
    """Bring two subjects and three images with the upload tool."""
    data = lab.home / "data"
    (data / "records" / "lab").mkdir(parents=True)
    (data / "records" / "lab" / "Subject.csv").write_text('name,age,note\nann,41,"{""a"": 1}"\nbob,,\n')
    for name, content in CONTENT.items():
        folder = data / "images" / ("ann" if name == "a" else "bob")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.bin").write_bytes(content)
    lab.tool("deriva-upload-cli", *lab.credentials("admin"), "--catalog", "1", lab.place, str(data))
