"""Which code is this: the file of a model, the repository that holds it, the commit, and what differs from it.

Rules:

1. The repository is the one that holds the file, wherever the process stands and whatever ``GIT_DIR`` says.
2. Code is clean if nothing in its repository differs from the last commit: nothing modified, staged, added, deleted,
   renamed, unmerged or untracked, submodules included, and the file itself is tracked. Paths below a prefix that
   ``[tool.deriva-ml] dirty-ignore`` of a ``pyproject.toml`` between the file and the root lists are exempt (relative to
   that ``pyproject.toml``); the file itself never is.
3. Code that is not clean is refused, unless the caller allows it. Then the version ends in ``dirty.`` and a hash of the
   difference, so that two states of changed code are two workflows, and the difference itself is kept as a patch.
4. The commit in the URL is that of the repository, not the last one that touched the file: two commits that differ in a
   helper module are two workflows.
5. No credential that a remote's URL holds is ever kept.
6. A notebook is identified without its outputs.

The URL of the code is one of

- ``https://host/owner/name/blob/<commit>/<path>``: in a repository with a remote;
- ``<folder>/blob/<commit>/<path>``: in a repository without one, or with a remote that is a path, by its folder's name;
- ``pypi:<distribution>==<version>/<path>``: in an installed distribution;
- ``<folder>/<file>``: in no repository (only if changed code is allowed).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from urllib.parse import quote

from deriva_ml.core.exceptions import DerivaMLDirtyWorkflowError, DerivaMLWorkflowError
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution.blobs import blob_checksum, file_content, new_file_patch, same_but_for_outputs
from deriva_ml.execution.git import Change, Repository, open_repository
from deriva_ml.execution.installed import find_installed

__all__ = ["Code", "calling_file", "file_of", "identify"]

_ALLOW = "commit it, or add --allow-dirty: the run is then recorded as made from changed code, and keeps it"

_TOOLS = frozenset(
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

_INSTALLED = frozenset({"site-packages", "dist-packages"})


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
    if repository is None or repository.commit is None:
        if not allow_dirty:
            state = "is not in a git repository" if repository is None else "is in a git repository without a commit"
            raise DerivaMLWorkflowError(f"The code of the run {state}: {path}", hint=_ALLOW)
        root = repository.root if repository is not None else None
        url = quote(os.fsencode(f"{path.parent.name}/{path.name}"))
        checksum = blob_checksum(file_content(path))
        return Code(path, url, checksum, "0", root, None, (f"?? {path.name}",), patch=_sources(path, root))
    changes = repository.changes()
    own = path.relative_to(repository.root).as_posix()
    changed, exempt = _sorted_out(repository, path, own, changes)
    is_own_clean = not any(change.path == own for change in changed)
    content = file_content(path)
    checksum = blob_checksum(content, len(repository.commit))
    if is_own_clean and repository.blob is None:
        changed.append(Change("!!", own))
    elif is_own_clean and repository.blob != checksum and not _is_filtered(repository, path, content):
        changed.append(Change(".M", own))  # git was told not to look at the file (assume-unchanged)
    code = Code(
        path,
        f"{repository.web_url()}/blob/{repository.commit}/{quote(os.fsencode(own))}",
        checksum,
        repository.version(),
        repository.root,
        repository.commit,
        tuple(str(change) for change in changed),
        tuple(str(change) for change in exempt),
    )
    return replace(code, patch=_difference(code, repository, changed)) if changed and allow_dirty else code


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
            prefixes += [(folder / prefix).relative_to(root).as_posix() for prefix in _dirty_ignore(file)]
        if folder == root:
            break
    return prefixes


def _dirty_ignore(file: Path) -> list[str]:
    import tomllib

    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("deriva-ml", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DerivaMLWorkflowError(f"The file {file} cannot be read: {error}", source=str(file)) from error
    ignored = table.get("dirty-ignore", [])
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


def _difference(code: Code, repository: Repository, changed: Sequence[Change]) -> bytes:
    """The patch that turns the commit into what ran: changes of tracked files, and new files that were imported."""
    head = [f"# The code of a run that differs from commit {code.commit}", f"# {code.url}"]
    head += [f"# {change}" for change in changed]
    parts = ["\n".join(head).encode("utf-8", "backslashreplace") + b"\n", repository.difference()]
    untracked = {change.path for change in changed if change.code in {"??", "!!"}}
    wanted = {path.relative_to(repository.root).as_posix(): path for path in _loaded(repository.root)}
    wanted[code.path.relative_to(repository.root).as_posix()] = code.path
    parts += [new_file_patch(path, name) for name, path in sorted(wanted.items()) if name in untracked]
    return b"".join(parts)


def _sources(path: Path, root: Path | None) -> bytes:
    """Code that is in no commit, as a patch that makes it: the file, and what was imported from its folder."""
    base = root or path.parent
    files = {path, *_loaded(base)}
    return b"".join(new_file_patch(file, file.relative_to(base).as_posix()) for file in sorted(files))


def _loaded(root: Path) -> Iterator[Path]:
    """The source files below a folder that this process has imported; installed ones are none of them."""
    folders: dict[str, Path] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or not name.endswith(".py"):
            continue
        place, _slash, base = name.rpartition("/")
        path = folders.setdefault(place, Path(place).resolve()) / base
        if path.is_relative_to(root) and not _INSTALLED & set(path.parts) and path.is_file():
            yield path


def _versioned(code: Code) -> Code:
    """Code whose version tells one state of changed code from another."""
    if not code.is_dirty or code.version.endswith("interactive"):
        return code
    import hashlib

    state = hashlib.sha256(code.patch + "\n".join(code.dirty).encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return replace(code, version=f"{code.version}{'.' if '+' in code.version else '+'}dirty.{state}")


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
    site = next((at for at, part in enumerate(path.parts) if part in _INSTALLED), None)
    # a module that was started with -m is called __main__, wherever it is
    module = path.parts[site + 1] if site is not None else str(namespace.get("__name__") or "")
    if module.partition(".")[0] in _TOOLS or filename.startswith("<frozen"):
        return False
    is_standard = site is None and path.is_relative_to(Path(os.__file__).parent)
    return not is_standard and path.parent != Path(sys.prefix) / "bin"
