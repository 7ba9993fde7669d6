"""Loading a user's configuration package: each module registers what it holds; a mistake is told with its line."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType

from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException
from deriva_ml.core.files import nearest
from deriva_ml.execution.config_sources import stored_at, user_line

__all__ = ["load_configs"]

_STORED_TWICE = re.compile(r"\(name=(?P<name>.*?) group=(?P<group>.*?)\): Store entry already exists")


def load_configs(package_name: str = "configs") -> list[str]:
    """Import every module of a configuration package, so that each registers what it holds.

    Sub-packages come first, then modules by name, and ``experiments`` last, because experiments refer to the others.

    Args:
        package_name: The package, found on ``sys.path``.

    Returns:
        The full names of the modules, sorted; none if there is no such package.

    Raises:
        DerivaMLConfigurationError: A module of the package cannot be imported; the error names file and line.
    """
    try:
        found = importlib.util.find_spec(package_name)
    except (ModuleNotFoundError, ValueError):
        found = None
    if found is None:
        return []
    return sorted(_load_package(package_name))


def _load_package(name: str) -> list[str]:
    package = _import_config(name)
    loaded = []
    modules = sorted(
        pkgutil.iter_modules(getattr(package, "__path__", ())), key=lambda info: (not info.ispkg, _order(info.name))
    )
    for info in modules:
        full = f"{name}.{info.name}"
        if info.ispkg:
            loaded += _load_package(full)
        else:
            _import_config(full)
            loaded.append(full)
    return loaded


def _order(name: str) -> tuple[bool, str]:
    return name == "experiments", name


def _import_config(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except DerivaMLException as error:
        error.source = error.source or _where(error)
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module that calls sys.exit() too is a mistake with a place
        raise _explained(name, error) from error


def _explained(name: str, error: BaseException) -> DerivaMLConfigurationError:
    """An error at the import of a module, as one of ours."""
    message, allowed, hint = _what(name, error)
    return DerivaMLConfigurationError(
        f"The configuration module {name} cannot be imported: {message}",
        source=_where(error),
        allowed=allowed,
        hint=hint,
    )


def _what(name: str, error: BaseException) -> tuple[str, list[str], str]:
    """What is wrong, what would be right, and what to do."""
    hint = "mend that line; nothing was run"
    text = f"{type(error).__name__}: {_first_line(error)}"
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})", [], "a configuration module only stores configurations"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"No module named {error.name!r}", *_missing_module(name, error.name)
    if isinstance(error, ImportError) and "partially initialized module" in str(error):
        return (
            f"{_first_line(error).partition(' (')[0]}: the modules import each other in a circle",
            [],
            "move what both need into a third module",
        )
    if isinstance(error, ImportError) and error.name and (missing := re.search(r"import name '(\w+)'", str(error))):
        module = sys.modules.get(error.name)
        return (
            text.partition(" (/")[0],
            nearest(missing[1], [item for item in vars(module or ()) if item[0] != "_"]),
            hint,
        )
    if isinstance(error, ValueError) and (twice := _STORED_TWICE.search(str(error))):
        return _stored_twice(twice["group"], twice["name"], _where(error))
    return text, [], hint


def _missing_module(name: str, missing: str) -> tuple[list[str], str]:
    """The nearest names, and what to do, about a module that is not there."""
    parent, _dot, leaf = missing.rpartition(".")
    package = sys.modules.get(parent)
    if package is not None:
        names = [info.name for info in pkgutil.iter_modules(getattr(package, "__path__", ()))]
        return [f"{parent}.{item}" for item in nearest(leaf, names)], "correct the name of the module"
    import difflib

    root = sys.modules.get(name.partition(".")[0])
    beside = [str(Path(place).parent) for place in getattr(root, "__path__", ())]
    names = [info.name for info in pkgutil.iter_modules(beside)]
    hint = f"install the distribution that holds {missing.partition('.')[0]}, or correct the name"
    return difflib.get_close_matches(missing, names), hint


def _stored_twice(group: str, name: str, again: str | None) -> tuple[str, list[str], str]:
    known = "" if group == "None" else group
    file = (again or "").rpartition(":")[0]  # the module that is being imported is not in sys.modules any more
    places = [place for place in stored_at(known, name, [file]) if place != again]
    first = f" The first is at {places[0]}." if places else ""
    what = f"{known}={name} is stored twice." if known else f"the main configuration {name!r} is stored twice."
    return what + first, [], "give one of them another name, or remove it"


def _first_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    return (error_text(error).strip().splitlines() or ["no message"])[0]


def _where(error: BaseException) -> str | None:
    """File and line of the user's code that raised: the last frame outside the installation's packages."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    return user_line(error)
