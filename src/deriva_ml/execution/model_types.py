"""Whether a value can be what an annotation says; where that cannot be told, it can.

A configuration holds numbers, text, booleans, nulls, lists and mappings, so only those are judged: a class of a user's
own, a type variable, an annotation that cannot be evaluated accept everything. A whole number is taken for a float, as
Python does, and a list of a configuration for any kind of sequence.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from pathlib import PurePath
from typing import Any

__all__ = ["annotations_of", "fits", "shown_type"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_SEQUENCES = (list, tuple, set, frozenset)


def annotations_of(model: Callable[..., object]) -> dict[str, Any]:
    """The annotations of a callable's parameters, those left out that cannot be evaluated."""
    function = model if inspect.isroutine(model) else getattr(model, "__call__", model)  # noqa: B004  # its signature is wanted
    if inspect.isclass(model):
        function = model.__init__
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001  # names that only a type checker sees: nothing can be said
        return {}


def fits(value: object, annotation: Any) -> bool:
    """Whether a value can be what an annotation says.

    Args:
        value: The value.
        annotation: The annotation, evaluated.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None:
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is typing.Annotated:
        return fits(value, arguments[0])
    if annotation is Any or not isinstance(origin or annotation, type):
        return True
    return _is_a(value, origin or annotation) and _holds(value, origin or annotation, arguments)


def _is_a(value: object, kind: type) -> bool:
    if isinstance(value, kind):
        return True
    if kind in _PLAIN:
        return _is_plain(value, kind)
    if issubclass(kind, Enum):
        return not isinstance(value, _PLAIN)
    if issubclass(kind, (Mapping, dict)):
        return isinstance(value, Mapping)
    if issubclass(kind, (Sequence, AbstractSet, *_SEQUENCES)) or kind in (Collection, Iterable):
        return _is_list(value)
    # A configuration gives text, where a path is wanted, that the model may well take: os.path does.
    return not isinstance(value, _PLAIN) or (issubclass(kind, PurePath) and isinstance(value, str)) or _is_open(kind)


def _is_plain(value: object, kind: type) -> bool:
    """Whether a value that is no instance of a kind of number or text can pass for one."""
    if not isinstance(value, _PLAIN):
        return not isinstance(value, Mapping) and not _is_list(value)
    if kind in (float, complex):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind is bool and isinstance(value, int) and value in (0, 1)


def _is_open(kind: type) -> bool:
    """Whether a class says by itself what it takes for an instance: a protocol, an abstract class of numbers."""
    return (
        inspect.isabstract(kind) or getattr(kind, "_is_protocol", False) or kind.__module__ in ("numbers", "builtins")
    )


def _is_list(value: object) -> bool:
    return isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (str, bytes))


def _holds(value: object, kind: type, arguments: tuple[Any, ...]) -> bool:
    """Whether what is in a list or a mapping is what the annotation says."""
    if isinstance(value, Mapping):
        return len(arguments) != 2 or all(fits(each, arguments[1]) for each in value.values())
    if not _is_list(value) or not arguments:
        return True
    items = list(typing.cast("Iterable[object]", value))
    if kind is tuple and arguments[-1] is not Ellipsis:
        return len(items) == len(arguments) and all(fits(*pair) for pair in zip(items, arguments, strict=True))
    return all(fits(each, arguments[0]) for each in items)


def shown_type(annotation: Any) -> str:
    """An annotation as it is written."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")
