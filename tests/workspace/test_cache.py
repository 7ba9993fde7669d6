"""The cache of what was downloaded."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDataError
from deriva_ml.core.files import hash_file
from deriva_ml.workspace.cache import SEAL_NAME, Cache
from deriva_ml.workspace.placing import place_file

FILES = {"a.txt": b"one", "sub/b.bin": b"\0" * 5000}


class Source:
    """Where entries come from; counts how often it was asked."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = FILES if files is None else files
        self.asked = 0

    def __call__(self, directory: Path) -> None:
        self.asked += 1
        for name, content in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != SEAL_NAME
    }


def damage(path: Path, by: Callable[[Path], None]) -> None:
    path.chmod(0o644)
    by(path)


def test_an_entry_is_filled_once_and_then_found(cache: Cache) -> None:
    source = Source()
    assert cache.entry("bags/x_1") is None
    made = cache.populate("bags/x_1", source, note={"version": "1.0.0"})
    again = cache.populate("bags/x_1", source)
    found = cache.entry("bags/x_1")
    assert source.asked == 1
    assert found == again
    assert found is not None
    assert content(found.path) == FILES
    assert found.files["a.txt"].digests == hash_file(found.path / "a.txt")
    assert found.note == {"version": "1.0.0"}
    assert found.size() == made.size() == 5003


def test_a_second_use_reads_no_content(cache: Cache) -> None:
    made = cache.populate("x", Source())
    seal = (made.path / SEAL_NAME).stat()
    assert cache.entry("x") is not None
    assert (made.path / SEAL_NAME).stat().st_mtime_ns == seal.st_mtime_ns


@pytest.mark.parametrize(
    "by",
    [
        lambda path: path.write_bytes(b"two"),
        lambda path: path.write_bytes(b"longer than before"),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.parent / "extra").write_bytes(b"x"),
        lambda path: (path.parent / SEAL_NAME).write_bytes(b"{"),
        lambda path: (path.parent / SEAL_NAME).write_bytes(b'{"format": 1, "files": {"a.txt": 3}}'),
        lambda path: (path.parent / SEAL_NAME).unlink(),
    ],
)
def test_a_damaged_entry_is_never_given_out_and_is_filled_again(cache: Cache, by: Callable[[Path], None]) -> None:
    source = Source()
    damage(cache.populate("x", source).path / "a.txt", by)
    assert cache.entry("x") is None
    assert content(cache.populate("x", source).path) == FILES
    assert source.asked == 2
    assert cache.entry("x") is not None


def test_a_file_that_was_only_touched_is_hashed_again_and_kept(cache: Cache) -> None:
    source = Source()
    path = cache.populate("x", source).path / "a.txt"
    os.utime(path, (1, 1))
    found = cache.populate("x", source)
    assert source.asked == 1
    assert found.files["a.txt"].mtime_ns == path.stat().st_mtime_ns != 1_000_000_000
    assert cache.entry("x") == found


def test_files_are_write_protected(cache: Cache) -> None:
    made = cache.populate("x", Source())
    assert (made.path / "a.txt").stat().st_mode & 0o222 == 0


