"""Where in a project's files something stands: the line of what is wrong, found from the names that are in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from deriva_ml.project.config_scan import ScannedFile
from deriva_ml.project.findings import Finding

__all__ = ["ConfigPlaces", "quoted_words"]

Owner = tuple[str, str]
Spot = tuple[Path, int]


class ConfigPlaces:
    """The places of what is stored in a package.

    Args:
        folder: The package.
        scans: What each file says.
        loaded: The file that stored a configuration when it was loaded.
    """

    def __init__(self, folder: Path, scans: Mapping[Path, ScannedFile], loaded: Mapping[Owner, Path]) -> None:
        self._folder = folder
        self._scans = scans
        self._loaded = loaded

    def stored(self, owner: Owner) -> Spot:
        """Where a configuration is stored; the beginning of the file if that is all that is known."""
        group, name = owner
        home = self._loaded.get(owner)
        order = sorted(self._scans.values(), key=lambda scan: scan.path != home)
        for wanted in ((group, name), (None, name)):
            for scan in order:
                found = [item for item in scan.stored if (item.group, item.name) == wanted]
                if found:
                    return scan.path, found[-1].line
        if home is not None:
            scan = self._scans[home]
            computed = [item.line for item in scan.stored if item.name is None and item.group in (group, None)]
            return home, next(iter([line for line in (scan.line_of(name),) if line] + computed), 1)
        return self._first(), 1

    def of(self, finding: Finding) -> Spot:
        """Where what was found is: where the error says, else by the text that is wrong, else where it is stored."""
        if finding.at is not None:
            name, _colon, number = finding.at.rpartition(":")
            return Path(name), int(number) if number.isdigit() else 1
        path, line = self.stored(finding.owner)
        if not finding.text:
            return path, line
        found = self._near(path, line, finding.text)
        if found is not None:
            return path, found
        for scan in self._scans.values():
            if finding.text in scan.texts:
                return scan.path, scan.texts[finding.text][0]
        return path, line

    def _near(self, path: Path, line: int, text: str) -> int | None:
        """The line of a text in a file: the first from where the configuration is stored on, else the first."""
        scan = self._scans.get(path)
        texts = scan.texts if scan is not None else {}
        exact = texts.get(text, [])
        longer = sorted(number for found, lines in texts.items() if text in found for number in lines)
        for every in (exact, longer):
            if every:
                return next((number for number in every if number >= line), every[0])
        return None

    def _first(self) -> Path:
        return next(iter(self._scans), self._folder / "__init__.py")


def quoted_words(paths: Iterable[Path]) -> set[str]:
    """Every text in quotes that files hold, be they Python or not: what they might store."""
    found: set[str] = set()
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        found |= set(re.findall(r"[\"']([^\"'\n]*)[\"']", text))
    return found
