"""Whether a text contains what a pattern describes, in time that grows no faster than the text; no I/O.

Python's engine tries one way after the other and cannot be interrupted: a pattern such as ``(a+)+$`` holds the whole
process for ever. A limit in another process would cost more than most queries, and to refuse all nested repetition
would refuse honest patterns. So a pattern is judged by its form: where the ways to try may become too many for the
text at hand, an automaton that follows all ways at once decides instead. It knows everything but references back to
groups and looking further than one character; a pattern that needs both these and too many ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import chain
from types import MappingProxyType
from typing import Any

__all__ = ["Matcher", "check"]

PATIENCE = 1e6
"""So many steps Python's engine may take for one text: about ten milliseconds."""

STATES = 5000
"""An automaton may be so large."""

KEPT = 20_000
"""So many steps of an automaton are remembered."""

OPEN = 1000
"""A repetition with a higher bound counts as one without."""

ENDLESS = 1000
"""The degree of what grows faster than any power."""

LONG = 1e4
"""A text of ordinary length, by which a pattern is judged that only Python's engine knows."""


class Unsupported(ValueError):
    """An automaton cannot decide this pattern."""


class Matcher:
    """Finds a pattern in texts.

    Args:
        pattern: A Python pattern that compiles.
    """

    def __init__(self, pattern: str) -> None:
        tree = _parse(pattern)
        self._search = re.compile(pattern).search
        self._ways = _ways(tree)
        self._automaton: Automaton | None = None
        if self._ways.degree or self._ways.factor > 1:
            try:
                self._automaton = Automaton(tree)
            except Unsupported:
                if self._ways.steps(LONG) > LONG**3:
                    raise

    def __call__(self, text: str) -> bool:
        """Whether the text contains what the pattern describes."""
        if self._automaton is None or self._ways.steps(len(text)) <= PATIENCE:
            return self._search(text) is not None
        return self._automaton.search(text)


def check(pattern: str) -> None:
    """Refuse a Python pattern that may take for ever.

    Raises:
        ValueError: It is one of those.
    """
    try:
        Matcher(pattern)
    except Unsupported as error:
        raise ValueError(f"invalid regular expression: it has too many ways to match ({error})") from None


def _parse(pattern: str) -> Any:
    return import_module("re._parser").parse(pattern)


# ---------------------------------------------------------------------------------------------- how many ways


class _Ways:
    """How the number of ways to match grows with the text: ``factor * n ** degree``."""

    def __init__(self, factor: float = 1.0, degree: float = 0) -> None:
        self.factor = factor
        self.degree = degree

    def steps(self, length: float) -> float:
        """How many steps the search of a text may take."""
        if self.degree >= ENDLESS:
            return float("inf")
        return float(self.factor * min(max(length, 1.0), 1e9) ** min(self.degree + 1, 30))

    @property
    def is_one(self) -> bool:
        return self.factor == 1 and not self.degree


def _ways(tree: Any) -> _Ways:
    """The ways of a sequence: those of its parts, multiplied."""
    made = _Ways()
    for op, given in tree:
        part = _ways_of(str(op), given)
        made = _Ways(min(made.factor * part.factor, 1e30), made.degree + part.degree)
    return made


def _ways_of(op: str, given: Any) -> _Ways:
    if op == "SUBPATTERN":
        return _ways(given[3])
    if op in ("ASSERT", "ASSERT_NOT"):
        return _ways(given[1])
    if op == "ATOMIC_GROUP":
        return _ways(given)
    if op == "BRANCH":
        parts = [_ways(part) for part in given[1]]
        return _Ways(min(sum(part.factor for part in parts), 1e30), max(part.degree for part in parts))
    if op == "GROUPREF_EXISTS":
        return _Ways(2.0, sum(_ways(part).degree for part in given[1:] if part is not None))
    if op.endswith("_REPEAT"):
        return _ways_of_repeat(*given)
    return _Ways()


def _ways_of_repeat(least: int, most: int, body: Any) -> _Ways:
    inner = _ways(body)
    least, most = int(least), int(most)
    is_open = most > OPEN
    if inner.is_one or most <= 1:
        return _Ways(1.0, 1) if is_open else _Ways(inner.factor * (most - least + 1), inner.degree)
    # Each round may choose anew: without a bound on the rounds there is none on the ways.
    if is_open or min(inner.factor, 1e5) ** min(most, 60) > PATIENCE:
        return _Ways(1.0, ENDLESS)
    return _Ways(inner.factor**most * (most - least + 1), inner.degree * most)


# ---------------------------------------------------------------------------------------------- the automaton

Test = Callable[[str], bool]
Look = Callable[[str, str], bool]


