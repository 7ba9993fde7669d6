from __future__ import annotations

from pathlib import Path

import pytest

from deriva_ml.connect import catalog_exists, open_connection
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
