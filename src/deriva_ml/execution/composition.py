"""Composition: Hydra's part of a run, and its errors in our words.

Hydra is driven through the object that ``hydra.initialize`` makes, the same one that ``hydra.main`` drives. It gives
``run`` (which composes exactly once), ``multirun`` (with any sweeper and launcher) and the job directories, but none of
``hydra.main``'s process-wide habits: it does not read ``sys.argv``, print tracebacks or exit.
"""

from __future__ import annotations

import copy
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deriva_ml.core.config import Settings
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException
from deriva_ml.core.files import nearest
from deriva_ml.execution.model_protocol import RUN_KEYWORDS
from deriva_ml.execution.overrides import quote

__all__ = [
    "JobContext",
    "compose",
    "composed_job",
    "discard_output",
    "hydra_session",
    "new_stamp",
    "output_overrides",
    "register",
    "run_job",
    "run_sweep",
]

VERSION_BASE = "1.3"
OUTPUT_SUBDIR = "hydra-config"

Task = Callable[[Any], Any]


@dataclass(frozen=True)
class JobContext:
    """What Hydra knows about the job at work.

    Attributes:
        choices: The name chosen in each group.
        output_dir: The job's directory.
        overrides: The overrides of the job.
        number: The job's number in its sweep; None in a single run.
    """

    choices: dict[str, str]
    output_dir: Path | None
    overrides: tuple[str, ...] = ()
    number: int | None = None

    @classmethod
    def current(cls) -> JobContext:
        """The job at work; empty outside Hydra."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        if not HydraConfig.initialized():
            return cls({}, None)
        hydra = HydraConfig.get()
        number = OmegaConf.select(hydra, "job.num", throw_on_missing=False)
        output_dir = OmegaConf.select(hydra, "runtime.output_dir", throw_on_missing=False)
        return cls(
            _choices(hydra), None if output_dir is None else Path(output_dir), tuple(hydra.overrides.task), number
        )


def _choices(hydra: Any) -> dict[str, str]:
    return {
        str(group): str(name)
        for group, name in hydra.runtime.choices.items()
        if name is not None and not str(group).startswith("hydra/")
    }


def register(store: Any) -> None:
    """Hand what the configuration modules registered to Hydra; done by a command, never by an import."""
    store.add_to_hydra_store(overwrite_ok=True)


def new_stamp(now: datetime | None = None) -> str:
    """A name for a run's directory: the time to the microsecond and a random part.

    Two runs that start in the same second, or at the same microsecond on two machines, never share one.
    """
    return f"{now or datetime.now():%Y-%m-%d_%H-%M-%S.%f}-{secrets.token_hex(3)}"


def output_overrides(home: Path, stamp: str, given: Sequence[str]) -> list[str]:
    """Overrides that keep Hydra out of the user's directory, and two runs out of each other's.

    Args:
        home: Where this machine keeps its working files.
        stamp: The name of this run's directory.
        given: The user's overrides; where they say something themselves, theirs stands.
    """
    wanted = {
        "hydra.run.dir": quote(str(home / "hydra" / stamp)),
        "hydra.sweep.dir": quote(str(home / "hydra-sweep" / stamp)),
        "hydra.output_subdir": OUTPUT_SUBDIR,
        "hydra.hydra_logging.root.level": "WARNING",
        "hydra.hydra_logging.handlers.console.stream": "ext://sys.stderr",
        "hydra.job_logging.handlers.console.stream": "ext://sys.stderr",
    }
    keys = [text.partition("=")[0] for text in given]
    return [f"{key}={value}" for key, value in wanted.items() if not any(_same_part(key, other) for other in keys)]


def discard_output(home: Path, stamp: str, *, recorded: bool = False) -> None:
    """Remove Hydra's files of a run, which hold its secrets in clear; never a directory that the user chose.

    Args:
        home: Where this machine keeps its working files.
        stamp: The name of the run's directory.
        recorded: The run has a record, with masked copies of Hydra's files; what its model wrote into Hydra's
            directory, and its log, stay.
    """
    for place in (home / "hydra" / stamp, home / "hydra-sweep" / stamp):
        if not recorded:
            shutil.rmtree(place, ignore_errors=True)
        elif place.is_dir():
            _discard_configuration(place)


def _discard_configuration(place: Path) -> None:
    """Remove Hydra's configuration files below a directory, and what is empty without them."""
    for folder in list(place.rglob(OUTPUT_SUBDIR)):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        (place / "multirun.yaml").unlink(missing_ok=True)
    for file in place.rglob("*.log"):
        with suppress(OSError):
            if not file.stat().st_size:
                file.unlink()
    for folder in sorted((path for path in (place, *place.rglob("*")) if path.is_dir()), reverse=True):
        with suppress(OSError):  # what the model wrote is in it
            folder.rmdir()


def _same_part(key: str, other: str) -> bool:
    """Whether an override of ``other`` says something about ``key`` already."""
    if other in ("hydra/job_logging", "hydra/hydra_logging"):
        return key.startswith(other.replace("/", "."))
    return other == key


@contextmanager
def hydra_session(job_name: str) -> Iterator[Any]:
    """Hydra, ready to compose; its process-wide state is as before at the end of the block."""
    from hydra import initialize
    from hydra.core.global_hydra import GlobalHydra

    Settings.read().make_home()

    with initialize(config_path=None, job_name=job_name, version_base=VERSION_BASE):
        yield GlobalHydra.instance().hydra


