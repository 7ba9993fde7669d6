"""The configuration package of a project: where it is, and the modules that a run would load from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.values import dataclass

__all__ = ["ConfigPackage", "find_package"]


@dataclass(frozen=True)
class ConfigPackage:
    """A package of configuration modules.

    Attributes:
        folder: The package's folder.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The package's name."""
        return self.folder.name

    @property
    def project(self) -> Path:
        """The project: the folder above the package, and above a ``src``."""
        above = self.folder.parent
        return above.parent if above.name == "src" else above

    @property
    def search_path(self) -> list[str]:
        """What a run puts before everything else on the path."""
        return list(dict.fromkeys([str(self.folder.parent), str(self.project)]))

    def files(self) -> list[Path]:
        """All files of Python in the package, those that a run does not load among them."""
        return sorted(path for path in self.folder.rglob("*.py") if _is_ours(path.relative_to(self.folder)))

    def modules(self) -> dict[str, Path]:
        """The modules in the order in which a run loads them.

        Sub-packages come first, then modules by name, ``experiments`` last; a folder without ``__init__.py`` is not
        loaded.
        """
        return dict(_modules(self.folder, self.name))


def _is_ours(relative: Path) -> bool:
    return not any(part.startswith(".") or part == "__pycache__" for part in relative.parts)


def _modules(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    yield name, folder / "__init__.py"
    packages = [path for path in folder.iterdir() if (path / "__init__.py").is_file()]
    for package in sorted(packages, key=_order):
        yield from _modules(package, f"{name}.{package.name}")
    files = [path for path in folder.glob("*.py") if path.stem != "__init__" and "." not in path.stem]
    for path in sorted(files, key=_order):
        yield f"{name}.{path.stem}", path


def _order(path: Path) -> tuple[bool, str]:
    return path.stem == "experiments", path.stem


def find_package(path: Path | str) -> ConfigPackage:
    """The configuration package that a path means.

    A project stands for its ``src/configs`` or ``configs``; a folder with ``__init__.py`` is the package itself, and a
    file belongs to the outermost package around it.

    Args:
        path: A project, a package, or a file or folder in a package.

    Raises:
        DerivaMLConfigurationError: There is no such path, or nothing of Python there.
    """
    where = Path(path).expanduser().resolve()
    if not where.exists():
        raise DerivaMLConfigurationError(f"There is no {where}.", hint="name a project, its configs, or files in them")
    if where.is_dir():
        for below in ("src/configs", "configs"):
            if (where / below).is_dir():
                return ConfigPackage(where / below)
    folder = where if where.is_dir() else where.parent
    is_package = (folder / "__init__.py").is_file() or folder.name == "configs"
    if not is_package or not any(folder.glob("*.py")):  # scripts of any other folder must not be begun
        raise DerivaMLConfigurationError(
            f"There are no configuration modules in {folder}.",
            source=str(path),
            allowed=["a project with src/configs or configs", "a package (with __init__.py)", "a file of one"],
        )
    while (folder.parent / "__init__.py").is_file() and (folder / "__init__.py").is_file():
        folder = folder.parent
    return ConfigPackage(folder)
