"""What git says of a repository: its root, commit, remote, version and changes; nothing in it is ever written.

A clean run asks git three times: for root, commit and blob; for the status; for the last tag. The remote is read from
the repository's configuration file, unless that includes others.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from deriva_ml.core.exceptions import DerivaMLWorkflowError
from deriva_ml.core.values import dataclass
from deriva_ml.execution.environment import git_environment

__all__ = ["Change", "Repository", "open_repository", "parse_changes", "version_of", "web_url"]

_HEX = re.compile(r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")
_NO_REPOSITORY = 128
_SECTION = re.compile(r'^\s*\[\s*remote\s+"(?P<name>(?:[^"\\]|\\.)*)"\s*\]', re.IGNORECASE)
_URL = re.compile(r"^\s*url\s*=\s*(?P<url>.*?)\s*$", re.IGNORECASE)
_SCP = re.compile(r"^(?:[^@/:]+@)?(?P<host>[^/:@]{2,}):(?!//)(?P<path>.+)$")
_TAG = re.compile(r"^(?P<tag>.+)-(?P<distance>\d+)-g(?P<commit>[0-9a-f]+)$")
_TAG_VERSION = re.compile(
    r"^(?:.*[/_-])?v?(?P<version>\d+(?:\.\d+)*(?:[._-]?(?:a|b|rc|post)[._-]?\d+)?)$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference from the last commit.

    Attributes:
        code: Git's two letters for it: the index, the working tree; ``??`` for untracked, ``!!`` for ignored.
        path: Relative to the root; bytes that are not UTF-8 are written with a backslash.
    """

    code: str
    path: str

    def __str__(self) -> str:
        return f"{self.code} {self.path}"


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def parse_changes(output: bytes) -> list[Change]:
    """Read ``git status --porcelain=v2 -z``.

    A rename or copy gives two changes: of the new name, and of the old one.

    Raises:
        ValueError: The output is of another form.
    """
    changes: list[Change] = []
    entries = iter(output.split(b"\0"))
    for entry in entries:
        kind = entry[:2]
        if not entry or kind == b"# ":
            continue
        if kind == b"1 ":
            fields = entry.split(b" ", 8)
        elif kind == b"2 ":
            fields = entry.split(b" ", 9)
            changes.append(Change("D.", _name(next(entries))))
        elif kind == b"u ":
            fields = entry.split(b" ", 10)
        elif kind in {b"? ", b"! "}:
            fields = [kind, kind[:1] * 2, entry[2:]]
        else:
            raise ValueError(f"not an entry of git status: {entry!r}")
        changes.append(Change(fields[1].decode("ascii"), _name(fields[-1])))
    return changes


def web_url(remote: str) -> str | None:
    """The address of a remote for people: HTTPS, without credentials, query and ``.git``; None for a path on a disk."""
    text = remote.strip()
    if not text or text.startswith((".", "/", "~", "file:")) or re.match(r"^[A-Za-z]:[\\/]", text):
        return None
    if "://" not in text:
        scp = _SCP.match(text)
        return _tidy(scp["host"], scp["path"]) if scp else None
    parts = urlsplit(text)
    host = parts.hostname
    if not host:
        return None
    if parts.scheme in {"http", "https"} and parts.port:
        host = f"{host}:{parts.port}"
    scheme = parts.scheme if parts.scheme in {"http", "s3"} else "https"
    return _tidy(host, parts.path, scheme)


def _tidy(host: str, path: str, scheme: str = "https") -> str:
    bare = path.strip("/").removesuffix(".git").strip("/")
    return f"{scheme}://{host}/{quote(bare, safe='/%~')}"


def version_of(described: str) -> str:
    """A version from ``git describe --tags --long --always --abbrev=40``, of the form that setuptools-scm gives.

    ``1.2.3`` at the tag ``v1.2.3``; ``1.2.4.dev5+g<commit>`` five commits after it; ``0+g<commit>`` without a tag.
    """
    match = _TAG.match(described)
    if match is None:
        return f"0+g{described[:12]}"
    distance, commit = int(match["distance"]), match["commit"][:12]
    tag = _TAG_VERSION.match(match["tag"])
    if tag is None:
        return match["tag"] if distance == 0 else f"{match['tag']}-{distance}-g{commit}"
    if distance == 0:
        return tag["version"]
    base = re.match(r"^\d+(?:\.\d+)*", tag["version"])
    numbers = [int(number) for number in base[0].split(".")] if base else [0]
    if base is not None and base[0] == tag["version"]:  # what comes before a final version comes before the tag itself
        numbers[-1] += 1
    return f"{'.'.join(map(str, numbers))}.dev{distance}+g{commit}"


def _git(folder: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=False, env=git_environment(), input=given)
    except OSError as error:
        raise DerivaMLWorkflowError(
            f"git cannot be started: {error.strerror}",
            hint="install git; without it only --allow-dirty runs are possible, outside of any repository",
        ) from error


def _ask(folder: Path, *arguments: str) -> bytes:
    done = _git(folder, *arguments)
    if done.returncode:
        raise _failure(folder, done)
    return done.stdout


