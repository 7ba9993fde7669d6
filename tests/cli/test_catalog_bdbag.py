"""``deriva-ml-catalog bdbag``: what is written for ``bdbag``, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.cli.catalog import main
from deriva_ml.core.config import Settings
from deriva_ml.dataset.bdbag_settings import HANDLER


def _entry(file: Path) -> Any:
    return json.loads(file.read_bytes())["fetch_config"].get("deriva-ml")


def test_the_entry_goes_into_the_users_configuration_and_out_of_it(
    settings: Settings, catalog_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settings.bdbag_config
    assert main(["bdbag", "--remove"]) == 0
    assert not file.exists()
    assert main(["bdbag"]) == 0
    assert _entry(file) == {"handler": HANDLER}
    assert main(["bdbag", "--folder", str(catalog_root)]) == 0
    assert main(["bdbag"]) == 0
    assert _entry(file) == {"handler": HANDLER, "folders": [str(catalog_root)]}
    assert main(["bdbag", "--remove"]) == 0
    assert _entry(file) is None
    said = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    files = "the files of catalog folders"
    assert said == [
        "bdbag gets no files of catalog folders so far",
        f"bdbag gets {files}",
        f"bdbag gets {files}",
        f"bdbag gets {files} already",
        "bdbag gets no files of catalog folders any more",
    ]


def test_the_file_may_be_another_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BDBAG_CONFIG_FILE", str(tmp_path / "named.json"))
    assert main(["bdbag"]) == 0
    assert main(["bdbag", "--config-file", str(tmp_path / "given.json")]) == 0
    assert _entry(tmp_path / "named.json") == _entry(tmp_path / "given.json") == {"handler": HANDLER}
    assert not settings.bdbag_config.exists()
    assert str(tmp_path / "given.json") in capsys.readouterr().out


def test_what_is_no_folder_is_refused(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bdbag", "--folder", str(tmp_path)]) == 2
    assert "is not a catalog folder" in capsys.readouterr().err
    assert not settings.bdbag_config.exists()


def test_a_configuration_that_cannot_be_read_is_named_and_left(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.bdbag_config.parent.mkdir()
    settings.bdbag_config.write_text("{")
    assert main(["bdbag"]) == 2
    assert str(settings.bdbag_config) in capsys.readouterr().err
    assert settings.bdbag_config.read_text() == "{"
