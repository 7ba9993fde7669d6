"""The automaton finds what Python's engine finds, and no pattern takes for ever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deriva_ml.server.matching import Automaton, Matcher, _parse
from deriva_ml.server.regexps import translate

ATOMS = st.sampled_from(["a", "b", "A", ".", "[ab]", "[^a]", r"\d", r"\w", r"\s", r"\W", "é", "[a-c]", "_", " ", "ab"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        inner.map(lambda text: f"^{text}"),
        inner.map(lambda text: rf"{text}\Z"),
        inner.map(lambda text: rf"\b{text}\B"),
        inner.map(lambda text: rf"\b(?=\w){text}(?<=\w)"),
        inner.map(lambda text: f"(?!b){text}"),
    ),
    max_leaves=6,
)
TEXTS = st.text(alphabet="abAB_1 é\n-", max_size=9)


@settings(max_examples=400, deadline=None)
@given(pattern=PATTERNS, text=TEXTS, flags=st.sampled_from(["", "(?i)", "(?s)", "(?si)", "(?m)"]))
def test_the_automaton_finds_what_python_finds(pattern: str, text: str, flags: str) -> None:
    whole = flags + pattern
    try:
        expected = re.search(whole, text) is not None
    except re.error:
        return
    assert Automaton(_parse(whole)).search(text) is expected


BAD = [
    (r"(a+)+$", "a" * 5000 + "!"),
    (r"^(a|a)*$", "a" * 5000 + "!"),
    (r"(\w+\s?)+$", "word " * 2000 + "!"),
    (r"(a*)*b", "a" * 5000),
    (r"a*a*a*a*a*a*b", "a" * 5000),
    (r"(.*)(.*)(.*)(.*)x", "y" * 5000),
    (r"(a?){30}a{30}b", "a" * 3000),
    (r"(foo|bar|foo)*baz", "foo" * 3000),
    (r"([a-z]+\d*)+@", "abc1" * 2000),
    (r".*x", "y" * 200_000),
]


@pytest.mark.parametrize(("pattern", "text"), BAD)
def test_no_pattern_takes_for_ever(pattern: str, text: str) -> None:
    matcher = Matcher(translate(pattern))
    started = time.process_time()
    assert matcher(text) is False
    assert time.process_time() - started < 2


@pytest.mark.parametrize("pattern", [r"(a+)+\1$", r"(?=(a+)+$)a", "((a{1,99}){1,99}){1,99}b", r"(.*)(.*)(.*)\1x"])
def test_what_cannot_be_decided_in_time_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="too many ways"):
        translate(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(.)\1", "abba"),
        (r"^\d{3}-\d{4}$", "555-1234"),
        (r"\mfoo\M.*\mbar\M", "foo and bar"),
        ("(?i)HELLO", "hello"),
        ("a(?=bc)", "abc"),
        ("(foo|bar)+", "xfoobar"),
        ("(a?b?c?d?e?f?g?h?i?j?k?l?m?n?o?p?q?r?s?t?u?v?){1,60}z", "abcz"),
    ],
)
def test_honest_patterns_are_served(pattern: str, text: str) -> None:
    assert Matcher(translate(pattern))(text)
