"""``deriva-ml-storage`` shows what is kept wherever it is, and removes what may go."""

from __future__ import annotations

import json

import pytest

from deriva_ml.cli.storage import main
from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.ml import DerivaML
from deriva_ml.workspace.journal import JOURNAL_NAME, Journal


@pytest.fixture
def kept(catalog_root, tmp_path):
    """A bag in the cache of a working directory that was chosen."""
    with DerivaML(str(catalog_root), 1, working_dir=tmp_path / "elsewhere") as ml:
        ml.create_table(TableDefinition("Subject", [ColumnDefinition("Name", "text")]))
        ml.add_dataset_element_type("Subject")
        dataset = Dataset.create_dataset(ml, None, [], "some")
        ml.download_dataset_bag(DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version))
        yield ml, dataset.dataset_rid


def items(capsys, *flags):
    assert main(["--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def add_run(ml, rid, *, running=False):
    folder = ml.session.runs_dir / rid
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("x" * 100)
    path = ml.session.records_dir / JOURNAL_NAME
    with Journal(path, catalog=ml.session.identity, catalog_id=ml.session.catalog_id) as journal:
        journal.open_run(rid, status="Running", directory=folder)
        if not running:
            journal.move(rid, "Completed")


def test_nothing_is_said_to_be_nothing(settings, capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == "Nothing is kept on this machine.\n"


def test_a_bag_is_listed_wherever_its_cache_is(kept, capsys):
    ml, rid = kept
    (item,) = items(capsys)
    assert (item["rid"], item["type"]) == (rid, "bag")
    assert item["detail"].startswith("0.1.0")
    assert item["size_bytes"] > 0
    assert str(ml.cache_dir) in item["path"]
    assert main(["--sort", "location"]) == 0
    shown = capsys.readouterr().out
    assert rid in shown
    assert "Total:" in shown


def test_cache_and_runs_are_listed_apart_and_sorted(kept, capsys):
    ml, rid = kept
    add_run(ml, "1-ABCD")
    assert [one["rid"] for one in items(capsys, "--list", "cache")] == [rid]
    assert [one["rid"] for one in items(capsys, "--list", "executions")] == ["1-ABCD"]
    assert [one["type"] for one in items(capsys, "--list", "--sort", "type")] == ["bag", "run"]
    assert [one["rid"] for one in items(capsys, "--sort", "size")] == [rid, "1-ABCD"]
    assert {one["rid"] for one in items(capsys, "--sort", "modified")} == {rid, "1-ABCD"}


def test_only_the_named_directory_is_looked_at(kept, tmp_path, capsys):
    _ml, rid = kept
    assert [one["rid"] for one in items(capsys, "--working-dir", str(tmp_path / "elsewhere"))] == [rid]
    assert items(capsys, "--working-dir", str(tmp_path / "other")) == []


def test_what_is_named_is_removed(kept, capsys):
    ml, rid = kept
    add_run(ml, "1-ABCD")
    assert main(["--delete", rid, "1-ABCD", "--yes"]) == 0
    assert "Removed 2 of 2" in capsys.readouterr().out
    assert items(capsys) == []
    assert not (ml.session.runs_dir / "1-ABCD").exists()


def test_without_a_yes_nothing_is_removed(kept, capsys):
    _ml, rid = kept
    assert main(["--delete", rid]) == 0
    out = capsys.readouterr()
    assert "Nothing was removed." in out.out
    assert "--yes" in out.err
    assert len(items(capsys)) == 1


def test_a_run_that_goes_on_stays_even_by_force(kept, capsys):
    ml, _rid = kept
    add_run(ml, "1-ABCD", running=True)
    assert main(["--delete", "1-ABCD", "--yes", "--force"]) == 1
    assert "it is running" in capsys.readouterr().err
    assert (ml.session.runs_dir / "1-ABCD").exists()


def test_outputs_that_the_catalog_lacks_go_by_force_only(kept, capsys):
    ml, _rid = kept
    add_run(ml, "1-ABCD")
    path = ml.session.records_dir / JOURNAL_NAME
    with Journal(path, catalog=ml.session.identity, catalog_id=ml.session.catalog_id) as journal:
        journal.set_upload("1-ABCD", "pending")
    from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

    Manifest(ml.session.runs_dir / "1-ABCD" / MANIFEST_NAME, "1-ABCD")
    assert main(["--delete", "1-ABCD", "--yes"]) == 1
    assert "deriva-ml-upload" in capsys.readouterr().err
    assert main(["--delete", "1-ABCD", "--yes", "--force"]) == 0
    assert not (ml.session.runs_dir / "1-ABCD").exists()


def test_a_rid_of_which_nothing_is_kept_is_an_error_with_the_nearest(kept, capsys):
    _ml, rid = kept
    assert main(["--delete", f"{rid}X", "--yes"]) == 2
    assert rid in capsys.readouterr().err
