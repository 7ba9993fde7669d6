"""The user's configuration package: found, loaded, and nothing of the caller changed for good."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hydra_zen import store

from deriva_ml.cli.configurations import config_folder, project
from deriva_ml.core.exceptions import DerivaMLConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty configuration package below ``src``, under a name of its own; what it stores is taken out again."""
    before = set(store._internal_repo)  # the entries themselves may be what is wrong
    made = tmp_path / "src" / f"confs_{uuid4().hex}"
    made.mkdir(parents=True)
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == made.name]:
        del sys.modules[name]
    for key in set(store._internal_repo) - before:
        del store[key]


def test_the_configuration_package_is_src_configs_else_configs(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    assert config_folder(None, tmp_path) == tmp_path / "configs"
    (tmp_path / "src" / "configs").mkdir(parents=True)
    assert config_folder(None, tmp_path) == tmp_path / "src" / "configs"
    (tmp_path / "mine").mkdir()
    assert config_folder("mine", tmp_path) == tmp_path / "mine"
    with pytest.raises(DerivaMLConfigurationError, match=r"Config directory not found: .*nowhere"):
        config_folder("nowhere", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DerivaMLConfigurationError, match=r"Not a directory: .*file"):
        config_folder("file", tmp_path)


def test_a_package_is_loaded_with_its_places_on_the_path_and_they_go_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / f"beside_{folder.name}.py").write_text("VALUE = 1\n")
    (folder / "all.py").write_text(
        f"from hydra_zen import store\nimport beside_{folder.name}\nprint('loading')\n"
        f"store({{}}, group='g', name='{folder.name}')\n"
    )
    before = sys.path[:]
    with project(folder) as found:
        assert ("g", folder.name) in found
        assert sys.path[:2] == [str(folder.parent), str(folder.parent.parent)]
    assert sys.path == before
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "loading\n")


def test_a_package_that_stores_in_its_own_init_is_enough(folder: Path) -> None:
    (folder / "__init__.py").write_text(f"from hydra_zen import store\nstore({{}}, group='g', name='{folder.name}')\n")
    with project(folder) as found:
        assert ("g", folder.name) in found


@pytest.mark.usefixtures("empty_store")
def test_a_package_with_a_function_that_loads_is_asked_for_it(folder: Path) -> None:
    (folder / "__init__.py").write_text(
        f"from hydra_zen import store\n\n\ndef load_all_configs():\n    store({{}}, group='g', name='{folder.name}')\n"
    )
    with project(folder) as found:
        assert ("g", folder.name) in found


@pytest.mark.usefixtures("empty_store")
@pytest.mark.parametrize("content", [None, "x = 1\n"])
def test_a_package_that_registers_nothing_is_refused(folder: Path, content: str | None) -> None:
    if content is not None:
        (folder / "all.py").write_text(content)
    said = "no configuration modules" if content is None else "registered nothing"
    with pytest.raises(DerivaMLConfigurationError, match=said), project(folder, "--config-dir"):
        pass


def test_another_package_of_the_same_name_is_told_apart(folder: Path, tmp_path: Path) -> None:
    (folder / "all.py").write_text(f"from hydra_zen import store\nstore({{}}, group='g', name='{folder.name}')\n")
    with project(folder):
        pass
    other = tmp_path / "elsewhere" / folder.name
    other.mkdir(parents=True)
    (other / "all.py").touch()
    with pytest.raises(DerivaMLConfigurationError, match="another module of the name") as caught, project(other):
        pass
    assert str(folder) in str(caught.value)


def test_the_path_is_as_before_after_an_error_too(folder: Path) -> None:
    (folder / "all.py").write_text("x = (\n")
    before = sys.path[:]
    with pytest.raises(DerivaMLConfigurationError, match="SyntaxError"), project(folder):
        pass
    assert sys.path == before
