"""Outputs on their way into the catalog: bytes, then rows, in batches; every step can be repeated.

1. RIDs are leased first and noted in the manifest, so that a repeated attempt finds the rows that an earlier one made.
2. A batch is one transaction for the objects, one for the rows with their links to the execution and their types (one
   each where the service takes no several requests in one), and one write of marks in the manifest. Whatever was done
   before a crash is found done: objects by their digests, rows by their RIDs, links by their keys.
3. Every output has a row of its own, whatever its content. Identical content of one name would have one object URL,
   and URLs are unique: the first keeps the name ``<md5>.<name>``, the others have ``<md5>.<RID>.<name>``. A store that
   is content-addressed, as the embedded one is, holds the bytes once all the same.
4. A file is read once: it is hashed, and taken into a store that is in this process, at the same time.
5. A lost connection and a fault that may pass (500, 502, 503, 504) are met by trying again, with growing pauses, as
   :class:`Patience` says; what the catalog refuses (4xx) is not tried again.
6. A file that fails does not keep the others back: its error is recorded with its entry. What concerns all files, a
   catalog that cannot be reached or does not know the caller, ends the attempt at once.
7. One process at a time uploads the outputs of a run.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

from deriva_ml.asset.tables import asset_table
from deriva_ml.asset.upload_rows import Item, RowWriter, catalog_name, object_name, patiently
from deriva_ml.catalog.bulk import Content, Naming, Outgoing
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.sending import JobNotes
from deriva_ml.catalog.transport import Retry, Transport, tuned
from deriva_ml.core.ermrest import UploadCallback, UploadProgress
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLException,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.files import HASH_BLOCK, file_lock, human_size
from deriva_ml.core.values import dataclass
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Table
from deriva_ml.workspace.manifest import AssetEntry, Manifest, Uploaded

__all__ = ["BATCH", "Patience", "UploadReport", "catalog_name", "object_name", "upload"]

BATCH = 500
"""How many outputs are committed together."""

THREADS = 4
"""How many objects are on their way at once."""

BATCH_BYTES = 1 << 29
"""A batch ends with the file that makes it larger than this, so that little is lost if the attempt is broken off."""

JOBS_NAME = "upload-jobs.json"
"""The file, beside the manifest, that says how far files that are sent in chunks have come."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How an upload meets a service that is slow or away; in a folder of this machine there is nothing to wait for.

    Attributes:
        max_retries: How often a request is tried again.
        retry_delay: Seconds before the first time; doubled before each further one.
        timeout: Seconds for which nothing may be taken of what is sent, and nothing come of an answer; by default the
            connection's own.
        chunk_size: Files longer than this are sent in chunks of so many bytes; by default the connection decides.
    """

    max_retries: int = 0
    retry_delay: float = 5.0
    timeout: tuple[float, float] | None = None
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            DerivaMLUploadError: A number is negative, or a chunk has no bytes.
        """
        if self.max_retries < 0 or self.retry_delay < 0 or (self.chunk_size is not None and self.chunk_size < 1):
            raise DerivaMLUploadError(
                f"Not a way to upload: max_retries={self.max_retries}, retry_delay={self.retry_delay}, "
                f"chunk_size={self.chunk_size}.",
                allowed=["max_retries >= 0", "retry_delay >= 0", "chunk_size >= 1, or None"],
            )

    def retry(self) -> Retry:
        """When to try again."""
        return Retry(self.max_retries + 1, self.retry_delay)

    def over(self, session: Session) -> ObjectClient:
        """The session's objects, over a connection with this patience."""
        return ObjectClient(self._way(session.objects.transport))

    def session(self, session: Session) -> Session:
        """The session with its catalog over a connection with this patience."""
        return replace(session, catalog=session.catalog.over(self._way(session.catalog.transport)))

    def _way(self, transport: Transport) -> Transport:
        retry = self.retry() if self.max_retries else None
        return tuned(transport, retry=retry, timeout=self.timeout, body_limit=self.chunk_size)


@dataclass(frozen=True, slots=True)
class UploadReport:
    """What became of a run's outputs.

    Attributes:
        done: The entries that this call brought into the catalog, with RID and URL.
        failed: Those that it could not, with the error of each.
    """

    done: tuple[AssetEntry, ...] = ()
    failed: tuple[AssetEntry, ...] = ()

    @property
    def complete(self) -> bool:
        """Nothing is left to be done."""
        return not self.failed

    def require_complete(self) -> None:
        """Raise if something failed.

        Raises:
            DerivaMLUploadError: The message names the first files that failed, and why.
        """
        if self.failed:
            shown = [f"{entry.asset_table}/{entry.file_name}: {entry.error}" for entry in self.failed[:5]]
            rest = f" (and {len(self.failed) - 5} more)" if len(self.failed) > 5 else ""
            raise DerivaMLUploadError(
                f"{len(self.failed)} of {len(self.failed) + len(self.done)} outputs did not reach the catalog: "
                f"{'; '.join(shown)}{rest}",
                hint="remove the cause, then upload again: what is done is not repeated",
            )


