"""The object store: from a request to an answer, without a socket.

What a request is about is read off its raw target; then the records say what is there, the access lists whether the
client may, and the files hold the bytes. Content arrives before the database is locked, and takes its name inside the
transaction that records it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from deriva_ml.server.bulk import Bulk, Taken
from deriva_ml.server.errors import translate, translate_file
from deriva_ml.server.names import Name, NameStore, Records, Version, new_id
from deriva_ml.server.object_names import Owner, check_parent, make_name, owner_of, taken
from deriva_ml.server.object_properties import ObjectProperties
from deriva_ml.server.object_requests import (
    announced,
    body_of,
    check_received,
    default_disposition,
    media_type,
    range_of,
    rename_command,
)
from deriva_ml.server.objects import Incoming, ObjectFiles
from deriva_ml.server.replies import (
    Refusal,
    check_tag,
    created,
    done,
    enforce,
    lines,
    no_resource,
    not_found,
    readable,
    url_of,
    wrong_method,
)
from deriva_ml.server.uploads import Uploads
from deriva_ml.wire.hatrac import NAMESPACE_TYPE, ObjectTarget, UnknownResource, parse_object_target
from deriva_ml.wire.http import Client, Request, Response

__all__ = ["Hatrac"]

NAME_METHODS = "GET, DELETE, PUT, HEAD, POST, TRACE, OPTIONS"
VERSION_METHODS = "GET, DELETE, HEAD, TRACE, OPTIONS"

Handler = Callable[[Request, Client, ObjectTarget], Response]


class Hatrac:
    """The object store of one folder.

    Args:
        root: The folder: records in ``hatrac.db``, content below ``objects``.
        owners: Roles that own the root namespace of a new store.
        below: The content of another store, for records that were copied from there (`overlay`).
    """

    def __init__(self, root: Path, owners: Owner = ("admin",), *, below: Path | None = None) -> None:
        self._store = NameStore(root / "hatrac.db", owners)
        self._files = ObjectFiles(root / "objects", below=below)
        self._is_swept = False
        properties = ObjectProperties(self._store)
        uploads = Uploads(self._store, self._files)
        self.bulk = Bulk(self._store, self._files, self._object, self._sweep_once)
        self._handlers: dict[tuple[str, str], Handler] = {
            ("", "GET"): self._get,
            ("", "PUT"): self._put,
            ("", "POST"): self._post,
            ("", "DELETE"): self._delete,
            ("versions", "GET"): self._versions,
            **{("metadata", method): handler for method, handler in properties.metadata_handlers().items()},
            **{("acl", method): handler for method, handler in properties.acl_handlers().items()},
            **{("upload", method): handler for method, handler in uploads.handlers().items()},
        }

    def __call__(self, request: Request, client: Client) -> Response:
        """Answer a request."""
        try:
            answer = self._dispatch(request, client)
        except Refusal as refusal:
            answer = readable(request, refusal.answer)
        except (sqlite3.Error, OSError) as error:
            answer = self._refused(error)
        if request.method == "HEAD" and answer.body:
            answer.close()
            answer.body = b""
        return answer

    def put_taken(self, requests: Sequence[Request], taken: Sequence[Taken], client: Client) -> list[Response]:
        """Answer the requests that name what was taken in, one for each."""
        try:
            return self.bulk.put(requests, taken, client)
        except (sqlite3.Error, OSError) as error:
            return [self._refused(error) for _request in requests]

    def _refused(self, error: sqlite3.Error | OSError) -> Response:
        """The answer where the database or the disk refuses."""
        if isinstance(error, sqlite3.Error):
            known = translate(error, self._store.path)
        else:
            known = translate_file(error, self._files.folder)
        if known is None:
            raise error
        return Refusal(known.status, known.text.strip()).answer

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def sweep(self) -> int:
        """Remove files that a crash left over; give their number."""
        return self._files.sweep()

    def local_path(self, url: str, client: Client) -> Path | None:
        """The file that holds an object's content, if there is one and the client may read it.

        Args:
            url: The object's URL path, with or without its version.
            client: Who asks.
        """
        try:
            target = parse_object_target(url)
            with self._store.read() as records:
                version = self._readable(records, client, target)
        except (Refusal, ValueError):
            return None
        path = self._files.found(version.digests.sha256)
        return path if path.exists() else None

    def _dispatch(self, request: Request, client: Client) -> Response:
        try:
            target = parse_object_target(request.target)
        except UnknownResource:
            return no_resource()
        except ValueError as error:
            raise Refusal(400, f"Request malformed. {error}") from error
        methods = VERSION_METHODS if target.version and not target.sub else NAME_METHODS
        if request.method == "OPTIONS":
            return Response(200, {"content-type": "text/html; charset=utf-8", "allow": methods, "content-length": "0"})
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._handlers.get((target.sub, method))
        if handler is None or (not target.sub and target.version and method in {"PUT", "POST"}):
            return wrong_method(methods)
        return handler(request, client, target)

    # ------------------------------------------------------------------------------------------ reading

    def _get(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        with self._store.read() as records:
            *above, name = records.chain(target.name)
            if name is not None and name.is_namespace and not name.is_deleted and not target.version:
                enforce(client, ("read", "owner"), name, above, target.url)
                if "range" in request.headers:
                    raise Refusal(501, f"Range requests not implemented for resource {target.url}.")
                return lines(request, list(map(url_of, records.children(name))))
            version = self._readable(records, client, target)
        return self._content(request, version)

    @staticmethod
    def _readable(records: Records, client: Client, target: ObjectTarget) -> Version:
        """The version that a target names, which the client may read."""
        *above, name = records.chain(target.name)
        if name is None or name.is_deleted or name.is_namespace:
            raise not_found(target.url)
        if target.version:
            version = records.version(name, target.version)
            if version is None:
                raise Refusal(404, f"Resource {target.url} not available.")
        else:
            version = records.current(name)
            if version is None:
                enforce(client, ("read", "update", "owner"), name, above, target.url)
                raise Refusal(409, f"Object {target.url} currently has no content.")
        enforce(client, ("read", "owner"), version, [*above, name], url_of(name.path, version.id))
        return version

    def _content(self, request: Request, version: Version) -> Response:
        etag = f'"{version.id}"'
        check_tag(request, etag)
        url = url_of(version.path, version.id)
        length = version.digests.length
        headers = {
            "content-type": version.metadata.get("content-type", "application/octet-stream"),
            "content-disposition": version.metadata.get("content-disposition") or default_disposition(version.path),
            "content-location": url,
            "content-length": str(length),
            "etag": etag,
            "vary": "cookie",
            # Of what was stored: whoever fetches it can tell whether the disk has kept it.
            "repr-digest": f"sha-256=:{version.digests.sha256_base64}:",
        }
        first, last = range_of(request, url, length, etag) or (0, length - 1)
        status = 200
        if (first, last) != (0, length - 1):
            status = 206
            headers["content-range"] = f"bytes {first}-{last}/{length}"
            headers["content-length"] = str(last - first + 1)
        else:
            digests = ("content-md5", "content-sha256")
            headers.update({name: version.metadata[name] for name in digests if name in version.metadata})
        if request.method == "HEAD":
            # As the original has it: a range changes the status of a HEAD, and not the length.
            headers.update({"accept-ranges": "bytes", "content-length": str(length)})
            return Response(status, headers)
        try:
            return Response(status, headers, self._files.read(version.digests.sha256, first, last - first + 1))
        except FileNotFoundError as error:
            # Either it was deleted since the records were read, or the folder is damaged; the client cannot mend it.
            raise Refusal(404, f"Resource {url} not available.") from error

    def _versions(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        with self._store.read() as records:
            *above, name = records.chain(target.name)
            if name is None or name.is_deleted or name.is_namespace:
                raise not_found(target.url)
            enforce(client, ("owner", "read", "update"), name, above, target.url)
            return lines(request, [url_of(name.path, version.id) for version in records.versions(name)])

    # ------------------------------------------------------------------------------------------ writing

    def _put(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        content_type = media_type(request)
        if content_type == NAMESPACE_TYPE:
            with self._store.read() as records:
                name = records.chain(target.name)[-1]
            if name is None or name.is_deleted or name.is_namespace:
                return self._put_namespace(request, client, target)
        return self._put_object(request, client, target, content_type)

    def _put_namespace(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        with self._store.write() as records:
            *above, name = records.chain(target.name)
            check_tag(request, None if name is None else '""')
            if name is not None:
                raise Refusal(409, taken(name))
            make_name(records, client, target, above, is_namespace=True)
        return created(target.url)

    def _put_object(self, request: Request, client: Client, target: ObjectTarget, content_type: str) -> Response:
        with self._store.read() as records:
            self._may_write(request, client, target, records)
        try:
            metadata = announced(request, content_type)
            with self._files.receive(body_of(request)) as incoming:
                check_received(request, incoming, metadata)
                return self._publish(request, client, target, incoming, metadata)
        except Refusal as refusal:
            # As in the original, an object whose first content is refused is there, without content.
            if refusal.answer.status == 400:
                with self._store.write() as records:
                    self._object(request, client, target, records)
            raise

    @staticmethod
    def _may_write(request: Request, client: Client, target: ObjectTarget, records: Records) -> list[Name | None]:
        """Refuse before the content is read what would be refused after; give what lies above, and the object."""
        chain = records.chain(target.name)
        *above, name = chain
        if name is None:
            check_tag(request, None)
            check_parent(client, target.name, above, parents=target.parents)
            return chain
        if name.is_namespace or name.is_deleted:
            raise Refusal(409, taken(name))
        enforce(client, ("update", "owner"), name, above, target.url)
        current = records.current(name)
        check_tag(request, f'"{current.id}"' if current else None)
        return chain

    def _object(self, request: Request, client: Client, target: ObjectTarget, records: Records) -> Name:
        """The object that a target names, which the client may write; made if it does not exist."""
        *above, name = self._may_write(request, client, target, records)
        return name or make_name(records, client, target, above, is_namespace=False)

    def _publish(
        self, request: Request, client: Client, target: ObjectTarget, incoming: Incoming, metadata: dict[str, str]
    ) -> Response:
        version_id = new_id()
        self._sweep_once()
        with self._store.write() as records:
            name = self._object(request, client, target, records)
            self._files.publish(incoming)
            records.add_version(name, version_id, incoming.digests, metadata, owner_of(client))
        return created(url_of(name.path, version_id))

    def _sweep_once(self) -> None:
        """Sweep once for each opening, and not when a folder is only read."""
        if not self._is_swept:
            self._is_swept = True
            self.sweep()

    def _post(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        """Take over the versions of another object: the only command there is."""
        source, wanted, copy_acls = rename_command(request)
        with self._store.write() as records:
            *above, name = records.chain(source)
            if name is None or name.is_deleted:
                raise not_found(url_of(source))
            if name.is_namespace:
                raise Refusal(409, f"Resource {url_of(source)} is not an object.")
            enforce(client, ("owner",), name, above, url_of(source))
            target_name = self._object(request, client, target, records)
            versions = records.versions(name)[::-1]
            if missing := set(wanted or ()) - {version.id for version in versions}:
                raise not_found(url_of(source, min(missing)))
            moved = records.move_versions([v for v in versions if wanted is None or v.id in wanted], target_name)
            for version in moved:
                acls = version.acls if copy_acls else {**version.acls, "owner": [*owner_of(client)], "read": []}
                records.set_version_acls(version, acls)
            if copy_acls:
                records.set_name_acls(target_name, name.acls)
        return created(*(url_of(target.name, v.id) for v in moved), location=False) if moved else done()

    def _delete(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        if not target.name:
            raise Refusal(403, "Root service namespace /hatrac/ cannot be deleted.")
        with self._store.write() as records:
            *above, name = records.chain(target.name)
            if name is None or name.is_deleted:
                raise not_found(target.url)
            if target.version:
                contents = [self._delete_version(request, client, target, records, name, above)]
                jobs: list[str] = []
            else:
                enforce(client, ("owner",), name, above, target.url)
                current = None if name.is_namespace else records.current(name)
                check_tag(request, f'"{current.id}"' if current else '""' if name.is_namespace else None)
                contents, jobs = records.delete_names(name)
        self._remove_unused(contents, jobs)
        return done()

    @staticmethod
    def _delete_version(
        request: Request,
        client: Client,
        target: ObjectTarget,
        records: Records,
        name: Name,
        above: Collection[Name | None],
    ) -> str:
        version = records.version(name, target.version or "")
        if version is None:
            raise Refusal(404, f"Resource {target.url} not available.")
        enforce(client, ("owner",), version, [*above, name], target.url)
        check_tag(request, f'"{version.id}"')
        records.delete_version(version)
        return version.digests.sha256

    def _remove_unused(self, contents: Collection[str], jobs: Collection[str]) -> None:
        """Remove files whose last record is gone: after that is certain, and while nobody can make a new one."""
        with self._store.write() as records:
            for sha256 in contents:
                if not records.is_used(sha256):
                    self._files.remove(sha256)
        for job in jobs:
            self._files.drop_job(job)
