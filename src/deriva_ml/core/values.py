"""Dataclasses that are quick to make: the standard library's, whose methods are written when they are first used.

The standard library writes and compiles up to eight methods for every class when its module is imported: a third of a
millisecond for a frozen class, and a run needs two hundred of them, of which it prints or compares few. Here a class
gets its fields and ``__init__`` at once, and the rest with its first use.

``dataclass`` takes the same options and comes to the same class: ``fields``, ``replace``, ``asdict``, ``match``,
``inspect.signature``, pickling and copying work as ever. For type checkers it is the standard library's own. Classes
with options that are rare here (``order``, ``InitVar``, ...) are made by the standard library at once.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

_LATER = ("__repr__", "__eq__", "__hash__")


class _Factory:
    """What a signature shows for a value that is made anew for each object."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()


def _dataclass(cls: type | None = None, /, **options: Any) -> Any:
    """As ``dataclasses.dataclass``."""
    return (lambda made: _made(made, **options)) if cls is None else _made(cls, **options)


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass


def _made(cls: type, *, frozen: bool = False, slots: bool = False, eq: bool = True, **rare: Any) -> type:
    if rare or not _is_plain(cls):
        return dataclasses.dataclass(cls, frozen=frozen, slots=slots, eq=eq, **rare)
    own = frozenset(cls.__dict__)
    has_hash = "__hash__" in own and not (cls.__hash__ is None and "__eq__" in own)
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # else the standard library makes one of the signature, at some length
    made: Any = dataclasses.dataclass(cls, init=False, repr=False, eq=False, slots=slots)
    later = {"__repr__", *(["__eq__"] if eq else [])} - own
    later |= {"__hash__"} if eq and frozen and not has_hash else set()
    for name in later:
        setattr(made, name, _written_later(made, name, frozen=frozen))
    if eq and not frozen and not has_hash:
        made.__hash__ = None
    if frozen:
        _freeze(made, slots=slots)
    if "__init__" not in own:
        made.__init__ = _init_of(made, frozen=frozen)
    params = made.__dataclass_params__
    params.init, params.repr, params.eq, params.frozen = True, True, eq, frozen
    return made  # type: ignore[no-any-return]


def _is_plain(cls: type) -> bool:
    """Whether nothing of the class needs the standard library's own hand."""
    if any(hasattr(base, "__dataclass_params__") for base in cls.__mro__[1:]):
        return False
    kinds = [str(kind) for kind in inspect.get_annotations(cls).values()]
    if any(word in kind for kind in kinds for word in ("InitVar", "KW_ONLY")):
        return False
    fields = [value for value in vars(cls).values() if isinstance(value, Field)]
    return all(field.init and field.kw_only is not True for field in fields)


def _freeze(cls: Any, *, slots: bool) -> None:
    names = frozenset(field.name for field in dataclasses.fields(cls))

    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    cls.__setattr__, cls.__delattr__ = __setattr__, __delattr__
    if slots and "__getstate__" not in cls.__dict__:
        cls.__getstate__, cls.__setstate__ = _state_of, _take_state


def _state_of(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _take_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


def _init_of(cls: Any, *, frozen: bool) -> Any:
    """The method that makes an object of its arguments."""
    fields = dataclasses.fields(cls)
    names: dict[str, Any] = {"_set": object.__setattr__, "_factory": _FACTORY}
    parameters, lines = ["self"], []
    for at, field in enumerate(fields):
        value = field.name
        if field.default is not MISSING:
            names[f"_default{at}"] = field.default
            parameters.append(f"{field.name}=_default{at}")
        elif field.default_factory is not MISSING:
            names[f"_factory{at}"] = field.default_factory
            parameters.append(f"{field.name}=_factory")
            value = f"_factory{at}() if {field.name} is _factory else {field.name}"
        else:
            parameters.append(field.name)
        lines.append(f"_set(self, {field.name!r}, {value})" if frozen else f"self.{field.name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    text = f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines or ["pass"])
    exec(text, names)  # noqa: S102 - of names that the class has declared, as the standard library does
    init = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = {field.name: field.type for field in fields} | {"return": None}
    return init


def _written_later(cls: Any, name: str, *, frozen: bool) -> Callable[..., Any]:
    """A method that is replaced by what the standard library writes when it is first called."""

    def method(self: Any, *args: Any) -> Any:
        _write_rest(cls, frozen=frozen)
        return getattr(cls, name)(self, *args)

    method.__name__, method.__qualname__ = name, f"{cls.__qualname__}.{name}"
    method.__deriva_ml_later__ = True  # type: ignore[attr-defined]
    return method


def _write_rest(cls: Any, *, frozen: bool) -> None:
    """Replace what is still to be written by what the standard library writes for such fields."""
    described = [(field.name, field.type, _described(field)) for field in dataclasses.fields(cls)]
    twin = dataclasses.make_dataclass(cls.__name__, described, init=False, frozen=frozen)
    for name in _LATER:
        if getattr(cls.__dict__.get(name), "__deriva_ml_later__", False):
            setattr(cls, name, getattr(twin, name))


def _described(field: Field[Any]) -> Any:
    return dataclasses.field(repr=field.repr, compare=field.compare, hash=field.hash)
