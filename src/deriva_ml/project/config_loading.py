"""The modules of a configuration package are imported one by one, so that one that fails hides no other.

1. A module that fails is never begun again: it would store what came before its error a second time.
2. What failed is the innermost module of the package at work; those that import it lack it, and have no error.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.execution.config_sources import user_line
from deriva_ml.project.findings import Finding, LoadedModule

__all__ = ["load_each"]


class _NeedsBroken(ImportError):
    """A module imports one that could not be imported before."""


class _Broken(MetaPathFinder):
    """Keeps modules that failed from being begun again.

    Attributes:
        names: The modules.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """No module, or the error that it failed before."""
        if fullname in self.names:
            raise _NeedsBroken(f"{fullname} cannot be imported", name=fullname)
        return None


def load_each(modules: Mapping[str, Path], store: Any) -> Iterator[LoadedModule]:
    """Import modules, each when the answer on the one before it has been taken.

    Args:
        modules: The files of the modules, in order.
        store: hydra-zen's store, which they fill.
    """
    broken = _Broken()
    sys.meta_path.insert(0, broken)
    known = set(_entries(store))
    by_file = {str(path): name for name, path in modules.items()}
    failed: dict[str, LoadedModule] = {}
    try:
        for name in modules:
            if name in failed:
                yield failed.pop(name)
                continue
            made = LoadedModule(name)
            error = _import(name)
            made.stored = [entry for entry in _entries(store) if entry not in known]
            known |= set(made.stored)
            if error is not None:
                for each in _failed(made, error, by_file, modules):
                    broken.names.add(each.name)
                    failed[each.name] = each
                made = failed.pop(name)
            yield made
    finally:
        sys.meta_path.remove(broken)


def _entries(store: Any) -> list[tuple[str, str]]:
    return [(str(entry["group"] or ""), str(entry["name"])) for entry in store]


def _import(name: str) -> BaseException | None:
    try:
        importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # it is the result: sys.exit() in a module too
        return error
    return None


def _failed(
    made: LoadedModule, error: BaseException, by_file: Mapping[str, str], modules: Mapping[str, Path]
) -> Iterable[LoadedModule]:
    """The modules that are not there because of an error: the one that it is in, and those that import that one."""
    frames = traceback.extract_tb(error.__traceback__)
    at_work = [by_file[frame.filename] for frame in frames if frame.filename in by_file and frame.name == "<module>"]
    if isinstance(error, SyntaxError) and error.filename in by_file:
        at_work.append(by_file[str(error.filename)])
    at_work = list(dict.fromkeys([made.name, *at_work]))
    culprit = at_work[-1]
    for name in at_work:
        each = made if name == made.name else LoadedModule(name)
        if isinstance(error, _NeedsBroken):
            each.needs = error.name
        elif name != culprit:
            each.needs = culprit
        else:
            each.error = _finding(error, modules[name])
        yield each


def _finding(error: BaseException, path: Path) -> Finding:
    at = f"{error.filename}:{error.lineno}" if isinstance(error, SyntaxError) and error.filename else user_line(error)
    kind = "syntax" if isinstance(error, SyntaxError) else "import"
    if isinstance(error, DerivaMLException):
        return Finding(kind, str(error.args[0]), at=at or f"{path}:1", allowed=error.allowed, hint=error.hint)
    if isinstance(error, ValueError) and "entry already exists" in str(error):
        kind = "duplicate"
    text = error.msg if isinstance(error, SyntaxError) else error_text(error)
    first = (text.strip().splitlines() or ["no message"])[0]
    return Finding(kind, f"{type(error).__name__}: {first}", at=at or f"{path}:1")
