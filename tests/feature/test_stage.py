"""Values that a run stages and stores at its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.transactions import commits, openings

from deriva_ml.asset.asset import create_asset
from deriva_ml.asset.staging import AssetStage
from deriva_ml.asset.transfer import upload
from deriva_ml.core.ermrest import ColumnDef, TableDef
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLValidationError
from deriva_ml.feature.feature import create_feature, delete_feature, lookup_feature
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.stage import FeatureStage, stage_features, upload_features
from deriva_ml.feature.values import add_features, list_feature_values
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.path import eq
from deriva_ml.wire.path import table as rows_of
from deriva_ml.workspace.manifest import Manifest


class Run:
    """A run on a catalog with subjects, masks and a feature."""

    def __init__(self, session: Session, run_dir: Path) -> None:
        document = table_document("demo-schema", TableDef("Subject", [ColumnDef("Name")]))
        session.catalog.create_table("demo-schema", document)
        create_asset(session, "Mask")
        self.session = session
        self.record: type[FeatureRecord] = create_feature(
            session, "Subject", "Health", assets=["Mask"], metadata=[ColumnDef("Score", "float8")], optional=["Mask"]
        )
        workflow = session.catalog.insert("deriva-ml", "Workflow", [{"Name": "w"}])[0]["RID"]
        self.rid = str(session.catalog.insert("deriva-ml", "Execution", [{"Workflow": workflow}])[0]["RID"])
        rows = session.catalog.insert("demo-schema", "Subject", [{"Name": f"s{number}"} for number in range(5)])
        self.subjects = [str(row["RID"]) for row in rows]
        self.directory = run_dir
        self.manifest = Manifest(run_dir / "asset-manifest.jsonl", self.rid)
        self.assets = AssetStage(session, self.manifest, run_dir)

    def value(self, number: int, **values: object) -> FeatureRecord:
        return self.record(Subject=self.subjects[number], **values)

    def stored(self) -> dict[str, FeatureRecord]:
        found = list_feature_values(self.session, "Subject", "Health")
        return {record.target_rid: record for record in found}

    def upload(self) -> tuple[dict[str, int], dict[str, str]]:
        report = upload_features(self.session, self.manifest, self.rid)
        return dict(report.done), dict(report.failed)


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    return Run(session, tmp_path / "run")


def test_staged_values_are_stored_with_their_execution(run: Run) -> None:
    value = run.value(0, Score=0.5)
    assert stage_features(run.manifest, run.directory, [value, run.value(1, Score=float("inf"))], run.rid) == 2
    assert value.Execution == run.rid
    assert stage_features(run.manifest, run.directory, [run.value(2)], run.rid) == 1
    assert run.stored() == {}
    assert run.upload() == ({"Subject:Health": 3}, {})
    stored = run.stored()
    assert {record.Execution for record in stored.values()} == {run.rid}
    assert [stored[run.subjects[n]].column_value("Score") for n in range(3)] == [0.5, float("inf"), None]


def test_many_values_take_one_transaction_and_a_few_marks(run: Run) -> None:
    rows = run.session.catalog.insert("demo-schema", "Subject", [{"Name": f"more {n}"} for n in range(1_500)])
    root = run.session.place.root
    assert root is not None
    with commits(root / "catalogs" / "1.db") as changes, openings(run.manifest.path) as marks:
        stage_features(run.manifest, run.directory, [run.record(Subject=row["RID"]) for row in rows], run.rid)
        assert run.upload() == ({"Subject:Health": 1_500}, {})
    assert (changes.number, marks.number) == (1, 3)


def test_storing_again_stores_nothing_twice(run: Run) -> None:
    stage = FeatureStage(run.manifest, run.directory)
    stage.add([run.value(0, Score=1)], run.rid)
    assert run.upload() == ({"Subject:Health": 1}, {})
    assert run.upload() == ({}, {})
    stage.add([run.value(1, Score=2)], run.rid)
    assert [entry.rows - entry.uploaded for entry in run.manifest.pending_features()] == [1]
    # as after a crash between the rows and the mark
    run.manifest.update_feature(next(iter(run.manifest.features)), uploaded=0)
    assert run.upload() == ({"Subject:Health": 1}, {})
    assert len(run.stored()) == 2


def test_a_second_value_for_a_record_is_refused_when_it_is_staged(run: Run) -> None:
    stage = FeatureStage(run.manifest, run.directory)
    stage.add([run.value(0)], run.rid)
    for again in (stage, FeatureStage(run.manifest, run.directory)):
        with pytest.raises(DerivaMLValidationError, match=f"for record {run.subjects[0]} already"):
            again.add([run.value(1), run.value(0)], run.rid)
    with pytest.raises(DerivaMLValidationError, match="already"):
        stage.add([run.value(2), run.value(2)], run.rid)
    stage.add([run.value(1), run.value(2)], run.rid)
    assert run.upload() == ({"Subject:Health": 3}, {})


def test_a_value_of_another_execution_is_refused(run: Run) -> None:
    with pytest.raises(DerivaMLValidationError, match="belongs to execution 1-0000"):
        stage_features(run.manifest, run.directory, [run.value(0, Execution="1-0000")], run.rid)


def test_the_path_of_an_output_becomes_the_rid_of_its_asset(run: Run) -> None:
    path = run.assets.register("Mask", "mask.png")
    path.write_bytes(b"mask")
    stage_features(run.manifest, run.directory, [run.value(0, Mask=path), run.value(1, Mask=str(path))], run.rid)
    done, failed = run.upload()
    assert done == {}
    assert "mask.png, to which column Mask refers, is not in the catalog" in failed["Subject:Health"]
    assert upload(run.session, run.rid, run.manifest).complete
    assert run.upload() == ({"Subject:Health": 2}, {})
    assert {record.column_value("Mask") for record in run.stored().values()} == {path.asset_rid}


def test_the_rid_of_an_asset_is_kept(run: Run) -> None:
    path = run.assets.register("Mask", "mask.png")
    path.write_bytes(b"mask")
    upload(run.session, run.rid, run.manifest)
    stage_features(run.manifest, run.directory, [run.value(0, Mask=path.asset_rid)], run.rid)
    assert run.upload() == ({"Subject:Health": 1}, {})


def test_a_path_that_is_no_output_is_refused_when_it_is_staged(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DerivaMLValidationError, match=r"a file that is no output of this run: .*other\.png"):
        stage_features(run.manifest, run.directory, [run.value(0, Mask=tmp_path / "other.png")], run.rid)
    assert not run.manifest.features


def test_one_feature_that_fails_does_not_keep_the_others_back(run: Run) -> None:
    other = create_feature(run.session, "Subject", "Other", metadata=[ColumnDef("Score", "float8")])
    values = [run.value(0), other(Subject=run.subjects[0])]  # type: ignore[call-arg]
    stage_features(run.manifest, run.directory, values, run.rid)
    delete_feature(run.session, "Subject", "Health")
    done, failed = run.upload()
    assert done == {"Subject:Other": 1}
    assert "not in the catalog any more" in failed["Subject:Health"]
    (entry,) = run.manifest.pending_features()
    assert (entry.status, entry.feature_name) == ("failed", "Health")


def test_a_value_for_a_record_that_does_not_exist_fails_with_the_catalogs_words(run: Run) -> None:
    stage_features(run.manifest, run.directory, [run.record(Subject="9-9999"), run.value(0)], run.rid)  # type: ignore[call-arg]
    done, failed = run.upload()
    assert done == {}
    assert "9-9999" in failed["Subject:Health"] or "foreign key" in failed["Subject:Health"]
    assert run.stored() == {}


def test_the_rest_of_a_line_that_was_being_written_is_left_out(run: Run) -> None:
    stage_features(run.manifest, run.directory, [run.value(0)], run.rid)
    (entry,) = run.manifest.features.values()
    with run.manifest.values_of(entry).open("ab") as out:
        out.write(b'{"Execution": "1-')
    stage_features(run.manifest, run.directory, [run.value(1)], run.rid)
    assert run.upload() == ({"Subject:Health": 2}, {})


def test_all_records_that_have_a_value_are_named_and_nothing_of_the_call_is_staged(run: Run) -> None:
    stage = FeatureStage(run.manifest, run.directory)
    stage.add([run.value(0, Score=1), run.value(1, Score=1)], run.rid)
    with pytest.raises(DerivaMLValidationError) as caught:
        stage.add([run.value(n, Score=2) for n in (0, 1, 2, 2, 3)], run.rid)
    assert all(run.subjects[n] in str(caught.value) for n in (0, 1, 2))
    assert run.subjects[3] not in str(caught.value)
    assert run.upload() == ({"Subject:Health": 2}, {})


def test_values_that_were_stored_by_other_means_are_not_taken_for_those_that_were_staged(run: Run) -> None:
    FeatureStage(run.manifest, run.directory).add([run.value(0, Score=1), run.value(1, Score=2)], run.rid)
    add_features(run.session, [run.value(0, Score=1.0, Execution=run.rid), run.value(1, Score=5, Execution=run.rid)])
    done, failed = run.upload()
    assert done == {}
    assert (
        f"other values of feature Subject:Health by this execution for record {run.subjects[1]}"
        in (failed["Subject:Health"])
    )
    table = lookup_feature(run.session, "Subject", "Health").feature_table
    run.session.catalog.delete(rows_of(*table.qualified).where(eq("Subject", run.subjects[1])))
    assert run.upload() == ({"Subject:Health": 1}, {})
    assert run.stored()[run.subjects[1]].column_value("Score") == 2


def test_stages_of_one_run_see_what_each_other_has_staged(run: Run) -> None:
    one, other = FeatureStage(run.manifest, run.directory), FeatureStage(run.manifest, run.directory)
    assert one.add([run.value(0, Score=1)], run.rid) == other.add([run.value(1, Score=1)], run.rid) == 1
    for stage, number in ((one, 1), (other, 0)):
        with pytest.raises(DerivaMLValidationError, match=f"for record {run.subjects[number]} already"):
            stage.add([run.value(number, Score=2)], run.rid)
    one.add([run.value(2, Score=1)], run.rid)
    (entry,) = run.manifest.features.values()
    assert entry.rows == 3
    assert run.upload() == ({"Subject:Health": 3}, {})


def test_each_staged_line_is_read_once_however_many_calls_there_are(run: Run) -> None:
    stage = FeatureStage(run.manifest, run.directory)
    for number in range(3):
        stage.add([run.value(number, Score=1)], run.rid)
    (path,) = (run.directory / "feature").rglob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    # what was read is not read again: a stage that has seen the lines does not mind that they cannot be read
    path.write_bytes(b"x" * (len(lines[0]) - 1) + b"\n" + b"".join(lines[1:]))
    assert stage.add([run.value(3, Score=1)], run.rid) == 1
    with pytest.raises(DerivaMLDataError, match="Line 1 of"):
        FeatureStage(run.manifest, run.directory).add([run.value(4, Score=1)], run.rid)
