"""Where in the user's own files something is written: the line that raised, the call that stores a configuration.

Neither Hydra nor hydra-zen keeps where a configuration came from. It is looked up when an error has to be told, in the
text of the modules that are imported.
"""

from __future__ import annotations

import ast
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["is_users", "stored_at", "stored_in", "user_line", "written_at"]

_OWN = str(Path(__file__).resolve().parents[1])
_STDLIB = str(Path(re.__file__).resolve().parents[1])
_COMMANDS = str(Path(sys.prefix) / "bin") + "/"


def is_users(filename: str) -> bool:
    """Whether a file is the user's: not of an installed package or command, the standard library or this package."""
    return not (filename.startswith(("<", _OWN, _STDLIB, _COMMANDS)) or "site-packages" in filename)


def user_line(error: BaseException) -> str | None:
    """``file:line`` of the innermost frame of an error that is the user's own code, or None.

    Args:
        error: An error with its traceback.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_users(frame.filename):
            return f"{frame.filename}:{frame.lineno}"
    return None


def stored_at(group: str | None, name: str, more: Iterable[str] = ()) -> list[str]:
    """``file:line`` of the calls that store a configuration, as far as its name stands in them.

    Args:
        group: Its group; None or empty for a main configuration.
        name: Its name.
        more: Files to look in beside the modules that are imported.
    """
    certain: list[str] = []
    likely: list[str] = []
    for path, tree in _user_modules(more):
        groups, stores = _named_stores(tree), _can_store(tree)
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or name not in _names(call):
                continue
            found = _group(call, groups)
            if found == (group or ""):
                certain.append(f"{path}:{call.lineno}")
            elif found is None and stores:
                likely.append(f"{path}:{call.lineno}")
    return sorted(certain or likely)


def stored_in(group: str | None) -> list[str]:
    """``file:line`` of the calls that store something in a group, as far as that can be seen."""
    return sorted(
        f"{path}:{call.lineno}"
        for path, tree in _user_modules()
        for groups in [_named_stores(tree)]
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _constant(call, "name") and _group(call, groups) == (group or "")
    )


def written_at(text: str) -> str | None:
    """``file:line`` of the first piece of text in the user's modules that holds some other text, or None."""
    for path, tree in _user_modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and text in node.value:
                return f"{path}:{node.lineno}"
    return None


def _user_modules(more: Iterable[str] = ()) -> Iterator[tuple[str, ast.Module]]:
    """The user's modules that are imported, read anew."""
    files = [getattr(module, "__file__", None) for module in tuple(sys.modules.values())]
    for path in dict.fromkeys([*files, *more]):
        if not isinstance(path, str) or not path.endswith(".py") or not is_users(path):
            continue
        try:
            yield path, ast.parse(Path(path).read_bytes())
        except (OSError, SyntaxError, ValueError):  # it has gone, or changed, since it was imported
            continue


def _can_store(tree: ast.Module) -> bool:
    """Whether a module imports what configurations are stored with."""
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names}
    return any(str(name).startswith(("hydra_zen", "deriva_ml.execution")) for name in imported)


def _named_stores(tree: ast.Module) -> dict[str, str]:
    """Variables that hold a store of one group: ``datasets = store(group="datasets")``."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            group = _constant(node.value, "group")
            for target in node.targets:
                if isinstance(target, ast.Name) and group is not None:
                    found[target.id] = group
    return found


def _names(call: ast.Call) -> list[str]:
    """What a call may give as the name of a configuration."""
    name = _constant(call, "name")
    if name is not None:
        return [name]
    first = call.args[0] if call.args else None  # a function of the user's own: experiment("name", ...)
    return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []


def _group(call: ast.Call, stores: dict[str, str]) -> str | None:
    """The group that a call names; empty where a store is called without one, None where it cannot be seen."""
    group = _constant(call, "group")
    if group is not None:
        return group
    function = call.func.func if isinstance(call.func, ast.Call) else call.func
    if isinstance(call.func, ast.Call):
        return _constant(call.func, "group")
    if isinstance(function, ast.Name):
        return stores.get(function.id, "" if function.id == "store" else None)
    return None


def _constant(call: ast.Call, keyword: str) -> str | None:
    for item in call.keywords:
        if item.arg == keyword and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str):
            return item.value.value
    return None
