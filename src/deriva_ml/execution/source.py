"""Which code is this: the file of a model, the repository that holds it, the commit, and what differs from it.

Rules:

1. The repository is the one that holds the file, wherever the process stands and whatever ``GIT_DIR`` says.
2. Code is clean if nothing in its repository differs from the last commit: nothing modified, staged, added, deleted,
   renamed, unmerged or untracked, submodules included, and the file itself and whatever it imports is tracked (what
   git ignores, or was told to overlook, too). Paths below a prefix that ``[tool.deriva-ml] dirty-ignore`` of a
   ``pyproject.toml`` between the file and the root lists are exempt (relative to that ``pyproject.toml``), and so is
   the file into which a build writes the version; the model's own file never is.
3. Code that is not clean is refused, unless the caller allows it. Then the version ends in ``dirty.`` and a hash of
   the difference, so that two states of changed code are two workflows, and the difference itself is kept as a patch.
4. The commit in the URL is that of the repository, not the last one that touched the file: two commits that differ in a
   helper module are two workflows.
5. What the model imports from other repositories is clean under the same rule, file by file (``libraries``). Their
   commits are recorded, and the version has ``with.`` and a hash of them.
6. No credential that a remote's URL holds is ever kept.
7. A notebook is identified without its outputs.

The URL of the code is one of

- ``https://host/owner/name/blob/<commit>/<path>``: in a repository with a remote;
- ``<folder>/blob/<commit>/<path>``: in a repository without one, or with a remote that is a path, by its folder's name;
- ``pypi:<distribution>==<version>/<path>``: in an installed distribution;
- ``<folder>/<file>``: in no repository (only if changed code is allowed).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deriva_ml.core.exceptions import DerivaMLDirtyWorkflowError, DerivaMLWorkflowError
from deriva_ml.core.logging_config import get_logger
from deriva_ml.core.values import dataclass
from deriva_ml.execution.blobs import blob_checksum, file_content, new_file_patch, same_but_for_outputs
from deriva_ml.execution.calling import calling_file, file_of
from deriva_ml.execution.git import Change, Repository, open_repository
from deriva_ml.execution.imports import imported_by, is_users_file
from deriva_ml.execution.installed import find_installed
from deriva_ml.execution.libraries import Library, changed_files, find_libraries, repository_root

__all__ = ["Code", "calling_file", "file_of", "identify"]

_ALLOW = "commit it, or add --allow-dirty: the run is then recorded as made from changed code, and keeps it"


@dataclass(frozen=True, slots=True)
class Code:
    """The code of a run.

    Attributes:
        path: The file.
        url: Where the code is (see the head of this module).
        checksum: Git's checksum of the file's content; of a notebook, without its outputs.
        version: Version of the code: from the last tag, as setuptools-scm writes it, or of the distribution.
        root: The root of the repository, if the file is in one.
        commit: The repository's last commit, if there is one.
        dirty: What differs from that commit, as ``XY path``; empty if the code is clean.
        exempt: What differs and is exempt.
        patch: The difference as text that ``git apply`` takes; empty if the code is clean.
        libraries: What is imported from outside the repository.
    """

    path: Path
    url: str
    checksum: str
    version: str
    root: Path | None = None
    commit: str | None = None
    dirty: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()
    patch: bytes = field(default=b"", repr=False)
    libraries: tuple[Library, ...] = ()

    @property
    def is_dirty(self) -> bool:
        """Whether the code differs from what its URL names."""
        return bool(self.dirty)

    @property
    def is_notebook(self) -> bool:
        """Whether the code is a notebook."""
        return self.path.suffix == ".ipynb"

    def to_dict(self) -> dict[str, object]:
        """The record of the code, for a run's configuration file."""
        return {
            "path": str(self.path),
            "url": self.url,
            "checksum": self.checksum,
            "version": self.version,
            "commit": self.commit,
            "dirty": list(self.dirty),
            "exempt": list(self.exempt),
            "libraries": [library.to_dict() for library in self.libraries],
        }


def identify(file: Path | str, *, allow_dirty: bool = False) -> Code:
    """Identify the code in a file.

    Args:
        file: The file.
        allow_dirty: Accept code that differs from its last commit, or is in no repository.

    Raises:
        DerivaMLDirtyWorkflowError: The code differs from the last commit; the error names what does.
        DerivaMLWorkflowError: There is no such file, no repository, no commit, or no git.
    """
    given = Path(file)
    if not given.is_file():
        if allow_dirty and given.name.startswith("<"):
            return Code(given, "interactive", "", "0+interactive", dirty=(f"?? {given.name}",))
        raise DerivaMLWorkflowError(
            f"The code of the run is not in a file: {given}", hint="put the model into a file of a git repository"
        )
    path = given.resolve()
    installed = find_installed(path)
    if installed is not None:
        code = Code(path, installed.url, blob_checksum(file_content(path)), installed.version)
        dirty = () if installed.is_intact else (f".M {installed.path}",)
        code = replace(code, dirty=dirty, patch=b"" if installed.is_intact else new_file_patch(path, path.name))
    else:
        code = _in_repository(path, allow_dirty=allow_dirty)
    if code.is_dirty and not allow_dirty:
        raise DerivaMLDirtyWorkflowError(path, code.dirty)
    return _versioned(code)


