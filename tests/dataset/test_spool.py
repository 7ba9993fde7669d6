"""Lines in the order of their keys, however they come."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.files import hash_file
from deriva_ml.dataset.spool import write_sorted

_KEYS = st.lists(st.text("0123ABC-", min_size=1, max_size=5), unique=True, max_size=60)


@given(keys=_KEYS, part=st.integers(1, 20), in_order=st.booleans())
def test_lines_are_written_in_order_from_any_order(keys: list[str], part: int, in_order: bool) -> None:
    given_keys = sorted(keys) if in_order else keys
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "lines.csv"
        digests = write_sorted(path, "head\n", ((key, f'{key},"a\nb"\n') for key in given_keys), part=part)
        assert path.read_text() == "head\n" + "".join(f'{key},"a\nb"\n' for key in sorted(keys))
        assert digests == hash_file(path)
        assert [each.name for each in Path(name).iterdir()] == ["lines.csv"]


def test_what_fails_in_the_middle_leaves_no_parts(tmp_path: Path) -> None:
    def lines():  # type: ignore[no-untyped-def]
        yield "B", "B\n"
        yield "A", "A\n"
        raise ConnectionError("broken")

    with pytest.raises(ConnectionError):
        write_sorted(tmp_path / "lines.csv", "head\n", lines(), part=1)
    assert [each.name for each in tmp_path.iterdir()] == ["lines.csv"]