def upload(
    session: Session,
    execution_rid: str,
    manifest: Manifest,
    *,
    progress: UploadCallback | None = None,
    batch: int = BATCH,
    threads: int = THREADS,
    patience: Patience | None = None,
    keys: Collection[str] | None = None,
) -> UploadReport:
    """Bring the outputs of a run into the catalog; those that are there already are left as they are.

    Args:
        session: The catalog.
        execution_rid: The execution that made them.
        manifest: The run's manifest.
        progress: Is told of the bytes that have been sent.
        batch: How many outputs are committed together.
        threads: How many objects are on their way at once.
        patience: What to do if the service is slow or away; by default each request is tried as the connection does.
        keys: These outputs only.

    Returns:
        What was done, and what failed; a file that was registered and never written is among the failures.

    Raises:
        DerivaMLUnreachable: The catalog cannot be reached; what was done before is recorded.
        DerivaMLAuthenticationError: It does not know the caller, or grants too little.
    """
    session.require_writable()
    with file_lock(manifest.path.with_suffix(".lock")):
        manifest.refresh()
        pending = [entry for entry in manifest.pending_assets() if keys is None or entry.key in keys]
        if not pending:
            return UploadReport()
        patience = patience or Patience()
        fresh = _lease(session, manifest, pending, patience)
        entries = [manifest.asset(entry.key) for entry in pending]
        sizes = {entry.key: _size(manifest.file_of(entry)) for entry in entries}
        meter = _Meter(progress, sum(sizes.values()))
        run = _Upload(session, execution_rid, manifest, meter, threads, fresh, patience)
        for group in _by_table(entries):
            for part in _batches(group, sizes, batch):
                run.commit(part)
        return UploadReport(
            tuple(manifest.asset(key) for key in run.done), tuple(manifest.asset(key) for key in run.failed)
        )


def _lease(session: Session, manifest: Manifest, entries: Iterable[AssetEntry], patience: Patience) -> frozenset[str]:
    """Give every entry the RID that its row will have; the RIDs that are new, and that no row can have yet."""
    without = [entry.key for entry in entries if entry.rid is None]
    if not without:
        return frozenset()
    leased = patiently(patience.retry(), lambda: session.catalog.lease_rids(len(without)))
    manifest.lease(dict(zip(without, leased, strict=True)))
    return frozenset(leased)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the commit says what is wrong with it


def _by_table(entries: Iterable[AssetEntry]) -> list[list[AssetEntry]]:
    groups: dict[tuple[str, str], list[AssetEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.schema, entry.asset_table), []).append(entry)
    return list(groups.values())


def _batches(entries: Sequence[AssetEntry], sizes: dict[str, int], limit: int) -> Iterator[list[AssetEntry]]:
    part: list[AssetEntry] = []
    size = 0
    for entry in entries:
        part.append(entry)
        size += sizes[entry.key]
        if len(part) == limit or size > BATCH_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


