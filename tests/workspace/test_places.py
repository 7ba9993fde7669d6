"""Where this machine works is noted once for each catalog and found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from deriva_ml.core.config import Settings
from deriva_ml.workspace.places import FILE, WorkPlace, known_places, note_place


@pytest.fixture
def place(tmp_path: Path) -> WorkPlace:
    for name in ("runs", "cache"):
        (tmp_path / name).mkdir()
    return WorkPlace("local", "id", "1", tmp_path, tmp_path / "runs", tmp_path / "cache")


def test_a_place_is_noted_once(settings: Settings, place: WorkPlace) -> None:
    note_place(place, settings)
    note_place(place, settings)
    assert known_places(settings) == [place]
    assert (settings.home / FILE).read_text().count("\n") == 1


def test_a_machine_without_places_has_none(settings: Settings) -> None:
    assert known_places(settings) == []


def test_a_place_whose_directories_are_gone_is_none(settings: Settings, place: WorkPlace) -> None:
    note_place(place, settings)
    place.runs_dir.rmdir()
    assert known_places(settings) == [place]
    place.cache_dir.rmdir()
    assert known_places(settings) == []


def test_a_line_that_cannot_be_read_hides_no_other(settings: Settings, place: WorkPlace) -> None:
    note_place(place, settings)
    other = replace(place, catalog_id="2")
    with (settings.home / FILE).open("a") as out:
        out.write('{"hostname": "x"\n[]\n\x00\n{"hostname": 1}\n')
    note_place(other, settings)
    assert known_places(settings) == [place, other]


def test_several_at_once_lose_nothing(settings: Settings, place: WorkPlace) -> None:
    places = [replace(place, catalog_id=str(number)) for number in range(40)]
    threads = [Thread(target=note_place, args=(each, settings)) for each in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.catalog_id for each in known_places(settings)} == {str(number) for number in range(40)}
