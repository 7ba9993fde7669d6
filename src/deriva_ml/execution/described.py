"""The files that describe a run that has ended: read from its directory where that is here, else from the catalog."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from deriva_ml.core.enums import MLAsset, Status
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDataError, DerivaMLNotFoundError
from deriva_ml.execution.execution_record import ExecutionRecord, lookup_execution
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.masking import MASK
from deriva_ml.execution.outputs import execution_root
from deriva_ml.execution.recovery import has_journal, incomplete_run, reconcile_dead_runs
from deriva_ml.execution.states import Upload, is_final
from deriva_ml.execution.uses import AssetUse, list_assets
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.workspace.entries import UPLOADED
from deriva_ml.workspace.evidence import Sign
from deriva_ml.workspace.journal import Run
from deriva_ml.workspace.manifest import MANIFEST_NAME, AssetEntry, Manifest

__all__ = ["Recorded", "in_catalog", "not_recorded", "read_recorded", "require_catalog", "run_here"]


def require_catalog(owner: HasSession | Session, what: str, identity: str, catalog_id: str) -> None:
    """Refuse a catalog that is another than the one in which something was recorded.

    Args:
        owner: The catalog.
        what: What was recorded: ``Execution 1-ABCD``.
        identity: The service in which it was.
        catalog_id: The catalog there.

    Raises:
        DerivaMLConfigurationError: It is another one.
    """
    session = session_of(owner)
    if (session.identity, session.catalog_id) != (identity, catalog_id):
        raise DerivaMLConfigurationError(
            f"{what} is in another catalog than the configuration names: {session.catalog_id} at {session.place}.",
            source="configuration group deriva_ml",
            hint="name the catalog that it is in with --host and --catalog",
        )


def run_here(session: Session, execution_rid: str) -> Run | None:
    """A run as the journal of this machine knows it; None if it does not, or has not its directory."""
    if not has_journal(session) or not (execution_root(session, execution_rid) / MANIFEST_NAME).exists():
        return None
    try:
        with open_journal(session) as journal:
            return journal.run(execution_rid)
    except DerivaMLNotFoundError:
        return None


def read_recorded(owner: HasSession | Session, execution_rid: str) -> Recorded:
    """The files that describe a run that has ended; dead runs of this machine are found before.

    Args:
        owner: The catalog.
        execution_rid: The run.

    Raises:
        DerivaMLRidsNotFound: There is no such run.
        DerivaMLConfigurationError: It has not ended, or it completed and its outputs wait.
    """
    session = session_of(owner)
    reconcile_dead_runs(session)
    record = lookup_execution(session, execution_rid)
    run = run_here(session, execution_rid)
    if not is_final(record.status):
        raise DerivaMLConfigurationError(
            f"Execution {execution_rid} is {record.status}: it has not ended.{_holder(run)}",
            hint="wait for its end; one of another machine is found dead by the next command there",
        )
    waits = record.upload_state in {Upload.pending.value, Upload.failed.value}
    if record.status is Status.completed and (waits or (run is not None and incomplete_run(run) is not None)):
        raise DerivaMLConfigurationError(
            f"Execution {execution_rid} is Completed, and its outputs wait: there is nothing to do anew.",
            hint=f"deriva-ml-upload --execution {execution_rid}",
        )
    return Recorded(session, record, run)


def _holder(run: Run | None) -> str:
    """Which process works on a run, as far as it can be known."""
    if run is None:
        return ""
    told = f"{run.process.told[:1].upper()}{run.process.told[1:]}"
    if run.process.sign() is Sign.alive:
        return f" {told} works on it."
    return f" {told} was last seen at {run.heartbeat}, and cannot be judged from here."


class Recorded:
    """The files that describe a run: those in its directory, and else those in the catalog.

    Args:
        session: The catalog.
        record: The run.
        run: The run as this machine knows it.
    """

    def __init__(self, session: Session, record: ExecutionRecord, run: Run | None) -> None:
        self.record = record
        self.is_here = run is not None
        self._session = session
        self._here, is_whole = _in_directory(session, record.execution_rid) if run is not None else ({}, False)
        self._there: Mapping[str, AssetUse] | None = {} if is_whole else None

    def names(self) -> list[str]:
        """The names of the files."""
        return [*dict.fromkeys([*self._here, *self._catalog()])]

    @property
    def session(self) -> Session:
        """The catalog."""
        return self._session

    def find(self, ending: str) -> str | None:
        """The name of the file of this name, else of the first with this ending; None if there is none."""
        for files in (self._here, self._catalog()):
            if ending in files:
                return ending
            for name in files:
                if name.endswith(ending):
                    return name
        return None

    def read(self, ending: str) -> str:
        """The first file with this ending.

        Raises:
            DerivaMLDataError: There is none.
        """
        name = self.find(ending)
        if name is None:
            raise not_recorded(self._session, self.record.execution_rid, ending)
        if name in self._here:
            return self._here[name].read_text(encoding="utf-8", errors="replace")
        use = self._catalog()[name]
        with tempfile.TemporaryDirectory(prefix="deriva-ml-") as folder:
            target = Path(folder) / "file"
            self._session.objects.fetch(use.url, target, md5=use.md5, length=use.length, durable=False)
            return target.read_text(encoding="utf-8", errors="replace")

    def refuse_masked(self, overrides: Sequence[str]) -> None:
        """Refuse overrides from which a secret was left out.

        Raises:
            DerivaMLConfigurationError: There are such.
        """
        if masked := [one for one in overrides if MASK in one]:
            raise DerivaMLConfigurationError(
                f"Execution {self.record.execution_rid} was given a secret, which is not recorded: "
                f"{', '.join(masked)}.",
                hint="run it as a new one, with the secret and without --resume",
            )

    def _catalog(self) -> Mapping[str, AssetUse]:
        """The files in the catalog, which is not asked if all of them are here."""
        if self._there is None:
            self._there = in_catalog(self._session, self.record.execution_rid)
        return self._there


def _in_directory(session: Session, execution_rid: str) -> tuple[dict[str, Path], bool]:
    """The describing files that the run's directory has, by name; and whether none was cleaned away."""
    manifest = Manifest(execution_root(session, execution_rid) / MANIFEST_NAME, execution_rid, read_only=True)
    table = str(MLAsset.execution_metadata)
    entries: list[AssetEntry] = [entry for entry in manifest.assets.values() if entry.asset_table == table]
    files = {entry.file_name: manifest.file_of(entry) for entry in entries if manifest.file_of(entry).exists()}
    return files, all(entry.status != UPLOADED or manifest.file_of(entry).exists() for entry in entries)


def in_catalog(session: Session, execution_rid: str) -> dict[str, AssetUse]:
    """The describing files that the catalog has, by name; of several of one name the first."""
    found: dict[str, AssetUse] = {}
    for use in list_assets(session, execution_rid, "Output"):
        if use.table == str(MLAsset.execution_metadata):
            found.setdefault(use.file_name, use)
    return found


def not_recorded(session: Session, execution_rid: str, ending: str) -> DerivaMLDataError:
    """The error of a run that has not recorded a file."""
    return DerivaMLDataError(
        f"Execution {execution_rid} has not recorded how it was configured: it has no file *{ending}.",
        source=str(session.place),
        hint="it was begun by a program, or ended before it was ready: run it as a new one",
    )
