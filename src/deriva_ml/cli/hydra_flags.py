"""Hydra's own flags on the command line of ``deriva-ml-run``: told apart from ours, checked, and answered by Hydra.

``hydra.main`` answers a question about the configuration (``--cfg``, ``--info``, ...); nothing is run through it. What
Hydra knows under another name than we do (``-cn``, ``-cd``, ``--run``) is translated.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.core.values import dataclass

if TYPE_CHECKING:
    from deriva_ml.execution.runner import RunPlan

__all__ = [
    "CFG",
    "HYDRA_FLAGS",
    "INFO",
    "HydraWords",
    "answer",
    "options_of",
    "search_override",
    "set_up_completion",
    "split_hydra",
]

CFG = ("job", "hydra", "all")
INFO = ("all", "aliases", "config", "defaults", "defaults-tree", "plugins", "searchpath")
SHELL_STEPS = ("install", "query", "uninstall")

_LONG = {"-c": "--cfg", "-p": "--package", "-r": "--run", "-sc": "--shell-completion", "-i": "--info"}
_WITH_VALUE = ("--cfg", "--package", "-cn", "-cd", "--experimental-rerun")
_REFUSED = ("--config-path", "-cp")

HYDRA_FLAGS = (
    "--cfg",
    "--resolve",
    "--package",
    "--run",
    "--shell-completion",
    "--experimental-rerun",
    "--hydra-help",
    "-cn",
    "-cd",
)
"""Hydra's flags that the command takes, beside those that it has itself."""


@dataclass(frozen=True)
class HydraWords:
    """What of a command line is Hydra's.

    Attributes:
        flags: What Hydra is asked, with values.
        overrides: The overrides.
        folders: Folders with more configurations, in YAML (``-cd``).
        config_name: The main configuration, if ``-cn`` names one.
        shell: A step of shell completion and the shell: ``install=bash``.
    """

    flags: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    config_name: str | None = None
    shell: str | None = None


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """The flags of a command."""
    actions = parser._actions  # noqa: SLF001  # argparse tells no other way
    return [option for action in actions for option in action.option_strings]


def split_hydra(rest: Sequence[str], known: Sequence[str] = (), *, info: bool = False) -> HydraWords:
    """Take Hydra's own flags, with their values, out of what the command does not know itself.

    Args:
        rest: The arguments that are not the command's own flags, in order.
        known: The command's own flags, for messages.
        info: Whether ``--info`` was given; one of Hydra's words for it then makes it Hydra's flag.

    Raises:
        DerivaMLConfigurationError: A flag is neither ours nor Hydra's, or has a value that it does not take.
    """
    found: dict[str, list[str]] = {}
    overrides: list[str] = []
    words = iter(rest)
    for word in words:
        name, equals, value = word.partition("=")
        name = _LONG.get(name, name)
        if word.startswith("-"):
            if name not in HYDRA_FLAGS:
                raise _unknown_flag(name, known)
            found.setdefault(name, []).append(_value(name, value if equals else None, words))
        elif info and "=" not in word:
            found.setdefault("--info", []).append(_one_of("--info", word, INFO))
        else:
            overrides.append(word)
    shell = None
    if "--shell-completion" in found:
        del found["--shell-completion"]
        shell = next((text for text in overrides if text.partition("=")[0] in SHELL_STEPS), None)
        if shell is None:
            raise _wrong("--shell-completion needs a step and a shell.", ["install=bash", "uninstall=bash"])
        overrides.remove(shell)
    names = found.pop("-cn", [None])
    folders = tuple(Path(folder).absolute() for folder in found.pop("-cd", []))
    found.pop("--run", None)
    _check_together(found, folders)
    flags = tuple(part for name, values in found.items() for part in (name, values[-1]) if part)
    return HydraWords(flags, tuple(overrides), folders, names[-1], shell)


def _value(name: str, value: str | None, words: Iterator[str]) -> str:
    if name not in _WITH_VALUE:
        return ""
    if value is None:
        value = next(words, None)
    if value is None:
        raise _wrong(f"{name} needs a value.", CFG if name == "--cfg" else ())
    return _one_of(name, value, CFG) if name == "--cfg" else value


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    from deriva_ml.core.files import nearest

    if value not in allowed:
        raise _wrong(f"{name} does not take {value!r}.", nearest(value, allowed))
    return value


