"""Writing a bag: tables, model, manifests. The files of assets are put in afterwards (``bag_payload``).

The bag is written here and not by ``bdbag.make_bag``, which changes the process's working directory while it works (no
other thread may use relative paths then), hashes every file once more, and keeps settings in the user's home. What it
would ensure is ensured by the tests: the bags made here pass ``bdbag``'s own validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from deriva_ml.core.files import Digests, hash_parts
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.bag_layout import (
    BAGIT,
    SEAL,
    Payload,
    bag_info,
    fetch_text,
    manifest_text,
    payload_of,
    table_path,
)
from deriva_ml.dataset.cells import csv_writer
from deriva_ml.dataset.key_reader import parallel
from deriva_ml.dataset.reach import Found, Reach
from deriva_ml.dataset.reach_rows import found_rows
from deriva_ml.dataset.spool import write_sorted
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Model
from deriva_ml.wire.model_documents import schema_document

__all__ = ["Written", "seal_bag", "write_bag", "write_fetch", "write_model"]

MODEL = "data/schema.json"
"""Where a bag's model lies."""

_TABLES = 4
"""Tables that are written at a time, where the catalog is elsewhere."""

_PRIVATE = frozenset({"acls", "acl_bindings", "rights"})
_FREE = frozenset({"annotations", "default"})


@dataclass(frozen=True)
class Written:
    """What was written of a bag.

    Attributes:
        files: The hashes of all files by their path within the bag.
        payload: The files of assets that belong to it and are not there yet.
    """

    files: Mapping[str, Digests]
    payload: Sequence[Payload]


def write_bag(root: Path, session: Session, content: Reach, snapshot: str, facts: Mapping[str, str]) -> Written:
    """Write a bag without the files of its assets and without ``fetch.txt``.

    Args:
        root: The bag's directory, which is empty.
        session: The catalog as of the version's snapshot.
        content: What belongs to the dataset.
        snapshot: The version's snapshot.
        facts: Entries for ``bag-info.txt``.
    """
    data: dict[str, Digests] = {MODEL: write_model(root, content.model)}
    payload: list[Payload] = []
    with ThreadPoolExecutor(min(_TABLES, parallel(session)), "deriva-ml-tables") as pool:
        tasks = [pool.submit(_write_table, root, session, found) for found in content.tables.values()]
        try:
            for found, task in zip(content.tables.values(), tasks, strict=True):
                digests, files = task.result()
                if digests is not None:
                    data[table_path(*found.table.qualified)] = digests
                    payload.extend(files)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Written({**data, **seal_bag(root, data, payload, snapshot, facts)}, payload)


def seal_bag(
    root: Path, data: Mapping[str, Digests], payload: Sequence[Payload], snapshot: str, facts: Mapping[str, str]
) -> dict[str, Digests]:
    """Write what tells of a bag's contents: its manifests, and what it is.

    Args:
        root: The bag's directory.
        data: The tables and the model.
        payload: The files of assets.
        snapshot: The version's snapshot.
        facts: Entries for ``bag-info.txt``.
    """
    md5 = [*((path, each.md5) for path, each in data.items()), *((each.path, each.md5) for each in payload)]
    tags = {
        "bagit.txt": BAGIT,
        "bag-info.txt": bag_info(facts, snapshot, data.values(), payload),
        "manifest-md5.txt": manifest_text(md5),
        "manifest-sha256.txt": manifest_text((path, each.sha256) for path, each in data.items()),
    }
    tagged = {name: _write(root / name, [text]) for name, text in tags.items()}
    seals = {
        "tagmanifest-md5.txt": manifest_text((name, each.md5) for name, each in tagged.items()),
        SEAL: manifest_text((name, each.sha256) for name, each in tagged.items()),
    }
    return {**tagged, **{name: _write(root / name, [text]) for name, text in seals.items()}}


def write_model(root: Path, model: Model) -> Digests:
    """Write a bag's model."""
    return _write(root / MODEL, [_model_text(model)])


def write_fetch(root: Path, payload: Sequence[Payload], base_url: str) -> dict[str, Digests]:
    """Write the list of the files that a bag lacks; none if it lacks none.

    Args:
        root: The bag's directory.
        payload: The files.
        base_url: What stands before the URLs of the object store.

    Returns:
        The hashes of what was written, by its path within the bag.
    """
    if not payload:
        return {}
    return {"fetch.txt": _write(root / "fetch.txt", [fetch_text(payload, base_url)])}


def _write_table(root: Path, session: Session, found: Found) -> tuple[Digests | None, list[Payload]]:
    """Write a table's rows; nothing if there are none."""
    payload: list[Payload] = []
    groups = found_rows(session, found)
    first = next(groups, None)
    if first is None:
        return None, payload
    header, write = csv_writer(found.table.columns)
    with_files = is_asset(found.table)

    def lines() -> Iterator[tuple[str, str]]:
        for rows in chain([first], groups):
            if with_files:
                payload.extend(payload_of(found.table, rows))
            for row in rows:
                yield str(row["RID"]), write(row)

    path = root / table_path(*found.table.qualified)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_sorted(path, header, lines()), payload


def _write(path: Path, texts: Iterable[str]) -> Digests:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        return hash_parts((text.encode() for text in texts), out)


def _model_text(model: Model) -> str:
    document: dict[str, Json] = {
        "snaptime": model.snaptime,
        "annotations": dict(model.annotations),
        "schemas": {name: _public(schema_document(schema)) for name, schema in model.schemas.items()},
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n"


def _public(value: Json) -> Json:
    """A document without what depends on who asks; what users wrote into annotations stays as it is."""
    if isinstance(value, list):
        return [_public(item) for item in value]
    if isinstance(value, dict):
        return {key: item if key in _FREE else _public(item) for key, item in value.items() if key not in _PRIVATE}
    return value
