"""Who else may use a catalog: the usual sets of rights, put into the access lists of the catalog and the object store.

Finer ones are given through ERMrest's and Hatrac's own lists, table by table; this is for "she may read" and "he may
work here too". A catalog's past is read by the access lists of its time, so the lists are amended there too: who is let
in can read the versions of datasets that were made before, and who is shut out no longer can.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from deriva_ml.catalog.exchange import check, json_body
from deriva_ml.catalog.transport import Transport
from deriva_ml.wire.http import Request

__all__ = ["LEVELS", "grant", "revoke"]

LEVELS = {
    "reader": (("enumerate", "select"), ("read", "subtree-read")),
    "writer": (
        ("enumerate", "select", "write"),
        ("read", "create", "subtree-read", "subtree-create", "subtree-update"),
    ),
    "owner": (("owner",), ("owner", "subtree-owner")),
}
"""For each level the lists of the catalog, and of the root namespace of the object store, that it stands for.

What is called ``subtree-`` holds for all that lies below, and not for the root itself.
"""


def grant(transport: Transport, catalog_id: str, who: str, level: str) -> None:
    """Give a user or a group the rights of a level, and no others.

    Args:
        transport: Where the catalog is.
        catalog_id: The catalog.
        who: The user, the group, or ``*`` for everyone, who can be a reader only.
        level: One of `LEVELS`.
    """
    lists, names = LEVELS[level]
    _share(transport, catalog_id, who, lists)
    _put(transport, "/hatrac/;acl", who, names)


def revoke(transport: Transport, catalog_id: str, who: str) -> None:
    """Take a user or a group out of every list of the catalog, present and past, and of the object store's root."""
    _share(transport, catalog_id, who, ())
    _put(transport, "/hatrac/;acl", who, ())


def _share(transport: Transport, catalog_id: str, who: str, lists: tuple[str, ...]) -> None:
    """Put someone into lists of a catalog, now and at every moment that is known of it."""
    base = f"/ermrest/catalog/{quote(catalog_id, safe='')}"
    _put(transport, f"{base}/acl", who, lists)
    asked = Request("GET", f"{base}/acl")
    now = check(asked, transport.send(asked)).read()
    change = Request("PUT", f"{base}/history/,/acl", {"content-type": "application/json"}, now)
    check(change, transport.send(change)).close()


def _put(transport: Transport, target: str, who: str, wanted: tuple[str, ...]) -> None:
    """Let a set of lists have someone in the wanted ones only."""
    asked = Request("GET", target)
    known = json.loads(check(asked, transport.send(asked)).read())
    for name, members in known.items():
        changed = [one for one in members or [] if one != who] + ([who] if name in wanted else [])
        if changed != (members or []):
            change = Request("PUT", f"{target}/{name}", {"content-type": "application/json"}, json_body(changed))
            check(change, transport.send(change)).close()
