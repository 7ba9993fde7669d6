"""What a configuration's value may be under an annotation; where that cannot be told, anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from deriva_ml.execution.model_types import annotations_of, fits, shown_type


class Colour(Enum):
    RED = 1


class Own:
    """A class of a project."""


GOOD: list[tuple[object, Any]] = [
    (1, int),
    (1, float),
    (True, int),
    (0, bool),
    ("a", str),
    (None, Optional[int]),  # noqa: UP045
    (None, int | None),
    (2.5, int | float),
    ("slow", Literal["fast", "slow"]),
    ([1, 2], list[int]),
    ([1, 2], Sequence[float]),
    ([1, 2], tuple[int, int]),
    ((1, 2, 3), tuple[int, ...]),
    (OmegaConf.create([1, 2]), list[int]),
    (OmegaConf.create({"a": 1}), dict[str, int]),
    ({"a": 1}, Mapping[str, float]),
    ("weights.bin", Path),
    (Own(), Own),
    (Own(), float),
    (Colour.RED, Colour),
    (print, Callable[[int], str]),
    (3, Annotated[int, "positive"]),
    ("anything", Any),
    ("anything", TypeVar("T")),
    (3, object),
]
BAD: list[tuple[object, Any]] = [
    ("1", int),
    (1.5, int),
    ("0.1", float),
    (True, float),
    ("false", bool),
    (2, bool),
    (3, str),
    (None, int),
    (3, None),
    ("medium", Literal["fast", "slow"]),
    ("12", list[int]),
    ([1, "2"], list[int]),
    ([1], tuple[int, int]),
    ([1], float),
    ({"a": "b"}, dict[str, int]),
    ([1], dict[str, int]),
    ("RED", Colour),
    ("text", Own),
    ("x", int | float | None),
]


@pytest.mark.parametrize(("value", "annotation"), GOOD, ids=range(len(GOOD)))
def test_what_python_would_take_fits(value: object, annotation: Any) -> None:
    assert fits(value, annotation)


@pytest.mark.parametrize(("value", "annotation"), BAD, ids=range(len(BAD)))
def test_what_is_of_another_kind_does_not(value: object, annotation: Any) -> None:
    assert not fits(value, annotation)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_a_value_always_fits_its_own_type(value: object) -> None:
    assert fits(value, type(value))
    assert fits(value, type(value) | None)


def test_annotations_that_cannot_be_evaluated_say_nothing() -> None:
    def model(lr: NoSuchName, *, ml_instance: Any, execution: Any) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert annotations_of(model) == {}

    class Network:
        def __init__(self, width: int) -> None: ...

        def __call__(self, lr: float) -> None: ...

    assert annotations_of(Network)["width"] is int
    assert annotations_of(Network(3))["lr"] is float


def test_an_annotation_is_shown_as_it_is_written() -> None:
    assert shown_type(int) == "int"
    assert shown_type(list[int]) == "list[int]"
    assert shown_type(Literal["a", "b"]) == "Literal['a', 'b']"
