"""What an earlier run was to do, read from what it recorded: ``deriva-ml-run --resume``.

1. A run that did not complete is taken up again, as its next attempt (:mod:`deriva_ml.execution.reopening`), if it is
   of this machine and its code is still the same. Else, and for one that completed, what it was to do is done by a new
   run, which has consumed the earlier one's ``configuration.json``: that is how the catalog links the two.
2. The configuration is composed again, from the main configuration and the overrides that were recorded, and must come
   to what was recorded. Where the project has changed since, the difference is named and nothing is run.
3. The inputs are the recorded ones: datasets in their versions, and files of a machine as the assets that they became.
4. What was recorded is read from the run's directory, where this machine has it, and else from the catalog.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deriva_ml.core.enums import MLAsset, Status
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLNotFoundError,
)
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import ExecutionRecord, lookup_execution
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.masking import MASK
from deriva_ml.execution.metadata import CONFIGURATION, describe_changes
from deriva_ml.execution.outputs import commit_run, execution_root
from deriva_ml.execution.recovery import has_journal, incomplete_run, reconcile_dead_runs
from deriva_ml.execution.request import RunRequest
from deriva_ml.execution.states import Upload, is_final
from deriva_ml.execution.uses import AssetUse, list_assets
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.workflows import same_workflow
from deriva_ml.workspace.entries import UPLOADED
from deriva_ml.workspace.evidence import Sign
from deriva_ml.workspace.journal import Run
from deriva_ml.workspace.manifest import MANIFEST_NAME, AssetEntry, Manifest

__all__ = ["Earlier", "Recorded", "differences", "read_earlier", "read_recorded", "run_here"]

NOT_COMPARED = ("deriva_ml", "dry_run")
"""Parts of a configuration that may be others: where the catalog is, and whether only to look."""


@dataclass(frozen=True)
class Earlier:
    """A run that has ended, as it was recorded.

    Attributes:
        execution_rid: The run.
        status: How it ended.
        workflow_rid: The code that it ran.
        identity: The catalog service.
        catalog_id: The catalog.
        is_here: Whether this machine has its directory.
        patches: What its code differed from the commits, by the names of the files.
        config_name: The main configuration.
        overrides: What its command changed.
        config: What that came to.
        given: The inputs.
    """

    execution_rid: str
    status: Status
    workflow_rid: str | None
    identity: str
    catalog_id: str
    is_here: bool
    patches: Mapping[str, str]
    config_name: str
    overrides: tuple[str, ...]
    config: Mapping[str, Any]
    given: ExecutionConfiguration

    def why_new(self, owner: HasSession | Session, workflow: Workflow) -> str | None:
        """Why the run cannot be taken up again, so that what it was to do needs a new run; None if it can.

        Args:
            owner: The catalog.
            workflow: The code as it is now.
        """
        if self.status is Status.completed:
            return "it is complete"
        if not self.is_here:
            return "this machine has nothing of it"
        if not self.has_code(owner, workflow):
            return "its code was other code"
        return None

    def has_code(self, owner: HasSession | Session, workflow: Workflow) -> bool:
        """Whether the run had the very code that a workflow has now.

        Args:
            owner: The catalog.
            workflow: The code.
        """
        known = same_workflow(
            session_of(owner),
            name=workflow.name,
            url=workflow.url,
            checksum=workflow.checksum,
            version=workflow.version,
        )
        changes = () if workflow.code is None else describe_changes(workflow.code, process_mask())
        now = {file.name: file.content.decode("utf-8", "replace") for file in changes}
        return known == self.workflow_rid and now == self.patches

    def require_same(self, config: Any) -> None:
        """Refuse a configuration that is another than the recorded one.

        Args:
            config: The configuration as it is composed now, without Hydra's part.

        Raises:
            DerivaMLConfigurationError: They differ; the error names where.
        """
        from omegaconf import OmegaConf

        now = _mapping(process_mask().text(OmegaConf.to_yaml(config)))
        found = list(differences(_compared(self.config), _compared(now)))
        if found:
            more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
            raise DerivaMLConfigurationError(
                f"The configuration is not any more what execution {self.execution_rid} recorded: "
                f"{'; '.join(found[:5])}{more}.",
                source="the project's configurations",
                hint="take the project to the commit of that run, or run it as a new one, without --resume",
            )

    def with_inputs(self, request: RunRequest) -> RunRequest:
        """The request, with the inputs that were recorded."""
        return replace(request, datasets=list(self.given.datasets), assets=list(self.given.assets))

    def require_here(self, owner: HasSession | Session) -> None:
        """Refuse a catalog that is another than the earlier run's.

        Raises:
            DerivaMLConfigurationError: It is another one.
        """
        session = session_of(owner)
        if (session.identity, session.catalog_id) != (self.identity, self.catalog_id):
            raise DerivaMLConfigurationError(
                f"Execution {self.execution_rid} is in another catalog than the configuration names: "
                f"{session.catalog_id} at {session.place}.",
                source="configuration group deriva_ml",
                hint="name the catalog of that run with --host and --catalog",
            )

    def record(self, owner: HasSession | Session) -> str:
        """The asset that the run's ``configuration.json`` is; it is uploaded first, if it waits on this machine.

        Raises:
            DerivaMLUploadError: It cannot be uploaded.
        """
        session = session_of(owner)
        found = _in_catalog(session, self.execution_rid)
        if CONFIGURATION not in found and self.is_here:
            commit_run(session, self.execution_rid)
            found = _in_catalog(session, self.execution_rid)
        if CONFIGURATION not in found:
            raise _not_recorded(session, self.execution_rid, CONFIGURATION)
        return found[CONFIGURATION].rid


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


def read_earlier(owner: HasSession | Session, execution_rid: str) -> Earlier:
    """Read what a run was to do that has ended.

    Args:
        owner: The catalog.
        execution_rid: The run.

    Raises:
        DerivaMLRidsNotFound: There is no such run.
        DerivaMLConfigurationError: It has not ended, or its outputs wait; or a secret was left out of what it recorded.
        DerivaMLDataError: It did not record how it was configured: it was begun by a program, or ended before.
    """
    return read_recorded(owner, execution_rid).earlier()


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

    def find(self, ending: str) -> str | None:
        """The name of the first file with this ending; None if there is none."""
        for files in (self._here, self._catalog()):
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
            raise _not_recorded(self._session, self.record.execution_rid, ending)
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

    def earlier(self) -> Earlier:
        """What the run was to do.

        Raises:
            DerivaMLConfigurationError: A secret was left out of what it recorded.
            DerivaMLDataError: It did not record how it was configured.
        """
        hydra = _mapping(self.read("-hydra.yaml"))
        hydra = hydra.get("hydra", hydra)
        overrides = _list(self.read("-overrides.yaml"))
        self.refuse_masked(overrides)
        document = json.loads(self.read(CONFIGURATION))
        inputs = {"datasets": document.get("datasets"), "assets": document.get("assets")}
        patches = [name for name in self.names() if name.startswith("code") and name.endswith(".patch")]
        return Earlier(
            self.record.execution_rid,
            self.record.status,
            self.record.workflow_rid,
            self._session.identity,
            self._session.catalog_id,
            self.is_here,
            {name: self.read(name) for name in patches},
            str(hydra["job"]["config_name"]),
            overrides,
            _mapping(self.read("-config.yaml")),
            ExecutionConfiguration.model_validate(inputs),
        )

    def _catalog(self) -> Mapping[str, AssetUse]:
        """The files in the catalog, which is not asked if all of them are here."""
        if self._there is None:
            self._there = _in_catalog(self._session, self.record.execution_rid)
        return self._there


def _in_directory(session: Session, execution_rid: str) -> tuple[dict[str, Path], bool]:
    """The describing files that the run's directory has, by name; and whether none was cleaned away."""
    manifest = Manifest(execution_root(session, execution_rid) / MANIFEST_NAME, execution_rid, read_only=True)
    table = str(MLAsset.execution_metadata)
    entries: list[AssetEntry] = [entry for entry in manifest.assets.values() if entry.asset_table == table]
    files = {entry.file_name: manifest.file_of(entry) for entry in entries if manifest.file_of(entry).exists()}
    return files, all(entry.status != UPLOADED or manifest.file_of(entry).exists() for entry in entries)


