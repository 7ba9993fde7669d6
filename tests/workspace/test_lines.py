"""The append-only file of lines."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLExecutionError
from deriva_ml.workspace.lines import LineFile

LINE = st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b" "))


def append(path: Path, lines: list[bytes]) -> None:
    with LineFile(path).writing() as writer:
        writer.unread()
        writer.append(lines)


def read(path: Path) -> list[bytes]:
    return [line for _, line in LineFile(path).read()]


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert LineFile(tmp_path / "lines").read() == []


def test_lines_are_numbered_from_one_and_read_once(tmp_path: Path) -> None:
    append(tmp_path / "lines", [b"a", b"b"])
    file = LineFile(tmp_path / "lines")
    assert file.read() == [(1, b"a"), (2, b"b")]
    append(tmp_path / "lines", [b"c"])
    assert file.read() == [(3, b"c")]
    assert file.read() == []


@given(before=st.lists(LINE), torn=LINE.filter(bool), after=st.lists(LINE, min_size=1))
def test_a_torn_rest_is_left_out_by_readers_and_cut_off_by_the_next_writer(
    tmp_path_factory: pytest.TempPathFactory, before: list[bytes], torn: bytes, after: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "lines"
    append(path, before)
    with path.open("ab") as out:
        out.write(torn)
    assert read(path) == before
    append(path, after)
    assert read(path) == before + after


def test_a_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    file = LineFile(path)
    append(path, [b"a", b"b"])
    file.read()
    path.write_bytes(b"a\n")
    with pytest.raises(DerivaMLDataError, match="changed by something else"):
        file.read()


def test_a_file_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    file = LineFile(path)
    append(path, [b"a"])
    file.read()
    path.unlink()
    with pytest.raises(DerivaMLDataError, match="it is gone"), file.writing():
        pass
    assert not path.exists()


def test_a_write_that_the_disk_refuses_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append(path, [b"x" * 1000])
    code = f"""
        import resource
        from pathlib import Path
        from deriva_ml.core.exceptions import DerivaMLExecutionError
        from deriva_ml.workspace.lines import LineFile
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, {resource.RLIM_INFINITY}))
        file = LineFile(Path({str(path)!r}))
        with file.writing() as writer:
            writer.unread()
            try:
                writer.append([b"y" * 1000])
            except DerivaMLExecutionError as error:
                assert "Cannot write" in str(error), error
            else:
                raise SystemExit("nothing was raised")
        resource.setrlimit(resource.RLIMIT_FSIZE, ({resource.RLIM_INFINITY}, {resource.RLIM_INFINITY}))
        with file.writing() as writer:
            writer.unread()
            writer.append([b"z"])
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    assert read(path) == [b"x" * 1000, b"z"]


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DerivaMLExecutionError, match="Cannot write"):
        append(tmp_path / "file" / "lines", [b"a"])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    code = """
        import sys
        from pathlib import Path
        from deriva_ml.workspace.lines import LineFile
        file = LineFile(Path(sys.argv[1]))
        for number in range(200):
            with file.writing() as writer:
                writer.unread()
                writer.append([f"{sys.argv[2]}-{number}".encode()])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    children = [subprocess.Popen([*command, name]) for name in "abcd"]
    assert [child.wait() for child in children] == [0] * 4
    lines = read(path)
    assert len(lines) == 800
    for name in "abcd":
        assert [line for line in lines if line.startswith(name.encode())] == [
            f"{name}-{number}".encode() for number in range(200)
        ]