def compose(config_name: str, overrides: Sequence[str]) -> Any:
    """Compose a configuration without running anything; within `hydra_session`."""
    from hydra import compose as hydra_compose

    with _our_words(config_name, overrides):
        return hydra_compose(config_name, list(overrides))


@contextmanager
def composed_job(config_name: str, overrides: Sequence[str], number: int, folder: Path) -> Iterator[Any]:
    """The configuration of one job of a sweep, which is the job at work within the block; nothing is run.

    Args:
        config_name: The main configuration.
        overrides: The job's overrides.
        number: Its number.
        folder: Where the jobs' directories would be; none is made.
    """
    from hydra import compose as hydra_compose
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict, read_write

    with _our_words(config_name, overrides):
        config = hydra_compose(config_name, list(overrides), return_hydra_config=True)
    holder = HydraConfig.instance()
    before = holder.cfg
    with open_dict(config.hydra):
        config.hydra.job.num = number
        config.hydra.runtime.output_dir = str(folder / str(number))
    holder.set_config(config)  # which makes its part read-only
    task = copy.deepcopy(config)
    with read_write(task), open_dict(task):
        del task["hydra"]
    try:
        yield task
    finally:
        holder.cfg = before


def run_job(hydra: Any, config_name: str, task: Task, overrides: Sequence[str]) -> Any:
    """Compose once and run one job; what the task returns."""
    with _our_words(config_name, overrides):
        return hydra.run(config_name=config_name, task_function=task, overrides=list(overrides)).return_value


def run_sweep(hydra: Any, config_name: str, task: Task, overrides: Sequence[str]) -> list[Any]:
    """Run the jobs of a sweep with whatever sweeper and launcher the configuration names; what the tasks return."""
    with _our_words(config_name, overrides):
        batches = hydra.multirun(config_name=config_name, task_function=task, overrides=list(overrides))
    # Sweepers that search (optuna, ax) keep their jobs to themselves.
    return [job.return_value for batch in batches or () for job in batch]


@contextmanager
def _our_words(config_name: str, overrides: Sequence[str]) -> Iterator[None]:
    """Turn errors of Hydra and OmegaConf into ours."""
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except DerivaMLException:
        raise
    except MissingConfigException as error:
        raise _missing_config(error) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _composition_error(error, config_name, overrides) from error


def _missing_config(error: Any) -> DerivaMLConfigurationError:
    wanted = str(error.missing_cfg_file or "")
    group, _slash, name = wanted.rpartition("/")
    if not wanted:
        return DerivaMLConfigurationError(_first_line(error))
    return DerivaMLConfigurationError(
        f"The defaults ask for {name!r} in group {group!r}, which has no such configuration.",
        source=f"defaults: {wanted}",
        allowed=nearest(name, error.options or ()),
        hint=f"store a configuration with group={group!r}, name={name!r}, or choose another: {group}=NAME",
    )


def _composition_error(error: Exception, config_name: str, overrides: Sequence[str]) -> DerivaMLConfigurationError:
    found = _unknown_key(config_name, overrides)
    if found is not None:
        return found
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else None
    reason = _first_line(cause or error)
    text = next((text for text in overrides if text in str(error)), None)
    return DerivaMLConfigurationError(
        f"The configuration cannot be composed: {reason}",
        source=f"override {text}" if text else f"configuration {config_name}",
        hint="correct the value" if text else "correct the configuration module that holds it",
    )


def _unknown_key(config_name: str, overrides: Sequence[str]) -> DerivaMLConfigurationError | None:
    """The override that names a key which the configuration lacks, found by composing without the keys' overrides."""
    from hydra import compose as hydra_compose
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    parsed = [
        item for item in OverridesParser.create().parse_overrides(list(overrides)) if not item.is_hydra_override()
    ]
    keyed = [item for item in parsed if "." in item.key_or_group]
    rest = [item.input_line for item in parsed if item not in keyed and not item.is_sweep_override()]
    try:
        config = OmegaConf.to_container(hydra_compose(config_name, rest), resolve=False)
    except HydraException:
        return None
    for item in keyed:
        path = item.key_or_group.split(".")
        depth, known = _walk(config, path)
        if depth < len(path) and known and not item.is_add() and not item.is_force_add():
            return DerivaMLConfigurationError(
                f"{'.'.join(path[:depth]) or 'The configuration'} has no {path[depth]!r}.",
                source=f"override {item.input_line}",
                allowed=nearest(path[depth], known),
                hint="correct the name, or add it with + before the key",
            )
    return None


def _walk(config: Any, path: Sequence[str]) -> tuple[int, list[str]]:
    """How far a path goes into nested mappings, and the names where it stops."""
    node = config
    for depth, part in enumerate(path):
        if not isinstance(node, dict):
            return depth, []
        if part not in node:
            notes = node.get("_zen_exclude", ())
            return depth, [name for name in node if not name.startswith("_") and name not in (*notes, *RUN_KEYWORDS)]
        node = node[part]
    return len(path), []


def _first_line(error: BaseException) -> str:
    """The line that says it; Hydra puts a heading that ends in a colon before some."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
