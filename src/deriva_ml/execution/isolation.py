"""The model of a run in a child process, as the process sees it that has opened the run.

1. The child is prepared when the configuration has been composed and nothing has been opened yet: it inherits the
   modules that are loaded by then, and no connection, no credential, no thread. Where a process cannot be copied, a new
   interpreter is started when the model is to be called.
2. What the model prints goes to the terminal and into files; these, the resources that it took, and the stack of a
   crash are outputs of the run, whatever became of it.
3. The verdict becomes what a call would have done: it returns, it raises ``DerivaMLModelError``, or it is interrupted.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException
from deriva_ml.core.files import nearest, read_ends
from deriva_ml.core.values import dataclass
from deriva_ml.execution.request import DryRun
from deriva_ml.isolate.frames import Frame
from deriva_ml.isolate.job import Job, Limits
from deriva_ml.isolate.starting import Started, can_copy, copy_process

if TYPE_CHECKING:
    from deriva_ml.execution.execution import Execution
    from deriva_ml.isolate.verdict import Verdict

__all__ = ["ISOLATIONS", "Isolation", "call_isolated", "prepare"]

ISOLATIONS = ("process", "inline")
"""Where a model can run: in a child process, or in the process that records it."""

_SECRETS = ("DERIVA_ML_TOKEN",)


@dataclass(frozen=True)
class Isolation:
    """A child that waits for the model of a run.

    Attributes:
        config: The composed configuration.
        started: The child, if it could be prepared.
    """

    config: Any
    started: Started | None

    def close(self) -> None:
        """Let go of the child, if it was not used."""
        if self.started is not None:
            self.started.close()


def _calls_model(config: Any) -> bool:
    """Whether a model will be called; what is wrong with the configuration is said by whoever reads it."""
    try:
        return DryRun.read(config.get("dry_run", False)) is not DryRun.checks
    except DerivaMLConfigurationError:
        return False


def _copy(config: Any) -> Started:
    """A copy of this process, once it has imported what both of them need: what the copy has, it need not import."""
    import deriva_ml.execution.inside  # noqa: F401
    from deriva_ml.execution.request import catalog_class

    catalog_class()
    return copy_process(config)


@contextlib.contextmanager
def prepare(config: Any, *, alone: bool = True) -> Iterator[Isolation | None]:
    """Prepare a child for the model of a run, if the configuration wants one; None if not.

    Args:
        config: The composed configuration; ``isolation`` says where the model runs, ``dry_run`` whether it runs at all.
        alone: This process has nothing yet that the child should not have.

    Raises:
        DerivaMLConfigurationError: The configuration asks for something else than there is.
    """
    wanted = str(config.get("isolation", ISOLATIONS[0]))
    if wanted not in ISOLATIONS:
        raise DerivaMLConfigurationError(
            f"There is no isolation {wanted!r}.",
            source="configuration key isolation",
            allowed=nearest(wanted, ISOLATIONS),
        )
    if wanted == "inline" or not _calls_model(config):
        yield None
        return
    isolation = Isolation(config, _copy(config) if alone and can_copy() else None)
    try:
        yield isolation
    finally:
        isolation.close()


def call_isolated(
    isolation: Isolation,
    model: Any,
    ml: Any,
    execution: Execution,
    limits: Limits | None = None,
    echo: Callable[[str, bytes], None] | None = None,
) -> None:
    """Let the prepared child call the model, and do as the call would have done.

    Args:
        isolation: The child.
        model: The model, for its name.
        ml: The catalog.
        execution: The run, which has been started.
        limits: How far the model may go.
        echo: Is given what the model prints; by default it goes where this process prints.

    Raises:
        DerivaMLModelError: The model raised, crashed, went too far, or ended without a word.
        KeyboardInterrupt: The user stopped it.
    """
    from deriva_ml.catalog.piped import answering
    from deriva_ml.catalog.transport import stoppable
    from deriva_ml.execution.attempts import PROCESS, numbered
    from deriva_ml.execution.environment import process_mask
    from deriva_ml.execution.handover import facts_of
    from deriva_ml.execution.model_end import what_ended, what_was_lost
    from deriva_ml.isolate.supervisor import run_isolated

    folder = execution.working_dir / numbered(PROCESS, execution.attempt)
    folder.mkdir(exist_ok=True)
    job = Job(
        "deriva_ml.execution.inside:call_model",
        folder,
        {
            "place": _place_of(ml),
            "run": facts_of(execution),
            "config": None if isolation.started is not None else _text(isolation.config),
        },
        limits or Limits(),
        environ=dict.fromkeys(_SECRETS),
        directory=Path.cwd(),
    )
    way, give_up = stoppable(ml.connection.transport)
    verdict = run_isolated(
        job,
        handlers={name: _framed(handler) for name, handler in answering(way).items()},
        echo=echo or _pass_on,
        veil=process_mask().line,
        started=isolation.started,
        gone=give_up,
    )
    error = what_ended(verdict, model, execution)
    try:
        execution.catch_up()
    except DerivaMLException as lost:
        raise error or what_was_lost(lost, model, execution) from None
    with contextlib.suppress(Exception):  # the verdict is the news, whatever becomes of the files about it
        _keep(execution, folder, verdict)
    if error is not None:
        raise error


def _place_of(ml: Any) -> dict[str, Any]:
    """The catalog, and where this machine works for it, so that the child works in the same place."""
    session, connection = ml.session, ml.connection
    return {
        "hostname": session.place.hostname,
        "catalog_id": session.catalog_id,
        "working_dir": str(session.working_dir),
        "cache_dir": str(session.cache_dir),
        "is_passing": session.is_passing,
        "identity": session.identity,
        "client_id": connection.client_id,
        "batch": None if connection.transport.batch is None else asdict(connection.transport.batch),
    }


def _text(config: Any) -> str:
    """The composed configuration for a process that cannot inherit it; interpolations are resolved here."""
    from omegaconf import OmegaConf

    return str(OmegaConf.to_yaml(config, resolve=True))


def _framed(handler: Callable[[Mapping[str, Any], bytes], tuple[Mapping[str, Any], bytes]]) -> Any:
    def answer(data: Mapping[str, Any], payload: bytes) -> Frame:
        fields, content = handler(data, payload)
        return Frame("answer", fields, content)

    return answer


def _pass_on(name: str, content: bytes) -> None:
    """Give what the model prints to where this process prints; a reader that has left is no reason to stop."""
    stream = sys.stderr if name.startswith("stderr") else sys.stdout
    with contextlib.suppress(OSError, ValueError, AttributeError):
        raw = getattr(stream, "buffer", None)
        if raw is None:
            stream.write(content.decode("utf-8", "replace"))
        else:
            stream.flush()
            raw.write(content)
        stream.flush()


def _keep(execution: Execution, folder: Path, verdict: Verdict) -> None:
    """Register what is known of the child as outputs of the run; what looks like a secret is masked."""
    from deriva_ml.execution.attempts import PRINTED
    from deriva_ml.execution.environment import process_mask

    mask = process_mask()
    resources = {name: value for name, value in verdict.to_dict().items() if name not in {"output", "error", "stack"}}
    _register(
        execution,
        "resources.json",
        json.dumps(mask.data(resources), indent=2).encode(),
        "what the model's process took",
    )
    if verdict.error is not None:
        raised = mask.text(verdict.error.traceback).encode("utf-8", "backslashreplace")
        _register(execution, "traceback.txt", raised, "what the model raised")
    if verdict.stack:
        _register(execution, "crash.txt", mask.text(verdict.stack).encode(), "where the model's threads were")
    for name, what in PRINTED.items():
        content = read_ends(folder / name)
        if content:
            text = mask.text(content.decode("utf-8", "surrogateescape"))
            _register(execution, name, text.encode("utf-8", "surrogateescape"), what)


def _register(execution: Execution, name: str, content: bytes, what: str) -> None:
    from deriva_ml.execution.attempts import numbered

    own = numbered(name, execution.attempt)
    path = execution.asset_file_path("Execution_Metadata", own, asset_types="Execution_Metadata", description=what)
    path.write_bytes(content)