class _Meter:
    """Tells how many bytes have been sent; may be told so by several threads."""

    def __init__(self, progress: UploadCallback | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._sent = 0
        self._lock = threading.Lock()
        self._counted: dict[str, int] = {}
        self._whole: set[str] = set()

    def advance(self, item: Item, count: int) -> None:
        """Count bytes of a large file that is on its way."""
        if self._progress is not None and item.length > HASH_BLOCK and item.entry.key not in self._whole:
            with self._lock:
                self._counted[item.entry.key] = self._counted.get(item.entry.key, 0) + count
                self._tell(item, count)

    def finish(self, item: Item) -> None:
        """Count what is left of a file that has been sent; once."""
        if self._progress is not None and item.entry.key not in self._whole:
            self._whole.add(item.entry.key)
            with self._lock:
                known = self._counted.pop(item.entry.key, 0)
                if known < item.length or not item.length:
                    self._tell(item, item.length - known)

    def _tell(self, item: Item, count: int) -> None:
        assert self._progress is not None
        self._sent += count
        total = max(self._total, self._sent)
        self._progress(
            UploadProgress(
                file_path=str(item.path),
                file_name=item.entry.file_name,
                bytes_completed=self._sent,
                bytes_total=total,
                percent_complete=100.0 * self._sent / total if total else 100.0,
                phase="uploading",
                message=f"{item.entry.file_name}: {human_size(self._sent)} of {human_size(total)}",
            )
        )


class _Upload:
    """One attempt to commit a run's outputs."""

    def __init__(
        self,
        session: Session,
        execution_rid: str,
        manifest: Manifest,
        meter: _Meter,
        threads: int,
        fresh: frozenset[str],
        patience: Patience,
    ) -> None:
        self._session = session
        self._manifest = manifest
        self._meter = meter
        self._threads = threads
        self._fresh = fresh
        self._names: dict[str, str] = {}
        self._out = Outgoing(patience.over(session), threads, JobNotes(manifest.path.with_name(JOBS_NAME)))
        self._rows = RowWriter(session, execution_rid, patience.retry(), self._store)
        self.done: list[str] = []
        self.failed: list[str] = []

    def commit(self, entries: Sequence[AssetEntry]) -> None:
        """Bring outputs of one table into the catalog."""
        errors: dict[str, str] = {}
        every = [Item(entry, self._manifest.file_of(entry)) for entry in entries]
        try:
            table = asset_table(self._session, f"{entries[0].schema}:{entries[0].asset_table}")
            self._find(table, every)
            items = self._prepare(every, errors)
            self._name(table, items)
            items = self._send(items, errors)
            items = self._rows.record(table, items, errors)
        except (DerivaMLUnreachable, DerivaMLAuthenticationError):
            raise
        except DerivaMLException as error:
            # nothing of the batch is marked: its rows are found by their RIDs next time
            items, errors = [], {entry.key: errors.get(entry.key, str(error)) for entry in entries}
        finally:
            for item in every:
                if item.content is not None:
                    item.content.discard()
        self._mark(items, errors)

    def _find(self, table: Table, items: Sequence[Item]) -> None:
        """Find the rows that an earlier attempt has made."""
        earlier = [str(item.entry.rid) for item in items if item.entry.rid not in self._fresh]
        present = self._rows.present(table, earlier)
        for item in items:
            row = present.get(str(item.entry.rid))
            if row is not None:
                # The file may have been written again since its row was made: what counts is what the catalog has.
                item.exists, item.url = True, str(row["URL"])
                item.md5, item.length = str(row["MD5"]), int(cast("int", row["Length"]))

    def _prepare(self, items: Sequence[Item], errors: dict[str, str]) -> list[Item]:
        """Hash the files that have no row yet, several at a time; give the items that can be sent."""
        ready: list[Item] = []
        with ThreadPoolExecutor(self._threads, "deriva-ml-upload") as pool:
            try:
                for item, outcome in zip(items, pool.map(self._read, items), strict=True):
                    if outcome is not None:
                        errors[item.entry.key] = outcome
                        continue
                    ready.append(item)
                    if item.exists or self._out.takes_in:
                        self._meter.finish(item)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return ready

    def _read(self, item: Item) -> str | None:
        """Hash one file; why it cannot be, if so."""
        if item.exists:
            return None
        if not item.path.is_file():
            return _absence(item.path)
        try:
            item.length = item.path.stat().st_size
            item.content = self._out.prepare(item.path, lambda count: self._meter.advance(item, count))
        except OSError as error:
            return f"{item.path} cannot be read: {error.strerror or error}"
        except DerivaMLException as error:
            return str(error)
        item.md5, item.length = item.content.digests.md5, item.content.digests.length
        return None

    def _name(self, table: Table, items: Sequence[Item]) -> None:
        """Choose object names."""
        for item in items:
            if item.exists:
                continue
            rid = cast("str", item.entry.rid)
            name = object_name(table.name, item.md5, item.entry.file_name)
            if self._names.setdefault(name, rid) != rid:
                name = object_name(table.name, item.md5, item.entry.file_name, rid)
            item.url = name

    def _send(self, items: list[Item], errors: dict[str, str]) -> list[Item]:
        """Store the bytes of what has no row yet; give the items whose bytes are stored."""
        self._store([item for item in items if not item.exists], errors)
        return [item for item in items if item.entry.key not in errors]

    def _store(self, items: list[Item], errors: dict[str, str]) -> None:
        by_url = {item.url: item for item in items}
        namings = [
            Naming(item.url, cast("Content", item.content), catalog_name(item.entry.file_name)) for item in items
        ]
        answers = self._out.put(namings, lambda naming, count: self._meter.advance(by_url[naming.url], count))
        for item, answer in zip(items, answers, strict=True):
            if isinstance(answer, str):
                item.url = answer
                self._meter.finish(item)
            else:
                errors[item.entry.key] = str(answer)

    def _mark(self, items: list[Item], errors: dict[str, str]) -> None:
        with self._manifest.batch():
            self._manifest.mark_uploaded(
                Uploaded(item.entry.key, cast("str", item.entry.rid), item.url, item.md5, item.length) for item in items
            )
            self._manifest.mark_failed(errors)
        self.done.extend(item.entry.key for item in items)
        self.failed.extend(errors)


def _absence(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a directory, not a file"
    if path.is_symlink():
        return f"{path} is a symbolic link to a file that does not exist"
    if path.exists():
        return f"{path} is not a plain file"
    return f"{path} was registered and never written"
