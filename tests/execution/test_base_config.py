"""Configuration modules: what they are made of and how they are loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from hydra_zen import instantiate, store
from hypothesis import given, settings
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution.base_config import (
    BaseConfig,
    DerivaBaseConfig,
    DescribedList,
    base_defaults,
    load_configs,
    with_description,
)
from deriva_ml.execution.config_sources import user_line
from deriva_ml.execution.config_text import join_text, split_text

awkward = st.text(alphabet=st.sampled_from(list("${}\\'\" #\n:=,ab[]ü"))) | st.text()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new, empty configuration package that can be imported."""
    folder = tmp_path / f"confs_{uuid4().hex}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


@settings(deadline=None, max_examples=60)
@given(awkward)
def test_text_in_a_configuration_comes_back_whatever_is_in_it(text: str) -> None:
    assert join_text(split_text(text)) == text
    assert instantiate(with_description([1], text)).description == text


def test_a_described_list_is_a_list_that_shows_its_description() -> None:
    items = instantiate(with_description([1, 2], "two numbers"))
    assert items == [1, 2]
    assert isinstance(items, DescribedList)
    assert repr(items) == "DescribedList([1, 2], description='two numbers')"
    assert repr(DescribedList([3])) == "DescribedList([3])" or repr(DescribedList([3])) == "[3]"


def test_the_base_configuration_has_the_documented_fields_and_defaults() -> None:
    assert base_defaults[0] == "_self_"
    assert {"model_config": "default_model"} in base_defaults
    made = BaseConfig()
    assert (made.dry_run, made.description, made.config_choices) == (False, "", {})
    assert DerivaBaseConfig().defaults == list(base_defaults)


def test_importing_registers_nothing() -> None:
    code = (
        "import deriva_ml.execution.base_config, deriva_ml.execution.multirun_config, deriva_ml.execution.runner\n"
        "from hydra_zen import store\n"
        "from hydra.core.config_store import ConfigStore\n"
        "assert not list(store), list(store)\n"
        "repo = set(ConfigStore.instance().repo)\n"
        "assert repo == {'hydra', '_dummy_empty_config_.yaml'}, repo\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_load_sub_packages_first_and_experiments_last(package: Path) -> None:
    order = package.parent / "order.txt"
    note = f"with open({str(order)!r}, 'a') as out:\n    out.write(__name__.partition('.')[2] + ' ')\n"
    (package / "dev").mkdir()
    for name in ("dev/__init__", "dev/deriva", "experiments", "zebra", "deriva"):
        (package / f"{name}.py").write_text(note)
    loaded = load_configs(package.name)
    assert order.read_text().split() == ["dev", "dev.deriva", "deriva", "zebra", "experiments"]
    assert loaded == [f"{package.name}.{name}" for name in ("deriva", "dev.deriva", "experiments", "zebra")]


def test_a_users_module_named_deriva_hides_nothing(package: Path) -> None:
    (package / "deriva.py").write_text("NAME = 'mine'\n")
    load_configs(package.name)
    assert "deriva" not in sys.modules or Path(sys.modules["deriva"].__file__ or "").parent != package


def test_no_such_package_loads_nothing() -> None:
    assert load_configs("no_such_package_at_all") == []
    assert load_configs("no_such_package_at_all.inner") == []


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("x = 1\nimport no_such_thing_here\n", 2, "No module named 'no_such_thing_here'"),
        ("x = 1\n\ndef f(:\n", 3, "SyntaxError: "),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        (
            "from hydra_zen import store\nstore({}, group='g', name='n')\nstore({}, group='g', name='n')\n",
            3,
            "g=n is stored twice. The first is at ",
        ),
    ],
)
def test_an_error_in_a_configuration_module_names_file_and_line(
    package: Path, content: str, line: int, said: str
) -> None:
    (package / "broken.py").write_text(content)
    with pytest.raises(DerivaMLConfigurationError) as caught:
        load_configs(package.name)
    assert said in str(caught.value)
    assert caught.value.source == f"{package / 'broken.py'}:{line}"
    assert caught.value.exit_code == 2
    if ("g", "n") in store:
        del store["g", "n"]


def test_an_error_in_the_package_itself_is_shown(package: Path) -> None:
    (package / "__init__.py").write_text("import no_such_thing_here\n")
    with pytest.raises(DerivaMLConfigurationError, match="no_such_thing_here") as caught:
        load_configs(package.name)
    assert caught.value.source == f"{package / '__init__.py'}:1"


def test_the_users_line_of_an_error_is_not_in_a_library() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    assert str(user_line(caught.value)).startswith(__file__)
