"""What is kept beside an object's content: metadata of versions, access lists of everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from deriva_ml.server.names import Name, NameStore, Records, Version
from deriva_ml.server.object_requests import canonical_metadata, document_body, media_type, read_json
from deriva_ml.server.replies import Refusal, document, done, enforce, not_found, text, url_of
from deriva_ml.wire.hatrac import ObjectTarget
from deriva_ml.wire.http import Client, Request, Response
from deriva_ml.wire.model import Json

__all__ = ["ObjectProperties"]

FIELDS = ("content-type", "content-md5", "content-sha256", "content-disposition")
DIGESTS = ("content-md5", "content-sha256")

Handler = Callable[[Request, Client, ObjectTarget], Response]
Thing = tuple[Name | Version, list[Name | None], str]
"""A name or a version, what it lies in, and its URL."""


class ObjectProperties:
    """Metadata and access lists.

    Args:
        store: The records.
    """

    def __init__(self, store: NameStore) -> None:
        self._store = store

    def metadata_handlers(self) -> Mapping[str, Handler]:
        """What answers requests about metadata, by method."""
        return {"GET": self._get_metadata, "PUT": self._put_metadata, "DELETE": self._delete_metadata}

    def acl_handlers(self) -> Mapping[str, Handler]:
        """What answers requests about access lists, by method."""
        return {"GET": self._get_acl, "PUT": self._put_acl, "DELETE": self._delete_acl}

    # ------------------------------------------------------------------------------------------ metadata

    @staticmethod
    def _version(records: Records, client: Client, target: ObjectTarget, access: tuple[str, ...]) -> Version:
        """The version that a target means, on which the client holds a right."""
        *above, name = records.chain(target.name)
        if name is None or name.is_deleted:
            raise not_found(url_of(target.name))
        if name.is_namespace:
            raise Refusal(404, "Namespaces do not have metadata sub-resources.")
        version = records.version(name, target.version) if target.version else records.current(name)
        if version is None and target.version:
            raise Refusal(404, f"Resource {target.url} not available.")
        if version is None:
            raise Refusal(409, f"Object {target.url} currently has no content.")
        enforce(client, access, version, [*above, name], url_of(name.path, version.id))
        return version

    @staticmethod
    def _field(target: ObjectTarget) -> str:
        field = target.parts[0].lower() if target.parts else ""
        if field not in FIELDS:
            raise Refusal(400, f"Unknown metadata key {field}")
        return field

    def _get_metadata(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        with self._store.read() as records:
            version = self._version(records, client, target, ("read", "owner"))
        if not target.parts:
            return document(request, cast("Json", version.metadata))
        field = self._field(target)
        if field not in version.metadata:
            raise Refusal(404, f"Metadata {url_of(version.path, version.id)};metadata/{field} not found.")
        return text(request, version.metadata[field])

    def _put_metadata(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        if media_type(request) != "text/plain":
            raise Refusal(400, "Only text/plain input is accepted for metadata.")
        try:
            value = document_body(request).decode().strip()
        except UnicodeDecodeError as error:
            raise Refusal(400, "Metadata must be UTF-8 text.") from error
        with self._store.write() as records:
            version = self._version(records, client, target, ("owner",))
            field = self._field(target)
            value = canonical_metadata({field: value})[field]
            _check_digest(version, field, value)
            records.set_metadata(version, {**version.metadata, field: value})
        return done()

    def _delete_metadata(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        del request
        with self._store.write() as records:
            version = self._version(records, client, target, ("owner",))
            field = self._field(target)
            records.set_metadata(version, {name: value for name, value in version.metadata.items() if name != field})
        return done()

    # ------------------------------------------------------------------------------------------ access lists

    @staticmethod
    def _thing(records: Records, client: Client, target: ObjectTarget) -> Thing:
        """The name or version whose access lists a target means; the client owns it."""
        *above, name = records.chain(target.name)
        if name is None or name.is_deleted:
            raise not_found(url_of(target.name))
        if not target.version:
            enforce(client, ("owner",), name, above, target.url)
            return name, above, target.url
        version = None if name.is_namespace else records.version(name, target.version)
        if version is None:
            raise Refusal(404, f"Resource {target.url} not available.")
        enforce(client, ("owner",), version, [*above, name], target.url)
        return version, [*above, name], target.url

    @staticmethod
    def _roles(thing: Name | Version, url: str, access: str) -> list[str]:
        if access not in thing.acls:
            raise Refusal(400, f"Invalid ACL name {access} for {url}.")
        return thing.acls[access]

    def _get_acl(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        with self._store.read() as records:
            thing, _, url = self._thing(records, client, target)
        if not target.parts:
            return document(request, cast("Json", thing.acls))
        roles = self._roles(thing, url, target.parts[0])
        if len(target.parts) == 1:
            return document(request, list(roles))
        return text(request, _member(target, url, roles))

    def _put_acl(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        with self._store.write() as records:
            thing, _, url = self._thing(records, client, target)
            if not target.parts:
                raise Refusal(400, "Name the access list to change.")
            access, *role = target.parts
            roles = self._roles(thing, url, access)
            changed = [*roles, *(r for r in role if r not in roles)] if role else _roles_input(request)
            self._save(records, thing, access, changed)
        return done()

    def _delete_acl(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        del request
        with self._store.write() as records:
            thing, _, url = self._thing(records, client, target)
            if not target.parts:
                raise Refusal(400, "Name the access list to empty.")
            roles = self._roles(thing, url, target.parts[0])
            member = _member(target, url, roles) if len(target.parts) > 1 else None
            self._save(records, thing, target.parts[0], [r for r in roles if member is not None and r != member])
        return done()

    @staticmethod
    def _save(records: Records, thing: Name | Version, access: str, roles: list[str]) -> None:
        acls = {**thing.acls, access: roles}
        if isinstance(thing, Version):
            records.set_version_acls(thing, acls)
        else:
            records.set_name_acls(thing, acls)


def _check_digest(version: Version, field: str, value: str) -> None:
    """A digest can be said once, and must be that of the content."""
    if field not in DIGESTS:
        return
    known = version.metadata.get(field)
    if known is not None and known != value:
        raise Refusal(409, f"Metadata {field} of {url_of(version.path, version.id)} cannot be changed.")
    actual = version.digests.md5_base64 if field == "content-md5" else version.digests.sha256_base64
    if value != actual:
        raise Refusal(409, f"Metadata {field} {value} is not that of the content, {actual}.")


def _member(target: ObjectTarget, url: str, roles: list[str]) -> str:
    access, role = target.parts
    if role not in roles:
        raise Refusal(404, f"ACL member {url};acl/{access}/{role} not found.")
    return role


def _roles_input(request: Request) -> list[str]:
    if media_type(request) != "application/json":
        raise Refusal(400, "Only application/json input is accepted for ACLs.")
    roles = read_json(request)
    if not isinstance(roles, list):
        raise Refusal(400, "ACL input must be a flat JSON array.")
    if not all(isinstance(role, str) for role in roles):
        raise Refusal(400, "ACL input must be a flat JSON array of strings.")
    return list(dict.fromkeys(roles))
