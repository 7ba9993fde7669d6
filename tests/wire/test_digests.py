"""Digests of objects, as they are sent in headers."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.wire.hatrac import parse_digest


@given(st.binary())
def test_a_digest_is_read_in_base64_and_in_hexadecimal(content: bytes) -> None:
    for digest in (hashlib.md5(content).digest(), hashlib.sha256(content).digest()):
        for text in (digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode()):
            assert parse_digest(f" {text}\n", len(digest)) == digest


@pytest.mark.parametrize("text", ["", "x", "ab" * 15, "ab" * 17, "zz" * 16, "ab ab " * 5 + "ab", "ab" * 15 + "é"])
def test_what_is_no_digest_of_that_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        parse_digest(text, 16)
