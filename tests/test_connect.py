from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deriva_ml.connect import Connection, catalog_exists, open_connection
from deriva_ml.core.config import MARKER, Settings, folder_identity
from deriva_ml.core.exceptions import DerivaMLConfigurationError


def test_the_default_folder_is_made_on_first_use(settings: Settings) -> None:
    with open_connection("local") as connection:
        assert connection.identity == folder_identity(settings.local)
        assert connection.catalog_ids() == []


def test_any_other_folder_must_exist(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(DerivaMLConfigurationError, match=r"(?s)no catalog folder at .*elsewhere.*do:"):
        open_connection(str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DerivaMLConfigurationError, match="not a catalog folder"):
        open_connection(str(tmp_path), create=True)
    with pytest.raises(DerivaMLConfigurationError, match="not a catalog"):
        open_connection(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "thesis.txt"]


def test_a_damaged_marker_is_named(catalog_root: Path) -> None:
    (catalog_root / MARKER).write_text("{")
    with pytest.raises(DerivaMLConfigurationError, match=MARKER):
        open_connection(str(catalog_root))


@pytest.mark.parametrize("place", ["file/x", "file"])
def test_a_place_where_no_folder_can_be_made_is_named(tmp_path: Path, settings: Settings, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    bad = replace(settings, local=tmp_path / place)
    with pytest.raises(DerivaMLConfigurationError, match=rf"(?s){bad.local}.*do: .*DERIVA_ML_LOCAL") as error:
        open_connection("local", settings=bad)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["service.db", "hatrac.db", "catalogs/1.db"])
@pytest.mark.parametrize("damage", ["whole", "pages"])
def test_a_damaged_database_is_named(catalog_root: Path, name: str, damage: str) -> None:
    with open_connection(str(catalog_root)) as connection:
        connection.objects().put("/hatrac/a/b", b"content")
    file = catalog_root / name
    content = file.read_bytes()
    kept = 0 if damage == "whole" else 4096
    file.write_bytes(content[:kept] + b"\x5a" * (len(content) - kept))
    with open_connection(str(catalog_root)) as connection:
        with pytest.raises(DerivaMLConfigurationError, match=rf"(?s){file} cannot be used.*backup") as error:
            _use(connection)
        if name == "service.db":
            with pytest.raises(DerivaMLConfigurationError, match=str(file)):
                connection.catalog_ids()
    assert error.value.exit_code == 2


def _use(connection: Connection) -> None:
    connection.catalog(1).model()
    connection.objects().put("/hatrac/a/c", b"more")


def test_two_folders_have_two_identities(tmp_path: Path, settings: Settings) -> None:
    identities = set()
    for name in ("a", "b"):
        with open_connection(str(tmp_path / name), create=True) as connection:
            identities.add(connection.identity)
    assert len(identities) == 2


def test_asking_whether_a_catalog_exists_makes_nothing(settings: Settings, catalog_root: Path) -> None:
    assert catalog_exists("local", 1)
    assert not catalog_exists("local", 77)
    other = Settings.read({"HOME": str(settings.home), "DERIVA_ML_LOCAL": str(settings.home / "none")})
    assert not catalog_exists("local", 1, other)
    assert not other.local.exists()
