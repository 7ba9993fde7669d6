"""The user's configuration package: where it is, and loading it so that nothing of the caller is changed for good."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

__all__ = ["config_folder", "project"]


def config_folder(given: str | None, here: Path) -> Path:
    """The folder of the configuration package: the given one, else ``src/configs``, else ``configs``.

    Args:
        given: What ``--config-dir`` says.
        here: The working directory.

    Raises:
        DerivaMLConfigurationError: There is no such folder.
    """
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    tried = [here / given] if given else [here / "src" / "configs", here / "configs"]
    for folder in tried:
        if folder.is_dir():
            return folder.resolve()
    is_file = next((folder for folder in tried if folder.exists()), None)
    names = " nor ".join(str(folder) for folder in tried)
    raise DerivaMLConfigurationError(
        f"Config directory not found: {names}" if is_file is None else f"Not a directory: {is_file}",
        source="--config-dir" if given else "working directory",
        hint="go to the project's directory, or name the folder with --config-dir",
    )


@contextmanager
def project(folder: Path, source: str | None = None) -> Iterator[Any]:
    """Load a configuration package; within the block its parent, and the project above a ``src``, are on ``sys.path``.

    What the modules print goes to standard error: standard output belongs to the command.

    Args:
        folder: The package.
        source: Where the folder's name came from, for messages.

    Yields:
        hydra-zen's store, which the modules have filled.

    Raises:
        DerivaMLConfigurationError: A module cannot be imported, or nothing is registered.
    """
    above = [folder.parent.parent] if folder.parent.name == "src" else []
    added = [str(place) for place in (folder.parent, *above) if str(place) not in sys.path[:2]]
    sys.path[:0] = added
    try:
        with redirect_stdout(sys.stderr):
            store = _load(folder, source or "working directory")
        yield store
    finally:
        for place in added:
            if place in sys.path:
                sys.path.remove(place)


def _load(folder: Path, source: str) -> Any:
    from hydra_zen import store

    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.execution.base_config import load_configs
    from deriva_ml.execution.registry import entries

    loaded = load_configs(folder.name)
    package = sys.modules.get(folder.name)
    for name in [folder.name, *loaded]:
        file = getattr(sys.modules.get(name), "__file__", None)  # none: a package without __init__.py
        if file is not None and not Path(file).resolve().is_relative_to(folder):
            raise DerivaMLConfigurationError(
                f"Python knows another module of the name {name}: {file}",
                source=f"{source}: {folder}",
                hint="give the folder a name of its own, and name it with --config-dir",
            )
    if not loaded and not entries(store) and callable(load_all := getattr(package, "load_all_configs", None)):
        load_all()
    if not entries(store):
        raise DerivaMLConfigurationError(
            f"There are no configuration modules in {folder}."
            if not loaded
            else f"The configuration modules in {folder} registered nothing.",
            source=source,
            hint="put Python modules there that store their configurations with hydra-zen",
        )
    return store
