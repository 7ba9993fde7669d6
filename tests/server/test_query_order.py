"""The order of values, and PostgreSQL's regular expressions, as queries use them."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.server.collation import array_key, key_function, text_key
from deriva_ml.server.regexps import translate
from deriva_ml.wire.column_types import known_type
from deriva_ml.wire.values import codec

RECORDED = [
    *("1", "1-0", "10", "1-00", "1A", "1ZY", "ä", "A0001", "A-0002", "A0003", "a b", "a-b", "a.b", "ab", "aB", "Ab"),
    *("AB", "b", "B", "e", "E", "é", "f", "_x", "Z", "zz"),
]
TEXTS = st.one_of(
    st.text(st.sampled_from("aAbBäé -._1"), max_size=6), st.text(st.characters(exclude_categories=["Cs"]))
)


def test_text_is_sorted_as_the_reference_server_sorts_it():
    shuffled = sorted(RECORDED, key=lambda text: text[::-1])
    assert sorted(shuffled, key=text_key) == RECORDED


@given(TEXTS, TEXTS)
def test_only_the_same_text_is_level(one, other):
    assert (text_key(one) == text_key(other)) == (one == other)


@given(st.text(st.sampled_from("abcAB12"), min_size=1), st.text(st.sampled_from("abcAB12"), min_size=1))
def test_letters_decide_before_case(one, other):
    if one.lower() != other.lower():
        assert (text_key(one) < text_key(other)) == (one.lower() < other.lower())


def test_rids_are_sorted_as_they_are_written():
    assert key_function(known_type("ermrest_rid")) is None
    assert key_function(known_type("markdown")) is text_key


def lists(type_, elements):
    return st.tuples(st.just(type_), *[st.lists(st.one_of(st.none(), elements), max_size=4)] * 2)


@given(
    st.one_of(
        lists("int4", st.integers(-(2**31), 2**31 - 1)),
        lists("float8", st.floats(allow_nan=False)),
        lists("text", TEXTS.filter(lambda text: "\0" not in text)),
        lists("boolean", st.booleans()),
        lists("date", st.dates().map(str)),
    )
)
def test_arrays_are_sorted_member_by_member_with_nulls_last(case):
    name, one, other = case
    element = known_type(name)
    key = key_function(element) or (lambda value: value)

    def ranks(values):
        stored = codec(known_type(f"{name}[]")).store(values)
        return [(value is None, 0 if value is None else key(value)) for value in json.loads(stored)], stored

    try:
        (first, left), (second, right) = ranks(one), ranks(other)
    except ValueError:  # an infinity is no JSON
        return
    assert (array_key(element, left) < array_key(element, right)) == (first < second)
    assert (array_key(element, left) == array_key(element, right)) == (first == second)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a.b", "xa\nbx", True),
        ("^b", "a\nb", False),
        ("a$", "a\n", False),
        ("a$", "ba", True),
        ("(?n)^b", "a\nb", True),
        (r"\mcat\M", "a cat!", True),
        (r"\mcat\M", "concat", False),
        (r"\ycat\y", "cat", True),
        ("[[:alpha:]]+", "é", True),
        ("^[[:alpha:][:digit:]]+$", "aé1", True),
        ("^[^[:space:]]+$", "a b", False),
        ("[[:<:]]cat[[:>:]]", "the cat", True),
        ("^[]a]+$", "a]", True),
        ("^[^]a]$", "]", False),
        ("^[a-c[]+$", "ab[", True),
        ("[a&&b]", "&", True),
        (r"^[\d.]+$", "1.2", True),
        (r"^[\w-]+$", "a-b", True),
        (r"a\Bb", r"a\b", True),
        ("(?i)CAT", "cat", True),
        ("***=a.b", "axb", False),
        ("***=a.b", "a.b", True),
        ("(?q)a.b", "a.b", True),
        ("(?x) a  b", "ab", True),
        ("a{2,3}", "aa", True),
        ("^a{,2}$", "a{,2}", True),
        ("^a{,2}$", "a", False),
        ("^{$", "{", True),
        (r"(a)\1", "aa", True),
        ("x(?=y)", "xy", True),
        (r"\u00e9", "é", True),
    ],
)
def test_regular_expressions_find_what_postgresql_finds(pattern, text, found):
    assert (re.search(translate(pattern), text) is not None) is found


def test_case_can_be_ignored():
    assert re.search(translate("É", ignore_case=True), "é")
    assert re.search(translate("a"), "A") is None


@pytest.mark.parametrize("pattern", ["(", "a**", "[a", "[[:nosuch:]]", "a++", "\\", r"\q", "(?<=a*)b", "[z-a]"])
def test_what_is_no_regular_expression_is_refused(pattern):
    with pytest.raises(ValueError, match="invalid regular expression"):
        translate(pattern)


@given(st.text(st.sampled_from("ab()[]{}*+?^$|\\-:.=<>!dwsmMyAZ0123,xin&~ "), max_size=12))
def test_any_pattern_is_translated_or_refused(pattern):
    try:
        translated = translate(pattern)
    except ValueError:
        return
    re.compile(translated)
