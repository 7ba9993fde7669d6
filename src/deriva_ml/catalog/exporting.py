"""A catalog as plain files that need no service: a bag with its schema, its rows as CSV or JSON, and its objects.

The folder follows BagIt, so any tool for bags verifies it; the rows are as of one moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException
from deriva_ml.core.files import hash_file
from deriva_ml.core.values import dataclass
from deriva_ml.wire.http import Request
from deriva_ml.wire.model import Table
from deriva_ml.wire.path import table as path_of
from deriva_ml.wire.targets import catalog

__all__ = ["Exported", "export_catalog"]

MEDIA = {"csv": "text/csv", "json": "application/json"}
UNSAFE = re.compile(r"[^\w()+,=@. -]")


@dataclass
class Exported:
    """What was exported.

    Attributes:
        path: The bag.
        snaptime: The moment of the catalog that it shows.
        tables: How many tables.
        objects: How many objects.
        missing: What could not be exported, in words.
    """

    path: Path
    snaptime: str
    tables: int = 0
    objects: int = 0
    missing: list[str] = field(default_factory=list)


def export_catalog(
    client: CatalogClient,
    objects: ObjectClient,
    target: Path,
    *,
    form: str = "csv",
    with_objects: bool = False,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
) -> Exported:
    """Write a catalog, as it is or as of its snapshot, into a new folder.

    Args:
        client: The catalog.
        objects: Its objects.
        target: The folder; nothing may be there.
        form: ``csv`` or ``json``.
        with_objects: Bring the objects that rows name, too.
        progress: Told what is being written, how many tables are done, and how many there are.

    Raises:
        DerivaMLConfigurationError: Something is there already.
    """
    if os.path.lexists(target):
        raise DerivaMLConfigurationError(
            f"There is something already: {target}", hint="name a folder that is not there"
        )
    view = client if client.snaptime else client.snapshot(client.latest_snaptime())
    made = Exported(target, str(view.snaptime))
    part = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    try:
        data = part / "data"
        data.mkdir(parents=True)
        (data / "schema.json").write_bytes(view.send("GET", "/schema").read())
        tables = list(view.model().tables())
        for one in tables:
            progress(f"{one.schema}:{one.name}", made.tables, len(tables))
            _write_rows(view, one, data / "records" / _safe(one.schema) / f"{_safe(one.name)}.{form}", MEDIA[form])
            made.tables += 1
            if with_objects and one.is_asset:
                _write_objects(view, objects, one, data / "assets", made)
        _seal(part, client.catalog_id, made)
        part.rename(target)
    except OSError as error:
        raise DerivaMLConfigurationError(
            f"The catalog cannot be exported to {target}: {error.strerror or error}.",
            source=error.filename if isinstance(error.filename, str) else None,
            hint="name a folder on a disk that has room and can be written",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _safe(name: str) -> str:
    """A name as a file can have it; different names stay different, and a percent sign means nothing in a bag."""
    plain = UNSAFE.sub(lambda found: f"~{ord(found[0]):x}~", name)
    return plain.replace(".", "~2e~") if not plain.strip(".") else plain


def _write_rows(view: CatalogClient, one: Table, path: Path, media: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    target = catalog(view.catalog_id, view.snaptime) + path_of(one.schema, one.name).sorted("RID").entity()
    request = Request("GET", target, {"accept": media})
    answer = check(request, view.transport.send(request))
    with path.open("wb") as out:
        for piece in answer.parts():
            out.write(piece)


def _write_objects(view: CatalogClient, objects: ObjectClient, one: Table, folder: Path, made: Exported) -> None:
    for row in view.attributes(path_of(one.schema, one.name), "RID", "URL", "Filename", "MD5"):
        url = row["URL"]
        if not isinstance(url, str) or not url.startswith("/hatrac/"):
            continue
        path = folder / _safe(one.schema) / _safe(one.name) / str(row["RID"]) / _safe(str(row["Filename"] or "content"))
        path.parent.mkdir(parents=True)
        try:
            objects.fetch(url, path, md5=str(row["MD5"]) if row["MD5"] else None)
        except DerivaMLException as error:
            made.missing.append(f"{one.schema}:{one.name} RID {row['RID']}: {str(error).splitlines()[0]}")
        else:
            made.objects += 1


def _seal(part: Path, catalog_id: str, made: Exported) -> None:
    """Write what makes the folder a bag."""
    files = sorted(path for path in (part / "data").rglob("*") if path.is_file())
    sums = [(hash_file(path).sha256, path.relative_to(part).as_posix()) for path in files]
    size = sum(path.stat().st_size for path in files)
    info = {
        "Bagging-Date": datetime.now(UTC).date().isoformat(),
        "External-Description": f"Catalog {catalog_id} as of {made.snaptime}",
        "External-Identifier": json.dumps(f"{catalog_id}@{made.snaptime}"),
        "Payload-Oxum": f"{size}.{len(files)}",
    }
    tags = {
        "bagit.txt": "BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": "".join(f"{name}: {value}\n" for name, value in info.items()),
        "manifest-sha256.txt": "".join(f"{sha256}  {name}\n" for sha256, name in sums),
    }
    tags["tagmanifest-sha256.txt"] = "".join(
        f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in tags.items()
    )
    for name, text in tags.items():
        (part / name).write_text(text, encoding="utf-8")
