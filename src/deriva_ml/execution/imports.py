"""Which of a user's files a model imports, found in the text of the imports; nothing is imported to find out.

An import inside a function counts like one at the head of a file: it is executed later, when nobody looks any more. Of
what is installed, of the standard library and of this library nothing is followed, since their versions are recorded
with the environment. An import whose name is computed is not seen.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from deriva_ml.execution.calling import INSTALLED, TOOLS

__all__ = ["imported_by", "is_users_file"]

_STANDARD = Path(os.__file__).resolve().parent


def is_users_file(path: Path) -> bool:
    """Whether a file is source that somebody wrote here: not installed, and not of the standard library."""
    return path.suffix == ".py" and not INSTALLED & set(path.parts) and not path.is_relative_to(_STANDARD)


def imported_by(file: Path) -> list[Path]:
    """The user's source files that a file imports, directly or through others; itself is not among them.

    Args:
        file: A Python file or a notebook, without symbolic links.

    Returns:
        The files, without symbolic links, in order.
    """
    found: set[Path] = set()
    open_ = [file]
    while open_:
        reading = open_.pop()
        for path in _direct(reading):
            if path not in found and path != file and is_users_file(path) and path.is_file():
                found.add(path)
                open_.append(path)
    return sorted(found)


def _direct(file: Path) -> Iterator[Path]:
    """What one file imports, and the packages that it is in."""
    yield from _packages_of(file)
    for tree in _trees(file):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from _absolute(alias.name)
            elif isinstance(node, ast.ImportFrom):
                yield from _imported_from(node, file)


def _packages_of(file: Path) -> Iterator[Path]:
    for folder in file.parents:
        package = folder / "__init__.py"
        if not package.is_file():
            return
        yield package.resolve()


def _trees(file: Path) -> Iterator[ast.AST]:
    """The syntax of a file; what cannot be read as Python imports nothing that could be found here."""
    try:
        content = file.read_bytes()
    except OSError:
        return
    sources: Iterable[str | bytes] = _cells(content) if file.suffix == ".ipynb" else [content]
    for source in sources:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes and the like: whoever runs the file is told
                yield ast.parse(source)
        except (SyntaxError, ValueError):
            continue


def _cells(notebook: bytes) -> Iterator[str]:
    """The code cells of a notebook, without the lines that are commands of IPython."""
    try:
        cells = json.loads(notebook)["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                yield "\n".join("pass" if line.startswith(("%", "!")) else line for line in lines)
    except (ValueError, KeyError, TypeError):
        return


def _imported_from(node: ast.ImportFrom, file: Path) -> Iterator[Path]:
    names = [alias.name for alias in node.names if alias.name != "*"]
    if node.level:
        base = file.parents[min(node.level, len(file.parents)) - 1]
        yield from _beside(base, node.module, names)
        return
    module = node.module or ""
    yield from _absolute(module)
    for name in names:
        path = _located(f"{module}.{name}")
        if path is not None:
            yield path


def _beside(base: Path, module: str | None, names: Iterable[str]) -> Iterator[Path]:
    """What a relative import names: modules in a folder."""
    place = base
    for part in module.split(".") if module else ():
        place /= part
        yield from _module_at(place)
    for name in names:
        yield from _module_at(place / name)


def _module_at(place: Path) -> Iterator[Path]:
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    path = next((each for each in candidates if each.is_file()), None)
    if path is not None:
        yield path.resolve()


def _absolute(name: str) -> Iterator[Path]:
    """A module and the packages above it."""
    parts = name.split(".")
    if parts[0] in TOOLS or parts[0] in sys.stdlib_module_names:
        return
    for depth in range(1, len(parts) + 1):
        path = _located(".".join(parts[:depth]))
        if path is not None:
            yield path


def _located(name: str) -> Path | None:
    """The source file of a module; None if it has none, or is a tool's."""
    top = name.partition(".")[0]
    if top in TOOLS or top in sys.stdlib_module_names:
        return None
    origin, _places = _find(name)
    return Path(origin).resolve() if origin is not None and origin.endswith(".py") else None


def _find(name: str) -> tuple[str | None, list[str]]:
    """The file of a module, and the folders in which its submodules are; packages are looked at, not imported."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__file__", None), list(getattr(module, "__path__", ()))
    above, dot, last = name.rpartition(".")
    if not dot:
        return _find_top(name)
    folders: list[str] = []
    for place in _find(above)[1]:
        path = next(_module_at(Path(place) / last), None)
        if path is not None:
            return str(path), [str(path.parent)] if path.name == "__init__.py" else []
        folders += [str(folder) for folder in [Path(place) / last] if folder.is_dir()]
    return None, folders


def _find_top(name: str) -> tuple[str | None, list[str]]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError, OSError):
        # a finder of somebody's that fails, or a module without a spec: the import itself will say so
        return None, []
    return (None, []) if spec is None else (spec.origin, list(spec.submodule_search_locations or ()))
