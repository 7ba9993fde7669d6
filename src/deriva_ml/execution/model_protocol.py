"""What a model is: a callable that takes ``ml_instance`` and ``execution``; and the check that one is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from deriva_ml.core.exceptions import DerivaMLException, DerivaMLProblems, DerivaMLValidationError
from deriva_ml.core.files import nearest

__all__ = ["RUN_KEYWORDS", "DerivaMLModel", "check_model", "model_name", "model_problems"]

RUN_KEYWORDS = ("ml_instance", "execution")
"""The keywords that every run gives to its model."""


@runtime_checkable
class DerivaMLModel(Protocol):
    """Work that can be run and recorded.

    A plain function with the keywords ``ml_instance`` and ``execution`` is one; every other parameter comes from the
    configuration.
    """

    def __call__(self, *, ml_instance: Any, execution: Any) -> None:
        """Do the work: read the execution's inputs, register its outputs."""


def model_name(model: object) -> str:
    """The name of a callable for messages, through any number of partials: ``module.function``."""
    inner = model
    while hasattr(inner, "func") and hasattr(inner, "keywords"):
        inner = inner.func
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', repr(inner))}"


def check_model(model: Callable[..., object], parameters: Iterable[str] = ()) -> None:
    """Find out before a run whether its call can succeed.

    Args:
        model: The callable; parameters that a partial has bound count as given.
        parameters: Names of the keywords that the run will pass besides ``ml_instance`` and ``execution``.

    Raises:
        DerivaMLValidationError: The model takes no ``execution`` or ``ml_instance``, does not take one of the
            parameters, or has a parameter that nothing gives.
        DerivaMLProblems: Several of these.
    """
    found = model_problems(model, parameters)
    if found:
        raise DerivaMLProblems.of(found)


def model_problems(model: Callable[..., object], parameters: Iterable[str] = ()) -> list[DerivaMLException]:
    """Everything for which the call of a model would fail.

    Args:
        model: The callable; parameters that a partial has bound count as given.
        parameters: Names of the keywords that the run will pass besides ``ml_instance`` and ``execution``.
    """
    import inspect

    name = model_name(model)
    if not callable(model):
        return [
            DerivaMLValidationError(
                f"The model is not callable: {model!r}", hint="configure a function with builds(..., zen_partial=True)"
            )
        ]
    try:
        signature = inspect.signature(model)
    except ValueError:  # some built-in callables do not tell: the call itself will
        return []
    given = list(parameters)
    takes = {
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    }
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    found: list[DerivaMLException] = [] if takes_any else _not_taken(name, takes, given)
    return found + _not_given(name, signature.parameters.values(), {*given, *RUN_KEYWORDS})


def _not_taken(name: str, takes: set[str], parameters: Iterable[str]) -> list[DerivaMLException]:
    found: list[DerivaMLException] = []
    missing = [keyword for keyword in RUN_KEYWORDS if keyword not in takes]
    if missing:
        found.append(
            DerivaMLValidationError(
                f"The model {name} does not take the keyword {' or '.join(missing)}.",
                source=f"its parameters: {', '.join(sorted(takes)) or 'none'}",
                hint=f"add to its signature: *, {', '.join(f'{keyword}=None' for keyword in missing)}",
            )
        )
    found += [
        DerivaMLValidationError(
            f"The model {name} has no parameter {parameter}.",
            allowed=nearest(parameter, takes - set(RUN_KEYWORDS)),
            hint=f"remove {parameter} from the model's configuration, or add it to the model",
        )
        for parameter in dict.fromkeys(parameters)
        if parameter not in takes
    ]
    return found


def _not_given(name: str, parameters: Iterable[Any], given: set[str]) -> list[DerivaMLException]:
    return [
        DerivaMLValidationError(
            f"The model {name} needs a value for its parameter {parameter.name}.",
            hint=f"give it in the configuration (model_config.{parameter.name}=...), or a default in the model",
        )
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}
        and (parameter.kind is parameter.POSITIONAL_ONLY or parameter.name not in given)
    ]
