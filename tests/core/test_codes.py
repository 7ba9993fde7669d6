from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.codes import decode, encode, encode_all, normalise


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (0, "0"),
        (1, "2"),
        (5, "A"),
        (16, "10"),
        (524288, "1-0000"),
        (1795211310750363, "361-F1MF-5D9P"),
        (1524155559267826, "2PM-DGYP-56Z4"),
    ],
)
def test_the_specification_s_examples_hold_both_ways(number: int, code: str) -> None:
    assert encode(number) == code
    assert decode(code) == number


@given(st.integers(0, (1 << 63) - 1))
def test_a_code_reads_back_as_its_number(number: int) -> None:
    code = encode(number)
    assert decode(code) == number
    assert normalise(code) == code
    assert code[-1] in "02468ACEGJMPRTWY"


@given(st.integers(0, (1 << 63) - 100), st.integers(0, 90))
def test_many_codes_are_those_of_each_number(first: int, count: int) -> None:
    numbers = range(first, first + count)
    assert encode_all(numbers) == [encode(number) for number in numbers]


@pytest.mark.parametrize("edge", [1 << 19, 1 << 20, 1 << 39, (1 << 64) - 8])
def test_many_codes_go_on_where_another_digit_begins(edge: int) -> None:
    numbers = range(edge - 8, edge + 8)
    if numbers[-1] >> 64:
        with pytest.raises(ValueError, match="not a number that a code can hold"):
            encode_all(numbers)
    else:
        assert encode_all(numbers) == [encode(number) for number in numbers]


@given(st.integers(0, (1 << 63) - 1))
def test_case_dashes_and_look_alikes_are_forgiven(number: int) -> None:
    code = encode(number)
    assert normalise(code.lower().replace("-", "").replace("0", "o").replace("1", "l")) == code


@pytest.mark.parametrize("text", ["", "-", "U", "1$", "0" * 14])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a code"):
        decode(text)
    assert normalise(text) is None


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_a_number_that_no_code_can_hold_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="not a number"):
        encode(number)
