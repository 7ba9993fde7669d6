"""Values that a model's parameters cannot take are refused; whatever may fit is not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from omegaconf import OmegaConf

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution.parameters import check_values


def model(
    lr: float = 0.1,
    n: int = 1,
    deep: bool = False,
    mode: Literal["fast", "slow"] = "fast",
    names: list[str] | None = None,
    sizes: Sequence[int] = (),
    maybe: Optional[float] = None,  # noqa: UP045 - as older projects write it
    path: Path | None = None,
    text: str = "",
    anything: Any = None,
    bare=None,  # type: ignore[no-untyped-def]
) -> None:
    """A model."""


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 1, "n": 2, "deep": True, "mode": "slow", "names": None, "maybe": None},
        {"names": ["a"], "sizes": (1, 2), "maybe": 0.5, "path": "x", "text": 5, "anything": "x", "bare": "x"},
        {"names": OmegaConf.create(["a"]), "sizes": OmegaConf.create([1])},
        {"deep": 1, "lr": object(), "n": True},
        {"unknown": "x"},
    ],
)
def test_what_may_fit_passes(values: dict[str, Any]) -> None:
    check_values(partial(partial(model, lr="overwritten"), **{"lr": 1, **values}), "model_config")


@pytest.mark.parametrize(
    ("values", "said", "allowed"),
    [
        ({"lr": "abc"}, "model_config.lr takes a number, and 'abc' is not that", ("0.1", "1e-3")),
        ({"n": 1.5}, "model_config.n takes a whole number, and 1.5 is not that", ("1", "10")),
        ({"deep": "yes"}, "model_config.deep takes true or false, and 'yes' is not that", ("true", "false")),
        ({"mode": "fats"}, "model_config.mode takes Literal['fast', 'slow'], and 'fats' is not that", ("fast",)),
        ({"names": "one"}, "model_config.names takes list[str] | None", ()),
        ({"sizes": 3}, "model_config.sizes takes", ()),
        ({"maybe": "soon"}, "model_config.maybe takes", ("0.1", "1e-3")),
    ],
)
def test_what_cannot_fit_is_refused(values: dict[str, Any], said: str, allowed: tuple[str, ...]) -> None:
    with pytest.raises(DerivaMLConfigurationError) as caught:
        check_values(partial(model, **values), "model_config")
    assert said in str(caught.value)
    assert caught.value.allowed == allowed
    assert caught.value.source == f"configuration key model_config.{next(iter(values))}"


def test_the_override_that_gave_the_value_is_named() -> None:
    overrides = ["model_config.lr=1", "+model_config.lr=abc", "other=1"]
    with pytest.raises(DerivaMLConfigurationError) as caught:
        check_values(partial(model, lr="abc"), "model_config", overrides)
    assert caught.value.source == "override +model_config.lr=abc"


def test_types_that_only_a_checker_sees_are_passed_over() -> None:
    def odd(lr: NoSuchType = None) -> None:  # type: ignore[name-defined]  # noqa: F821
        """A model."""

    check_values(partial(odd, lr="x"), "model_config")
    check_values("no model at all", "model_config")
