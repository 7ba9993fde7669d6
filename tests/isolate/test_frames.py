"""Frames arrive as they were sent, whatever the pieces in which they travel; anything else is refused."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.isolate.frames import LONGEST_HEADER, LONGEST_PAYLOAD, BrokenFrame, Channel, Decoder, Frame, encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FRAMES = st.builds(
    Frame,
    st.text(min_size=1),
    st.dictionaries(st.text().filter(lambda name: name != "kind"), JSON, max_size=4),
    st.binary(max_size=200),
)


@given(st.lists(FRAMES, max_size=5), st.data())
def test_frames_arrive_whole_in_whatever_pieces(frames, data):
    content = b"".join(map(encode, frames))
    decoder, found = Decoder(), []
    while content:
        size = data.draw(st.integers(1, len(content)))
        found += decoder.feed(content[:size])
        content = content[size:]
    assert found == frames
    assert not decoder.is_within


@given(FRAMES, st.data())
def test_a_frame_that_breaks_off_is_no_frame(frame, data):
    content = encode(frame)
    decoder = Decoder()
    assert list(decoder.feed(content[: data.draw(st.integers(1, len(content) - 1))])) == []
    assert decoder.is_within


@given(st.binary(min_size=8, max_size=64))
def test_bytes_that_are_no_frame_raise_nothing_else(content):
    with suppress(BrokenFrame):
        list(Decoder().feed(content))


@pytest.mark.parametrize(
    "content",
    [
        struct.pack(">II", LONGEST_HEADER + 1, 0),
        struct.pack(">II", 2, LONGEST_PAYLOAD + 1),
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 2, 0) + b"{}",
        struct.pack(">II", 10, 0) + b'{"kind":1}',
        struct.pack(">II", 2, 0) + b"\xff\xfe",
    ],
)
def test_what_is_no_frame_is_refused_at_once(content):
    with pytest.raises(BrokenFrame):
        list(Decoder().feed(content))


def test_what_is_too_long_or_no_json_is_not_sent():
    one, other = socket.socketpair()
    with one, other:
        channel = Channel(one)
        with pytest.raises(ValueError, match="longer"):
            channel.send(Frame("x", {"text": "a" * (LONGEST_HEADER + 1)}))
        with pytest.raises(TypeError):
            channel.send(Frame("x", {"object": object()}))
        channel.send(Frame("after"))
        assert Channel(other).receive() == Frame("after")


def test_threads_do_not_mix_their_frames():
    one, other = socket.socketpair()
    with one, other:
        sender, receiver = Channel(one), Channel(other)
        threads = [
            threading.Thread(
                target=lambda n=n: [sender.send(Frame("n", {"n": n}, bytes([n]) * 5000)) for _ in range(20)]
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        found = [receiver.receive() for _ in range(160)]
        for thread in threads:
            thread.join()
    assert all(frame.payload == bytes([frame.data["n"]]) * 5000 for frame in found)
