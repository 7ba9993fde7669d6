from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLMissingExtra
from deriva_ml.core.files import atomic_write, file_lock, hash_file, hash_parts, human_size, nearest, require


@given(st.lists(st.binary(max_size=50)))
def test_parts_hash_as_the_whole(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    digests = hash_parts(parts)
    assert digests.md5 == hashlib.md5(whole).hexdigest()
    assert digests.sha256 == hashlib.sha256(whole).hexdigest()
    assert digests.length == len(whole)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with atomic_write(target) as out:
        out.write(b"one")
    assert hash_file(target) == hash_parts([b"one"])
    with pytest.raises(RuntimeError), atomic_write(target) as out:
        out.write(b"two")
        raise RuntimeError
    assert target.read_bytes() == b"one"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KB"), (2 << 20, "2.0 MB"), (5 << 50, "5120.0 TB")]
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert human_size(size) == words


def test_nearest_puts_the_likest_first_and_never_nothing() -> None:
    assert nearest("digits_logistc", ["digits_knn", "digits_logistic", "other"])[0] == "digits_logistic"
    assert nearest("zzz", ["b", "a"]) == ["a", "b"]


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(DerivaMLMissingExtra, match=r"(?s)no_such_package.*deriva-ml\[ray\]"):
        require("no_such_package", "ray")


def test_a_lock_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from deriva_ml.core.files import file_lock\n"
        "with file_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait()
    with file_lock(path):
        assert path.exists()
