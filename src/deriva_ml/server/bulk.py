"""Many objects at once, for a client in this process: what the protocol does one by one, with one wait for the disk.

1. A file is read once: it is hashed while it is copied into the store, before anybody knows its name, which may contain
   its hash.
2. The files of one call are flushed together, several at a time, and recorded in one transaction.
3. What is on the disk when comes in the order of single requests: content, its name, its record. So a crash leaves at
   worst content without a record, which is swept.
4. Access lists and preconditions hold as for single requests. A refusal concerns its own object only; a disk that
   refuses ends the call, and nothing of it is recorded.
5. Where the contents of many objects lie is one question.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from deriva_ml.core.files import Digests, fsync_directory
from deriva_ml.server.access import is_local
from deriva_ml.server.names import Name, NameStore, Records, new_id
from deriva_ml.server.object_names import owner_of
from deriva_ml.server.object_requests import announced, check_received, media_type
from deriva_ml.server.objects import Incoming, ObjectFiles
from deriva_ml.server.replies import Refusal, created, url_of
from deriva_ml.wire.hatrac import MOUNT, ObjectTarget, parse_object_target
from deriva_ml.wire.http import Client, Request, Response

__all__ = ["Bulk", "Taken"]

THREADS = 8
"""How many files are flushed at a time: the file system then writes its own journal once for several."""

MakeObject = Callable[[Request, Client, ObjectTarget, Records], Name]


class Taken:
    """The content of a file that the store has taken in and that has no name yet.

    Attributes:
        digests: What it is.
    """

    def __init__(self, incoming: Incoming) -> None:
        self.digests: Digests = incoming.digests
        self.incoming = incoming

    def discard(self) -> None:
        """Remove it, unless it has got a name; what a disk that fails does not let go of is swept later."""
        with suppress(OSError):
            self.incoming.discard()


class Bulk:
    """The door of one store for many objects.

    Args:
        store: The records.
        files: The content.
        make_object: Gives the object that a request names, which the client may write; makes it if need be.
        prepare: Called before content is recorded.
    """

    def __init__(
        self, store: NameStore, files: ObjectFiles, make_object: MakeObject, prepare: Callable[[], None]
    ) -> None:
        self._store = store
        self._files = files
        self._make_object = make_object
        self._prepare = prepare

    def take_in(self, source: Path, progress: Callable[[int], None] = lambda _count: None) -> Taken:
        """Copy a file into the store and hash it on the way; it is flushed when it gets its name.

        Args:
            source: The file.
            progress: Called with the number of bytes each time some have been read.

        Raises:
            OSError: It cannot be read, or the disk of the store refuses.
        """
        with source.open("rb", buffering=0) as opened:
            return Taken(self._files.take_in(opened, progress))

    def put(self, requests: Sequence[Request], taken: Sequence[Taken], client: Client) -> list[Response]:
        """Give names to what was taken in, as ``PUT`` requests of these objects would; an answer for each.

        An object that has this very content already keeps its version.

        Args:
            requests: The requests, without bodies.
            taken: The content of each.
            client: Who asks.

        Raises:
            OSError: The disk refuses; nothing was recorded.
        """
        self._prepare()
        _in_threads(_fsync, [one.incoming.path for one in taken if one.incoming.path is not None])
        with self._store.write() as records:
            answers = [self._record(*pair, client, records) for pair in zip(requests, taken, strict=True)]
            folders = sorted({self._files.path(one.digests.sha256).parent for one in taken})
            _in_threads(fsync_directory, [folder for folder in folders if folder.is_dir()])
        return answers

    def local_paths(self, urls: Sequence[str], client: Client) -> list[str | None]:
        """The files that hold the contents of objects; None for what is to be asked for by a request of its own.

        That is whatever is not there, is named without its version, or by a name that it had before; and everything
        for a client whom access lists concern.

        Args:
            urls: The objects' URL paths.
            client: Who asks.
        """
        if not is_local(client):
            return [None] * len(urls)
        wanted = [(name.removeprefix(MOUNT), version) for name, _colon, version in (url.partition(":") for url in urls)]
        with self._store.read() as records:
            contents = records.contents({version for _name, version in wanted})
        folder = str(self._files.folder)
        found = [contents.get(one) for one in wanted]
        return [None if sha256 is None else f"{folder}/{sha256[:2]}/{sha256}" for sha256 in found]

    def _record(self, request: Request, taken: Taken, client: Client, records: Records) -> Response:
        try:
            target = parse_object_target(request.target)
            metadata = announced(request, media_type(request))
            check_received(request, taken.incoming, metadata)
            name = self._make_object(request, client, target, records)
        except Refusal as refusal:
            return refusal.answer
        current = records.current(name)
        if current is not None and current.digests == taken.digests:
            return created(url_of(name.path, current.id))
        if taken.incoming.path is None and not self._files.path(taken.digests.sha256).exists():
            # it had a name once, and that was deleted meanwhile
            return Refusal(409, f"The content of {target.url} is not there any more.").answer
        version_id = new_id()
        self._files.publish(taken.incoming, flush=False)
        records.add_version(name, version_id, taken.digests, metadata, owner_of(client))
        return created(url_of(name.path, version_id))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _in_threads(work: Callable[[Path], None], paths: Sequence[Path]) -> None:
    if len(paths) == 1:
        work(paths[0])
        return
    with ThreadPoolExecutor(THREADS, "deriva-ml-flush") as pool:
        for _done in pool.map(work, paths):
            pass