def _check_together(found: dict[str, list[str]], folders: Sequence[Path]) -> None:
    asked = [name for name in ("--cfg", "--info", "--hydra-help", "--experimental-rerun") if name in found]
    if len(asked) > 1:
        raise _wrong(f"One question at a time: {' and '.join(asked)}.", asked)
    for name in ("--resolve", "--package"):
        if name in found and "--cfg" not in found:
            raise _wrong(f"{name} says how --cfg shows the configuration, and --cfg is missing.", [f"--cfg job {name}"])
    for folder in folders:
        if not folder.is_dir():
            raise _wrong(f"-cd names no directory: {folder}", ())
    for path in map(Path, found.get("--experimental-rerun", ())):
        if not path.exists():
            raise _wrong(f"--experimental-rerun names nothing that there is: {path}", ())


def _wrong(message: str, allowed: Sequence[str]) -> Exception:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    return DerivaMLConfigurationError(
        message, source="command line", allowed=allowed, hint="deriva-ml-run --help shows the flags"
    )


def _unknown_flag(name: str, known: Sequence[str]) -> Exception:
    from deriva_ml.core.files import nearest

    if name in _REFUSED:
        return _wrong(
            f"{name} would replace what the configuration modules store; a folder with YAML is added to it.",
            ["-cd DIR"],
        )
    return _wrong(f"There is no flag {name}.", nearest(name, [*known, *HYDRA_FLAGS]))


def search_override(folders: Sequence[Path]) -> list[str]:
    """The override that adds folders with YAML to what Hydra searches."""
    from deriva_ml.execution.overrides import quote

    places = ",".join(quote(f"file://{folder}") for folder in folders)
    return [f"hydra.searchpath=[{places}]"] if folders else []


def answer(flags: Sequence[str], plan: RunPlan) -> int:
    """Let ``hydra.main`` answer a question about the configuration that a plan would compose.

    Raises:
        DerivaMLConfigurationError: The configuration cannot be composed, or belongs to several jobs.
    """
    from deriva_ml.execution import composition

    if plan.is_sweep and "--cfg" in flags:
        raise _wrong("--cfg shows the configuration of one job, and this is a sweep.", ["one value for each key"])
    if "--cfg" in flags or "--info" in flags:
        with composition.hydra_session("deriva-ml-run"):
            composition.compose(plan.config_name, () if plan.is_sweep else plan.overrides)
    try:
        return _hydra_main([*flags, *_job_name(plan), *plan.all_overrides], plan.config_name)
    finally:
        composition.discard_output(plan.home, plan.stamp)


def _job_name(plan: RunPlan) -> list[str]:
    """The name of the job as a run has it; ``hydra.main`` would take that of a module."""
    given = any(text.startswith("hydra.job.name=") for text in plan.overrides)
    return [] if given else ["hydra.job.name=deriva-ml-run"]


def set_up_completion(step: str) -> int:
    """Let Hydra print what a shell is to evaluate, so that it completes this command, or does so no more."""
    return _hydra_main(["--shell-completion", step], None)


def _hydra_main(words: Sequence[str], config_name: str | None) -> int:
    """Call ``hydra.main``, which reads ``sys.argv``; it is put back afterwards, and so is the log."""
    import hydra

    from deriva_ml.execution.composition import state_kept, version_base

    before = sys.argv
    sys.argv = ["deriva-ml-run", *words]
    try:
        with state_kept():
            logging.getLogger("hydra").setLevel(logging.NOTSET)  # it answers through its log
            hydra.main(config_path=None, config_name=config_name, **version_base())(_rerun)()
    except SystemExit as stop:
        if not isinstance(stop.code, int | None):
            raise
        return stop.code or 0
    finally:
        sys.argv = before
    return 0


def _rerun(config: Any) -> None:
    """What Hydra calls where it runs something itself (``--experimental-rerun``): the job, as always."""
    from deriva_ml.cli.printer import show_outcome
    from deriva_ml.execution.runner import Job

    code = show_outcome(Job()(config))
    if code:
        sys.exit(code)
