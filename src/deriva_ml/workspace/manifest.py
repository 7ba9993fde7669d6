"""What a run has staged for the catalog: output files, feature values and rows of tables, as a journal of changes.

The file ``<run>/asset-manifest.jsonl`` has a header line and then one line per change. It is only ever added to, so
the cost of a change does not depend on how many there were before it.

1. A change is on the disk when the call that makes it returns; a call for many items costs one write for all.
2. The state in memory is what reading the file would give: changes are applied from the text that is written.
3. The rest of a line that was being written when the process was killed is left out; any other line that cannot be
   understood is an error that names the file and the line.
4. A manifest belongs to one execution; one of another, and a format that is not known, are refused. Format 2 has
   tables; one of format 1 is read and added to.
5. Entries are identified by a key of their own, never by a file's base name.
6. Several processes may write (they take turns); a reader sees a prefix of the changes.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLNotFoundError
from deriva_ml.core.files import file_lock
from deriva_ml.workspace.entries import (
    ABANDONED,
    FAILED,
    UPLOADED,
    AssetEntry,
    Entries,
    FeatureEntry,
    TableEntry,
    Uploaded,
    encode,
    new_key,
    of_type,
)
from deriva_ml.workspace.lines import LineFile

__all__ = ["FORMAT", "MANIFEST_NAME", "AssetEntry", "FeatureEntry", "Manifest", "TableEntry", "Uploaded", "new_key"]

FORMAT = 2
"""The format of a new file."""

READ = (1, 2)
"""The formats that can be read; a file of another one is refused."""

MANIFEST_NAME = "asset-manifest.jsonl"
"""The name of a run's manifest in its directory."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Manifest:
    """The manifest of one run; opening reads it, and begins it where ``execution_rid`` is given and there is none.

    Args:
        path: The file.
        execution_rid: The execution that it must belong to; may be left out for a manifest that exists.
        read_only: Never write, not even to begin the file.
        now: The clock, as ISO 8601 text.

    Raises:
        DerivaMLNotFoundError: There is no manifest and none may be begun.
        DerivaMLDataError: It belongs to another execution, is of another format, or a line of it cannot be read.
    """

    def __init__(
        self,
        path: Path | str,
        execution_rid: str | None = None,
        *,
        read_only: bool = False,
        now: Callable[[], str] = _now,
    ) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._now = now
        self._lock = threading.RLock()
        self._wanted = execution_rid
        self._held: list[bytes] | None = None
        self._forget()
        with self._lock:
            self._apply_lines(self._file.read())
            if self._execution_rid is None:
                self._begin()

    @property
    def execution_rid(self) -> str:
        """The execution that the manifest belongs to."""
        return cast("str", self._execution_rid)

    @property
    def assets(self) -> Mapping[str, AssetEntry]:
        """A live view of the entries by key, in the order of registration."""
        return MappingProxyType(self._assets.entries)

    @property
    def features(self) -> Mapping[str, FeatureEntry]:
        """A live view of the staged features by key."""
        return MappingProxyType(self._features.entries)

    @property
    def tables(self) -> Mapping[str, TableEntry]:
        """A live view of the files of rows by key."""
        return MappingProxyType(self._tables.entries)

    def asset(self, key: str) -> AssetEntry:
        """The entry with this key.

        Raises:
            KeyError: There is none.
        """
        return self._assets.get(key)

    def feature(self, key: str) -> FeatureEntry:
        """The staged feature with this key.

        Raises:
            KeyError: There is none.
        """
        return self._features.get(key)

    def pending_assets(self) -> list[AssetEntry]:
        """The entries that are not in the catalog yet, failed ones among them."""
        with self._lock:
            return [entry for entry in self._assets.entries.values() if entry.status not in (UPLOADED, ABANDONED)]

    def uploaded_assets(self) -> list[AssetEntry]:
        """The entries that are in the catalog."""
        with self._lock:
            return [entry for entry in self._assets.entries.values() if entry.status == UPLOADED]

    def pending_features(self) -> list[FeatureEntry]:
        """The features with values that are not in the catalog yet."""
        with self._lock:
            return [entry for entry in self._features.entries.values() if entry.uploaded < entry.rows]

    def pending_tables(self) -> list[TableEntry]:
        """The files with rows that are not in the catalog yet, as far as is known."""
        with self._lock:
            return [entry for entry in self._tables.entries.values() if entry.status not in (UPLOADED, ABANDONED)]

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the turn to bring what is registered into the catalog; one thread of one process has it at a time."""
        with file_lock(self.path.with_suffix(".turn.lock")):
            self.refresh()
            yield

    def file_of(self, entry: AssetEntry | TableEntry) -> Path:
        """The staged file of an entry."""
        return self.path.parent / entry.path

    def key_of(self, path: Path) -> str | None:
        """The key of the entry whose staged file is at this path; None if there is none."""
        with self._lock:
            return self._keys.get(self.relative(path))

    def relative(self, path: Path) -> str:
        """A path as entries hold it: relative to the manifest's directory, or absolute."""
        absolute = os.path.abspath(path)  # noqa: PTH100 - links are not followed, but ".." is resolved
        home = os.path.join(os.path.abspath(self.path.parent), "")  # noqa: PTH100, PTH118 - it ends in a slash
        return absolute.removeprefix(home)

    def values_of(self, entry: FeatureEntry) -> Path:
        """The file that holds a feature's values."""
        return self.path.parent / entry.values_path

    def add(self, entry: AssetEntry) -> None:
        """Register one output."""
        self.add_many([entry])

    def add_many(self, entries: Iterable[AssetEntry]) -> None:
        """Register outputs; one write for all of them.

        Raises:
            DerivaMLDataError: A key is there already.
            TypeError: A metadata value is not of a type that JSON knows (dates and paths are turned into text).
        """
        self._change([{"op": "asset", "entry": entry.to_dict()} for entry in entries])

    def update(self, key: str, **changes: object) -> AssetEntry:
        """Change fields of one entry and give it back."""
        self.update_many({key: changes})
        return self._assets.get(key)

    def update_many(self, changes: Mapping[str, Mapping[str, object]]) -> None:
        """Change fields of entries; one write for all of them.

        Raises:
            KeyError: There is no entry with such a key.
        """
        for key in changes:
            self._assets.get(key)
        self._change([{"op": "asset-set", "key": key, "set": dict(values)} for key, values in changes.items()])

    def lease(self, rids: Mapping[str, str]) -> None:
        """Note the RIDs that rows will have, by key.

        An entry keeps the RID that it has, also where another process noted one at the same time: the first line in
        the file holds.
        """
        for key in rids:
            self._assets.get(key)
        self._change([{"op": "lease", "key": key, "rid": rid} for key, rid in rids.items()])

    def mark_uploaded(self, items: Iterable[Uploaded]) -> None:
        """Note that outputs are in the catalog; one write for all of them."""
        at = self._now()
        self.update_many(
            {
                item.key: {
                    "status": UPLOADED,
                    "rid": item.rid,
                    "url": item.url,
                    "md5": item.md5,
                    "length": item.length,
                    "uploaded_at": at,
                    "error": None,
                }
                for item in items
            }
        )

    def mark_failed(self, errors: Mapping[str, str]) -> None:
        """Note why outputs did not reach the catalog, by key; one write for all of them."""
        self.update_many({key: {"status": FAILED, "error": error} for key, error in errors.items()})

    def mark_abandoned(self, keys: Iterable[str]) -> None:
        """Note that outputs are given up: they are pending no more. One write for all of them."""
        self.update_many({key: {"status": ABANDONED} for key in keys})

    def add_feature(self, entry: FeatureEntry) -> None:
        """Register the file that holds a feature's values."""
        self._change([{"op": "feature", "entry": entry.to_dict()}])

    def update_feature(self, key: str, **changes: object) -> FeatureEntry:
        """Change fields of one feature's entry and give it back."""
        self._features.get(key)
        self._change([{"op": "feature-set", "key": key, "set": changes}])
        return self._features.get(key)

    def add_table(self, entry: TableEntry) -> None:
        """Register a file of rows."""
        self._change([{"op": "table", "entry": entry.to_dict()}])

    def update_table(self, key: str, **changes: object) -> TableEntry:
        """Change fields of the entry of a file of rows and give it back."""
        self._tables.get(key)
        self._change([{"op": "table-set", "key": key, "set": changes}])
        return self._tables.get(key)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Group the changes of a block: they hold at once, and are on the disk when the block ends.

        Other threads wait until then. If the block raises, what was changed in it is kept all the same.
        """
        with self._lock:
            if self._held is not None:
                yield
                return
            self._held = []
            try:
                yield
            finally:
                held, self._held = self._held, None
                if held:
                    self._write_held(held)

    def refresh(self) -> None:
        """Read what other processes have added."""
        with self._lock:
            self._apply_lines(self._file.read())

    def _forget(self) -> None:
        self._file = LineFile(self.path)
        self._assets: Entries[AssetEntry] = Entries("Asset", AssetEntry)
        self._features: Entries[FeatureEntry] = Entries("Feature", FeatureEntry)
        self._tables: Entries[TableEntry] = Entries("Table", TableEntry)
        self._keys: dict[str, str] = {}
        self._execution_rid: str | None = None

    def _begin(self) -> None:
        if self._wanted is None or self.read_only:
            raise DerivaMLNotFoundError(
                f"There is no manifest at {self.path}.",
                hint="name the execution that it belongs to, and it is begun",
            )
        header = encode({"format": FORMAT, "execution": self._wanted, "created": self._now()})
        with self._file.writing() as writer:
            # another process may have begun it in the meantime
            self._apply_lines(writer.unread())
            if self._execution_rid is None:
                writer.append([header])
                self._apply(1, header)

    def _change(self, changes: list[dict[str, object]]) -> None:
        if not changes:
            return
        if self.read_only:
            raise DerivaMLDataError(f"The manifest {self.path} was opened for reading only.")
        lines = [encode(change) for change in changes]
        documents = [json.loads(line) for line in lines]
        with self._lock:
            if self._held is not None:
                self._check(documents)
                self._held.extend(lines)
            else:
                with self._file.writing() as writer:
                    self._apply_lines(writer.unread())
                    self._check(documents)
                    writer.append(lines)
            for document in documents:
                self._apply_change(document)

    def _write_held(self, held: list[bytes]) -> None:
        try:
            with self._file.writing() as writer:
                self._apply_lines(writer.unread())
                writer.append(held)
        except BaseException:
            # the state must be what the file says, and the file does not have these changes
            self._forget()
            self._apply_lines(self._file.read())
            raise

    def _check(self, documents: list[dict[str, Any]]) -> None:
        """Refuse what could not be read back, before it is written."""
        fresh: set[str] = set()
        for document in documents:
            kind = self._kind(document["op"])
            if "rid" in document:
                kind.changed(document["key"], {"rid": document["rid"]})
                continue
            if "set" in document:
                kind.changed(document["key"], document["set"])
                continue
            key = kind.read(document["entry"]).key
            if key in kind.entries or key in fresh:
                raise DerivaMLDataError(f"{kind.what} {key!r} is in the manifest {self.path} already.")
            fresh.add(key)

    def _kind(self, op: str) -> Entries[Any]:
        """The entries that a change is of."""
        what = op.partition("-")[0]
        return self._features if what == "feature" else self._tables if what == "table" else self._assets

    def _apply_lines(self, lines: list[tuple[int, bytes]]) -> None:
        for number, line in lines:
            self._apply(number, line)

    def _apply(self, number: int, line: bytes) -> None:
        try:
            document = json.loads(line)
            if self._execution_rid is None:
                self._read_header(document)
            else:
                self._apply_change(document)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DerivaMLDataError(
                f"Line {number} of {self.path} cannot be read: {error}.",
                source=f"{self.path}:{number}",
                hint="restore the file from a copy, or remove that line",
            ) from error

    def _apply_change(self, document: dict[str, Any]) -> None:
        match document["op"]:
            case "asset":
                entry = self._assets.add(document["entry"])
                self._keys[entry.path] = entry.key
            case "lease":
                if self._assets.get(document["key"]).rid is None:
                    self._assets.set(document["key"], {"rid": document["rid"]})
            case "feature" | "table" as op:
                self._kind(op).add(document["entry"])
            case "asset-set" | "feature-set" | "table-set" as op:
                self._kind(op).set(document["key"], document["set"])
            case other:
                raise ValueError(f"unknown change {other!r}")

    def _read_header(self, document: dict[str, Any]) -> None:
        if document["format"] not in READ:
            raise DerivaMLDataError(
                f"The manifest {self.path} is of format {document['format']!r}.",
                allowed=[str(known) for known in READ],
                hint="open it with the version of deriva-ml that wrote it",
            )
        if self._wanted is not None and document["execution"] != self._wanted:
            raise DerivaMLDataError(
                f"The manifest {self.path} belongs to execution {document['execution']}, not to {self._wanted}."
            )
        self._execution_rid = of_type(str, document["execution"], "execution")