class Automaton:
    """Follows all ways to match at once.

    A state either takes a character, or looks at what is before and behind the place, or leads on to others. States
    are numbers; the last way of each is to ``MATCH``.

    Args:
        tree: What the parser made of a pattern.
    """

    MATCH = 0

    def __init__(self, tree: Any) -> None:
        self._flags = int(tree.state.flags)
        self._takes: dict[int, tuple[Test, int]] = {}
        self._looks: dict[int, tuple[Look, int]] = {}
        self._leads: dict[int, list[int]] = {}
        self._count = 1
        self._start = self._sequence(tree, self.MATCH)
        self._known: dict[tuple[frozenset[int], str, str], frozenset[int] | None] = {}

    def search(self, text: str) -> bool:
        """Whether the pattern matches somewhere in a text."""
        current: frozenset[int] = frozenset()
        before = ""
        sees = bool(self._looks)
        for char in chain(text, ("",)):
            key = (current, before if sees else "", char)
            try:
                found = self._known[key]
            except KeyError:
                if len(self._known) > KEPT:
                    self._known.clear()
                found = self._known[key] = self._step(current, before, char)
            if found is None:
                return True
            current, before = found, char
        return False

    def _step(self, current: frozenset[int], before: str, char: str) -> frozenset[int] | None:
        """Where a character leads to; None if a match ends before it."""
        todo = [*current, self._start]
        seen: set[int] = set()
        while todo:
            state = todo.pop()
            if state in seen:
                continue
            seen.add(state)
            todo.extend(self._leads.get(state, ()))
            look = self._looks.get(state)
            if look is not None and look[0](before, char):
                todo.append(look[1])
        if self.MATCH in seen:
            return None
        if not char:
            return frozenset()
        takes = (self._takes[state] for state in seen if state in self._takes)
        return frozenset(after for test, after in takes if test(char))

    # ------------------------------------------------------------------------------------------ making it

    def _new(self) -> int:
        if self._count >= STATES:
            raise Unsupported("its repetitions are too many")
        self._count += 1
        return self._count - 1

    def _lead(self, *to: int) -> int:
        state = self._new()
        self._leads[state] = list(to)
        return state

    def _sequence(self, tree: Any, after: int) -> int:
        for op, given in reversed(list(tree)):
            after = self._one(str(op), given, after)
        return after

    def _one(self, op: str, given: Any, after: int) -> int:
        if op == "SUBPATTERN":
            if given[1] or given[2]:
                raise Unsupported("options inside of a group")
            return self._sequence(given[3], after)
        if op == "BRANCH":
            return self._lead(*(self._sequence(part, after) for part in given[1]))
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(int(given[0]), int(given[1]), given[2], after)
        if op == "AT":
            return self._look(self._place(str(given)), after)
        if op in ("ASSERT", "ASSERT_NOT"):
            return self._look(self._neighbour(given[0], given[1], wanted=op == "ASSERT"), after)
        state = self._new()
        self._takes[state] = (self._test(op, given), after)
        return state

    def _repeat(self, least: int, most: int, body: Any, after: int) -> int:
        if most > STATES:
            loop = self._lead()
            self._leads[loop] = [self._sequence(body, loop), after]
            after = loop
        else:
            end = after
            for _ in range(most - least):
                after = self._lead(self._sequence(body, after), end)
        for _ in range(least):
            after = self._sequence(body, after)
        return after

    def _look(self, look: Look, after: int) -> int:
        state = self._new()
        self._looks[state] = (look, after)
        return state

    def _place(self, name: str) -> Look:
        lines = self._flags & re.MULTILINE
        if name in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
            return lambda before, _: not before or bool(lines and name == "AT_BEGINNING" and before == "\n")
        if name in ("AT_END", "AT_END_STRING"):
            return lambda _, char: not char or bool(lines and name == "AT_END" and char == "\n")
        wanted = name == "AT_BOUNDARY"
        return lambda before, char: (_is_word(before) != _is_word(char)) is wanted

    def _neighbour(self, direction: int, body: Any, *, wanted: bool) -> Look:
        """A look at the one character before or behind."""
        parts = list(body)
        if len(parts) != 1:
            raise Unsupported("it looks further than one character")
        test = self._test(str(parts[0][0]), parts[0][1])
        if direction < 0:
            return lambda before, _: (bool(before) and test(before)) is wanted
        return lambda _, char: (bool(char) and test(char)) is wanted

    def _test(self, op: str, given: Any) -> Test:
        """Whether a character is one of those that a pattern allows at a place."""
        if op == "ANY":
            return (lambda _: True) if self._flags & re.DOTALL else (lambda char: char != "\n")
        if op == "IN":
            tests = [self._member(str(kind), value) for kind, value in given if str(kind) != "NEGATE"]
            negated = str(given[0][0]) == "NEGATE"
            return lambda char: any(test(char) for test in tests) is not negated
        if op == "LITERAL":
            return self._member(op, given)
        if op == "NOT_LITERAL":
            test = self._member("LITERAL", given)
            return lambda char: not test(char)
        raise Unsupported("it refers back to a group" if op.startswith("GROUPREF") else "a group that never gives back")

    def _member(self, kind: str, value: Any) -> Test:
        forms = _forms if self._flags & re.IGNORECASE else _itself
        if kind == "LITERAL":
            wanted = set(forms(chr(value)))
            return lambda char: not wanted.isdisjoint(forms(char))
        if kind == "RANGE":
            low, high = value
            return lambda char: any(low <= ord(form) <= high for form in forms(char))
        return _CATEGORIES[str(value)]


def _itself(char: str) -> Sequence[str]:
    return (char,)


def _forms(char: str) -> Sequence[str]:
    """A character and its forms in the other case."""
    return [form for form in {char, char.lower(), char.upper()} if len(form) == 1]


def _is_word(char: str) -> bool:
    return char == "_" or char.isalnum()


def _categories() -> Iterator[tuple[str, Test]]:
    tests: tuple[tuple[str, Test], ...] = (("DIGIT", str.isdecimal), ("SPACE", str.isspace), ("WORD", _is_word))
    for name, test in tests:
        yield f"CATEGORY_{name}", test
        yield f"CATEGORY_NOT_{name}", lambda char, test=test: not test(char)  # type: ignore[misc]


_CATEGORIES: Mapping[str, Test] = MappingProxyType(dict(_categories()))
