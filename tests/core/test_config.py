from __future__ import annotations

import json
from pathlib import Path

import pytest

from deriva_ml.core.config import MARKER, Settings, default_workdir, folder_identity, resolve_place
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.ml_config import DerivaMLConfig


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.read({"HOME": str(tmp_path)})


def test_local_is_the_folder_below_the_home(settings: Settings, tmp_path: Path) -> None:
    place = resolve_place("local", settings)
    assert place.root == tmp_path / ".deriva-ml" / "local"
    assert place.is_default


def test_local_is_the_folder_that_the_environment_names(tmp_path: Path) -> None:
    settings = Settings.read({"HOME": str(tmp_path), "DERIVA_ML_LOCAL": str(tmp_path / "mine")})
    assert resolve_place("local", settings).root == tmp_path / "mine"


@pytest.mark.parametrize("text", ["/data/catalog", "./catalog", "a/b", "~/catalog", "."])
def test_what_looks_like_a_path_is_a_folder(text: str, settings: Settings) -> None:
    place = resolve_place(text, settings)
    assert place.root is not None
    assert place.root.is_absolute()
    assert not place.is_default


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("data.example.org", "https://data.example.org"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://data.example.org", "https://data.example.org"),
    ],
)
def test_the_rest_is_a_host(text: str, url: str, settings: Settings) -> None:
    assert resolve_place(text, settings).base_url == url


def test_nothing_is_refused_with_what_is_allowed(settings: Settings) -> None:
    with pytest.raises(DerivaMLConfigurationError, match="local"):
        resolve_place("", settings)


def test_the_working_directory_of_a_folder_carries_its_identity(tmp_path: Path) -> None:
    settings = Settings.read({"HOME": str(tmp_path)})
    roots = [tmp_path / name for name in ("a", "b")]
    for number, root in enumerate(roots):
        root.mkdir()
        (root / MARKER).write_text(json.dumps({"format": 1, "identity": f"{number}" * 8 + "-rest"}))
    first, second = (default_workdir(settings, str(root), 1) for root in roots)
    assert first == tmp_path / ".deriva-ml" / "work" / "00000000" / "1"
    assert second.parent.name == "11111111"
    assert default_workdir(settings, "data.example.org", "7@2PM-DGYP-56Z4").parts[-2:] == ("data.example.org", "7")


def test_a_folder_without_a_readable_marker_has_no_identity(tmp_path: Path) -> None:
    assert folder_identity(tmp_path) is None
    (tmp_path / MARKER).write_text("{")
    assert folder_identity(tmp_path) is None


def test_the_configuration_is_plain_data_outside_hydra() -> None:
    config = DerivaMLConfig(hostname="data.example.org", catalog_id=7, use_minid=True)
    assert config.hydra_runtime_output_dir is None
    assert config.use_minid is False
    assert DerivaMLConfig(hostname="h", s3_bucket="s3://b").use_minid is True


def test_an_explicit_working_directory_is_used_as_it_is(tmp_path: Path) -> None:
    assert DerivaMLConfig.compute_workdir(tmp_path, 1, "data.example.org") == tmp_path


def test_the_home_is_made_for_its_owner_alone(tmp_path):
    settings = Settings.read({"HOME": str(tmp_path / "user")})
    settings.make_home()
    assert settings.home.stat().st_mode & 0o777 == 0o700
    settings.home.chmod(0o755)
    settings.make_home()  # what the user has set stays
    assert settings.home.stat().st_mode & 0o777 == 0o755
