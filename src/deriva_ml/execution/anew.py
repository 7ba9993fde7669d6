"""What an earlier run was to do, read from what it recorded: ``deriva-ml-run --resume``.

1. A run that did not complete is taken up again, as its next attempt (:mod:`deriva_ml.execution.reopening`), if it is
   of this machine and its code is still the same. Else, and for one that completed, what it was to do is done by a new
   run, which has consumed the earlier one's ``configuration.json``: that is how the catalog links the two.
2. The configuration is composed again, from the main configuration and the overrides that were recorded, and must come
   to what was recorded. Where the project has changed since, the difference is named and nothing is run.
3. The inputs are the recorded ones: datasets in their versions, and files of a machine as the assets that they became.
4. What was recorded is read as ``described`` does it: from the run's directory, and else from the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDataError
from deriva_ml.core.values import dataclass
from deriva_ml.execution.described import Recorded, in_catalog, not_recorded, read_recorded, require_catalog
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.finishing import commit_run
from deriva_ml.execution.metadata import CONFIGURATION, describe_changes
from deriva_ml.execution.request import RunRequest
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.workflows import same_workflow

__all__ = ["Earlier", "differences", "earlier_of", "read_earlier"]

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
        require_catalog(owner, f"Execution {self.execution_rid}", self.identity, self.catalog_id)

    def record(self, owner: HasSession | Session) -> str:
        """The asset that the run's ``configuration.json`` is; it is uploaded first, if it waits on this machine.

        Raises:
            DerivaMLUploadError: It cannot be uploaded.
        """
        session = session_of(owner)
        found = in_catalog(session, self.execution_rid)
        if CONFIGURATION not in found and self.is_here:
            commit_run(session, self.execution_rid)
            found = in_catalog(session, self.execution_rid)
        if CONFIGURATION not in found:
            raise not_recorded(session, self.execution_rid, CONFIGURATION)
        return found[CONFIGURATION].rid


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
    return earlier_of(read_recorded(owner, execution_rid))


def earlier_of(recorded: Recorded) -> Earlier:
    """What a run was to do.

    Args:
        recorded: The files that describe it.

    Raises:
        DerivaMLConfigurationError: A secret was left out of what it recorded.
        DerivaMLDataError: It did not record how it was configured.
    """
    hydra = _mapping(recorded.read("-hydra.yaml"))
    hydra = hydra.get("hydra", hydra)
    overrides = _list(recorded.read("-overrides.yaml"))
    recorded.refuse_masked(overrides)
    document = json.loads(recorded.read(CONFIGURATION))
    inputs = {"datasets": document.get("datasets"), "assets": document.get("assets")}
    patches = [name for name in recorded.names() if name.startswith("code") and name.endswith(".patch")]
    return Earlier(
        recorded.record.execution_rid,
        recorded.record.status,
        recorded.record.workflow_rid,
        recorded.session.identity,
        recorded.session.catalog_id,
        recorded.is_here,
        {name: recorded.read(name) for name in patches},
        str(hydra["job"]["config_name"]),
        overrides,
        _mapping(recorded.read("-config.yaml")),
        ExecutionConfiguration.model_validate(inputs),
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
