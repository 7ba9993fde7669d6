"""Any text can be a description, wherever it stands."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from hydra_zen import ZenStore, builds, make_config
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from deriva_ml.core.config import Settings
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution import Workflow, create_model_config, with_description
from deriva_ml.execution.composition import compose, hydra_session
from deriva_ml.execution.config_text import escape_text, literal_description
from deriva_ml.execution.overrides import literal_descriptions, parse, quote
from deriva_ml.execution.registry import register
from deriva_ml.execution.request import instantiate

AWKWARD = st.text(alphabet=st.sampled_from(list("${}\\'\" #\n\t:=,.ax[]()ü☃"))) | st.text()
KEYS = ("lr", "model_config")


@settings(deadline=None, max_examples=200)
@given(AWKWARD)
def test_escaped_text_is_read_as_it_was_written(text: str) -> None:
    assert OmegaConf.create({"text": escape_text(text)}).text == text


@settings(deadline=None, max_examples=200)
@given(AWKWARD)
def test_text_that_names_no_key_is_read_as_it_was_written(text: str) -> None:
    assert OmegaConf.create({"text": escape_text(text, ["no_key_of_this_name"])}).text == text


@settings(deadline=None, max_examples=200)
@given(AWKWARD)
def test_what_stands_behind_description_is_the_text_that_was_typed(text: str) -> None:
    (override,) = literal_descriptions([f"description={text}"], ())
    value = parse(override).value()
    if value is not None:  # description=null
        assert str(OmegaConf.create({"text": value}).text) == _meant(text)


def _meant(text: str) -> str:
    """The text, or what is in the quotes if it is one quoted text."""
    try:
        read = parse(f"description={text}")
    except DerivaMLConfigurationError:
        return text
    is_quoted = not read.is_sweep_override() and text.lstrip()[:1] in ("'", '"')
    return str(read.value()) if is_quoted else text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rate ${lr}", "rate 0.5"),
        ("rate ${model_config.lr} and ${x}", "rate 0.5 and ${x}"),
        ("${lr} costs \\${x} $5", "0.5 costs \\${x} $5"),
        ("${lr", "${lr"),
        ("${ ${lr}", "${ 0.5"),
        ("${.lr} ${..lr}", "${.lr} ${..lr}"),
        ("${nothing:1}", "${nothing:1}"),
        ("${oc.env:NO_SUCH_VARIABLE,none}", "none"),
    ],
)
def test_an_interpolation_of_what_there_is_is_filled_in(text: str, shown: str) -> None:
    config = OmegaConf.create({"lr": 0.5, "model_config": {"lr": 0.5}, "text": escape_text(text, KEYS)})
    assert config.text == shown


@pytest.mark.parametrize(
    ("words", "multirun", "kept"),
    [
        (["description=plain words", "lr=1"], False, True),
        (["description=null"], False, True),
        (["description=a,b"], True, True),
        (["description=a,b"], False, False),
        (["description=it's"], True, False),
        (["other=${x}"], False, True),
    ],
)
def test_only_what_would_be_read_otherwise_is_quoted(words: list[str], multirun: bool, kept: bool) -> None:
    assert (literal_descriptions(words, KEYS, multirun=multirun) == words) is kept


def fit(description: str = "", *, ml_instance: Any = None, execution: Any = None) -> None:
    """A model with a parameter of that name."""


@pytest.mark.parametrize("text", ["${x}", "a ${ 'b' \\ \"c\"\n{d", "\\${x} 100 % ${y} \\\\"])
def test_descriptions_go_from_the_store_into_the_objects(settings: Settings, text: str) -> None:
    mark = f"m{uuid4().hex}"
    store = ZenStore()
    main = create_model_config(description=text, hydra_defaults=["_self_", {f"w_{mark}": "w"}, {f"d_{mark}": "d"}])
    store(main, name=mark)
    store(
        builds(Workflow, name="w", workflow_type="T", description=text), group=f"w_{mark}", name="w", package="workflow"
    )
    store(with_description([], text), group=f"d_{mark}", name="d", package="datasets")
    noted = builds(dict, zen_meta={"description": text})
    store(noted, group=f"m_{mark}", name="m", package="model_config")
    register(store, ["datasets", "workflow"])
    given_text = f"more {text}"
    (override,) = literal_descriptions([f"description={given_text}"], ())
    with hydra_session("test"):
        config = compose(mark, [])
        overridden = compose(mark, [override])
    for values, said in ((config, text), (overridden, given_text)):
        values.deriva_ml, values.assets, values.model_config = None, [], None
        request = instantiate(values)
        assert request.description == said
        assert request.workflow.description == text
        assert request.datasets.description == text


def test_only_texts_of_ours_are_changed_in_the_store() -> None:
    own = builds(fit, description="${lr}${x}", populate_full_signature=True, zen_partial=True)
    assert literal_description(own, KEYS, is_top=False) is own
    assert literal_description({"description": "${x}", "_zen_exclude": ["description"]}, KEYS, is_top=False) == {
        "description": ["$", "{x}"],
        "_zen_exclude": ["description"],
    }
    plain = make_config(description="nothing to do")
    assert literal_description(plain, KEYS, is_top=True) is plain
    assert literal_description([], KEYS, is_top=False) == []


def test_an_instance_in_the_store_keeps_its_other_values() -> None:
    config = builds(Workflow, populate_full_signature=True)
    made = literal_description(config(name="w", workflow_type="T", description="${x}"), KEYS, is_top=False)
    node = OmegaConf.structured(made)
    assert (node.name, node.workflow_type, list(node.description)) == ("w", "T", ["$", "{x}"])


@settings(deadline=None, max_examples=20)
@given(AWKWARD, AWKWARD)
def test_any_text_comes_through_a_composition(stored: str, typed: str) -> None:
    assume("???" not in (stored, typed))  # that is a value which somebody has to give
    mark = f"text_{len(stored)}"
    main = create_model_config(description=stored, hydra_defaults=["_self_"])
    register([{"name": mark, "group": None, "package": None, "provider": None, "node": main}])
    quoted = quote(typed)
    (override,) = literal_descriptions([f"description={quoted}"], ())
    with hydra_session("test"):
        configs = [compose(mark, []), compose(mark, [override])]
    for config, said in zip(configs, (stored, typed), strict=True):
        for key in ("deriva_ml", "datasets", "assets", "workflow", "model_config"):
            config[key] = None
        assert instantiate(config).description == said
