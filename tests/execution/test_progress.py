"""Who asks is told how far inputs and outputs of a run are."""

from __future__ import annotations

from deriva_ml.cli.transfer_bar import TransferBar, transfer_bar
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.bag import BagProgress
from deriva_ml.execution.execution import Execution


def test_datasets_and_outputs_tell_how_far_they_are(ml, configuration):
    ml.create_asset("Scan")
    ml.add_dataset_element_type("Scan")
    told = []
    first = Execution(configuration, ml)
    with first.execute() as run:
        for number in range(3):
            run.asset_file_path("Scan", f"{number}.bin").write_bytes(bytes(1000))
    first.upload_execution_outputs(progress_callback=lambda progress: told.append(progress.bytes_completed))
    assert told == sorted(told)
    assert told[-1] >= 3000
    scans = [asset.asset_rid for asset in ml.list_assets("Scan")]
    with Execution(configuration, ml).execute() as run:
        dataset = run.create_dataset(description="scans")
        dataset.add_dataset_members({"Scan": scans})
    seen = []
    ml.on_download = lambda what, progress: seen.append((what, progress))
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version)
    with Execution(configuration.model_copy(update={"datasets": [spec]}), ml).execute():
        pass
    what, last = seen[-1]
    assert what == f"dataset {dataset.dataset_rid}"
    assert (last.files_done, last.files_total, last.bytes_done, last.bytes_total) == (3, 3, 3000, 3000)


def test_a_bar_is_shown_while_something_travels_and_gone_when_it_is_there(capfd):
    bar = TransferBar()
    bar.on_download("dataset 1-AB", BagProgress(1, 2, 10, 20, 0.1))
    bar.on_download("dataset 1-AB", BagProgress(2, 2, 20, 20, 0.2))
    bar.on_download("dataset 1-CD", BagProgress(0, 2, 0, 20, 0.0))
    bar.close()
    bar.close()
    assert capfd.readouterr().out == ""


def test_nothing_is_shown_where_nobody_looks(capfd):
    with transfer_bar() as bar:
        assert bar is None
    assert capfd.readouterr().err == ""
