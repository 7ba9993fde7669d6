"""What a shell may complete on the command line of ``deriva-ml-run``: flags and their values, groups, names and keys.

``deriva-ml-run --shell-completion install=bash`` prints what makes bash ask; it then calls the command for each answer.
Whatever goes wrong here (a configuration module that cannot be imported yet) means that nothing is suggested: a shell
is no place for messages.
"""

from __future__ import annotations

import argparse
import io
import shlex
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from enum import Enum
from pathlib import Path
from typing import Any

from deriva_ml.cli.configurations import config_folder, project
from deriva_ml.cli.hydra_flags import CFG, HYDRA_FLAGS, INFO, HydraWords, options_of, split_hydra

__all__ = ["completions"]

_SHELLS = ("install=bash", "install=fish", "install=zsh", "uninstall=bash", "uninstall=fish", "uninstall=zsh")
_FILES = ("--config-dir", "-cd", "--experimental-rerun")
_VALUES = {
    "--cfg": CFG,
    "-c": CFG,
    "--info": INFO,
    "-i": INFO,
    "--host": ("local",),
    "--shell-completion": _SHELLS,
    "-sc": _SHELLS,
}


def completions(line: str, parser: argparse.ArgumentParser) -> list[str]:
    """The words that the last one of a command line can become.

    Args:
        line: The line up to the cursor, with the command.
        parser: The command's own flags.
    """
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # a quote that is not closed yet
        words = line.split()[1:]
    word = "" if line[-1:].isspace() or not words else words.pop()
    before = words[-1] if words else ""
    if before in ("--config-name", "-cn"):
        words.pop()
    if before in _FILES or before in ("--catalog", "--package", "-p"):
        return []
    if word.startswith("-"):
        return _starting(word, [*options_of(parser), *HYDRA_FLAGS, "--info"])
    found = _starting(word, _VALUES.get(before, ()))
    if found and before not in ("--info", "-i"):
        return found
    return [*found, *_of_project(word, words, parser, before)]


def _starting(word: str, candidates: Iterable[str]) -> list[str]:
    return sorted({item for item in candidates if item.startswith(word)})


def _of_project(word: str, words: Sequence[str], parser: argparse.ArgumentParser, before: str) -> list[str]:
    """What the configuration package offers; nothing where it cannot be loaded."""
    silent = io.StringIO()
    try:
        with redirect_stdout(silent), redirect_stderr(silent):
            flags, rest = parser.parse_known_args([item for item in words if item != "--"])
            hydra = split_hydra(rest)
            with project(config_folder(flags.config_dir, Path.cwd())) as store:
                if before in ("--config-name", "-cn"):
                    return _starting(word, [entry["name"] for entry in store if not entry["group"]])
                return _override(word, hydra, store, hydra.config_name or flags.config_name)
    except (Exception, SystemExit):  # noqa: BLE001  # nothing can be suggested, and a shell is told nothing else
        return []


def _override(word: str, hydra: HydraWords, store: Any, config_name: str) -> list[str]:
    from deriva_ml.execution.registry import Registry, register

    registry = Registry.read(store, config_name, hydra.folders)
    register(store, registry.keys)
    mark = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word[len(mark) :].partition("=")
    if equals and key in registry.groups:
        begun = value.rpartition(",")[0]  # one of several, in a sweep
        begun += "," if begun else ""
        return _starting(word, [f"{mark}{key}={begun}{name}" for name in registry.groups[key]])
    if equals:
        return _starting(word, [f"{mark}{key}={text}" for text in _values(key, hydra, config_name)])
    keys = [*_groups(mark, registry), *_keys(mark, key, hydra, config_name)]
    return _starting(word, keys)


def _groups(mark: str, registry: Any) -> list[str]:
    """Groups as they are written: those of the defaults are changed or deleted, the others are added."""
    groups = [group for group in registry.groups if group]
    if mark == "~":
        return [f"~{group}" for group in groups if group in registry.main_defaults]
    changed = [] if mark else [f"{group}=" for group in groups if group in registry.defaults]
    return [*changed, *(f"{mark or '+'}{group}=" for group in groups if group not in registry.defaults)]


def _keys(mark: str, begun: str, hydra: HydraWords, config_name: str) -> list[str]:
    """Keys of the composed configuration, down to where a word has come."""
    from deriva_ml.execution.override_errors import plain, walk

    if mark == "~":
        return []
    config = plain(_composed(hydra, config_name))
    path = begun.split(".")[:-1]
    _depth, names = walk(config, [*path, ""])
    above = "".join(f"{part}." for part in path)
    node = config
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        return []
    return [f"{mark}{above}{name}{'.' if isinstance(node[name], dict) else '='}" for name in names or ()]


def _values(key: str, hydra: HydraWords, config_name: str) -> list[str]:
    """What a key may be: the values of its type, where they can be listed, else what it is now."""
    from omegaconf import OmegaConf

    config = _composed(hydra, config_name)
    above, _dot, leaf = key.rpartition(".")
    node = OmegaConf.select(config, above) if above else config
    kind = OmegaConf.get_type(node, leaf)
    if kind is bool:
        return ["true", "false"]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [item.name for item in kind]
    now = OmegaConf.select(config, key)
    return [str(now)] if isinstance(now, int | float) or (isinstance(now, str) and now.isidentifier()) else []


def _composed(hydra: HydraWords, config_name: str) -> Any:
    """The configuration that the line makes so far; without its overrides where they are not whole yet."""
    from deriva_ml.core.exceptions import DerivaMLException
    from deriva_ml.execution import composition
    from deriva_ml.execution.overrides import parse

    with composition.hydra_session("deriva-ml-run"):
        try:
            single = [text for text in hydra.overrides if not parse(text).is_sweep_override()]
            return composition.compose(config_name, single)
        except DerivaMLException:
            return composition.compose(config_name, [])
