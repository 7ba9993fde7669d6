"""Where in the user's files a configuration is stored, a text is written, an error was raised."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from deriva_ml.execution.config_sources import is_users, stored_at, stored_in, written_at

MODULE = """\
from hydra_zen import ZenStore

store = ZenStore()
models = store(group="GROUP")
models({}, name="one")
store({}, group="GROUP", name="two")
store(group="GROUP")({}, name="three")
store({}, name="MARK_main")
store({}, name="two", group="other_GROUP")


def experiment(name, **values):
    store(values, group="experiment_GROUP", name=name)


experiment("MARK_named", text="written in MARK")
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A module of the user's that is imported."""
    mark = f"m{uuid4().hex}"
    file = tmp_path / f"{mark}.py"
    file.write_text(MODULE.replace("GROUP", f"g_{mark}").replace("MARK", mark))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module(mark)
    yield mark, file
    del sys.modules[mark]


@pytest.mark.parametrize(
    ("group", "name", "line"),
    [
        ("g_MARK", "one", 5),
        ("g_MARK", "two", 6),
        ("g_MARK", "three", 7),
        ("other_g_MARK", "two", 9),
        (None, "MARK_main", 8),
        ("experiment_g_MARK", "MARK_named", 16),
    ],
)
def test_the_call_that_stores_is_found(mark: tuple[str, Path], group: str | None, name: str, line: int) -> None:
    text, file = mark
    found = stored_at(group and group.replace("MARK", text), name.replace("MARK", text))
    assert found == [f"{file}:{line}"]


def test_what_is_stored_in_a_group_is_found(mark: tuple[str, Path]) -> None:
    text, file = mark
    assert stored_in(f"g_{text}") == [f"{file}:{line}" for line in (5, 6, 7)]
    assert stored_in(f"no_{text}") == []


def test_a_text_is_found_where_it_is_written(mark: tuple[str, Path]) -> None:
    text, file = mark
    assert written_at(f"written in {text}") == f"{file}:16"
    assert written_at(f"not written in {text}") is None


def test_a_file_that_has_gone_is_passed_over(mark: tuple[str, Path]) -> None:
    text, file = mark
    assert stored_at(None, f"{text}_main") == [f"{file}:8"]
    file.unlink()
    assert stored_at(None, f"{text}_main") == []


def test_an_installed_command_is_no_file_of_the_user_s(tmp_path: Path) -> None:
    assert not is_users(str(Path(sys.prefix) / "bin" / "deriva-ml-run"))
    assert not is_users(__import__("json").__file__)
    assert is_users(str(tmp_path / "model.py"))
