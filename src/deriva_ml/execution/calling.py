"""Which file a run's code is in: that of the model, or of the program that is running."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from deriva_ml.core.exceptions import DerivaMLWorkflowError

__all__ = ["INSTALLED", "TOOLS", "calling_file", "file_of"]

TOOLS = frozenset(
    {
        "IPython",
        "_pytest",
        "asyncio",
        "concurrent",
        "debugpy",
        "deriva_ml",
        "execnet",
        "hydra",
        "hydra_zen",
        "importlib",
    }
    | {"ipykernel", "omegaconf", "pluggy", "pydantic", "pydevd", "pytest", "runpy", "threading", "tornado", "traitlets"}
    | {"xdist", "multiprocessing", "functools", "contextlib", "pytest_timeout", "hypothesis", "joblib"}
)
"""Packages that call a user's code, and are not what a run is made from."""

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed distributions."""


def file_of(model: Callable[..., object]) -> Path:
    """The source file that defines a model, through partials, methods and decorators.

    Raises:
        DerivaMLWorkflowError: It was not defined in Python source.
    """
    inner: object = model
    while (next_one := _wrapped(inner)) is not None:
        inner = next_one
    code = getattr(inner, "__code__", None)
    if code is not None:
        return Path(code.co_filename)
    kind = inner if isinstance(inner, type) else type(inner)
    name = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if name is None:
        raise DerivaMLWorkflowError(
            f"The model {inner!r} is not defined in a Python file.", hint="wrap it in a function of your project"
        )
    return Path(name)


def _wrapped(outer: object) -> object | None:
    """What a partial, a method or a decorated function is made from; None for anything else."""
    names = ("func", "__func__", "__wrapped__")
    return next((inner for name in names if callable(inner := getattr(outer, name, None))), None)


def calling_file(frame: FrameType | None = None) -> Path:
    """The file of the program that is running: the outermost one that is not a tool.

    Tools are test runners, debuggers, Hydra, this library, and the commands of the environment's ``bin`` folder. Where
    there is nothing but a cell of a notebook, or a line typed at a prompt, there is no file: the name given is that of
    the code.
    """
    import inspect

    here = frame or inspect.currentframe()
    found: list[str] = []
    while here is not None:
        found.append(here.f_code.co_filename if _is_users(here.f_globals, here.f_code.co_filename) else "")
        here = here.f_back
    names = [name for name in reversed(found) if name]
    return Path(next((name for name in names if Path(name).is_file()), names[0] if names else "<stdin>"))


def _is_users(namespace: Mapping[str, object], filename: str) -> bool:
    path = Path(filename)
    site = next((at for at, part in enumerate(path.parts) if part in INSTALLED), None)
    # a module that was started with -m is called __main__, wherever it is
    module = path.parts[site + 1] if site is not None else str(namespace.get("__name__") or "")
    if module.partition(".")[0] in TOOLS or filename.startswith("<frozen"):
        return False
    is_standard = site is None and path.is_relative_to(Path(os.__file__).parent)
    return not is_standard and path.parent != Path(sys.prefix) / "bin"
