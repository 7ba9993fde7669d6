"""The digits as files: fixed bytes, readable by anybody, split in a fixed way."""

from __future__ import annotations

import hashlib
import io
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from deriva_ml.demo.digits import SIDE, STEP, is_test, png, read_digits

CONTENT = "eb5067ba7ac5d362d896e762a1e0272eeb6b754eeb4a51020830d183766a8216"
"""SHA-256 of all files, one after the other."""


def test_the_files_have_the_same_bytes_everywhere() -> None:
    digits = read_digits()
    assert len(digits) == 1797
    assert hashlib.sha256(b"".join(digit.content for digit in digits)).hexdigest() == CONTENT
    assert len({digit.filename for digit in digits}) == 1797


def test_a_file_holds_the_pixels_of_the_data() -> None:
    data = load_digits()
    for digit in read_digits()[::97]:
        with Image.open(io.BytesIO(digit.content)) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (SIDE, SIDE))
            assert (np.asarray(picture) == data.images[digit.index] * STEP).all()
        assert digit.label == data.target[digit.index]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40).flatmap(
        lambda width: st.lists(st.binary(min_size=width, max_size=width), min_size=1, max_size=9)
    )
)
def test_any_image_is_a_png_that_others_read(rows: list[bytes]) -> None:
    with Image.open(io.BytesIO(png(b"".join(rows), len(rows[0])))) as picture:
        picture.load()
        assert picture.tobytes() == b"".join(rows)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9)))
def test_every_fifth_image_of_a_class_is_for_testing(labels: list[int]) -> None:
    chosen = is_test(labels)
    counts, tests = Counter(labels), Counter(label for label, test in zip(labels, chosen, strict=True) if test)
    assert all(tests[label] == count // 5 for label, count in counts.items())
