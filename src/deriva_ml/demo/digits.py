"""The 1,797 handwritten digits that scikit-learn carries: as PNG files of fixed bytes, split in a fixed way.

Source: UCI ML repository, "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998), test set, 8 by 8
pixels of 17 grey levels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

from deriva_ml.core.files import require
from deriva_ml.core.values import dataclass

__all__ = ["LEVELS", "SIDE", "STEP", "TEST_SHARE", "Digit", "is_test", "png", "read_digits"]

SIDE = 8
"""Width and height of an image."""

LEVELS = 16
"""Grey levels of the data above black."""

STEP = 15
"""Grey levels of the file for one level of the data."""

TEST_SHARE = 5
"""One image in so many is for testing."""


@dataclass(frozen=True)
class Digit:
    """One image.

    Attributes:
        index: Its place in scikit-learn's data.
        label: The digit that it shows.
        content: The PNG file.
        test: Whether it is kept for testing.
    """

    index: int
    label: int
    content: bytes
    test: bool

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"digit_{self.index:04}.png"


def read_digits() -> list[Digit]:
    """All images in the order of the data."""
    datasets = require("sklearn.datasets", "demo")
    data = datasets.load_digits()
    labels = [int(label) for label in data.target]
    tests = is_test(labels)
    return [
        Digit(index, label, png((int(value) * STEP for value in row), SIDE), test)
        for index, (row, label, test) in enumerate(zip(data.data, labels, tests, strict=True))
    ]


def is_test(labels: Sequence[int]) -> list[bool]:
    """Which images are kept for testing: of each class every fifth, so that the classes keep their shares.

    Counting needs no random numbers, whose sequence another version of a library might change.
    """
    seen: dict[int, int] = {}
    chosen = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        chosen.append(seen[label] % TEST_SHARE == 0)
    return chosen


def png(pixels: Iterable[int], width: int) -> bytes:
    """A greyscale PNG file whose bytes depend on nothing but the pixels.

    The content is stored, not compressed: what a compressor writes differs between versions of zlib.

    Args:
        pixels: Grey levels from 0 to 255, row by row.
        width: Pixels in a row.
    """
    levels = bytes(pixels)
    rows = [levels[at : at + width] for at in range(0, len(levels), width)]
    raw = b"".join(b"\0" + row for row in rows)  # filter type 0 before each row
    stored = (
        b"\x78\x01\x01" + struct.pack("<HH", len(raw), len(raw) ^ 0xFFFF) + raw + struct.pack(">I", zlib.adler32(raw))
    )
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", stored), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
