"""Frames: what parent and child say to each other, over one socket. No pickle: a frame can do nothing to its reader.

A frame is

    4 bytes   length of the header, big-endian
    4 bytes   length of the payload
    header    a JSON object in UTF-8; its member ``kind`` says what it is
    payload   bytes, as they are

Whoever reads less than a whole frame knows that the other end died in the middle of it.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from deriva_ml.core.values import dataclass

__all__ = ["LONGEST_HEADER", "LONGEST_PAYLOAD", "PROTOCOL", "BrokenFrame", "Channel", "Decoder", "Frame", "encode"]

PROTOCOL = 1
"""Version of what is said; the child's first frame names it."""

LONGEST_HEADER = 1 << 20
LONGEST_PAYLOAD = 1 << 26
"""What is longer goes through a file."""

_HEAD = struct.Struct(">II")
_READ = 1 << 16


class BrokenFrame(ValueError):
    """What came is no frame: the other end is not what it should be."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing said.

    Attributes:
        kind: What it is.
        data: Its fields, of JSON's kinds.
        payload: Bytes that belong to it.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """A frame as bytes.

    Raises:
        TypeError: A field is not of JSON's kinds.
        ValueError: It is longer than a frame may be, or a mapping contains itself.
    """
    header = json.dumps({**frame.data, "kind": frame.kind}, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    if len(header) > LONGEST_HEADER or len(frame.payload) > LONGEST_PAYLOAD:
        raise ValueError(
            f"a frame of {len(header)} and {len(frame.payload)} bytes is longer than {LONGEST_HEADER} and "
            f"{LONGEST_PAYLOAD}"
        )
    return _HEAD.pack(len(header), len(frame.payload)) + header + frame.payload


class Decoder:
    """Makes frames of bytes, however they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_within(self) -> bool:
        """Whether a frame has been begun and not ended."""
        return bool(self._buffer)

    def feed(self, content: bytes) -> Iterator[Frame]:
        """The frames that are whole with these bytes.

        Raises:
            BrokenFrame: The bytes are no frames; nothing that comes afterwards can be read.
        """
        self._buffer += content
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        if len(self._buffer) < _HEAD.size:
            return None
        header, payload = _HEAD.unpack_from(self._buffer)
        if header > LONGEST_HEADER or payload > LONGEST_PAYLOAD:
            raise BrokenFrame(f"a frame of {header} and {payload} bytes is announced")
        end = _HEAD.size + header + payload
        if len(self._buffer) < end:
            return None
        frame = _frame(bytes(self._buffer[_HEAD.size : _HEAD.size + header]), bytes(self._buffer[end - payload : end]))
        del self._buffer[:end]
        return frame


def _frame(header: bytes, payload: bytes) -> Frame:
    try:
        data = json.loads(header)
    except ValueError as error:
        raise BrokenFrame(f"a frame's header is no JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise BrokenFrame("a frame has no kind")
    return Frame(data.pop("kind"), data, payload)


class Channel:
    """One end of the socket between parent and child.

    Args:
        sock: The socket, which the channel closes.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._decoder = Decoder()
        self._waiting: list[Frame] = []
        self._sending = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Send a frame; several threads may.

        Raises:
            OSError: The other end is gone.
            TypeError: A field is not of JSON's kinds; nothing was sent.
            ValueError: The frame is too long; nothing was sent.
        """
        content = encode(frame)
        with self._sending:
            self.socket.sendall(content)

    def read(self) -> list[Frame] | None:
        """The frames that have come; waits for bytes if there are none. None at the end.

        Raises:
            BrokenFrame: What came is no frame.
        """
        try:
            content = self.socket.recv(_READ)
        except ConnectionResetError:
            content = b""
        return list(self._decoder.feed(content)) if content else None

    def receive(self) -> Frame | None:
        """The next frame; None at the end."""
        while not self._waiting:
            frames = self.read()
            if frames is None:
                return None
            self._waiting += frames
        return self._waiting.pop(0)

    @property
    def is_within(self) -> bool:
        """Whether the other end has begun a frame and not ended it."""
        return self._decoder.is_within

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
