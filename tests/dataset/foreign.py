"""What is not ours and cannot be had here: bags as the public deriva-ml lays them out, and the services behind MINIDs.

The bags are written from a real catalog's own CSV, in the documented layout. The services are one local HTTP server,
which stands for the identifier service's pages and for the store with the archives.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.dataset.project import DEMO, ML, Project, content

from deriva_ml.schema.session import Session
from deriva_ml.wire.path import Path as DataPath
from deriva_ml.wire.path import eq, table


@dataclass
class Services:
    """A server of pages and files.

    Attributes:
        url: Where it is.
        pages: What it answers, by path: JSON documents, or bytes.
        seen: The header fields of each request.
    """

    url: str = ""
    pages: dict[str, Any] = field(default_factory=dict)
    seen: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def services() -> Iterator[Services]:
    made = Services()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.seen.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            page = made.pages.get(self.path)
            body = page if isinstance(page, bytes) else json.dumps(page).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_bag(lab: Project, rid: str, snapshot: str, folder: Path, *, files: int, base: str = "") -> Path:
    """Write a bag of a dataset of images.

    Args:
        lab: The project.
        rid: The dataset.
        snapshot: The version's snapshot.
        folder: Where.
        files: How many of the files of images are in it; the others are to be fetched.
        base: Where those are.
    """
    then = lab.session.snapshot(snapshot)
    bag = folder / f"Dataset_{rid}"
    (bag / "data").mkdir(parents=True)
    (bag / "data" / "schema.json").write_bytes(then.catalog.send("GET", "/schema").read())
    start = table(ML, "Dataset").where(eq("RID", rid))
    images = start.link(DEMO, "Dataset_Image").link(DEMO, "Image")
    routes: dict[str, DataPath] = {
        "Dataset": start,
        "Dataset/Dataset_Version": start.link(ML, "Dataset_Version", on=[("RID", "Dataset")]),
        "Dataset/Dataset_Dataset_Type": start.link(ML, "Dataset_Dataset_Type"),
        "Dataset/Dataset_Image": start.link(DEMO, "Dataset_Image"),
        "Dataset/Dataset_Image/Image": images,
        "Dataset/Dataset_Image/Image/Subject": images.link(DEMO, "Subject"),
        "Dataset/Dataset_Image/Image/Execution_Image_Quality": images.link(DEMO, "Execution_Image_Quality"),
        # another way to the same rows
        "Dataset/Dataset_Image/Image/Execution_Image_Quality/Image": images.link(DEMO, "Execution_Image_Quality").link(
            DEMO, "Image"
        ),
        "Grade": table(DEMO, "Grade"),
        "Dataset_Type": table(ML, "Dataset_Type"),
        "Feature_Name": table(ML, "Feature_Name"),
    }
    for name, path in routes.items():
        target = bag / "data" / f"{name}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(csv_of(then, path))
    rows = then.catalog.rows(images)
    lines = []
    for number, row in enumerate(sorted(rows, key=lambda each: str(each["RID"]))):
        path = f"data/asset/{row['RID']}/Image/{row['Filename']}"
        if number < files:
            (bag / path).parent.mkdir(parents=True)
            (bag / path).write_bytes(content(lab.images.index(str(row["RID"]))))
        else:
            lines.append((path, row))
    seal(bag, {path: str(row["MD5"]) for path, row in lines})
    fetch = "".join(
        f"{base}{row['URL']}\t{row['Length']}\t{path.replace('%', '%25').replace(' ', '%20')}\n" for path, row in lines
    )
    if fetch:
        (bag / "fetch.txt").write_text(fetch)
    return bag


def csv_of(session: Session, path: DataPath) -> bytes:
    answer = session.catalog.send("GET", path.entity(), headers={"accept": "text/csv"})
    return answer.read()


def seal(bag: Path, more: dict[str, str]) -> None:
    """Write the tag files and the manifest."""
    (bag / "bagit.txt").write_text("BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n")
    (bag / "bag-info.txt").write_text("Bag-Software-Agent: BDBag\nExternal-Identifier: elsewhere\n")
    digests = {
        path.relative_to(bag).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in (bag / "data").rglob("*")
        if path.is_file()
    }
    manifest = "".join(f"{digest}  {path.replace('%', '%25')}\n" for path, digest in {**digests, **more}.items())
    (bag / "manifest-md5.txt").write_text(manifest)


def pack(bag: Path, kind: str) -> bytes:
    """An archive of a bag."""
    archive = bag.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(bag.rglob("*")):
                packed.write(path, path.relative_to(bag.parent))
    else:
        with tarfile.open(archive, "w:gz") as packed_tar:
            packed_tar.add(bag, bag.name)
    return archive.read_bytes()


def publish(made: Services, rid: str, snapshot: str, archive: bytes, **changes: Any) -> str:
    """Put an archive and the page of its identifier there; the identifier."""
    made.pages["/store/bag"] = archive
    made.pages["/minid:abc"] = {
        "identifier": "hdl:20.500/abc",
        "compact_uri": "minid:abc",
        "landing_page": f"{made.url}/minid:abc",
        "location": [f"{made.url}/store/bag", "https://elsewhere.example.org/bag"],
        "checksums": [
            {"function": "md5", "value": hashlib.md5(archive).hexdigest()},
            {"function": "sha256", "value": hashlib.sha256(archive).hexdigest()},
        ],
        "metadata": {"RID": f"{rid}@{snapshot}", "title": "A bag"},
        **changes,
    }
    return f"{made.url}/minid:abc"
