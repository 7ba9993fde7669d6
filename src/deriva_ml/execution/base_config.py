"""What configuration modules are made of: the base configuration, described lists, and loading a user's package.

Importing this module registers nothing. Configurations enter hydra-zen's ``store`` when a user's configuration module
says so, and Hydra's when a command is about to compose (``composition.register``).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra_zen import builds

from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException

__all__ = [
    "BaseConfig",
    "DerivaBaseConfig",
    "DescribedList",
    "base_defaults",
    "is_users_source",
    "join_text",
    "load_configs",
    "split_text",
    "user_line",
    "with_description",
]

base_defaults: tuple[str | dict[str, str], ...] = (
    "_self_",
    {"deriva_ml": "default_deriva"},
    {"datasets": "default_dataset"},
    {"assets": "default_asset"},
    {"workflow": "default_workflow"},
    {"model_config": "default_model"},
)
"""The groups that a main configuration takes, with the names of their defaults."""


@dataclass
class BaseConfig:
    """Fields that every runnable configuration has; projects subclass it with their own parameters.

    Attributes:
        deriva_ml: Where the catalog is.
        datasets: Datasets to bring.
        assets: Assets to bring.
        dry_run: Check everything, record nothing.
        description: What the run is for.
        config_choices: Which name was chosen in each group.
        script_config: A script to run in place of the model.
    """

    deriva_ml: Any = None
    datasets: Any = None
    assets: Any = None
    dry_run: bool = False
    description: str = ""
    config_choices: dict[str, str] = field(default_factory=dict)
    script_config: Any = None


DerivaBaseConfig = builds(BaseConfig, populate_full_signature=True, hydra_defaults=list(base_defaults))
"""``BaseConfig`` for Hydra, with the defaults of every group."""


class DescribedList(list[Any]):
    """A list that says what it is.

    Args:
        items: The items.
        description: What they are, in one piece or several.
    """

    def __init__(self, items: Iterable[Any] | None = None, description: str | Iterable[str] = "") -> None:
        super().__init__(items or ())
        self.description = join_text(description)

    def __repr__(self) -> str:
        shown = super().__repr__()
        return f"DescribedList({shown}, description={self.description!r})" if self.description else shown


def split_text(text: str) -> str | list[str]:
    """Text as a configuration can hold it, whatever is in it: cut wherever OmegaConf would see an interpolation.

    OmegaConf has an escape for ``${``, but Hydra resolves a node before it instantiates it, and then reads the result
    again; so text that must come through unchanged may not hold ``${`` at all.
    """
    pieces = re.split(r"(?<=\$)(?=\{)", text)
    return text if len(pieces) == 1 else pieces


def join_text(pieces: str | Iterable[str]) -> str:
    """What `split_text` was given."""
    return pieces if isinstance(pieces, str) else "".join(pieces)


def with_description(items: Iterable[Any], description: str) -> Any:
    """A configuration that instantiates to a `DescribedList`.

    In a composition it is one node: list overrides do not reach into it.

    Args:
        items: Values or configurations of values.
        description: What they are; any character is allowed.
    """
    return builds(DescribedList, items=list(items), description=split_text(description))


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
    except ModuleNotFoundError:
        found = None
    if found is None:
        return []
    return sorted(_load_package(package_name))


def _load_package(name: str) -> list[str]:
    package = _import_config(name)
    loaded = []
    modules = sorted(pkgutil.iter_modules(package.__path__), key=lambda info: (not info.ispkg, _order(info.name)))
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
        raise DerivaMLConfigurationError(
            f"The configuration module {name} cannot be imported: {type(error).__name__}: {_first_line(error)}",
            source=_where(error),
            hint="mend that line; nothing was run",
        ) from error


def _first_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    return (error_text(error).strip().splitlines() or ["no message"])[0]


def _where(error: BaseException) -> str | None:
    """File and line of the user's code that raised: the last frame outside the installation's packages."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    return user_line(error)


def user_line(error: BaseException) -> str | None:
    """``file:line`` of the innermost frame of an error that is the user's own code, or None.

    Frames of installed packages, of the standard library and of this package are not the user's.

    Args:
        error: An error with its traceback.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_users_source(frame.filename):
            return f"{frame.filename}:{frame.lineno}"
    return None


def is_users_source(name: str) -> bool:
    """Whether a file of a traceback is the user's own: not installed, not the standard library's, not ours."""
    own = str(Path(__file__).resolve().parents[1])
    return not (name.startswith(("<", own, _STDLIB)) or "site-packages" in name)


_STDLIB = str(Path(re.__file__).resolve().parents[1])