def test_nothing_is_left_of_an_attempt_that_fails(cache: Cache) -> None:
    def fill(directory: Path) -> None:
        (directory / "half").write_bytes(b"x")
        raise ConnectionError("broken")

    with pytest.raises(ConnectionError, match="broken"):
        cache.populate("bags/x", fill)
    assert [path for path in cache.root.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert content(cache.populate("bags/x", Source()).path) == FILES


def test_a_damaged_entry_stays_until_its_replacement_is_complete(cache: Cache) -> None:
    path = cache.populate("x", Source()).path
    damage(path / "a.txt", lambda file: file.write_bytes(b"bad"))

    def fill(directory: Path) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cache.populate("x", fill)
    assert (path / "sub" / "b.bin").exists()


def test_a_wrong_length_and_a_link_are_refused(cache: Cache) -> None:
    def linked(directory: Path) -> None:
        (directory / "link").symlink_to("/etc/hostname")

    with pytest.raises(DerivaMLDataError, match="plain files"):
        cache.populate("x", linked)

    def wrong(directory: Path) -> dict[str, object]:
        (directory / "a").write_bytes(b"abc")
        (directory / "b").write_bytes(b"abcd")
        return {"a": hash_file(directory / "b")}

    with pytest.raises(DerivaMLDataError, match="3 bytes where 4 were expected"):
        cache.populate("x", wrong)  # type: ignore[arg-type]
    assert cache.entry("x") is None


@pytest.mark.parametrize("key", ["", "/", "/abs", "..", "a/../../b", ".hidden", "a/.b", "a\0b"])
def test_keys_cannot_lead_out_of_the_cache(cache: Cache, key: str) -> None:
    with pytest.raises(DerivaMLDataError, match="Not a key"):
        cache.populate(key, Source())


def test_long_keys_do_not_take_each_other_for_leftovers(cache: Cache) -> None:
    one, other = "x" * 150 + "1", "x" * 150 + "2"

    def fill(directory: Path) -> None:
        cache.populate(other, Source())
        Source()(directory)

    assert content(cache.populate(one, fill).path) == FILES
    assert cache.entry(other) is not None


def test_entries_are_listed_with_their_sizes_and_removed(cache: Cache) -> None:
    cache.populate("assets/1/x", Source({"a": b"12345"}))
    cache.populate("bags/y", Source())
    assert {(entry.key, entry.size()) for entry in cache.entries()} == {("assets/1/x", 5), ("bags/y", 5003)}
    assert [entry.key for entry in cache.entries("assets/")] == ["assets/1/x"]
    assert cache.remove("bags/y") == 5003
    assert cache.remove("bags/y") == 0
    assert [entry.key for entry in cache.entries()] == ["assets/1/x"]


def test_age_is_counted_from_the_sealing(cache: Cache) -> None:
    from datetime import datetime

    made = cache.populate("x", Source())
    sealed = datetime.fromisoformat(made.sealed_at).timestamp()
    assert made.older_than(1, now=sealed + 86401)
    assert not made.older_than(1, now=sealed + 86399)


def test_threads_that_want_one_entry_fetch_it_once(cache: Cache) -> None:
    source = Source()
    threads = [threading.Thread(target=cache.populate, args=("x", source)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.asked == 1


def test_processes_that_want_one_entry_fetch_it_once(cache: Cache, tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from deriva_ml.workspace.cache import Cache
        def fill(directory):
            with open(sys.argv[2], "a") as log:
                log.write("x")
            time.sleep(0.2)
            (directory / "a").write_bytes(b"content")
        entry = Cache(sys.argv[1]).populate("x", fill)
        assert (entry.path / "a").read_bytes() == b"content"
    """
    log = tmp_path / "log"
    command = [sys.executable, "-c", textwrap.dedent(code), str(cache.root), str(log)]
    children = [subprocess.Popen(command) for _ in range(5)]
    assert [child.wait() for child in children] == [0] * 5
    assert log.read_text() == "x"


def test_what_a_killed_process_left_is_removed_by_the_next(cache: Cache) -> None:
    code = """
        import sys
        from pathlib import Path
        from deriva_ml.workspace.cache import Cache
        def fill(directory):
            (directory / "half").write_bytes(b"x" * 1000)
            print("half", flush=True)
            sys.stdin.read()
        Cache(sys.argv[1]).populate("bags/x", fill)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(cache.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert cache.entry("bags/x") is None
    assert list(cache.root.rglob("half"))
    cache.populate("bags/x", Source())
    assert not list(cache.root.rglob("half"))


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(cache: Cache) -> None:
    code = f"""
        import resource, sys
        from deriva_ml.core.exceptions import DerivaMLException
        from deriva_ml.workspace.cache import Cache
        import errno, os
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))
        def fill(directory):
            try:
                (directory / "big").write_bytes(b"x" * 5000)
            except OSError as error:
                # the limit on a file's size stands for the full disk
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory / "big")) from error
        try:
            Cache(sys.argv[1]).populate("x", fill)
        except DerivaMLException as error:
            assert "No space left" in str(error) and "Cannot keep x" in str(error), error
        else:
            raise SystemExit("nothing was raised")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(cache.root)], check=True)
    assert not list(cache.root.rglob("big"))
    assert content(cache.populate("x", Source()).path) == FILES


class CacheMachine(RuleBasedStateMachine):
    """Whatever is done to an entry's files, what is given out is what the source has."""

    @initialize(files=st.dictionaries(st.sampled_from(["a", "b", "c/d"]), st.binary(max_size=30), min_size=1))
    def begin(self, files: dict[str, bytes]) -> None:
        self.home = tempfile.TemporaryDirectory()
        self.cache = Cache(Path(self.home.name) / "cache")
        self.source = Source(files)
        self.place = self.cache.root / "x"

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.home.cleanup()

    @rule()
    def populate(self) -> None:
        found = self.cache.populate("x", self.source)
        assert content(found.path) == self.source.files

    @rule()
    def look(self) -> None:
        found = self.cache.entry("x")
        if found is not None:
            assert content(found.path) == self.source.files

    @precondition(lambda self: self.place.exists())
    @rule(data=st.data(), content=st.binary(max_size=30))
    def overwrite(self, data: st.DataObject, content: bytes) -> None:
        path = self.place / data.draw(st.sampled_from(sorted(self.source.files)))
        if path.exists():
            damage(path, lambda file: file.write_bytes(content))

    @precondition(lambda self: self.place.exists())
    @rule(data=st.data())
    def delete_a_file(self, data: st.DataObject) -> None:
        (self.place / data.draw(st.sampled_from([*sorted(self.source.files), SEAL_NAME]))).unlink(missing_ok=True)

    @precondition(lambda self: (self.place / SEAL_NAME).exists())
    @rule(data=st.data())
    def cut_the_seal(self, data: st.DataObject) -> None:
        seal = self.place / SEAL_NAME
        raw = seal.read_bytes()
        seal.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])

    @rule()
    def remove(self) -> None:
        self.cache.remove("x")
        assert self.cache.entry("x") is None


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_a_file_is_placed_as_a_hard_link(cache: Cache, tmp_path: Path) -> None:
    source = cache.populate("x", Source()).path / "a.txt"
    target = tmp_path / "run" / "inputs" / "1-ABCD" / "a.txt"
    place_file(source, target)
    assert target.samefile(source)
    place_file(source, target)
    assert cache.entry("x") is not None


def test_a_link_is_resolved_before_it_is_linked_to(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"content")
    (tmp_path / "link").symlink_to("real")
    place_file(tmp_path / "link", tmp_path / "placed")
    assert not (tmp_path / "placed").is_symlink()
    assert (tmp_path / "placed").read_bytes() == b"content"


def test_another_file_at_the_place_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(DerivaMLDataError, match="is there already, with other content"):
        place_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"old"


def test_a_copy_is_made_where_no_link_is_possible(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=shared) as other:
        (Path(other) / "source").write_bytes(b"content")
        place_file(Path(other) / "source", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"content"


def test_a_cache_whose_directory_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DerivaMLConfigurationError, match=r"(?s)file/cache cannot be used.*cache_dir"):
        Cache(tmp_path / "file" / "cache").populate("x", lambda _folder: None)


def test_an_entry_as_its_seal_says_is_looked_at_without_a_trace(cache: Cache) -> None:
    assert cache.sealed("a") is None
    assert not cache.root.exists()
    cache.populate("a", lambda folder: (folder / "f").write_text("content") and None)
    path = cache.root / "a" / "f"
    path.chmod(0o644)
    path.touch()
    before = {each: each.read_bytes() for each in cache.root.rglob("*") if each.is_file()}
    found = cache.sealed("a")
    assert found is not None
    assert found.size() == 7
    assert {each: each.read_bytes() for each in cache.root.rglob("*") if each.is_file()} == before
