"""The one entry of ours in the configuration of ``bdbag``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.config import Settings
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.dataset.bdbag_settings import HANDLER, register_handler, unregister_handler

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_SECTIONS = st.dictionaries(st.text().filter(lambda name: name != "deriva-ml"), _VALUES, max_size=3)
_DOCUMENTS = st.dictionaries(st.text(), _VALUES, max_size=3)


def _entry(file: Path) -> Any:
    return json.loads(file.read_bytes())["fetch_config"].get("deriva-ml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What bdbag writes for a new user."""
    from bdbag.bdbag_config import write_config

    path = tmp_path / "home" / "bdbag.json"
    write_config(config_file=str(path))
    return path


def test_a_file_is_made_as_bdbag_makes_it(file: Path, tmp_path: Path) -> None:
    made = tmp_path / "new" / "bdbag.json"
    assert register_handler(made)
    assert _entry(made) == {"handler": HANDLER}
    assert unregister_handler(made)
    assert made.read_bytes() == file.read_bytes()


def test_folders_stay_until_others_are_named(file: Path, tmp_path: Path) -> None:
    assert register_handler(file, [tmp_path / "a", tmp_path / "b"])
    assert not register_handler(file)
    assert _entry(file)["folders"] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert register_handler(file, [tmp_path / "c"])
    assert _entry(file)["folders"] == [str(tmp_path / "c")]
    assert unregister_handler(file)
    assert not unregister_handler(file)


@given(_DOCUMENTS, _SECTIONS, st.sampled_from([None, 1, 2, 4, "\t"]), st.booleans(), st.sampled_from(["", "\n"]))
def test_nothing_else_is_changed(
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, Any],
    section: dict[str, Any],
    indent: int | str | None,
    ascii_only: bool,
    end: str,
) -> None:
    file = tmp_path_factory.mktemp("home") / "bdbag.json"
    whole = {**document, "fetch_config": section}
    before = json.dumps(whole, indent=indent, ensure_ascii=ascii_only) + end
    file.write_text(before, "utf-8")
    file.chmod(0o640)
    assert register_handler(file)
    found = json.loads(file.read_text("utf-8"))
    assert found["fetch_config"].pop("deriva-ml") == {"handler": HANDLER}
    assert found == whole
    assert list(found) == list(whole)
    assert unregister_handler(file)
    assert file.read_text("utf-8") == before
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_link_to_the_file_stays_one(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    assert register_handler(link)
    assert link.is_symlink()
    assert _entry(file) == {"handler": HANDLER}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fetch_config": 1}', "\udcff"])
def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bdbag.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    before = file.read_bytes()
    for change in (register_handler, unregister_handler):
        with pytest.raises(DerivaMLConfigurationError, match="configuration of bdbag"):
            change(file)
    assert file.read_bytes() == before
    assert not unregister_handler(tmp_path / "none")


def test_the_file_is_the_one_that_bdbag_reads(tmp_path: Path) -> None:
    assert Settings.read({"HOME": str(tmp_path)}).bdbag_config == tmp_path / ".bdbag/bdbag.json"
    named = Settings.read({"HOME": str(tmp_path), "BDBAG_CONFIG_FILE": str(tmp_path / "x")})
    assert named.bdbag_config == tmp_path / "x"
