"""The manifest of a run."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLNotFoundError
from deriva_ml.workspace.manifest import AssetEntry, FeatureEntry, Manifest, TableEntry, Uploaded, new_key

RID = "1-ABCD"


def asset(key: str = "k", **values: object) -> AssetEntry:
    given = {"asset_table": "Image", "schema": "demo", "file_name": "a.png", "path": f"assets/Image/{key}/a.png"}
    return AssetEntry(key=key, **{**given, **values})  # type: ignore[arg-type]


def feature(key: str = "f", **values: object) -> FeatureEntry:
    given = {
        "feature_name": "Quality",
        "target_table": "demo:Image",
        "schema": "demo",
        "feature_table": "Execution_Image_Quality",
        "values_path": "feature/demo/Image/Quality.jsonl",
    }
    return FeatureEntry(key=key, **{**given, **values})  # type: ignore[arg-type]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path / "asset-manifest.jsonl", RID)


def test_what_is_registered_is_read_back_by_another_process(manifest: Manifest) -> None:
    entry = asset(asset_types=("Image", "Model_File"), metadata={"Width": 3, "Note": None}, description="d")
    manifest.add(entry)
    manifest.add_feature(feature(rows=2))
    other = Manifest(manifest.path)
    assert other.execution_rid == RID
    assert dict(other.assets) == {"k": entry}
    assert dict(other.features) == {"f": feature(rows=2)}


def test_two_outputs_of_one_name_are_two_entries(manifest: Manifest) -> None:
    manifest.add_many([asset("one"), asset("two")])
    assert [entry.file_name for entry in manifest.pending_assets()] == ["a.png", "a.png"]


def test_a_key_is_used_once(manifest: Manifest) -> None:
    manifest.add(asset())
    with pytest.raises(DerivaMLDataError, match="already"):
        manifest.add(asset())
    with pytest.raises(DerivaMLDataError, match="already"):
        manifest.add_many([asset("x"), asset("x")])
    assert list(Manifest(manifest.path).assets) == ["k"]


def test_keys_differ() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000


def test_an_unknown_key_is_an_error_that_names_it(manifest: Manifest) -> None:
    with pytest.raises(KeyError, match="Asset 'nope' not in manifest"):
        manifest.mark_failed({"nope": "why"})
    with pytest.raises(KeyError, match="Feature 'nope' not in manifest"):
        manifest.update_feature("nope", rows=1)


def test_states_of_an_upload(manifest: Manifest) -> None:
    manifest.add_many([asset("a"), asset("b")])
    manifest.lease({"a": "1-000A", "b": "1-000B"})
    manifest.mark_failed({"a": "no room"})
    manifest.mark_uploaded([Uploaded("b", "1-000B", "/hatrac/x:1", "ab" * 16, 5)])
    again = Manifest(manifest.path)
    assert [entry.key for entry in again.pending_assets()] == ["a"]
    assert again.asset("a").error == "no room"
    done = again.asset("b")
    assert (done.status, done.rid, done.url, done.md5, done.length) == (
        "uploaded", "1-000B", "/hatrac/x:1", "ab" * 16, 5,
    )  # fmt: skip
    assert done.uploaded_at
    manifest.mark_uploaded([Uploaded("a", "1-000A")])
    assert manifest.asset("a").error is None
    assert manifest.pending_assets() == []


def test_a_leased_rid_stays_whoever_leases_again(manifest: Manifest) -> None:
    manifest.add(asset())
    other = Manifest(manifest.path)
    manifest.lease({"k": "1-0001"})
    other.lease({"k": "1-0002"})
    manifest.refresh()
    assert manifest.asset("k").rid == other.asset("k").rid == "1-0001"


def test_values_travel_typed(manifest: Manifest) -> None:
    manifest.add(asset(metadata={"When": date(2026, 1, 2), "Where": Path("a/b"), "Number": 1.5, "List": [1, "x"]}))
    assert manifest.asset("k").metadata == {"When": "2026-01-02", "Where": "a/b", "Number": 1.5, "List": [1, "x"]}
    with pytest.raises(TypeError, match="set cannot be recorded"):
        manifest.update("k", metadata={"Bad": {1}})
    with pytest.raises(ValueError, match="unknown field"):
        manifest.update("k", nonsense=1)
    with pytest.raises(ValueError, match="another key"):
        manifest.update_many({"k": {"key": "other"}})
    assert len(Manifest(manifest.path).assets) == 1


@pytest.mark.parametrize(
    "name", ["a b.tar.gz", "LICENSE", "né\u0301.txt", "x\ny", '"', os.fsdecode(b"caf\xe9.txt"), "%41:;?"]
)
def test_any_file_name_survives(manifest: Manifest, name: str) -> None:
    manifest.add(asset(file_name=name, path=f"assets/Image/k/{name}"))
    assert Manifest(manifest.path).asset("k").file_name == name


def test_another_execution_is_refused(manifest: Manifest) -> None:
    with pytest.raises(DerivaMLDataError, match="belongs to execution 1-ABCD, not to 2-ABCD"):
        Manifest(manifest.path, "2-ABCD")


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"format": 99, "execution": "1-ABCD"}\n')
    with pytest.raises(DerivaMLDataError, match="format 99"):
        Manifest(path)


def test_a_manifest_of_the_first_format_is_read_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"format": 1, "execution": "1-ABCD", "created": "2026-01-01T00:00:00+00:00"}\n')
    Manifest(path).add(asset())
    Manifest(path).add_table(TableEntry("s:T", "s", "T", "table/s/T/T.csv"))
    again = Manifest(path, "1-ABCD")
    assert (len(again.assets), [entry.table for entry in again.pending_tables()]) == (1, ["T"])


def test_files_of_rows_are_kept_with_what_became_of_them(manifest: Manifest) -> None:
    entry = TableEntry("s:T", "s", "T", "table/s/T/T.csv")
    manifest.add_table(entry)
    with pytest.raises(DerivaMLDataError, match="already"):
        manifest.add_table(entry)
    manifest.update_table("s:T", status="failed", error="why")
    assert Manifest(manifest.path).pending_tables() == [manifest.tables["s:T"]]
    manifest.update_table("s:T", status="uploaded", rows=3, uploaded=3, length=9, md5="x", error=None)
    again = Manifest(manifest.path)
    assert again.pending_tables() == []
    assert TableEntry.from_dict(again.tables["s:T"].to_dict()) == again.tables["s:T"]
    assert again.file_of(entry) == manifest.path.parent / "table/s/T/T.csv"
    with pytest.raises(KeyError, match="'other' not in manifest"):
        manifest.update_table("other", rows=1)


def test_no_manifest_is_an_error_unless_one_may_be_begun(tmp_path: Path) -> None:
    with pytest.raises(DerivaMLNotFoundError):
        Manifest(tmp_path / "m.jsonl")
    with pytest.raises(DerivaMLNotFoundError):
        Manifest(tmp_path / "m.jsonl", RID, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_reading_only_writes_nothing(manifest: Manifest) -> None:
    manifest.add(asset())
    before = manifest.path.read_bytes()
    reader = Manifest(manifest.path, read_only=True)
    with pytest.raises(DerivaMLDataError, match="reading only"):
        reader.add(asset("other"))
    assert manifest.path.read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        "{}",
        '{"op":"asset","entry":{"key":"x"}}',
        '{"op":"asset","entry":{"key":5,"asset_table":"a","schema":"b","file_name":"c","path":"d"}}',
        '{"op":"asset-set","key":"nope","set":{"status":"uploaded"}}',
        '{"op":"lease","key":"nope","rid":"1-0000"}',
        '{"op":"something-new"}',
        '{"op":"feature","entry":{}}',
        '{"op":"table","entry":{"key":"x"}}',
        '{"op":"table-set","key":"nope","set":{"rows":1}}',
        "\0\0\0\0",
    ],
)
def test_a_line_that_cannot_be_understood_is_an_error_with_file_and_line(manifest: Manifest, line: str) -> None:
    manifest.add(asset())
    with manifest.path.open("a") as out:
        out.write(line + "\n")
    with pytest.raises(DerivaMLDataError, match=r"Line 3 of .*asset-manifest\.jsonl cannot be read") as caught:
        Manifest(manifest.path)
    assert caught.value.source == f"{manifest.path}:3"


def test_writers_see_what_others_wrote(manifest: Manifest) -> None:
    other = Manifest(manifest.path, RID)
    manifest.add(asset("a"))
    other.add(asset("b"))
    manifest.add(asset("c"))
    assert list(manifest.assets) == ["a", "b", "c"]
    other.refresh()
    assert dict(other.assets) == dict(manifest.assets)


def test_a_batch_holds_at_once_and_is_written_together(manifest: Manifest) -> None:
    with manifest.batch():
        manifest.add(asset("a"))
        manifest.update("a", description="d")
        assert manifest.asset("a").description == "d"
        assert not Manifest(manifest.path).assets
    assert Manifest(manifest.path).asset("a").description == "d"


def test_a_batch_that_raises_keeps_what_was_changed(manifest: Manifest) -> None:
    with pytest.raises(RuntimeError), manifest.batch():
        manifest.add(asset("a"))
        raise RuntimeError
    assert list(Manifest(manifest.path).assets) == ["a"]


def test_a_write_that_the_disk_refuses_changes_nothing(manifest: Manifest) -> None:
    manifest.add(asset("before"))
    code = f"""
        import resource, sys
        from pathlib import Path
        from deriva_ml.core.exceptions import DerivaMLExecutionError
        from deriva_ml.workspace.manifest import AssetEntry, Manifest
        manifest = Manifest({str(manifest.path)!r})
        # the limit on a file's size stands for the full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (manifest.path.stat().st_size + 100, {resource.RLIM_INFINITY}))
        def full(action):
            try:
                action()
            except DerivaMLExecutionError as error:
                assert "Cannot write" in str(error), error
            else:
                raise SystemExit("nothing was raised")
            assert list(manifest.assets) == ["before"], manifest.assets
        def batch():
            with manifest.batch():
                manifest.add(AssetEntry("Image", "demo", key="one", file_name="a", path="p"))
                manifest.add(AssetEntry("Image", "demo", key="two", file_name="a", path="p"))
        full(lambda: manifest.add(AssetEntry("Image", "demo", key="one", file_name="a", path="p")))
        full(batch)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({resource.RLIM_INFINITY}, {resource.RLIM_INFINITY}))
        batch()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    assert list(Manifest(manifest.path).assets) == ["before", "one", "two"]


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.just(b"[" * 100_000))
def test_whatever_is_in_the_file_is_read_or_refused_in_our_words(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m.jsonl"
    path.write_bytes(garbage + b"\n")
    with pytest.raises(DerivaMLDataError):
        Manifest(path, RID)
    path.unlink()
    Manifest(path, RID)
    with path.open("ab") as out:
        out.write(garbage + b"\n")
    with pytest.raises(DerivaMLDataError):
        Manifest(path, RID)


def test_paths_are_kept_relative_to_the_run(manifest: Manifest) -> None:
    inside = manifest.path.parent / "assets" / "Image" / "k" / "a.png"
    manifest.add(asset(path=manifest.relative(inside)))
    assert manifest.asset("k").path == "assets/Image/k/a.png"
    assert manifest.file_of(manifest.asset("k")) == inside
    assert manifest.key_of(inside) == "k"
    assert manifest.key_of(inside.parent / ".." / "k" / "a.png") == "k"
    assert manifest.key_of(Path("/elsewhere")) is None


def test_registering_costs_the_same_however_much_there_is(manifest: Manifest) -> None:
    def cost() -> float:
        start = time.process_time()
        for _ in range(300):
            manifest.add(asset(new_key()))
        return time.process_time() - start

    first = min(cost() for _ in range(3))
    manifest.add_many(asset(new_key()) for _ in range(20_000))
    assert min(cost() for _ in range(3)) < 4 * first


class ManifestMachine(RuleBasedStateMachine):
    """A manifest against a dictionary; the file may be cut anywhere in its last write, or be opened anew."""

    @initialize(directory=st.builds(object))
    def begin(self, directory: object) -> None:
        import tempfile

        self.home = tempfile.TemporaryDirectory()
        self.path = Path(self.home.name) / "m.jsonl"
        self.manifest = Manifest(self.path, RID)
        self.model: dict[str, dict[str, object]] = {}
        self.history: list[tuple[int, dict[str, dict[str, object]]]] = []
        self.remember()

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.home.cleanup()

    def remember(self) -> None:
        copied = {key: dict(values) for key, values in self.model.items()}
        self.history.append((self.path.stat().st_size, copied))

    @rule(count=st.integers(1, 4), name=st.text(max_size=8))
    def register(self, count: int, name: str) -> None:
        entries = [asset(new_key(), file_name=name) for _ in range(count)]
        self.manifest.add_many(entries)
        self.model |= {entry.key: {"file_name": name, "status": "pending", "rid": None} for entry in entries}
        self.remember()

    @precondition(lambda self: self.model)
    @rule(data=st.data(), rid=st.sampled_from(["1-0001", "1-0002"]))
    def lease(self, data: st.DataObject, rid: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        self.manifest.lease({key: rid})
        self.model[key]["rid"] = self.model[key]["rid"] or rid
        self.remember()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def upload(self, data: st.DataObject) -> None:
        keys = data.draw(st.lists(st.sampled_from(sorted(self.model)), unique=True, min_size=1))
        self.manifest.mark_uploaded(Uploaded(key, "1-000A") for key in keys)
        for key in keys:
            self.model[key] |= {"status": "uploaded", "rid": "1-000A"}
        self.remember()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        self.manifest.mark_failed({key: "x"})
        self.model[key]["status"] = "failed"
        self.remember()

    @rule()
    def reopen(self) -> None:
        self.manifest = Manifest(self.path)

    @precondition(lambda self: len(self.history) > 1)
    @rule(data=st.data())
    def die_in_the_middle_of_the_last_write(self, data: st.DataObject) -> None:
        (start, before), (end, _) = self.history[-2:]
        at = data.draw(st.integers(start, end))
        content = self.path.read_bytes()[:at]
        self.path.write_bytes(content)
        self.manifest = Manifest(self.path)
        # a prefix of the changes of that write has survived
        whole = content[: content.rfind(b"\n") + 1]
        self.model = {key: dict(values) for key, values in before.items()}
        for line in whole[start:].splitlines():
            self.apply(json.loads(line))
        # the torn rest is cut off with the next write
        self.manifest.add(asset("mark" + new_key()))
        (added,) = set(self.manifest.assets) - set(self.model)
        self.model[added] = {"file_name": "a.png", "status": "pending", "rid": None}
        self.history.clear()
        self.remember()

    def apply(self, change: dict[str, dict[str, object]]) -> None:
        match change["op"]:
            case "asset":
                entry = change["entry"]
                self.model[str(entry["key"])] = {name: entry[name] for name in ("file_name", "status", "rid")}
            case "lease":
                values = self.model[str(change["key"])]
                values["rid"] = values["rid"] or change["rid"]
            case _:
                kept = {name: value for name, value in change["set"].items() if name in ("status", "rid")}
                self.model[str(change["key"])] |= kept

    @invariant()
    def the_manifest_says_what_was_done(self) -> None:
        if hasattr(self, "manifest"):
            for opened in (self.manifest, Manifest(self.path, read_only=True)):
                found = {
                    entry.key: {"file_name": entry.file_name, "status": entry.status, "rid": entry.rid}
                    for entry in opened.assets.values()
                }
                assert found == self.model


TestManifestMachine = ManifestMachine.TestCase
TestManifestMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_truncation_at_every_byte_leaves_a_prefix_of_the_changes(manifest: Manifest, tmp_path: Path) -> None:
    for number in range(4):
        manifest.add(asset(f"k{number}", metadata={"n": number}))
    manifest.mark_failed({"k0": "x"})
    whole = manifest.path.read_bytes()
    header = whole.index(b"\n") + 1
    path = tmp_path / "cut.jsonl"
    for at in range(len(whole) + 1):
        path.write_bytes(whole[:at])
        if at < header:
            with pytest.raises(DerivaMLNotFoundError):
                Manifest(path)
            assert not Manifest(path, RID).assets
            continue
        cut = Manifest(path)
        lines = whole[header:at].count(b"\n")
        assert len(cut.assets) == min(lines, 4)
        assert (cut.asset("k0").status if cut.assets else "pending") == ("failed" if lines == 5 else "pending")


CHILD = """
    import sys
    from pathlib import Path
    from deriva_ml.workspace.manifest import AssetEntry, Manifest
    manifest = Manifest(Path(sys.argv[1]), "1-ABCD")
    for number in range(1_000_000):
        manifest.add(AssetEntry(key=f"{number}", asset_table="Image", schema="demo", file_name="x" * 500, path="p"))
        print(number, flush=True)
"""


@pytest.mark.parametrize("reports", [1, 40, 150])
def test_nothing_that_was_confirmed_is_lost_by_kill_9(tmp_path: Path, reports: int) -> None:
    path = tmp_path / "m.jsonl"
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        confirmed = [child.stdout.readline().strip() for _ in range(reports)]
        child.send_signal(signal.SIGKILL)
        confirmed += child.stdout.read().split("\n")[:-1]
    manifest = Manifest(path, RID)
    assert set(confirmed) <= set(manifest.assets)
    manifest.add(asset("after"))
    assert "after" in Manifest(path).assets
