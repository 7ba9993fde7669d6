"""The folders of this machine that may have a bag's files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.connect import open_connection
from deriva_ml.core.config import Settings, folder_identity
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.dataset.bag_sources import Folders, folder_address, split_address
from deriva_ml.ml import DerivaML
from deriva_ml.schema.places import note_session
from deriva_ml.workspace.places import known_places

_PATHS = st.lists(st.text(st.characters(codec="ascii", exclude_characters="/?#\n"), min_size=1), min_size=1).map(
    lambda parts: "/hatrac/" + "/".join(parts)
)


@given(st.sampled_from(["", "deriva-ml:", "http://127.0.0.1:80", "https://a.example"]) | st.uuids(), _PATHS)
def test_an_address_and_a_path_are_told_apart(address: object, path: str) -> None:
    before = address if isinstance(address, str) else folder_address(str(address))
    assert split_address(before + path) == (before, path)


def test_a_url_without_a_path_has_none() -> None:
    assert split_address("https://a.example") == ("https://a.example", "/")


@pytest.fixture
def copies(catalog_root: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The default folder with an object, and a copy of it."""
    with open_connection(str(catalog_root)) as connection:
        connection.objects().put("/hatrac/x", b"content")
    shutil.copytree(catalog_root, tmp_path / "copy")
    return catalog_root, tmp_path / "copy"


def test_the_folder_that_is_named_comes_first(copies: tuple[Path, Path], settings: Settings) -> None:
    first, second = copies
    with Folders([second], settings) as folders:
        assert folders.candidates(str(folder_identity(first))) == [first, second]
        assert folders.candidates(str(folder_identity(second))) == [second, first]
        assert folders.candidates("unknown") == [second, first]
    assert Folders([settings.home], settings).candidates("unknown") == [first]


def test_a_folder_is_known_that_was_worked_with_under_a_relative_path(
    copies: tuple[Path, Path], settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with DerivaML("./copy", 1) as ml:
        ml.session.runs_dir.mkdir(parents=True)
        note_session(ml.session)
    assert [place.hostname for place in known_places(settings)] == [str(copies[1])]
    monkeypatch.chdir("/")
    assert Folders(settings=settings).candidates("unknown") == [copies[1], copies[0]]


def test_a_folder_that_cannot_be_used_is_passed_over_and_named(copies: tuple[Path, Path], settings: Settings) -> None:
    first, second = copies
    url = folder_address(str(folder_identity(second))) + "/hatrac/x"
    (second / "hatrac.db").write_bytes(b"no database at all, and long enough to be taken for one" * 50)
    with Folders([second], settings) as folders:
        assert folders.holding(url).find("/hatrac/x") is not None
        with pytest.raises(DerivaMLConfigurationError) as refused:
            folders.holding(url.replace("/x", "/y"))
    assert str(first) in str(refused.value)
    assert str(second) in str(refused.value)
