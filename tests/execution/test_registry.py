"""What configuration modules registered: read, and handed to Hydra."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hydra.core.config_store import ConfigStore
from hydra_zen import ZenStore, builds, make_config

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution.registry import Registry, defaults_of, entries, field_names, register


def task(model_config: Any, description: str = "") -> None:
    """A stand-in for what a main configuration calls."""


def test_names_come_from_the_store_and_from_folders(tmp_path: Path) -> None:
    store = ZenStore()
    store(builds(task, populate_full_signature=True, hydra_defaults=["_self_", {"model_config": "a"}]), name="main")
    store({}, group="model_config", name="a")
    (tmp_path / "model_config" / "inner").mkdir(parents=True)
    (tmp_path / "model_config" / "b.yaml").touch()
    (tmp_path / "model_config" / "inner" / "c.yml").touch()
    (tmp_path / "other.yaml").touch()
    found = Registry.read(store, "main", [tmp_path])
    assert found.groups == {"": ("main", "other"), "model_config": ("a", "b"), "model_config/inner": ("c",)}
    assert found.keys == ["description", "model_config", "model_config/inner"]


def test_the_store_is_left_as_it_is() -> None:
    name = f"m{uuid4().hex}"
    store = ZenStore()
    main = builds(task, populate_full_signature=True, description="a ${x}")
    store(main, name=name)
    register(store)
    register(store)
    assert store[None, name] is main
    assert store.has_enqueued()
    assert ConfigStore.instance().load(f"{name}.yaml").node.description == "a ${x}"


def test_an_experiment_is_merged_into_what_it_extends_whatever_its_description() -> None:
    from deriva_ml.execution.composition import compose, hydra_session

    name = f"m{uuid4().hex}"
    store = ZenStore()
    main = builds(task, populate_full_signature=True, description="main ${x", hydra_defaults=["_self_"])
    store(main, name=name)
    store(make_config(description="own ${", bases=(main,)), group=f"e_{name}", name="e", package="_global_")
    register(store)
    with hydra_session("test"):
        assert compose(name, [f"+e_{name}=e"]).description == "own ${"


def test_a_value_that_no_configuration_can_hold_is_told_with_its_group() -> None:
    store = ZenStore()
    store({"a": 1}, group="good", name="x")
    store({"a": object()}, group="bad", name="y")
    with pytest.raises(DerivaMLConfigurationError, match="of group bad cannot be made") as caught:
        entries(store)
    assert str(caught.value.source).startswith(f"{__file__}:")
    assert caught.value.exit_code == 2


def test_what_hydra_refuses_to_store_is_told_with_its_name() -> None:
    store = ZenStore(deferred_to_config=False)
    store({"a": "${"}, group=f"g{uuid4().hex}", name="broken")
    with pytest.raises(DerivaMLConfigurationError, match=r"=broken is no configuration: .* \(key a\)"):
        register(store)


@pytest.mark.parametrize(
    ("node", "names"), [({"a": 1, "_b": 2, "defaults": []}, ["a"]), ([], []), (make_config(a=1), ["a"])]
)
def test_the_keys_of_a_configuration_are_its_own(node: Any, names: list[str]) -> None:
    assert field_names(node) == names


def test_the_defaults_list_is_read_of_any_kind_of_node() -> None:
    assert list(defaults_of(make_config(hydra_defaults=["_self_", {"a": "b"}]))) == ["_self_", {"a": "b"}]
    assert defaults_of({"defaults": [{"a": "b"}]}) == [{"a": "b"}]
    assert (defaults_of([]), defaults_of({}), defaults_of(make_config(a=1))) == ((), (), ())
