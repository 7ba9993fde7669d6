"""The git repository of a new project, with its first commit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.values import dataclass
from deriva_ml.execution.environment import git_environment

__all__ = ["FirstCommit", "first_commit", "has_git", "repository_above"]

_NOBODY = ("-c", "user.name=deriva-ml-init", "-c", "user.email=deriva-ml-init@localhost")


@dataclass(frozen=True)
class FirstCommit:
    """The first commit of a repository.

    Attributes:
        commit: Its checksum.
        is_anonymous: Git knows no name of the user's, so the commit has none.
    """

    commit: str
    is_anonymous: bool


def has_git() -> bool:
    """Whether there is a git to call."""
    return shutil.which("git") is not None


def repository_above(folder: Path) -> Path | None:
    """The working tree that a folder is in, or would be; None if it is in none."""
    return next((path for path in (folder, *folder.parents) if (path / ".git").exists()), None)


def first_commit(folder: Path, names: Sequence[str]) -> FirstCommit:
    """Make a repository of a folder, and commit files of it; if that fails, there is no repository.

    Args:
        folder: The folder.
        names: The files, by their paths in it; others are left alone.

    Raises:
        DerivaMLConfigurationError: Git refuses; the error says why.
    """
    try:
        _git(folder, "init", "--quiet")
        is_anonymous = _run(folder, "var", "GIT_COMMITTER_IDENT").returncode != 0
        _git(folder, "add", "--force", "--", *names)
        _git(folder, *(_NOBODY if is_anonymous else ()), "commit", "--quiet", "--message", "Start of the project")
        return FirstCommit(_git(folder, "rev-parse", "HEAD"), is_anonymous)
    except BaseException:
        shutil.rmtree(folder / ".git", ignore_errors=True)
        raise


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "-C", str(folder), *words],
        check=False,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=git_environment(),
        stdin=subprocess.DEVNULL,
    )


def _git(folder: Path, *words: str) -> str:
    done = _run(folder, *words)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise DerivaMLConfigurationError(
            f"git could not make the first commit: {said[-1]}",
            source=f"git {next(word for word in words if word in ('init', 'add', 'commit', 'rev-parse'))}",
            hint="nothing was made; mend that, or make the project with --no-git",
        )
    return done.stdout.strip()
