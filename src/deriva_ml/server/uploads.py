"""Upload jobs: large content in chunks, in any order, repeated and resumed at will, also after a restart.

The chunks of a job are gathered in one file, each at its place. A chunk counts once it is on the disk whole: its mark
is taken away before it is written again. A job is finished only while nobody writes to its file; the file is then
hashed, and becomes a version of the object, with the job's id.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import cast

from deriva_ml.server.names import Job, NameStore, Records, new_id
from deriva_ml.server.object_names import make_name, owner_of
from deriva_ml.server.object_requests import body_of, canonical_metadata, digest_mismatch, media_type, read_json
from deriva_ml.server.objects import Gathering, ObjectFiles
from deriva_ml.server.replies import Refusal, created, document, done, enforce, lines, not_found, permitted, url_of
from deriva_ml.wire.hatrac import ObjectTarget
from deriva_ml.wire.http import Client, Request, Response
from deriva_ml.wire.model import Json

__all__ = ["Uploads"]

COUNTS = ("chunk-length", "content-length")
DIGESTS = ("content-md5", "content-sha256")
TEXTS = ("content-type", "content-md5", "content-sha256", "content-disposition")
OLD_NAMES = {
    "chunk_bytes": "chunk-length",
    "total_bytes": "content-length",
    "content_type": "content-type",
    "content_md5": "content-md5",
    "content_sha256": "content-sha256",
    "content_disposition": "content-disposition",
}

WRONG_METHOD = "Request method not allowed on this resource."

Handler = Callable[[Request, Client, ObjectTarget], Response]


class Uploads:
    """Upload jobs.

    Args:
        store: The records.
        files: The content.
    """

    def __init__(self, store: NameStore, files: ObjectFiles) -> None:
        self._store = store
        self._files = files

    def handlers(self) -> Mapping[str, Handler]:
        """What answers requests about upload jobs, by method."""
        return {"GET": self._get, "POST": self._post, "PUT": self._put, "DELETE": self._delete}

    @staticmethod
    def _job(records: Records, client: Client, target: ObjectTarget) -> Job:
        """The job that a target names, which the client owns."""
        *above, name = records.chain(target.name)
        url = f"{target.url};upload/{target.parts[0]}"
        if name is None or name.is_deleted or name.is_namespace:
            raise not_found(url)
        jobs = records.jobs(name, target.parts[0])
        if not jobs:
            raise not_found(url)
        if client.id not in jobs[0].owner and not set(client.roles) & set(jobs[0].owner):
            enforce(client, ("owner",), name, above, url)
        return jobs[0]

    def _get(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        if len(target.parts) > 1:
            raise Refusal(405, WRONG_METHOD)
        with self._store.read() as records:
            if target.parts:
                job = self._job(records, client, target)
                return document(request, cast("Json", _shown(job)), etag=False)
            *above, name = records.chain(target.name)
            if name is None or name.is_deleted or name.is_namespace:
                raise not_found(target.url)
            is_owner = permitted(client, ("owner",), name, above)
            own = [job for job in records.jobs(name) if is_owner or client.id in job.owner]
            if not is_owner and not own:
                enforce(client, ("owner",), name, above, target.url)
            return lines(request, list(map(_job_url, own)), etag=False)

    def _post(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        if len(target.parts) > 1:
            raise Refusal(405, WRONG_METHOD)
        return self._finish(client, target) if target.parts else self._begin(request, client, target)

    def _begin(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        described = _description(request)
        job_id = new_id()
        with self._store.write() as records:
            *above, name = records.chain(target.name)
            if name is not None and (name.is_namespace or name.is_deleted):
                raise Refusal(409, f"Name {name.path} is not available for use.")
            if name is None:
                name = make_name(records, client, target, above, is_namespace=False)
            else:
                enforce(client, ("update", "owner"), name, above, target.url)
            records.add_job(job_id, name, described, owner_of(client))
        return created(f"{target.url};upload/{job_id}")

    def _put(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        if len(target.parts) != 2:
            raise Refusal(405, WRONG_METHOD)
        with self._store.read() as records:
            job = self._job(records, client, target)
        position = _position(job, target.parts[1])
        body = body_of(request)
        expected = job.length_of(position)
        announced = request.headers.get("content-length", "")
        known = str(len(body or b"")) if body is None or isinstance(body, bytes) else announced
        if not known.isdigit():
            raise Refusal(411, "Content-Length header required.")
        _check_length(int(known), expected)
        wanted = canonical_metadata({name: request.headers[name] for name in DIGESTS if name in request.headers})
        with self._files.gathering(job.id) as gathering:
            self._mark(client, target, position, is_there=False)
            try:
                digests = gathering.write(position * job.chunk_length, expected, body)
                _check_length(digests.length, expected)
                if mismatch := digest_mismatch(digests, wanted):
                    kind, received, wished = mismatch
                    raise Refusal(400, f"Received content {kind} {received} does not match expected {wished}.")
            except BaseException:
                # Another request may have brought the same chunk meanwhile; this one has written over it.
                self._mark(client, target, position, is_there=False)
                raise
            self._mark(client, target, position, is_there=True)
        return done()

    def _mark(self, client: Client, target: ObjectTarget, position: int, *, is_there: bool) -> None:
        """Say whether a chunk is there; while its bytes are being written, it is not."""
        with self._store.write() as records:
            records.set_chunk(self._job(records, client, target), position, is_there=is_there)

    def _finish(self, client: Client, target: ObjectTarget) -> Response:
        with self._store.read() as records:
            _check_whole(records, self._job(records, client, target))
        with self._files.gathering(target.parts[0], alone=True) as gathering:
            return self._publish(client, target, gathering)

    def _publish(self, client: Client, target: ObjectTarget, gathering: Gathering) -> Response:
        with self._store.read() as records:
            job = self._job(records, client, target)
            _check_whole(records, job)  # again: whoever was writing a chunk is done now, or has failed
        digests = gathering.finish(job.content_length)
        metadata = {name: str(value) for name, value in job.document.items() if name in TEXTS}
        if mismatch := digest_mismatch(digests, metadata):
            kind, *pair = mismatch
            actual, expected = (b64decode(digest).hex().encode() for digest in pair)  # as the original writes them
            raise Refusal(409, f"Current uploaded content {kind} {actual!r} does not match expected {expected!r}.")
        with self._store.write() as records:
            job = self._job(records, client, target)  # another request may have ended it meanwhile
            name = records.chain(target.name)[-1]
            if name is None or name.is_deleted:
                raise not_found(target.url)
            self._files.publish_job(job.id, digests)
            records.add_version(name, job.id, digests, metadata, job.owner)
            records.delete_job(job)
        self._files.drop_job(job.id)
        return created(url_of(target.name, job.id))

    def _delete(self, request: Request, client: Client, target: ObjectTarget) -> Response:
        del request
        if len(target.parts) != 1:
            raise Refusal(405, WRONG_METHOD)
        with self._store.write() as records:
            job = self._job(records, client, target)
            records.delete_job(job)
        self._files.drop_job(job.id)
        return done()


def _check_whole(records: Records, job: Job) -> None:
    missing = job.chunks - records.count_chunks(job)
    if missing:
        raise Refusal(409, f"Upload job {_job_url(job)} lacks {missing} of its {job.chunks} chunks.")


def _job_url(job: Job) -> str:
    return f"{url_of(job.path)};upload/{job.id}"


def _shown(job: Job) -> dict[str, object]:
    return {"url": _job_url(job), "target": url_of(job.path), "owner": job.owner, **job.document}


def _position(job: Job, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refusal(400, f"Invalid chunk number {text}.")
    if int(text) >= job.chunks:
        raise Refusal(409, f"Uploaded chunk number {text} out of range.")
    return int(text)


def _check_length(length: int, expected: int) -> None:
    if length != expected:
        raise Refusal(409, f"Uploaded chunk byte count {length} does not match job chunk size {expected}.")


def _description(request: Request) -> dict[str, str | int]:
    """What a client says of the content that it is going to send."""
    if media_type(request) != "application/json":
        raise Refusal(400, "Only application/json input is accepted for upload jobs.")
    given = read_json(request)
    if not isinstance(given, dict):
        raise Refusal(400, "Job input must be a flat JSON object.")
    given = {OLD_NAMES.get(str(name), str(name)): value for name, value in given.items()}
    described: dict[str, str | int] = {name: _count(given, name) for name in COUNTS}
    texts = {name: _text(given, name) for name in TEXTS if given.get(name) not in (None, "")}
    if "content-type" in texts:
        texts["content-type"] = texts["content-type"].partition(";")[0].strip().lower()
    described.update(canonical_metadata(texts))
    if described["chunk-length"] == 0:
        raise Refusal(400, "Invalid count: a chunk has at least one byte.")
    return described


def _text(given: dict[str, object], name: str) -> str:
    value = given[name]
    if not isinstance(value, str):
        raise Refusal(400, f"Field '{name}' must be text, not {value!r}.")
    return value


def _count(given: dict[str, object], name: str) -> int:
    if name not in given:
        raise Refusal(400, f"Missing required field '{name}'.")
    value = given[name]
    try:
        count = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else -1
    except ValueError as error:
        raise Refusal(400, f"Invalid count: {error}.") from error
    if not 0 <= count < 1 << 62:
        raise Refusal(400, f"Invalid count: {value!r} is no length.")
    return count
