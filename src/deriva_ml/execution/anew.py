"""Doing anew what a run was to do that ended without completing: ``deriva-ml-run --resume``.

1. A run that ended is never opened again (:mod:`deriva_ml.execution.states`): what is done anew is a new run. It has
   consumed the earlier one's ``configuration.json``, which is how the catalog links the two; the earlier one stays as
   it is.
2. The configuration is composed again, from the main configuration and the overrides that were recorded, and must come
   to what was recorded. Where the project has changed since, the difference is named and nothing is run.
3. The inputs are the recorded ones: datasets in their versions, and files of a machine as the assets that they became.
4. The code is what it is now, and is recorded as that of any run; that it is other code is said.

Everything is read from the catalog, so that it can be done on another machine.
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
)
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import lookup_execution
from deriva_ml.execution.masking import MASK
from deriva_ml.execution.metadata import CONFIGURATION
from deriva_ml.execution.recovery import reconcile_dead_runs
from deriva_ml.execution.request import RunRequest
from deriva_ml.execution.states import is_final
from deriva_ml.execution.uses import AssetUse, list_assets
from deriva_ml.schema.session import HasSession, Session, session_of

__all__ = ["Earlier", "differences", "read_earlier"]

PLACE = "deriva_ml"
"""The part of a configuration that says where the catalog is; it may have another name from another machine."""


@dataclass(frozen=True)
class Earlier:
    """A run that ended without completing, as the catalog holds it.

    Attributes:
        execution_rid: The run.
        status: How it ended.
        workflow_rid: The code that it ran.
        identity: The catalog service.
        catalog_id: The catalog.
        record_rid: Its ``configuration.json`` in the catalog.
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
    record_rid: str
    config_name: str
    overrides: tuple[str, ...]
    config: Mapping[str, Any]
    given: ExecutionConfiguration

    def require_same(self, config: Any) -> None:
        """Refuse a configuration that is another than the recorded one.

        Args:
            config: The configuration as it is composed now, without Hydra's part.

        Raises:
            DerivaMLConfigurationError: They differ; the error names where.
        """
        from omegaconf import OmegaConf

        from deriva_ml.execution.environment import process_mask

        now = _mapping(process_mask().text(OmegaConf.to_yaml(config)))
        found = list(differences(_without_place(self.config), _without_place(now)))
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
                source=f"configuration group {PLACE}",
                hint="name the catalog of that run with --host and --catalog",
            )

    def link(self, owner: HasSession | Session, execution_rid: str) -> None:
        """Record that a run consumed what the earlier one recorded of itself."""
        from deriva_ml.asset.download import link_inputs

        link_inputs(session_of(owner), execution_rid, [self.record_rid])


def read_earlier(owner: HasSession | Session, execution_rid: str) -> Earlier:
    """Read what a run was to do that ended without completing.

    Args:
        owner: The catalog.
        execution_rid: The run.

    Raises:
        DerivaMLRidsNotFound: There is no such run.
        DerivaMLConfigurationError: It has not ended, or it completed; or a secret was left out of what it recorded.
        DerivaMLDataError: It did not record how it was configured: it was begun by a program, or ended before.
    """
    session = session_of(owner)
    reconcile_dead_runs(session)
    record = lookup_execution(session, execution_rid)
    if not is_final(record.status):
        raise DerivaMLConfigurationError(
            f"Execution {execution_rid} is {record.status}: it has not ended.",
            hint="wait for its end; one of another machine is found dead by the next command there",
        )
    if record.status is Status.completed:
        raise DerivaMLConfigurationError(
            f"Execution {execution_rid} is Completed: there is nothing to do anew.",
            hint=f"if outputs are missing: deriva-ml-upload --execution {execution_rid}",
        )
    texts = _Recorded(session, execution_rid)
    hydra = _mapping(texts.read("-hydra.yaml"))
    hydra = hydra.get("hydra", hydra)
    overrides = _list(texts.read("-overrides.yaml"))
    if masked := [one for one in overrides if MASK in one]:
        raise DerivaMLConfigurationError(
            f"Execution {execution_rid} was given a secret, which is not recorded: {', '.join(masked)}.",
            hint="run it as a new one, with the secret and without --resume",
        )
    document = json.loads(texts.read(CONFIGURATION))
    return Earlier(
        execution_rid,
        record.status,
        record.workflow_rid,
        session.identity,
        session.catalog_id,
        texts.find(CONFIGURATION).rid,
        str(hydra["job"]["config_name"]),
        overrides,
        _mapping(texts.read("-config.yaml")),
        ExecutionConfiguration.model_validate({"datasets": document.get("datasets"), "assets": document.get("assets")}),
    )


class _Recorded:
    """The files that describe a run, in the catalog."""

    def __init__(self, session: Session, execution_rid: str) -> None:
        self._session = session
        self._rid = execution_rid
        uses = list_assets(session, execution_rid, "Output")
        self._files = [use for use in uses if use.table == str(MLAsset.execution_metadata)]

    def find(self, ending: str) -> AssetUse:
        for use in self._files:
            if use.file_name.endswith(ending):
                return use
        raise DerivaMLDataError(
            f"Execution {self._rid} has not recorded how it was configured: it has no file *{ending}.",
            source=str(self._session.place),
            hint="it was begun by a program, or ended before it was ready: run it as a new one",
        )

    def read(self, ending: str) -> str:
        use = self.find(ending)
        with tempfile.TemporaryDirectory(prefix="deriva-ml-") as folder:
            target = Path(folder) / "file"
            self._session.objects.fetch(use.url, target, md5=use.md5, length=use.length, durable=False)
            return target.read_text(encoding="utf-8")


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


def _without_place(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != PLACE}


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
