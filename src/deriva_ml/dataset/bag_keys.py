"""What a bag is known by: its keys in the cache, and the way in which it was exported; nothing is read or written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection

from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.schema.session import Session

__all__ = ["NO_ADDRESS", "bag_keys", "bag_scope", "base_url"]

FORMAT = 2
"""Counts up when the same version would be written otherwise: older entries of the cache are not used then."""

NO_ADDRESS = "deriva-ml:"
"""What stands before the URLs of the object store of a folder, which has no address.

``bdbag`` has no way to a folder's files, and says so of this scheme, where of others (``tag:``) it would report success
without fetching anything. The identity of the folder is left out: copies of a folder have the same bags.
"""


def bag_keys(session: Session, spec: DatasetSpec, snapshot: str) -> tuple[str, str]:
    """The keys under which the cache has a version's bag: with the files of assets, and without.

    Args:
        session: The catalog.
        spec: The version, and what is left out.
        snapshot: The version's snapshot.
    """
    facts = {
        "format": FORMAT,
        "identity": session.identity,
        "catalog": session.catalog_id,
        "schemas": [session.ml_schema, *sorted(session.domain_schemas)],
        "exclude": sorted(spec.exclude_tables or ()),
    }
    whole = {**facts, "materialized": True}
    bare = {**facts, "materialized": False, "place": base_url(session)}
    digests = (hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest() for each in (whole, bare))
    first, second = (f"{spec.rid}_{digest[:16]}_{snapshot}" for digest in digests)
    return first, second


def bag_scope(session: Session, spec: DatasetSpec, schemas: Collection[str]) -> str:
    """The way to export, as a word: a schema that is younger than the version is no part of its bag.

    Args:
        session: The catalog.
        spec: The version, and what is left out.
        schemas: The project's schemas that there were then.
    """
    facts = [FORMAT, session.ml_schema, sorted(schemas), sorted(spec.exclude_tables or ())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def base_url(session: Session) -> str:
    """What stands before the URLs of objects in ``fetch.txt``: the address of a service, if there is one."""
    return session.place.base_url or NO_ADDRESS
