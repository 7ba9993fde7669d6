"""Bags that a MINID names: the identifier's page tells where the bag is and its checksum.

Identifiers and the stores behind them are services of others; here they are only read. Making an identifier takes a
server that exports bags and an account with the identifier service, and is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from deriva_ml.catalog.web import fetch_document, fetch_file
from deriva_ml.core.archives import unpack
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLValidationError
from deriva_ml.core.files import Digests
from deriva_ml.dataset.aux_classes import DatasetMinid, DatasetVersion
from deriva_ml.dataset.bag_database import BagDatabase, build_database
from deriva_ml.dataset.bag_layout import MINID_FACT, bag_name
from deriva_ml.dataset.dataset_bag import DatasetBag
from deriva_ml.dataset.foreign_bag import ForeignBag, find_bag
from deriva_ml.workspace.cache import Cache

__all__ = ["RESOLVER", "fetch_minid", "open_minid"]

RESOLVER = "https://identifiers.org/"
"""What stands before an identifier in its short form, ``minid:...``."""

DATABASE = "tables.db"


def fetch_minid(identifier: str, dataset_version: DatasetVersion | str, *, resolver: str = RESOLVER) -> DatasetMinid:
    """What the identifier service says of a bag.

    Args:
        identifier: The identifier: its page's URL, or its short form ``minid:...``.
        dataset_version: The version of the dataset that it stands for, which the service need not know.
        resolver: What stands before a short form.

    Raises:
        DerivaMLDataError: It is no identifier, or its page is not that of a bag.
        DerivaMLUnreachable: The service does not answer.
    """
    url = identifier
    if not urlsplit(identifier).netloc:
        if not identifier.startswith("minid:") or len(identifier) == len("minid:"):
            raise DerivaMLDataError(
                f"Not a MINID: {identifier!r}.", allowed=["minid:...", "the https:// address of its page"]
            )
        url = resolver + identifier
    document = fetch_document(url, source=f"MINID {identifier}")
    try:
        return DatasetMinid.model_validate({"landing_page": url, **document, "dataset_version": dataset_version})
    except ValidationError as error:
        lacking = ", ".join(str(each["loc"][0]) for each in error.errors(include_url=False) if each["loc"])
        raise DerivaMLDataError(
            f"The page of {identifier} does not describe the bag of a dataset: {lacking}.", source=url
        ) from error


def open_minid(
    minid: DatasetMinid, directory: Path | str, *, materialize: bool = False, note: Mapping[str, Any] | None = None
) -> DatasetBag:
    """Fetch the bag that an identifier names, or find it in a directory that it was fetched to before.

    Args:
        minid: What the identifier service says of it, as ``fetch_minid`` gives it.
        directory: Where bags are kept; each is fetched once.
        materialize: Fetch the files of assets, too, that are not in the archive.
        note: Further facts to keep with the bag.

    Raises:
        DerivaMLValidationError: What arrived is not what the identifier says, or the bag is damaged.
        DerivaMLDataError: It is not a bag that can be read.
        DerivaMLUnreachable: A service does not answer.
    """
    if not minid.checksum:
        raise DerivaMLDataError(
            f"The page of {minid.minid} has no SHA-256 of its bag, so it could not be verified.",
            source=minid.landing_page,
        )
    key = f"{minid.dataset_rid}_{minid.checksum[:16]}_{minid.dataset_snapshot}"
    told = {
        "kind": "bag",
        "dataset": minid.dataset_rid,
        "version": str(minid.dataset_version),
        "snapshot": minid.dataset_snapshot,
        "minid": minid.minid,
        "materialized": False,
        "whole": f"{key}_files",
        **(note or {}),
    }
    cache = Cache(directory)
    entry = cache.entry(told["whole"]) or cache.populate(key, lambda place: _fill(minid, place), note=told)
    bag = entry.path / bag_name(minid.dataset_rid)
    opened = DatasetBag(BagDatabase(bag, entry.path / DATABASE), minid.dataset_rid)
    if materialize:
        opened.materialize()
    return opened


def _fill(minid: DatasetMinid, directory: Path) -> dict[str, Digests]:
    """Put the bag into an empty directory, with its database."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".unpacked-") as beside:
        archive = Path(beside) / "archive"
        fetch_file(minid.bag_url, archive, sha256=minid.checksum, source=f"MINID {minid.minid}")
        unpacked = Path(beside) / "unpacked"
        unpacked.mkdir()
        unpack(archive, unpacked)
        archive.unlink()
        foreign = ForeignBag(find_bag(unpacked))
        if foreign.dataset_rid not in (None, minid.dataset_rid):
            raise DerivaMLValidationError(
                f"{minid.minid} stands for dataset {minid.dataset_rid}, and its bag is of {foreign.dataset_rid}.",
                source=minid.bag_url,
            )
        bag = directory / bag_name(minid.dataset_rid)
        facts = {
            "Dataset-Version": str(minid.dataset_version),
            "External-Identifier": f"{minid.dataset_rid}@{minid.dataset_snapshot}",
            MINID_FACT: minid.minid,
        }
        files = foreign.write(bag, minid.dataset_rid, minid.dataset_snapshot, facts)
    build_database(bag, directory / DATABASE)
    return {f"{bag.name}/{path}": digests for path, digests in files.items()}