def _in_repository(path: Path, *, allow_dirty: bool) -> Code:
    repository = _repository_of(path, allow_dirty=allow_dirty)
    imported = imported_by(path)
    if repository is None or repository.commit is None:
        if not allow_dirty:
            state = "is not in a git repository" if repository is None else "is in a git repository without a commit"
            raise DerivaMLWorkflowError(f"The code of the run {state}: {path}", hint=_ALLOW)
        return _uncommitted(path, repository.root if repository is not None else None, imported)
    changed, exempt = _changes(repository, path, imported)
    own = path.relative_to(repository.root).as_posix()
    code = Code(
        path,
        f"{repository.web_url()}/blob/{repository.commit}/{quote(os.fsencode(own))}",
        blob_checksum(file_content(path), len(repository.commit)),
        repository.version(),
        repository.root,
        repository.commit,
        tuple(str(change) for change in changed),
        tuple(str(change) for change in exempt),
    )
    if changed and allow_dirty:
        code = replace(code, patch=_difference(code, repository, changed, imported))
    opening = partial(_repository_of, allow_dirty=allow_dirty)
    return _with_libraries(code, find_libraries(imported, repository.root, opening))


def _uncommitted(path: Path, root: Path | None, imported: Sequence[Path]) -> Code:
    """Code that is in no commit."""
    above = next(folder for folder in path.parents if not (folder / "__init__.py").is_file())
    base = root or repository_root(path) or above
    url = quote(os.fsencode(f"{path.parent.name}/{path.name}"))
    files = {path, *_loaded(base), *(each for each in imported if each.is_relative_to(base))}
    patch = b"".join(new_file_patch(file, file.relative_to(base).as_posix()) for file in sorted(files))
    code = Code(path, url, blob_checksum(file_content(path)), "0", root, None, (f"?? {path.name}",), patch=patch)
    return _with_libraries(code, find_libraries(imported, base, partial(_repository_of, allow_dirty=True)))


def _with_libraries(code: Code, libraries: Sequence[Library]) -> Code:
    """The code with what it imports from elsewhere; what differs there is said with the name of the place."""
    dirty = [f"{each[:3]}{library.name}:{each[3:]}" for library in libraries for each in library.dirty]
    return replace(code, libraries=tuple(libraries), dirty=(*code.dirty, *dirty))


def _changes(repository: Repository, path: Path, imported: Sequence[Path]) -> tuple[list[Change], list[Change]]:
    """What of a repository differs from its commit: the changes that count, and those that are exempt."""
    own = path.relative_to(repository.root).as_posix()
    told = repository.changes()
    seen = {change.path for change in told}
    helpers = [each for each in imported if repository_root(each) == repository.root]
    unseen = [each for each in helpers if each.relative_to(repository.root).as_posix() not in seen]
    overlooked = changed_files(repository, unseen) if unseen else []
    changed, exempt = _sorted_out(repository, path, own, [*told, *overlooked])
    content = file_content(path)
    if any(change.path == own for change in changed):
        return changed, exempt
    if repository.blob is None:
        changed.append(Change("!!", own))
    elif repository.blob != blob_checksum(content, len(repository.blob)) and not _is_filtered(
        repository, path, content
    ):
        changed.append(Change(".M", own))  # git was told not to look at the file (assume-unchanged)
    return changed, exempt


def _repository_of(path: Path, *, allow_dirty: bool) -> Repository | None:
    """The file's repository; if git is missing or refuses, none, provided that changed code is allowed."""
    try:
        return open_repository(path)
    except DerivaMLWorkflowError as error:
        if not allow_dirty:
            raise
        get_logger("execution").warning("The code is recorded without its repository: %s", error)
        return None


def _is_filtered(repository: Repository, path: Path, content: bytes) -> bool:
    """Whether only a filter (line ends, large files, outputs of a notebook) tells the file from its committed blob."""
    if path.suffix == ".ipynb" and same_but_for_outputs(repository.committed(path), content):
        return True
    return repository.filtered_checksum(path) == repository.blob


