"""How names of the object store come into being: what must lie above them, and who owns what they make."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from deriva_ml.server.names import Name, Records
from deriva_ml.server.replies import Refusal, enforce, not_found, url_of
from deriva_ml.wire.hatrac import ObjectTarget
from deriva_ml.wire.http import Client

__all__ = ["Owner", "check_parent", "make_name", "owner_of", "taken"]

Owner = Collection[str]


def owner_of(client: Client) -> Owner:
    """Who owns what a client makes."""
    return [client.id] if client.id else ["*"]


def taken(name: Name) -> str:
    """Why a name cannot be made: it is there, or was."""
    if name.is_deleted:
        return f"Name {url_of(name.path)} not available."
    return f"Namespace {url_of(name.path)} already exists."


def check_parent(client: Client, path: str, above: Sequence[Name | None], *, parents: bool) -> Name:
    """The nearest namespace above a name that does not exist; the client may create in it.

    Args:
        client: Who wants to make the name.
        path: The name.
        above: What lies above it, from the root down; None for what there is not.
        parents: What is missing above it shall be made.

    Raises:
        Refusal: What lies above is no namespace, is deleted, or is missing and shall not be made.
    """
    known = [name for name in above if name is not None]
    nearest = known[-1]
    if nearest.is_deleted:
        raise Refusal(409, f"Name {url_of(nearest.path)} not available.")
    if not nearest.is_namespace:
        raise Refusal(409, f"Parent {url_of(nearest.path)} is not a namespace.")
    if len(known) < len(above) and not parents:
        raise not_found(url_of(path.rpartition("/")[0]))
    enforce(client, ("create", "owner"), nearest, known[:-1], url_of(nearest.path))
    return nearest


def make_name(
    records: Records, client: Client, target: ObjectTarget, above: Sequence[Name | None], *, is_namespace: bool
) -> Name:
    """Make a name that does not exist, and the namespaces that are missing above it."""
    nearest = check_parent(client, target.name, above, parents=target.parents)
    missing = target.name[len(nearest.path) + 1 :].split("/")
    for segment in missing[:-1]:
        nearest = records.add_name(f"{nearest.path}/{segment}", nearest, is_namespace=True, owner=owner_of(client))
    return records.add_name(target.name, nearest, is_namespace=is_namespace, owner=owner_of(client))
