"""What the catalog holds of runs is found, in order, in a number of requests that does not grow."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace

import pytest
from tests.fakes import Counting

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import (
    DerivaMLCycleError,
    DerivaMLDatasetNotFound,
    DerivaMLExecutionError,
    DerivaMLInvalidTransition,
    DerivaMLReadOnlyError,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.dataset import Dataset, DatasetSpec
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_record import (
    ExecutionRecord,
    add_nested_execution,
    list_nested_executions,
    list_parent_executions,
    lookup_execution,
)
from deriva_ml.execution.finding import find_executions, newest_executions
from deriva_ml.execution.inputs import DatasetInput, record_datasets
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.report import describe
from deriva_ml.execution.uses import list_assets, list_input_datasets


def add_runs(session, count, **values):
    rows = [{"Description": f"run {number}", **values} for number in range(count)]
    return [str(row["RID"]) for row in session.catalog.insert("deriva-ml", "Execution", rows)]


@pytest.fixture
def counted(session):
    transport = Counting(session.catalog.transport)
    other = replace(session, catalog=type(session.catalog)(transport, session.catalog_id))
    other.model()
    transport.reset()
    return transport, other


def test_a_row_of_any_platform_is_a_record(session):
    (bare,) = add_runs(session, 1)
    record = lookup_execution(session, bare)
    assert (record.status, record.start_time, record.workflow_rid) == (Status.created, None, None)
    assert record.created is not None
    (foreign,) = add_runs(session, 1, Status="Pending_Upload")
    assert lookup_execution(session, foreign).status is Status.completed


def test_something_else_is_told_apart(session, ml, workflow):
    rid = ml.add_workflow(workflow)
    with pytest.raises(DerivaMLTableTypeError, match=f"RID '{rid}' refers to a Workflow, not an Execution"):
        lookup_execution(session, rid)
    with pytest.raises(DerivaMLRidsNotFound):
        lookup_execution(session, "9-ZZZZ")


def test_runs_are_found_newest_first_and_filtered(session, ml, workflow):
    rid = ml.add_workflow(workflow)
    old = add_runs(session, 2, Status="Failed")
    new = add_runs(session, 2, Status="Completed", Workflow=rid)
    found = [record.execution_rid for record in find_executions(session)]
    assert found[:2] == new[::-1]
    assert found[2:] == old[::-1]
    assert [record.execution_rid for record in find_executions(session, status="Failed")] == old[::-1]
    assert [record.execution_rid for record in find_executions(session, workflow=rid)] == new[::-1]
    assert [record.execution_rid for record in find_executions(session, workflow_type="Training")] == new[::-1]
    assert list(find_executions(session, workflow_type="Testing")) == []
    assert len(newest_executions(session, limit=3)) == 3
    assert [record.execution_rid for record in ml.find_executions(rid, None, Status.completed)] == new[::-1]


def test_runs_are_sorted_by_what_the_caller_says(session):
    add_runs(session, 1, Status="Failed")
    add_runs(session, 2, Status="Completed")
    statuses = [str(record.status) for record in find_executions(session, sort=lambda record: str(record.status))]
    assert statuses == ["Completed", "Completed", "Failed"]


@pytest.fixture
def consumed(session, ml):
    """Two datasets and a file: who made the first, who read what."""
    maker, reader, other = add_runs(session, 3)
    datasets = [Dataset.create_dataset(ml, maker) for _ in range(2)]
    for run, dataset in ((reader, datasets[0]), (other, datasets[1])):
        record_datasets(session, run, [DatasetInput(*_input(dataset))])
    url = session.objects.put("/hatrac/x/a.txt", b"a")
    row = {"URL": url, "Filename": "a.txt", "Length": 1, "MD5": hashlib.md5(b"a").hexdigest()}
    (asset,) = session.catalog.insert("deriva-ml", "Execution_Asset", [row])
    for run, role in ((maker, "Output"), (other, "Input")):
        link = {"Execution_Asset": asset["RID"], "Execution": run, "Asset_Role": role}
        session.catalog.insert("deriva-ml", "Execution_Asset_Execution", [link])
    return [dataset.dataset_rid for dataset in datasets], str(asset["RID"]), (maker, reader, other)


def _input(dataset):
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version)
    return spec, dataset.dataset_history()[-1]


def test_runs_that_have_to_do_with_a_dataset_are_found_by_their_part(session, consumed):
    (first, _second), _asset, (maker, reader, _other) = consumed

    def found(role, **more):
        return [record.execution_rid for record in find_executions(session, dataset=first, dataset_role=role, **more)]

    assert found("any") == [reader, maker]
    assert found("input") == [reader]
    assert found("output") == [maker]
    assert found("any", status="Failed") == []
    assert list(find_executions(session, dataset=first, dataset_role="input", workflow_type="Training")) == []
    with pytest.raises(DerivaMLValidationError, match="role"):
        found("inputs")
    with pytest.raises(DerivaMLDatasetNotFound):
        list(find_executions(session, dataset=reader))


def test_runs_of_many_are_found_in_parts_and_in_order(session):
    rids = add_runs(session, 1500)
    found = [record.execution_rid for record in newest_executions(session, among=rids[:1400], limit=1200)]
    assert found == sorted(rids[:1400], reverse=True)[:1200]  # made at one moment
    assert newest_executions(session, among=[]) == []


def test_who_read_a_dataset_or_a_file_is_found(session, ml, consumed):
    (first, second), asset, (_maker, reader, other) = consumed
    assert [record.execution_rid for record in ml.find_executions_consuming(first)] == [reader]
    assert [record.execution_rid for record in ml.find_executions_consuming(second)] == [other]
    assert [record.execution_rid for record in ml.find_executions_consuming(asset)] == [other]
    with pytest.raises(DerivaMLTableTypeError, match="Execution is not of type dataset or asset"):
        ml.find_executions_consuming(reader)
    with pytest.raises(DerivaMLRidsNotFound):
        ml.find_executions_consuming("9-ZZZZ")


def test_relatives_are_in_sequence_and_circles_end(session):
    parent, *children = add_runs(session, 5)
    for place, child in zip((3, 1, None, 0), children, strict=True):
        add_nested_execution(session, parent, child, place)
    order = [children[at] for at in (3, 1, 0, 2)]
    assert [record.execution_rid for record in list_nested_executions(session, parent)] == order
    add_nested_execution(session, children[0], parent)
    deep = list_nested_executions(session, parent, recurse=True)
    assert [record.execution_rid for record in deep] == order
    assert {record.execution_rid for record in list_parent_executions(session, parent, recurse=True)} == {children[0]}
    with pytest.raises(DerivaMLCycleError):
        add_nested_execution(session, parent, parent)


@pytest.mark.parametrize("size", [10, 200])
def test_a_report_takes_the_same_requests_whatever_the_size(counted, size):
    transport, session = counted
    parent, *children = add_runs(session, size + 1)
    links = [{"Execution": parent, "Nested_Execution": child, "Sequence": at} for at, child in enumerate(children)]
    session.catalog.insert("deriva-ml", "Execution_Execution", links)
    files = [{"URL": f"/hatrac/x{at}", "Filename": f"{at:03}", "Length": at, "MD5": f"{at:032x}"} for at in range(size)]
    rows = session.catalog.insert("deriva-ml", "Execution_Asset", files)
    made = [{"Execution_Asset": row["RID"], "Execution": parent, "Asset_Role": "Output"} for row in rows]
    session.catalog.insert("deriva-ml", "Execution_Asset_Execution", made)
    kinds = [{"Execution_Asset": row["RID"], "Asset_Type": "Model_File"} for row in rows]
    session.catalog.insert("deriva-ml", "Execution_Asset_Asset_Type", kinds)
    transport.reset()
    report = describe(session, parent)
    assert transport.count <= 11
    assert [relative.record.execution_rid for relative in report.children] == children
    assert [use.file_name for use in report.output_assets] == [f"{at:03}" for at in range(size)]
    assert {use.types for use in report.output_assets} == {("Model_File",)}
    assert report.place == str(session.place)
    transport.reset()
    assert len(list_assets(session, parent, "Output")) == size
    assert list_assets(session, parent, "Input") == []
    assert transport.count <= 8


def test_made_and_consumed_datasets_are_told_apart(world):
    session = world.ml.session
    consumer, maker = add_runs(session, 2)
    from deriva_ml.dataset.dataset import Dataset

    made = Dataset.create_dataset(session, maker, "Testing", "made")
    (version,) = made.dataset_history()
    row = {"Dataset": made.dataset_rid, "Execution": consumer, "Dataset_Version": version.version_rid}
    session.catalog.insert("deriva-ml", "Dataset_Execution", [row])
    session.catalog.insert("deriva-ml", "Dataset_Execution", [{"Dataset": world.dataset, "Execution": consumer}])
    uses = {(use.rid, use.version) for use in list_input_datasets(session, consumer)}
    assert uses == {(made.dataset_rid, "0.1.0"), (world.dataset, None)}
    assert list_input_datasets(session, maker) == []
    report = describe(session, maker)
    assert [(use.rid, use.version) for use in report.output_datasets] == [(made.dataset_rid, "0.1.0")]


def test_a_record_gives_what_the_catalog_holds_of_its_run(world, configuration):
    ml = world.ml
    spec = DatasetSpec(rid=world.dataset, version="0.2.0")
    with Execution(configuration.model_copy(update={"datasets": [spec]}), ml) as parent:
        parent.asset_file_path("Scan", "a.bin").write_bytes(b"a")
        parent.add_nested_execution(child := add_runs(ml.session, 1)[0], 1)
    parent.upload_execution_outputs()
    record = ml.lookup_execution(parent.execution_rid)
    assert [dataset.dataset_rid for dataset in record.list_input_datasets()] == [world.dataset]
    made = [asset for asset in record.list_assets("Output") if asset.asset_table == "Scan"]
    assert [asset.filename for asset in made] == ["a.bin"]
    assert [each.execution_rid for each in record.list_nested_executions()] == [child]
    assert (record.is_parent(), record.is_nested()) == (True, False)
    nested = record.list_nested_executions()[0]
    assert [each.execution_rid for each in nested.list_parent_executions(recurse=True)] == [parent.execution_rid]
    nested.add_nested_execution(add_runs(ml.session, 1)[0])
    assert len(record.list_nested_executions(recurse=True)) == 2
    assert record.workflow.checksum == configuration.workflow.checksum
    assert str(record).startswith(f"Execution {parent.execution_rid}: Completed\n  workflow:")
    assert parent.execution_record.list_assets("Output")[0].asset_rid
    assert pickle.loads(pickle.dumps(record)) == record


def test_a_record_is_a_value_and_what_is_said_anew_gives_another(ml, session):
    rid = add_runs(session, 1)[0]
    record = ml.lookup_execution(rid)
    later = record.update_description("said anew")
    assert (record.description, later.description) == ("run 0", "said anew")
    later = later.update_status("Aborted", "nobody works on it")
    assert (later.status, later.status_detail) == (Status.aborted, "nobody works on it")
    assert ml.lookup_execution(rid) == later
    with pytest.raises(DerivaMLInvalidTransition):
        later.update_status(Status.running)
    with pytest.raises(AttributeError):
        record.status = Status.failed
    with pytest.raises(DerivaMLExecutionError, match="bound to no catalog"):
        ExecutionRecord(rid).list_assets()
    past = ml.catalog_snapshot(session.catalog.latest_snaptime())
    with pytest.raises(DerivaMLReadOnlyError):
        past.lookup_execution(rid).update_description("in the past")


def test_a_run_of_this_machine_is_moved_in_its_journal_too(ml, configuration):
    execution = Execution(configuration, ml)
    record = ml.lookup_execution(execution.execution_rid).update_status("Aborted")
    assert record.status_detail == "Ready to start."
    with open_journal(ml.session) as journal:
        run = journal.run(execution.execution_rid)
        assert (run.status, run.synced) == ("Aborted", True)
