"""Several requests in one: what is written is what is read, however it is cut on its way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.wire.batch import (
    END,
    NOTHING,
    BatchBroken,
    BatchSyntaxError,
    Limits,
    Member,
    head,
    length_line,
    read_answers,
    read_batch,
    weigh,
    write_batch,
)

LIMITS = Limits(20, 1 << 20)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SINGLE = st.builds(
    Member,
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    TEXT.map("/{}".format),
    accept=st.none() | TEXT,
    body=st.none() | TEXT,
    fill=st.dictionaries(TEXT, st.just("snaptime"), max_size=2),
    expect=st.just(NOTHING) | st.none() | st.lists(TEXT, max_size=2),
    missing_ok=st.booleans(),
)


@given(st.lists(SINGLE, min_size=1, max_size=5), st.booleans())
def test_members_are_read_as_they_were_written(members: list[Member], commit: bool) -> None:
    content = write_batch(members, commit=commit)
    assert read_batch(content, LIMITS) == (members, commit)
    assert sum(map(weigh, members)) <= len(content) <= sum(map(weigh, members)) + 100


def test_a_member_is_filled_from_those_before_it() -> None:
    members = [Member("POST", "/entity/A"), Member("PUT", "/entity/B", body="[]", fill={"x": (0, "RID")})]
    assert read_batch(write_batch(members), LIMITS)[0] == members
    members = [Member("PUT", "/entity/B", body="[]", fill={"x": (0, "RID")}), Member("POST", "/entity/A")]
    with pytest.raises(BatchSyntaxError, match="earlier request"):
        read_batch(write_batch(members), LIMITS)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "list"),
        ({"requests": []}, "1 to 20"),
        ({"requests": [{"method": "GET", "target": "/"}] * 21}, "this one has 21"),
        ({"requests": [{"method": "GET", "target": "/"}], "comit": True}, "'comit'"),
        ({"requests": [{"method": "GET", "target": "/"}], "commit": 1}, "true or false"),
        ({"requests": [1]}, "request 0"),
        ({"requests": [{"method": "HEAD", "target": "/"}]}, "DELETE, GET, POST, PUT"),
        ({"requests": [{"method": "GET", "target": "x"}]}, "slash"),
        ({"requests": [{"method": "GET"}]}, "slash"),
        ({"requests": [{"method": "GET", "target": "/", "body": {}}]}, "'body' is text"),
        ({"requests": [{"method": "GET", "target": "/", "bodies": "x"}]}, "'bodies'"),
        ({"requests": [{"method": "GET", "target": "/", "fill": []}]}, "'fill'"),
        ({"requests": [{"method": "GET", "target": "/", "missing_ok": "yes"}]}, "'missing_ok'"),
    ],
)
def test_what_is_no_batch_is_refused_with_what_is_wrong(document: Any, words: str) -> None:
    with pytest.raises(BatchSyntaxError, match=words):
        read_batch(json.dumps(document).encode(), LIMITS)


def test_a_batch_that_is_too_long_is_refused() -> None:
    with pytest.raises(BatchSyntaxError, match="at most 10 bytes"):
        read_batch(write_batch([Member("GET", "/")]), Limits(1, 10))
    with pytest.raises(BatchSyntaxError, match="JSON"):
        read_batch(b"{", LIMITS)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[tuple[int, list[bytes]]], list[bytes]]:
    made = draw(st.lists(st.tuples(st.integers(200, 599), st.lists(st.binary(min_size=1))), min_size=1, max_size=4))
    content = b"".join(
        head(status, {"content-type": "x"}) + b"".join(length_line(part) + part for part in parts) + END
        for status, parts in made
    )
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=6)))
    return made, [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]


@given(answers())
def test_answers_are_read_however_they_are_cut(case: tuple[list[tuple[int, list[bytes]]], list[bytes]]) -> None:
    made, parts = case
    members = [Member("GET", "/")] * len(made)
    found = [(each.status, each.read()) for each in read_answers(parts, members)]
    assert found == [(status, b"".join(content)) for status, content in made]


@given(answers())
def test_what_is_not_read_of_an_answer_is_passed_over(case: tuple[list[tuple[int, list[bytes]]], list[bytes]]) -> None:
    made, parts = case
    members = [Member("GET", "/")] * len(made)
    assert [each.status for each in read_answers(parts, members)] == [status for status, _content in made]


@given(answers(), st.data())
def test_answers_that_end_too_early_are_never_taken_for_whole(
    case: tuple[list[tuple[int, list[bytes]]], list[bytes]], data: st.DataObject
) -> None:
    made, parts = case
    content = b"".join(parts)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(BatchBroken):
        for each in read_answers([content[:cut]], [Member("GET", "/")] * len(made)):
            each.read()


@pytest.mark.parametrize(
    ("advertised", "found"),
    [
        ({"features": {"batch": {"requests": 5, "bytes": 7}}}, Limits(5, 7)),
        ({"features": {"batch": {"requests": 0, "bytes": 7}}}, None),
        ({"features": {"batch": True}}, None),
        ({"features": {}}, None),
        ([], None),
    ],
)
def test_a_service_that_does_not_say_so_takes_one_at_a_time(advertised: object, found: Limits | None) -> None:
    assert Limits.advertised(advertised) == found
