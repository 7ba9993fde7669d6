"""The functions of the rooms, as methods of an object that carries a session.

``DerivaML`` has well over a hundred methods, and each is a function of some room over a session. A method that is
declared here is that very function, bound: it has the function's signature, types and documentation, so nothing is
written twice and nothing can drift apart. The function is looked up when the method is used, so that a room is
imported only by who needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from deriva_ml.schema.session import HasSession, Session

__all__ = ["Room", "of_owner", "of_session"]

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741  # the owner


class Room:
    """A module that is imported when something of it is first used.

    Args:
        name: The module's full name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)

    def __repr__(self) -> str:
        return f"Room({self._name!r})"


class of_session(Generic[P, R]):  # noqa: N801  # reads as what it declares
    """A method that is a function over the object's session.

    Args:
        find: Gives the function.
    """

    def __init__(self, find: Callable[[], Callable[Concatenate[Session, P], R]]) -> None:
        self._find = find

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[Concatenate[Session, P], R]: ...

    @overload
    def __get__(self, instance: HasSession, owner: type) -> Callable[P, R]: ...

    def __get__(self, instance: HasSession | None, owner: type) -> Callable[..., R]:
        function = self._find()
        return function if instance is None else cast("Callable[..., R]", MethodType(function, instance.session))


class of_owner(Generic[O, P, R]):  # noqa: N801  # reads as what it declares
    """A method that is a function over the object itself.

    Args:
        find: Gives the function.
    """

    def __init__(self, find: Callable[[], Callable[Concatenate[O, P], R]]) -> None:
        self._find = find

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[Concatenate[O, P], R]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, R]: ...

    def __get__(self, instance: object | None, owner: type) -> Callable[..., R]:
        function = self._find()
        return function if instance is None else cast("Callable[..., R]", MethodType(function, instance))
