"""The quick dataclasses are the standard library's in all that can be seen of them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A place."""

    x: int
    y: int = 0
    names: list[str] = field(default_factory=list, compare=False)
    origin: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class Sum:
    left: Point
    right: Point


def twins(**options: Any) -> tuple[Any, Any]:
    """The same class, made by the quick way and by the standard library."""

    def body(ns: dict[str, Any]) -> None:
        ns["__annotations__"] = {"a": "int", "b": "str", "c": "list[int]"}
        ns["b"] = "x"
        ns["c"] = field(default_factory=list, repr=False)

    def made(with_: Callable[..., Any]) -> Any:
        namespace: dict[str, Any] = {"__module__": __name__, "__qualname__": "Twin", "__doc__": "A twin."}
        body(namespace)
        return with_(**options)(type("Twin", (), namespace))

    return made(dataclass), made(dataclasses.dataclass)


OPTIONS = st.fixed_dictionaries({}, optional={name: st.booleans() for name in ("frozen", "slots", "eq")})


@given(OPTIONS, st.integers(), st.text(), st.integers())
def test_it_is_the_standard_librarys_in_all_that_can_be_seen(
    options: dict[str, bool], a: int, b: str, other: int
) -> None:
    seen = []
    for cls in twins(**options):
        signature = str(inspect.signature(cls))
        one, same, two = cls(a, b), cls(a=a, b=b), cls(other)
        facts: list[Any] = [signature, repr(one), one == same, one == two, one != 3, cls.__hash__ is None]
        facts += [asdict(one), [item.name for item in fields(cls)], cls.__match_args__, hasattr(one, "__dict__")]
        facts += [replace(one, a=other).a, copy.deepcopy(one).b, getattr(cls, "__slots__", None)]
        facts += [str(inspect.signature(cls)), cls.__init__.__qualname__]
        try:
            facts.append(hash(one) == hash(same))
        except TypeError as error:
            facts.append(str(error))
        try:
            one.a = other
            facts.append(one.a)
        except FrozenInstanceError as error:
            facts.append(str(error))
        with pytest.raises(TypeError) as missing:
            cls()
        facts.append(str(missing.value))
        seen.append(facts)
    assert seen[0] == seen[1]


def test_its_objects_travel_and_cannot_be_changed() -> None:
    point = Point(1, names=["a"])
    for way in (copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        again = way(point)
        assert (again, again.names) == (point, ["a"])
    for change in (lambda: setattr(point, "x", 2), lambda: delattr(point, "x")):
        with pytest.raises(FrozenInstanceError):
            change()
    assert hash(Sum(point, point)) == hash(Sum(Point(1), Point(1)))
    assert repr(Sum(point, Point(2))) == "Sum(left=Point(x=1, y=0, names=['a']), right=Point(x=2, y=0, names=[]))"
    match point:
        case Point(x, y):
            assert (x, y) == (1, 0)


def test_what_a_class_defines_itself_stays() -> None:
    @dataclass(frozen=True)
    class Own:
        a: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __post_init__(self) -> None:
            object.__setattr__(self, "a", self.a + 1)

    assert (repr(Own(1)), Own(1) == 3, hash(Own(1)), Own(1).a) == ("own", True, 7, 2)


def test_classes_that_are_made_of_others_or_need_more_are_made_at_once() -> None:
    @dataclass(frozen=True)
    class Base:
        a: int

    @dataclass(frozen=True)
    class Derived(Base):
        b: int = 2

    @dataclass(frozen=True, order=True)
    class Ordered:
        a: int

    assert Derived(1) == Derived(1, 2)
    assert Ordered(1) < Ordered(2)
    with pytest.raises(TypeError, match="non-frozen"):

        @dataclasses.dataclass
        class _Loose(Base):
            c: int = 3


def test_a_subclass_of_its_own_making_has_its_own_signature() -> None:
    @dataclass
    class Base:
        a: int

    class Other(Base):
        def __init__(self, text: str) -> None:
            super().__init__(len(text))

    assert str(inspect.signature(Other)) == "(text: 'str') -> 'None'"
    assert Other("abc").a == 3


def test_threads_may_make_the_first_objects_together() -> None:
    made: list[Any] = []
    for _ in range(20):
        cls, _same = twins(frozen=True, slots=True)
        gate = threading.Barrier(4)

        def make(cls: Any = cls, gate: threading.Barrier = gate) -> None:
            gate.wait()
            made.append(repr(cls(1)))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert made == ["Twin(a=1, b='x')"] * 80