def _failure(folder: Path, done: subprocess.CompletedProcess[bytes]) -> DerivaMLWorkflowError:
    reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return DerivaMLWorkflowError(
        f"git {done.args[3]} failed in {folder}: {reason[0] if reason else f'exit code {done.returncode}'}",
        source=" ".join(done.args),
        hint=next((line.strip() for line in reason if line.startswith("\tgit ")), None),
    )


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository at one moment.

    Attributes:
        root: Root of the working tree.
        common: The folder of the repository's configuration and objects.
        commit: The last commit, if there is one.
        blob: Checksum of the file in that commit, for which the repository was opened; None if it is not in it.
    """

    root: Path
    common: Path
    commit: str | None
    blob: str | None

    def changes(self) -> list[Change]:
        """Everything in which the working tree and the index differ from the last commit."""
        options = ("--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=none")
        return parse_changes(_ask(self.root, "status", *options))

    def difference(self, paths: Sequence[str] = ()) -> bytes:
        """The changes of tracked files as a patch, those inside of submodules included.

        Args:
            paths: Files to which it is restricted, relative to the root.
        """
        options = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--submodule=diff")
        restricted = ("--", *(f":(top,literal){path}" for path in paths)) if paths else ()
        return _ask(self.root, "diff", "HEAD", *options, *restricted)

    def blobs(self, paths: Iterable[str]) -> dict[str, str | None]:
        """The checksums of files in the last commit, asked for in one process; None for a file that is not in it.

        Args:
            paths: The files, relative to the root.
        """
        names = list(paths)
        plain = [name for name in names if "\n" not in name]
        asked = "".join(f"HEAD:{name}\n" for name in plain).encode("utf-8", "surrogateescape")
        done = _git(self.root, "cat-file", "--batch-check=%(objecttype) %(objectname)", given=asked)
        if done.returncode:
            raise _failure(self.root, done)
        answers = dict(zip(plain, done.stdout.decode("utf-8", "surrogateescape").splitlines(), strict=True))
        found = {
            name: answer[len("blob ") :] if answer.startswith("blob ") else None for name, answer in answers.items()
        }
        return found | {name: self._blob(name) for name in names if name not in found}

    def _blob(self, name: str) -> str | None:
        """The checksum of one file; older versions of git read no list of names with line ends in them."""
        done = _git(self.root, "rev-parse", "--verify", "--quiet", f"HEAD:{name}")
        return done.stdout.decode("ascii").strip() if done.returncode == 0 else None

    def committed(self, path: Path) -> bytes | None:
        """The content of a file in the last commit; None if it is not in it."""
        done = _git(self.root, "cat-file", "blob", f"HEAD:{path.relative_to(self.root).as_posix()}")
        return done.stdout if done.returncode == 0 else None

    def filtered_checksum(self, path: Path) -> str:
        """The checksum that git would give a file's content, with the filters that it is told to use."""
        return _ask(self.root, "hash-object", "--", str(path)).decode("ascii").strip()

    def version(self) -> str:
        """The version, from the last tag that has a digit in it."""
        options = ("--tags", "--long", "--always", "--abbrev=40", "--match", "*[0-9]*")
        return version_of(_ask(self.root, "describe", *options).decode("utf-8", "replace").strip())

    def web_url(self) -> str:
        """The address of the remote (``origin``, else the first), or the name of the root's folder."""
        remotes = dict(self._remotes())
        chosen = remotes.get("origin") or next(iter(remotes.values()), "")
        return web_url(chosen) or quote(self.root.name)

    def _remotes(self) -> Iterator[tuple[str, str]]:
        try:
            text = (self.common / "config").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = "[include]"
        if re.search(r"^\s*\[\s*include", text, re.MULTILINE | re.IGNORECASE) or "\\\n" in text:
            yield from self._remotes_of_git()
            return
        name: str | None = None
        for line in text.splitlines():
            if line.lstrip().startswith("["):
                section = _SECTION.match(line)
                name = section["name"] if section else None
            elif name is not None and (match := _URL.match(line)):
                yield name, match["url"].strip('"')

    def _remotes_of_git(self) -> Iterator[tuple[str, str]]:
        done = _git(self.root, "config", "-z", "--get-regexp", r"^remote\..*\.url$")
        for entry in done.stdout.decode("utf-8", "replace").split("\0"):
            key, _newline, url = entry.partition("\n")
            if url:
                yield key[len("remote.") : -len(".url")], url


def open_repository(path: Path) -> Repository | None:
    """The repository whose working tree holds a file, or None if there is none.

    Args:
        path: The file, without symbolic links.

    Raises:
        DerivaMLWorkflowError: There is no git, or git refuses (a repository of another owner, a broken one).
    """
    arguments = ("--show-toplevel", "--git-common-dir", "HEAD", f"HEAD:./{path.name}")
    done = _git(path.parent, "rev-parse", *arguments)
    lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")
    if not lines[0]:
        if not any((folder / ".git").exists() for folder in path.parents):
            return None
        raise _failure(path.parent, done)
    if done.returncode not in {0, _NO_REPOSITORY}:
        raise _failure(path.parent, done)
    found = [line if _HEX.match(line) else None for line in (*lines[2:4], "", "")]
    return Repository(Path(lines[0]), path.parent / lines[1], found[0], found[1])
