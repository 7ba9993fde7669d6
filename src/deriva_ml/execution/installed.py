"""Code in an installed distribution: which one, which version, and whether it is as it was installed."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from deriva_ml.core.values import dataclass

__all__ = ["Installed", "find_installed"]

_SITE = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class Installed:
    """A file of an installed distribution.

    Attributes:
        distribution: Name of the distribution, in its normal form.
        version: Its version.
        path: The file, relative to the folder of the installation.
        is_intact: The content is what the distribution's RECORD says.
    """

    distribution: str
    version: str
    path: str
    is_intact: bool

    @property
    def url(self) -> str:
        """The file's name that holds wherever the distribution is installed."""
        return f"pypi:{self.distribution}=={self.version}/{quote(self.path)}"


def find_installed(path: Path) -> Installed | None:
    """The distribution that installed a file, or None if none did.

    Args:
        path: The file, without symbolic links.
    """
    site = next((folder for folder in path.parents if folder.name in _SITE), None)
    if site is None:
        return None
    relative = path.relative_to(site).as_posix()
    for record in _records(site, relative.partition("/")[0]):
        line = _line(record, relative)
        if line is not None:
            name, _dash, version = record.parent.name.removesuffix(".dist-info").partition("-")
            intact = _agrees(line, path)
            return Installed(re.sub(r"[-_.]+", "-", name).lower(), version, relative, intact)
    return None


def _records(site: Path, top: str) -> Iterator[Path]:
    """The RECORD files of a folder; those of distributions that are called like the package come first."""
    folders = sorted(site.glob("*.dist-info"), key=lambda folder: not folder.name.lower().startswith(top.lower()))
    return (folder / "RECORD" for folder in folders if (folder / "RECORD").is_file())


def _line(record: Path, relative: str) -> list[str] | None:
    """The line of a RECORD for one file: name, hash, size."""
    text = record.read_text(encoding="utf-8", errors="replace")
    if relative not in text:
        return None
    return next((line for line in csv.reader(text.splitlines()) if line and line[0] == relative), None)


def _agrees(line: list[str], path: Path) -> bool:
    algorithm, equals, expected = line[1].partition("=") if len(line) > 1 else ("", "", "")
    if not equals or algorithm not in hashlib.algorithms_guaranteed:
        return False
    digest = hashlib.new(algorithm, path.read_bytes(), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == expected
