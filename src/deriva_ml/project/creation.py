"""A new project: planned from its name and its catalog, then made whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.values import dataclass
from deriva_ml.project.naming import catalog_name, host_name, project_name
from deriva_ml.project.placing import placed
from deriva_ml.project.rendering import project_files
from deriva_ml.project.repository import FirstCommit, first_commit, has_git, repository_above

__all__ = ["CreatedProject", "ProjectPlan", "create_project", "plan_project"]


@dataclass(frozen=True)
class ProjectPlan:
    """What making a project would do.

    Attributes:
        folder: The project's folder.
        name: The project's name.
        hostname: The host of its catalog.
        catalog_id: The catalog.
        files: The text of each file by its path in the folder.
        present: Files that are there with the same text, and stay.
        different: Files that are there with another text.
        repository: The working tree that the folder is in already.
        commit: A repository is made, with a first commit.
    """

    folder: Path
    name: str
    hostname: str
    catalog_id: str | int
    files: Mapping[str, str]
    present: tuple[str, ...]
    different: tuple[str, ...]
    repository: Path | None
    commit: bool

    @property
    def to_write(self) -> dict[str, bytes]:
        """The files to write."""
        return {name: text.encode() for name, text in self.files.items() if name not in self.present}


@dataclass(frozen=True)
class CreatedProject:
    """A project that was made.

    Attributes:
        plan: What was planned.
        commit: The first commit, if one was made.
        others: Whether the folder holds files that are not the project's, and so are not in the commit.
    """

    plan: ProjectPlan
    commit: FirstCommit | None
    others: bool


def plan_project(
    folder: Path | str,
    *,
    name: str | None = None,
    hostname: str = "local",
    catalog_id: str | int = 1,
    git: bool = True,
    more: Mapping[str, str] | None = None,
) -> ProjectPlan:
    """Find out what making a project would do; nothing is written.

    Args:
        folder: The project's folder; it need not exist, and may hold other files.
        name: The project's name; by default the folder's.
        hostname: The host of its catalog: ``local``, a path, a host name, a URL.
        catalog_id: The catalog.
        git: Make a repository with a first commit, where there is git and the folder is in no repository.
        more: Files in place of those that a project has by default, or beside them.

    Raises:
        DerivaMLConfigurationError: The name or the host cannot be used, or something is in the way of the folder.
    """
    where = Path(folder).expanduser().resolve()
    chosen = project_name(
        where.name if name is None else name, source="the folder's name" if name is None else "--name"
    )
    _check_free(where)
    host, catalog = host_name(hostname), catalog_name(catalog_id)
    files = {**project_files(chosen, host, catalog), **(more or {})}
    present, different = _compared(where, files)
    above = repository_above(where)
    return ProjectPlan(
        where, chosen, host, catalog, files, present, different, above, commit=git and above is None and has_git()
    )


def _check_free(folder: Path) -> None:
    obstacle = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not obstacle.is_dir():
        raise DerivaMLConfigurationError(
            f"{obstacle} is a file.", source="the project's folder", hint="name a folder that does not exist yet"
        )


def _compared(folder: Path, files: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files that are there as they would be written, and those that are there otherwise."""
    there = [name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    same = [name for name in there if (folder / name).is_file() and _is(folder / name, files[name].encode())]
    return tuple(same), tuple(name for name in there if name not in same)


def _is(path: Path, content: bytes) -> bool:
    return path.stat().st_size == len(content) and path.read_bytes() == content


def create_project(plan: ProjectPlan, *, replace: bool = False) -> CreatedProject:
    """Make a project, whole or not at all.

    Args:
        plan: What to make.
        replace: Files that are there with another text are replaced.

    Raises:
        DerivaMLConfigurationError: Files are in the way, something cannot be written, or git refuses; the folder is as
            it was.
    """
    blocked = [name for name in plan.different if not replace or not (plan.folder / name).is_file()]
    if blocked:
        raise DerivaMLConfigurationError(
            f"{len(blocked)} of the project's files would replace others: {', '.join(blocked)}",
            source=str(plan.folder),
            hint="choose another folder, move them away, or replace plain files with --force",
        )
    others = plan.folder.is_dir() and _holds_others(plan)
    try:
        with placed(plan.folder, plan.to_write) as where:
            commit = first_commit(where, list(plan.files)) if plan.commit else None
    except OSError as error:
        raise DerivaMLConfigurationError(
            f"The project cannot be written: {error.strerror or error}.",
            source=str(error.filename or plan.folder),
            hint=f"{plan.folder} is as it was; make room or choose a folder that you can write",
        ) from error
    return CreatedProject(plan, commit, others)


def _holds_others(plan: ProjectPlan) -> bool:
    """Whether the folder holds files that are not the project's."""
    own = {plan.folder / name for name in plan.files}
    return any(path.is_file() and path not in own and ".git" not in path.parts for path in plan.folder.rglob("*"))
