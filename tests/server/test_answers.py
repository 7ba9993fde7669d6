"""Documents that clients send: what could not be stored, read again and written again is refused at the door."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b"1e400",
        b'{"a": [-1e400]}',
        b'"\\u0000"',
        b'"\\ud800"',
        b"\xff",
        b"[" * 202 + b"]" * 202,
        b'{"a":' * 201 + b"1" + b"}" * 201,
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_kept_is_refused(site, body: bytes) -> None:
    for resource in ("/annotation/x", "/schema/S/annotation/x"):
        assert site.raw("PUT", f"/catalog/1{resource}", body)[0] == 400
        assert site("GET", resource)[0] == 404


def test_what_is_nested_as_deeply_as_is_allowed_is_read_from_any_depth_of_the_stack(site) -> None:
    deep = b"[" * 200 + b"]" * 200
    assert site.raw("PUT", "/catalog/1/schema/S/annotation/deep", deep)[0] == 201

    def from_below(frames: int) -> bytes:
        return from_below(frames - 1) if frames else site.raw("GET", "/catalog/1/schema", None)[1]

    assert json.loads(from_below(400))["schemas"]["S"]["annotations"]["deep"] == json.loads(deep)


def test_every_json_value_is_an_annotation(site) -> None:
    for value in (None, True, 0, -1.5, 1e308, 10**30, "", "it's \\ \U0001f600", [], {"a": [None, {}]}):
        assert site.raw("PUT", "/catalog/1/annotation/tag%3Ax%2C1%2F%25", json.dumps(value).encode())[0] in (201, 204)
        assert site.ok("GET", "/annotation/tag%3Ax%2C1%2F%25") == value


def test_a_comment_is_text_that_can_be_kept(site) -> None:
    assert site.raw("PUT", "/catalog/1/schema/S/comment", b"a\0b")[0] == 400
    assert site.raw("PUT", "/catalog/1/schema/S/comment", b"\xff")[0] == 400
    assert site.raw("PUT", "/catalog/1/schema/S/comment", "é\n".encode())[0] == 204
    assert site.raw("GET", "/catalog/1/schema/S/comment", None) == (200, "é\n\n".encode())