def _sorted_out(
    repository: Repository, path: Path, own: str, changes: Sequence[Change]
) -> tuple[list[Change], list[Change]]:
    """The changes that count and those that are exempt."""
    prefixes = _exempt_prefixes(repository.root, path)
    counted: list[Change] = []
    exempt: list[Change] = []
    for change in changes:
        if change.path == own:
            if path.suffix != ".ipynb" or not same_but_for_outputs(repository.committed(path), path.read_bytes()):
                counted.append(change)
        elif any(change.path == prefix or change.path.startswith(f"{prefix}/") for prefix in prefixes):
            exempt.append(change)
        else:
            counted.append(change)
    return counted, exempt


def _exempt_prefixes(root: Path, path: Path) -> list[str]:
    """The prefixes that the ``pyproject.toml`` files between a file and its repository's root exempt."""
    prefixes: list[str] = []
    for folder in path.parents:
        file = folder / "pyproject.toml"
        if file.is_file():
            tools = _tools(file)
            exempt = [*_dirty_ignore(file, tools), *_version_files(tools)]
            prefixes += [(folder / prefix).relative_to(root).as_posix() for prefix in exempt]
        if folder == root:
            break
    return prefixes


def _tools(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        found = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DerivaMLWorkflowError(f"The file {file} cannot be read: {error}", source=str(file)) from error
    return found if isinstance(found, dict) else {}


def _version_files(tools: dict[str, Any]) -> list[str]:
    """The files into which a build writes the version that it took from git: they say nothing that git does not."""
    hatch = tools.get("hatch", {}).get("build", {}).get("hooks", {}).get("vcs", {})
    scm = tools.get("setuptools_scm", {})
    named = (scm.get("version_file"), scm.get("write_to"), hatch.get("version-file"))
    return [name for name in named if isinstance(name, str) and ".." not in Path(name).parts and name.strip("./")]


def _dirty_ignore(file: Path, tools: dict[str, Any]) -> list[str]:
    ignored = tools.get("deriva-ml", {}).get("dirty-ignore", [])
    if not isinstance(ignored, list) or not all(isinstance(item, str) for item in ignored):
        raise DerivaMLWorkflowError(
            f"[tool.deriva-ml] dirty-ignore is not a list of paths: {ignored!r}",
            source=str(file),
            hint='write it as dirty-ignore = ["outputs/", "notes/"]',
        )
    for item in ignored:
        if not item.strip("./") or ".." in Path(item).parts or Path(item).is_absolute():
            raise DerivaMLWorkflowError(
                f"[tool.deriva-ml] dirty-ignore holds {item!r}, which does not name a path below the project.",
                source=str(file),
            )
    return ignored


def _difference(code: Code, repository: Repository, changed: Sequence[Change], imported: Sequence[Path]) -> bytes:
    """The patch that turns the commit into what ran: changes of tracked files, and new files that are imported."""
    head = [f"# The code of a run that differs from commit {code.commit}", f"# {code.url}"]
    head += [f"# {change}" for change in changed]
    parts = ["\n".join(head).encode("utf-8", "backslashreplace") + b"\n", repository.difference()]
    untracked = {change.path for change in changed if change.code in {"??", "!!"}}
    here = [each for each in imported if each.is_relative_to(repository.root)]
    wanted = {each.relative_to(repository.root).as_posix(): each for each in (*_loaded(repository.root), *here)}
    wanted[code.path.relative_to(repository.root).as_posix()] = code.path
    parts += [new_file_patch(path, name) for name, path in sorted(wanted.items()) if name in untracked]
    return b"".join(parts)


def _loaded(root: Path) -> Iterator[Path]:
    """The source files below a folder that this process has imported; installed ones are none of them."""
    folders: dict[str, Path] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or not name.endswith(".py"):
            continue
        place, _slash, base = name.rpartition("/")
        path = folders.setdefault(place, Path(place).resolve()) / base
        if path.is_relative_to(root) and is_users_file(path) and path.is_file():
            yield path


def _versioned(code: Code) -> Code:
    """Code whose version tells one state of changed code, and one choice of libraries, from another."""
    import hashlib

    def digest(content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()[:8]

    marks: list[str] = []
    committed = [f"{library.url}@{library.commit}" for library in code.libraries if library.commit is not None]
    if committed:
        marks.append(f"with.{digest(chr(10).join(committed).encode())}")
    if code.is_dirty and not code.version.endswith("interactive"):
        patches = b"".join([code.patch, *(library.patch for library in code.libraries)])
        marks.append(f"dirty.{digest(patches + chr(10).join(code.dirty).encode('utf-8', 'backslashreplace'))}")
    if not marks:
        return code
    return replace(code, version=f"{code.version}{'.' if '+' in code.version else '+'}{'.'.join(marks)}")
