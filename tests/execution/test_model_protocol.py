"""What counts as a model, and what is said of something that does not."""

from __future__ import annotations

from functools import partial

import pytest

from deriva_ml.core.exceptions import DerivaMLProblems, DerivaMLValidationError
from deriva_ml.execution.model_protocol import DerivaMLModel, check_model, model_name


def train(lr: float = 0.1, steps: int = 3, *, ml_instance=None, execution=None) -> None:
    """A model."""


class Network:
    def __call__(self, *, ml_instance, execution, **parameters) -> None: ...


def test_a_function_a_partial_and_an_object_are_models():
    for model in (train, partial(train, lr=1.0), Network(), partial(partial(train, 1.0), steps=2)):
        assert isinstance(model, DerivaMLModel)
        check_model(model)


def test_a_model_without_execution_is_named():
    def careless(lr, *, ml_instance): ...

    with pytest.raises(DerivaMLValidationError, match=r"careless does not take the keyword execution\.") as caught:
        check_model(partial(careless, lr=1))
    assert caught.value.exit_code == 2
    assert "execution=None" in caught.value.hint


def test_an_unknown_parameter_is_refused_with_the_nearest():
    with pytest.raises(DerivaMLValidationError, match="has no parameter step") as caught:
        check_model(train, ["lr", "step"])
    assert "steps" in caught.value.allowed


def test_a_parameter_without_a_value_is_named():
    def needs(width, *, ml_instance, execution): ...

    check_model(needs, ["width"])
    check_model(partial(needs, width=3))
    with pytest.raises(DerivaMLValidationError, match="needs a value for its parameter width"):
        check_model(needs)


def test_what_cannot_be_called_is_no_model():
    with pytest.raises(DerivaMLValidationError, match="not callable"):
        check_model(3)


def test_names_go_through_partials():
    assert model_name(partial(partial(train))).endswith(".train")
    assert model_name(Network()).endswith(".Network")


def test_everything_that_is_wrong_with_a_model_is_found_at_once():
    def wrong(width, lr: float = 0.1, *, ml_instance): ...

    with pytest.raises(DerivaMLProblems) as caught:
        check_model(wrong, ["lrr"])
    said = str(caught.value)
    assert "does not take the keyword execution" in said
    assert "has no parameter lrr" in said
    assert "needs a value for its parameter width" in said
