"""Overrides are judged before Hydra composes, and spread out as Hydra does it."""

from __future__ import annotations

from typing import Any

import pytest
from hydra_zen import ZenStore, builds, make_config
from hypothesis import given, settings
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution.base_config import base_defaults
from deriva_ml.execution.overrides import check_overrides, expand, parse, quote, swept_keys, take_multirun
from deriva_ml.execution.registry import Registry


def task(deriva_ml: Any, datasets: Any, assets: Any, workflow: Any, model_config: Any, dry_run: bool = False) -> None:
    """A stand-in for what a main configuration calls."""


@pytest.fixture
def store() -> ZenStore:
    out = ZenStore()
    main = builds(task, populate_full_signature=True, hydra_defaults=list(base_defaults))
    out(main, name="deriva_model")
    for group, default in [next(iter(item.items())) for item in base_defaults if isinstance(item, dict)]:
        out({"value": 1}, group=group, name=default)
    out({"epochs": 1}, group="model_config", name="quick")
    quick = make_config(hydra_defaults=["_self_", {"override /model_config": "quick"}], extra=1, bases=(main,))
    out(quick, group="experiment", name="quick_small", package="_global_")
    return out


@pytest.fixture
def registry(store: ZenStore) -> Registry:
    return Registry.read(store, "deriva_model")


def test_the_registry_knows_groups_fields_and_defaults(registry: Registry) -> None:
    assert registry.groups["model_config"] == ("default_model", "quick")
    assert {"dry_run", "datasets", "extra"} <= registry.fields
    assert "defaults" not in registry.fields
    assert registry.main_defaults == {"deriva_ml", "datasets", "assets", "workflow", "model_config"}


def test_an_unknown_main_configuration_is_refused_with_the_nearest(store: ZenStore) -> None:
    with pytest.raises(DerivaMLConfigurationError) as caught:
        Registry.read(store, "deriva_modl")
    assert caught.value.allowed == ("deriva_model",)
    assert "--config-name" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "model_config=quick",
        "+experiment=quick_small",
        "model_config.epochs=3",
        "++model_config.epochs=3",
        "+model_config.more=3",
        "dry_run=true",
        "~assets",
        "assets=[]",
        "hydra/job_logging=disabled",
        "hydra.run.dir=/x",
        "extra=2",
    ],
)
def test_what_is_registered_passes(registry: Registry, text: str) -> None:
    check_overrides([text], registry)


@pytest.mark.parametrize(
    ("text", "said", "allowed"),
    [
        ("foo", "it holds no '='", "group=name"),
        ("a=[1", "Cannot read the override 'a=[1'", "key=value"),
        ("modl_config=quick", "has no 'modl_config'", "model_config"),
        ("model_config=quik", "model_config has no configuration 'quik'", "quick"),
        ("+experiment=quick_smal", "experiment has no configuration 'quick_smal'", "quick_small"),
        ("+experimnt=quick_small", "has no 'experimnt'", "experiment"),
        ("dry_runn=true", "has no 'dry_runn'", "dry_run"),
        ("modelconfig.epochs=1", "has no 'modelconfig'", "model_config"),
    ],
)
def test_what_is_not_registered_is_named_with_the_nearest(
    registry: Registry, text: str, said: str, allowed: str
) -> None:
    with pytest.raises(DerivaMLConfigurationError) as caught:
        check_overrides([text], registry)
    assert said in str(caught.value)
    assert allowed in caught.value.allowed
    assert caught.value.exit_code == 2


def test_adding_and_changing_are_told_apart(registry: Registry) -> None:
    with pytest.raises(DerivaMLConfigurationError, match=r"write \+experiment=quick_small"):
        check_overrides(["experiment=quick_small"], registry)
    with pytest.raises(DerivaMLConfigurationError, match=r"do: +write datasets=default_dataset"):
        check_overrides(["+datasets=default_dataset"], registry)


def test_several_values_need_a_sweep_and_each_is_checked(registry: Registry) -> None:
    with pytest.raises(DerivaMLConfigurationError, match="add --multirun"):
        check_overrides(["model_config=quick,default_model"], registry)
    check_overrides(["model_config=quick,default_model"], registry, multirun=True)
    with pytest.raises(DerivaMLConfigurationError, match="no configuration 'quik'"):
        check_overrides(["model_config=default_model,quik"], registry, multirun=True)
    with pytest.raises(DerivaMLConfigurationError, match="dry or it is not"):
        check_overrides(["dry_run=true,false"], registry, multirun=True)


def test_an_unknown_sweep_is_named() -> None:
    with pytest.raises(DerivaMLConfigurationError, match="no named sweep 'nope'"):
        take_multirun(["+multirun=nope"])
    assert take_multirun(["a=1"]) == (["a=1"], None)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["a=1,2", "b=x"],
        ["+experiment=p,q", "a=1,2,3"],
        ["a=range(1,4)", "b='1,2'", "c=[1,2]"],
        ["a=1,2", "a=3"],
        ["a=choice(1,2)", "hydra.sweeper.max_batch_size=1"],
        ["~a", "b=null"],
    ],
)
def test_a_sweep_is_spread_out_as_hydra_does_it(overrides: list[str]) -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    task_only = [text for text in overrides if not text.startswith("hydra.")]
    parsed = OverridesParser.create().parse_overrides(task_only)
    theirs = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]

    def meaning(job: list[str]) -> list[tuple[str, Any]]:
        return [(item.get_key_element(), item.value()) for item in map(parse, job)]

    assert [meaning(job) for job in expand(overrides)] == [meaning(job) for job in theirs]


def test_continuous_ranges_are_left_to_the_sweeper() -> None:
    assert expand(["a=interval(0,1)", "b=1,2"]) == [["b=1"], ["b=2"]]
    assert swept_keys(["+experiment=a,b", "c=1", "d=1,2"]) == ["experiment", "d"]


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.sampled_from(list("ab'\"\\ ,=:/{}[]()#+~ü"))))
def test_a_quoted_value_is_this_very_text(text: str) -> None:
    assert parse(f"key={quote(text)}").value() == text
