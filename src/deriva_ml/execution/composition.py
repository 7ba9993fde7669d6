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
from datetime import datetime
from pathlib import Path
from typing import Any

from deriva_ml.core.config import Settings
from deriva_ml.core.logging_config import logging_kept
from deriva_ml.core.values import dataclass
from deriva_ml.execution.composition_errors import our_words
from deriva_ml.execution.overrides import quote

__all__ = [
    "JobContext",
    "compose",
    "compose_jobs",
    "composed_job",
    "discard_output",
    "hydra_session",
    "new_stamp",
    "output_overrides",
    "reset_multirun_state",
    "run_job",
    "run_sweep",
    "state_kept",
    "version_base",
]

VERSION_BASE = "1.3"
OUTPUT_SUBDIR = "hydra-config"

REMEMBERED_JOBS = 300
"""How many composed jobs of a sweep are remembered (100 to 200 KB each); the rest is composed again."""

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
        choices = {
            str(group): str(name)
            for group, name in hydra.runtime.choices.items()
            if name is not None and not str(group).startswith("hydra/")
        }
        number = OmegaConf.select(hydra, "job.num", throw_on_missing=False)
        # As they were written: read one by one, OmegaConf would fill in the interpolations in them.
        overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        folder = OmegaConf.select(hydra, "runtime.output_dir", throw_on_missing=False)
        return cls(choices, Path(folder) if folder else None, tuple(map(str, overrides)), number)


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
def hydra_session(job_name: str, base: str = VERSION_BASE) -> Iterator[Any]:
    """Hydra, ready to compose; its process-wide state, and the log's, is as before at the end of the block."""
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    Settings.read().make_home()

    # Hydra's own package, where it looks anyhow: hydra.initialize would read the sources of all callers to find another
    with state_kept(), initialize_config_module("hydra.conf", job_name=job_name, **version_base(base)):
        yield GlobalHydra.instance().hydra


@contextmanager
def state_kept() -> Iterator[None]:
    """Whatever Hydra does within the block to the log and to what it knows of a job is undone at its end."""
    from hydra.core.hydra_config import HydraConfig

    before = HydraConfig.instance().cfg
    try:
        with logging_kept():
            yield
    finally:
        HydraConfig.instance().cfg = before


def version_base(base: str = VERSION_BASE) -> dict[str, str]:
    """How Hydra is asked for the behaviour of a version; from 1.4 on it behaves like 1.3 if it is not asked."""
    import hydra

    return {"version_base": base} if hydra.__version__.startswith("1.3.") or base != VERSION_BASE else {}


def reset_multirun_state() -> None:
    """Forget what Hydra still holds of a job in this process, as after one that a notebook broke off.

    A sweep keeps nothing in the process; but a later call of ``run_model`` would take itself for a job of what
    ``HydraConfig`` holds.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


def compose(config_name: str, overrides: Sequence[str]) -> Any:
    """Compose a configuration without running anything; within `hydra_session`."""
    from hydra import compose as hydra_compose

    with our_words(config_name, overrides):
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

    with our_words(config_name, overrides):
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
    """Compose once and run one job; what the task returns, or raises."""
    raised: list[Exception] = []

    def quiet(config: Any) -> Any:
        try:
            return task(config)
        except Exception as error:  # noqa: BLE001  # raised again below: Hydra would print it first
            raised.append(error)

    with our_words(config_name, overrides):
        done = hydra.run(config_name=config_name, task_function=quiet, overrides=list(overrides))
    if raised:
        raise raised[0]
    return done.return_value


def compose_jobs(hydra: Any, config_name: str, overrides: Sequence[str], jobs: Sequence[Sequence[str]]) -> Any:
    """Compose every job of a sweep, so that a mistake in any of them is found before the first starts.

    What was composed is what the sweeper and the launcher get when they ask for the job: each is composed once.

    Args:
        hydra: The session.
        config_name: The main configuration.
        overrides: The overrides of the sweep, with those of Hydra's own part.
        jobs: The overrides of each job.

    Returns:
        The configuration of the first job, without Hydra's part.
    """
    from hydra.types import RunMode
    from omegaconf import open_dict, read_write

    with our_words(config_name, overrides):
        master = hydra.config_loader.load_configuration(config_name, list(overrides), RunMode.MULTIRUN)
    hydra.config_loader = loader = ComposedOnce(hydra.config_loader)
    first: Any = None
    for job in jobs:
        with our_words(config_name, job):
            config = loader.load_sweep_config(master, list(job))
        first = config if first is None else first
    with read_write(first), open_dict(first):
        del first["hydra"]
    return first


class ComposedOnce:
    """Hydra's loader of configurations, which remembers the jobs that it composed.

    Args:
        loader: Hydra's own, which answers everything else.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._jobs: dict[tuple[str, ...], Any] = {}

    def load_sweep_config(self, master_config: Any, sweep_overrides: list[str]) -> Any:
        """The configuration of a job, which the caller may change; composed unless it is remembered."""
        from omegaconf import OmegaConf

        known = self._jobs.get(tuple(sweep_overrides))
        if known is None:
            known = self._loader.load_sweep_config(master_config, sweep_overrides)
            if len(self._jobs) >= REMEMBERED_JOBS:
                return known
            self._jobs[tuple(sweep_overrides)] = known
        config = copy.deepcopy(known)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # whoever pickles it asks for these before there is a loader
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __getstate__(self) -> dict[str, Any]:
        # A launcher that starts processes sends the loader along with each job, which composes its own there.
        return {"_loader": self._loader, "_jobs": {}}


def run_sweep(hydra: Any, config_name: str, task: Task, overrides: Sequence[str]) -> list[Any]:
    """Run the jobs of a sweep with whatever sweeper and launcher the configuration names; what the tasks return."""
    with our_words(config_name, overrides):
        batches = hydra.multirun(config_name=config_name, task_function=task, overrides=list(overrides))
    # Sweepers that search (optuna, ax) keep their jobs to themselves.
    return [job.return_value for batch in batches or () for job in batch]
