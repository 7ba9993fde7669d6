"""Where this machine works for which catalog: noted once for each, so that storage can be found wherever it is.

One file in the folder of working directories, a line of JSON for each place. A line that cannot be read (a crash, a
newer version) is passed over; a place whose directories are gone is no place any more.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from deriva_ml.core.config import Settings
from deriva_ml.core.values import dataclass

__all__ = ["WorkPlace", "known_places", "note_place"]

FILE = "places.jsonl"


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """Where this machine works for one catalog.

    Attributes:
        hostname: The catalog's host as it was named.
        identity: What the service is: the identity of its folder, or its host name.
        catalog_id: The catalog.
        records_dir: The directory with the journal of its runs.
        runs_dir: The directory of the directories of its runs.
        cache_dir: The directory of what was downloaded.
    """

    hostname: str
    identity: str
    catalog_id: str
    records_dir: Path
    runs_dir: Path
    cache_dir: Path

    def __str__(self) -> str:
        return f"{self.hostname}/{self.catalog_id}"

    @property
    def exists(self) -> bool:
        """Whether anything is there."""
        return self.runs_dir.is_dir() or self.cache_dir.is_dir()

    def line(self) -> str:
        """The place as it is noted."""
        return json.dumps({name: str(value) for name, value in asdict(self).items()}, sort_keys=True) + "\n"


def note_place(place: WorkPlace, settings: Settings | None = None) -> None:
    """Note a place, unless it is noted already."""
    settings = settings or Settings.read()
    file = settings.home / FILE
    line = place.line()
    try:
        if line in file.read_text(encoding="utf-8"):
            return
    except FileNotFoundError:
        settings.make_home()
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # one write of one line: two processes at once cannot mix theirs
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def known_places(settings: Settings | None = None) -> list[WorkPlace]:
    """The places that were noted and still hold something, in order of host and catalog."""
    file = (settings or Settings.read()).home / FILE
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = {place for line in lines if (place := _place(line)) is not None and place.exists}
    return sorted(found, key=lambda place: (place.hostname, place.catalog_id, str(place.records_dir)))


def _place(line: str) -> WorkPlace | None:
    try:
        read = json.loads(line)
        return WorkPlace(
            read["hostname"],
            read["identity"],
            read["catalog_id"],
            Path(read["records_dir"]),
            Path(read["runs_dir"]),
            Path(read["cache_dir"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
