"""What a summary counts is what the manifest holds and what the upload would find."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.enums import Status
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.outputs import pending_outputs
from deriva_ml.execution.pending import summarise
from deriva_ml.workspace.entries import ABANDONED, FAILED, PENDING, UPLOADED
from deriva_ml.workspace.manifest import MANIFEST_NAME, AssetEntry, FeatureEntry, Manifest, TableEntry

STATES = st.sampled_from([PENDING, FAILED, UPLOADED, ABANDONED])
ASSETS = st.lists(st.tuples(st.sampled_from(["A", "B"]), STATES, st.none() | st.integers(0, 50)), max_size=12)
FEATURES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=4)
TABLES = st.lists(st.tuples(STATES, st.none() | st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=4)
RUNS = st.sampled_from(list(Status))


def filled(folder: Path, assets, features, tables) -> Manifest:
    manifest = Manifest(folder / MANIFEST_NAME, "1-AB")
    for at, (table, state, size) in enumerate(assets):
        entry = AssetEntry(table, "s", status=state, error="why", key=f"k{at}", file_name=f"f{at}", path=f"f{at}")
        manifest.add(entry)
        if size is not None:
            manifest.file_of(entry).write_bytes(b"x" * size)
    for at, (rows, uploaded, has_failed) in enumerate(features):
        state = FAILED if has_failed else PENDING
        done = min(rows, uploaded)
        manifest.add_feature(
            FeatureEntry(f"F{at}", f"F{at}", "T", "s", f"E_F{at}", "v", status=state, rows=rows, uploaded=done)
        )
    for at, (state, rows, uploaded, as_json) in enumerate(tables):
        path = f"T{at}.{'json' if as_json else 'csv'}"
        manifest.add_table(TableEntry(f"s:T{at}", "s", f"T{at}", path, status=state, uploaded=min(rows or 0, uploaded)))
        if rows is not None:
            lines = [json.dumps({"a": 1})] * rows if as_json else ["a", *["1"] * rows]
            (folder / path).write_text("\n".join([*lines, ""]))
    return manifest


@given(ASSETS, FEATURES, TABLES, RUNS)
def test_every_staged_output_is_counted_once_and_as_the_upload_sees_it(assets, features, tables, status):
    with TemporaryDirectory() as name:
        manifest = filled(Path(name), assets, features, tables)
        summary = summarise(manifest, status)
        waiting = pending_outputs(manifest, status)
        gone = status in {Status.failed, Status.aborted}
        left = [each for each in assets if each[1] in (PENDING, FAILED) and not (gone and each[2] is None)]
        assert summary.pending_files + summary.failed_files == waiting.files == len(left)
        assert summary.failed_files == sum(each[1] == FAILED for each in left)
        assert summary.pending_bytes == sum(each[2] or 0 for each in left)
        assert sum(item.uploaded for item in summary.assets) == sum(each[1] == UPLOADED for each in assets)
        values = [(rows - min(rows, done), has_failed) for rows, done, has_failed in features]
        written = [
            (rows - min(rows, done), state == FAILED)
            for state, rows, done, _ in tables
            if state in (PENDING, FAILED) and rows is not None
        ]
        assert summary.pending_rows == sum(count for count, has_failed in values + written if not has_failed)
        assert summary.failed_rows == sum(count for count, has_failed in values + written if has_failed)
        assert sum(count > 0 for count, _ in values) == waiting.features
        # a file of rows that is empty has nothing to count, and the upload looks at it all the same
        assert waiting.tables >= sum(count > 0 for count, _ in written)
        if summary.has_pending:
            assert any(waiting)
        text = summary.render()
        assert all(str(item) in text for item in (*summary.assets, *summary.rows))
        assert all(line in text for line in summary.diagnostics)


def test_a_summary_before_and_after_the_upload(world, configuration):
    ml = world.ml
    execution = Execution(configuration, ml)
    score = ml.feature_record_class("Subject", "Score")
    with execution:
        for name in ("a.txt", "b.txt"):
            execution.asset_file_path("Execution_Asset", name).write_text("abc")
        execution.add_features(score(Subject=rid, Value=0.5) for rid in world.subjects)
        execution.table_path("Subject").write_text("Name\nnew\n")
    before = execution.pending_summary()
    assert (before.pending_files, before.pending_rows, before.pending_bytes) == (2, 4, 6)
    shown = str(ml.pending_summary())
    assert "files of deriva-ml:Execution_Asset: 2 pending, 0 failed, 0 uploaded (6 B)" in shown
    assert "values of feature Score: 3 pending, 0 failed, 0 uploaded" in shown
    assert "rows of demo-schema:Subject: 1 pending, 0 failed, 0 uploaded" in shown
    assert "To bring them there: deriva-ml-upload" in shown
    report = execution.commit_output_assets(clean_folder=False)
    assert (report.complete, report.total_uploaded) == (True, 6)
    after = execution.pending_summary()
    assert not after.has_pending
    assert sum(item.uploaded for item in after.rows) == 4
    assert ml.pending_summary().executions == ()


def test_a_file_that_is_written_on_counts_again(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        path = execution.asset_file_path("Execution_Asset", "a.txt")
        path.write_text("first")
    execution.upload_execution_outputs(clean_folder=False)
    path.write_text("and more")
    assert execution.pending_summary().pending_files == 1
    assert execution.commit_output_assets().total_uploaded == 1


def test_what_was_never_written_is_told_and_not_counted(ml, configuration):
    execution = Execution(configuration, ml)
    execution.execution_start()
    execution.asset_file_path("Execution_Asset", "never.txt")
    assert execution.pending_summary().pending_files == 1
    execution.abort()
    summary = execution.pending_summary()
    assert not summary.has_pending
    assert summary.diagnostics == ("Execution_Asset/never.txt: it was registered and never written",)