def _in_catalog(session: Session, execution_rid: str) -> dict[str, AssetUse]:
    """The describing files that the catalog has, by name; of several of one name the first."""
    found: dict[str, AssetUse] = {}
    for use in list_assets(session, execution_rid, "Output"):
        if use.table == str(MLAsset.execution_metadata):
            found.setdefault(use.file_name, use)
    return found


def _not_recorded(session: Session, execution_rid: str, ending: str) -> DerivaMLDataError:
    return DerivaMLDataError(
        f"Execution {execution_rid} has not recorded how it was configured: it has no file *{ending}.",
        source=str(session.place),
        hint="it was begun by a program, or ended before it was ready: run it as a new one",
    )


def _yaml(text: str) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        return OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (YAMLError, OmegaConfBaseException) as error:
        raise DerivaMLDataError(f"What the run recorded cannot be read: {error}") from error


def _mapping(text: str) -> Mapping[str, Any]:
    read = _yaml(text)
    return {str(key): value for key, value in read.items()} if isinstance(read, dict) else {}


def _list(text: str) -> tuple[str, ...]:
    read = _yaml(text)
    return tuple(str(item) for item in read) if isinstance(read, list) else ()


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in NOT_COMPARED}


def differences(then: Any, now: Any, where: str = "") -> Iterator[str]:
    """Where two configurations differ, a text for each place."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            at = f"{where}.{key}" if where else str(key)
            if key not in now:
                yield f"{at} was {then[key]!r} and is not there"
            elif key not in then:
                yield f"{at} is {now[key]!r} and was not there"
            else:
                yield from differences(then[key], now[key], at)
    elif _is_list(then) and _is_list(now) and len(then) == len(now):
        for number, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from differences(old, new, f"{where}[{number}]")
    elif then != now:
        yield f"{where} was {then!r} and is {now!r}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
