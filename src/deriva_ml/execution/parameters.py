"""Values for a model's parameters, compared with the types that its signature says.

Hydra compares what stands in a configuration with its annotations; it does not see values that are added to one
(``+model_config.lr=abc``) nor types that OmegaConf does not know (``Literal``). Only what cannot fit is refused: text
for a number, a fraction for a whole number, a word for a list, something else than a literal's values.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException, DerivaMLProblems
from deriva_ml.core.files import nearest
from deriva_ml.execution.overrides import source_of

__all__ = ["EXAMPLES", "TYPE_WORDS", "check_fields", "check_values", "misfits"]

TYPE_WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
EXAMPLES = {float: ("0.1", "1e-3"), int: ("1", "10"), bool: ("true", "false")}

_NUMBERS: dict[type, tuple[type, ...]] = {bool: (int,), int: (int,), float: (int, float)}


def check_values(model: Any, group: str, overrides: Sequence[str] = ()) -> None:
    """Refuse values that a model's parameters cannot take.

    Args:
        model: The model, with the values that its configuration gives.
        group: Where the configuration says so: ``model_config`` or ``script_config``.
        overrides: The overrides that the values may come from, for the message.

    Raises:
        DerivaMLConfigurationError: A value does not fit; the error names its key and what is allowed.
        DerivaMLProblems: Several do not.
    """
    if found := misfits(model, group, overrides):
        raise DerivaMLProblems.of(found)


def misfits(model: Any, group: str, overrides: Sequence[str] = ()) -> list[DerivaMLException]:
    """What is wrong with values that a model's parameters cannot take; each error names a key and what is allowed.

    Args:
        model: The model, with the values that its configuration gives.
        group: Where the configuration says so: ``model_config`` or ``script_config``.
        overrides: The overrides that the values may come from, for the message.
    """
    given: dict[str, Any] = {}
    function: Any = model
    while hasattr(function, "func") and hasattr(function, "keywords"):
        given = {**function.keywords, **given}
        function = function.func
    return list(_misfits(function, given, f"{group}.", overrides))


def check_fields(instance: Any, overrides: Sequence[str] = ()) -> None:
    """Refuse values that the fields of a dataclass cannot take.

    Args:
        instance: The instance that a configuration has made.
        overrides: The overrides that the values may come from, for the message.

    Raises:
        DerivaMLConfigurationError: A value does not fit; the error names its key and what is allowed.
    """
    found = list(_misfits(type(instance), vars(instance), "", overrides))
    if found:
        raise DerivaMLProblems.of(found)


def _misfits(typed: Any, given: Mapping[str, Any], above: str, overrides: Sequence[str]) -> Iterator[DerivaMLException]:
    try:
        hints = get_type_hints(typed)
    except (NameError, TypeError, AttributeError):  # names that only a type checker sees
        return
    for name, value in given.items():
        if name in hints and not _fits(value, hints[name]):
            yield DerivaMLConfigurationError(
                f"{above}{name} takes {_shown(hints[name])}, and {value!r} is not that.",
                source=source_of(f"{above}{name}", overrides),
                allowed=_allowed(value, hints[name]),
                hint="correct the value",
            )


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is type(None):
        return value is None
    if hint in _NUMBERS:
        return not isinstance(value, str | float | int | bool | list | dict) or isinstance(value, _NUMBERS[hint])
    if (origin or hint) in (list, tuple, set, frozenset, dict) or getattr(
        origin, "__module__", ""
    ) == "collections.abc":
        return not isinstance(value, str | int | float)
    return True


def _shown(hint: Any) -> str:
    if hint in TYPE_WORDS:
        return TYPE_WORDS[hint]
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _allowed(value: Any, hint: Any) -> list[str]:
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    names = [str(item) for part in parts if get_origin(part) is Literal for item in get_args(part)]
    if names:
        return nearest(str(value), names)
    return [text for part in parts for text in EXAMPLES.get(part, ())]
