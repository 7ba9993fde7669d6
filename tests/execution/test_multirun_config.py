"""Named sweeps."""

from __future__ import annotations

from hydra_zen import ZenStore
from hypothesis import given, settings
from hypothesis import strategies as st

from deriva_ml.execution.multirun_config import (
    MultirunSpec,
    get_all_multirun_configs,
    get_multirun_config,
    list_multirun_configs,
    multirun_config,
)


def test_a_sweep_is_found_by_its_name_and_the_same_name_replaces() -> None:
    registry = ZenStore()
    multirun_config("lr", ["model_config.lr=1,2"], "first", registry=registry)
    spec = multirun_config("lr", ["model_config.lr=3,4"], "second", registry=registry)
    multirun_config("a", [], registry=registry)
    assert spec == MultirunSpec("lr", ["model_config.lr=3,4"], "second")
    assert get_multirun_config("lr", registry=registry) == spec
    assert get_multirun_config("none", registry=registry) is None
    assert list_multirun_configs(registry=registry) == ["a", "lr"]
    assert get_all_multirun_configs(registry=registry)["a"] == MultirunSpec("a")


def test_two_registries_do_not_meet() -> None:
    one, two = ZenStore(), ZenStore()
    multirun_config("lr", [], registry=one)
    assert list_multirun_configs(registry=two) == []


@settings(deadline=None, max_examples=60)
@given(st.text() | st.text(alphabet=st.sampled_from(list("${}\\'\"=,\nab"))))
def test_any_character_works_in_descriptions_and_overrides(text: str) -> None:
    registry = ZenStore()
    multirun_config("s", [text], text, registry=registry)
    assert get_multirun_config("s", registry=registry) == MultirunSpec("s", [text], text)


def test_a_sweep_becomes_a_node_of_hydras_store_without_harm() -> None:
    registry = ZenStore()
    multirun_config("odd", ["x=${y"], "${ and ${z}", registry=registry)
    registry.add_to_hydra_store(overwrite_ok=True)
    assert get_multirun_config("odd", registry=registry) == MultirunSpec("odd", ["x=${y"], "${ and ${z}")


def test_the_module_can_be_called_like_its_function() -> None:
    import deriva_ml.execution.multirun_config as module
    from deriva_ml.execution import multirun_config as imported

    registry = ZenStore()
    assert imported("one", ["a=1,2"], registry=registry) == get_multirun_config("one", registry=registry)
    assert module.list_multirun_configs(registry=registry) == ["one"]
