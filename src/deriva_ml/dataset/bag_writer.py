"""Writing a bag: tables, model, manifests. The files of assets are put in afterwards (``bag_payload``).

The bag is written here and not by ``bdbag.make_bag``, which changes the process's working directory while it works (no
other thread may use relative paths then), hashes every file once more, and keeps settings in the user's home. What it
would ensure is ensured by the tests: the bags made here pass ``bdbag``'s own validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from deriva_ml.core.files import Digests, hash_parts
from deriva_ml.dataset.bag_layout import (
    BAGIT,
    Payload,
    bag_info,
    fetch_text,
    manifest_text,
    payload_of,
    table_path,
)
from deriva_ml.dataset.cells import csv_lines
from deriva_ml.dataset.reach import Reach
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Model
from deriva_ml.wire.model_documents import schema_document

__all__ = ["write_bag"]

_LINES = 2000
_PRIVATE = frozenset({"acls", "acl_bindings", "rights"})
_FREE = frozenset({"annotations", "default"})


def write_bag(root: Path, content: Reach, snapshot: str, facts: Mapping[str, str], base_url: str) -> dict[str, Digests]:
    """Write a bag without the files of its assets.

    Args:
        root: The bag's directory, which is empty.
        content: The rows that belong to the dataset.
        snapshot: The version's snapshot.
        facts: Entries for ``bag-info.txt``.
        base_url: What stands before the URLs of the object store in ``fetch.txt``.

    Returns:
        The hashes of all files by their path within the bag.
    """
    data: dict[str, Digests] = {}
    payload: list[Payload] = []
    data["data/schema.json"] = _write(root / "data/schema.json", [_model_text(content.model)])
    for name, rows in content.rows.items():
        found = content.model.schemas[name[0]].tables[name[1]]
        path = table_path(*name)
        data[path] = _write(root / path, csv_lines(found.columns, rows))
        if is_asset(found):
            payload.extend(payload_of(found, rows))
    md5 = [*((path, each.md5) for path, each in data.items()), *((each.path, each.md5) for each in payload)]
    tags = {
        "bagit.txt": BAGIT,
        "bag-info.txt": bag_info(facts, snapshot, data.values(), payload),
        "manifest-md5.txt": manifest_text(md5),
        "manifest-sha256.txt": manifest_text((path, each.sha256) for path, each in data.items()),
    }
    if payload:
        tags["fetch.txt"] = fetch_text(payload, base_url)
    tagged = {name: _write(root / name, [text]) for name, text in tags.items()}
    seals = {
        "tagmanifest-md5.txt": manifest_text((name, each.md5) for name, each in tagged.items()),
        "tagmanifest-sha256.txt": manifest_text((name, each.sha256) for name, each in tagged.items()),
    }
    return {**data, **tagged, **{name: _write(root / name, [text]) for name, text in seals.items()}}


def _write(path: Path, lines: Iterable[str]) -> Digests:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        return hash_parts((part.encode() for part in _joined(lines)), out)


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines in parts that are worth hashing."""
    rest = iter(lines)
    for first in rest:
        yield "".join(chain((first,), islice(rest, _LINES)))


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
