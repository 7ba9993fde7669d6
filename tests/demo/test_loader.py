"""The demo catalog: what it holds, and that it is the same wherever it is made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.cli.create_demo import main
from deriva_ml.connect import open_connection
from deriva_ml.core.config import Settings
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.dataset.finding import lookup_dataset
from deriva_ml.demo.loader import COMPLETE, SCHEMA, SPLIT, TESTING, TRAINING, VERSION, DemoCatalog, load_demo
from deriva_ml.ml import DerivaML
from deriva_ml.wire.path import table


def contents(root: Path, catalog_id: str = "1") -> dict[str, Any]:
    """What a demo catalog must have in common with every other."""
    with open_connection(str(root)) as connection:
        client = connection.catalog(catalog_id)
        images = client.rows(table(SCHEMA, "Image").sorted("RID"))
        labels = client.rows(table(SCHEMA, "Execution_Image_Digit"))
        members = client.rows(table(SCHEMA, "Dataset_Image"))
        nested = client.rows(table("deriva-ml", "Dataset_Dataset"))
        datasets = client.rows(table("deriva-ml", "Dataset"))
        return {
            "images": [(row["RID"], row["Filename"], row["MD5"]) for row in images],
            "labels": sorted((row["Image"], row["Image_Class"]) for row in labels),
            "members": sorted((row["Dataset"], row["Image"]) for row in members),
            "nested": sorted((row["Dataset"], row["Nested_Dataset"]) for row in nested),
            "datasets": sorted((row["RID"], row["Description"]) for row in datasets),
        }


def test_the_rids_are_those_that_the_configurations_name() -> None:
    assert (COMPLETE, SPLIT, TRAINING, TESTING) == ("1-0002", "1-0004", "1-0006", "1-0008")


def test_the_datasets_are_in_their_version_with_their_members(demo_root: tuple[Path, DemoCatalog]) -> None:
    root, demo = demo_root
    assert (demo.images, demo.catalog_id) == (1797, "1")
    with DerivaML(str(root), 1) as ml:
        sizes = {}
        for rid in (COMPLETE, TRAINING, TESTING):
            dataset = lookup_dataset(ml.session, rid)
            assert str(dataset.current_version) == VERSION
            sizes[rid] = len(dataset.list_dataset_members(version=VERSION)["Image"])
        assert sizes == {COMPLETE: 1797, TRAINING: 1442, TESTING: 355}
        split = lookup_dataset(ml.session, SPLIT)
        assert str(split.current_version) == VERSION
        assert {child.dataset_rid for child in split.list_dataset_children()} == {TRAINING, TESTING}
        record = ml.lookup_execution(str(demo.execution_rid))
        assert (record.status, record.upload_state) == ("Completed", "uploaded")


def test_no_image_is_in_both_parts(demo_root: tuple[Path, DemoCatalog]) -> None:
    members = contents(demo_root[0])["members"]
    parts = {part: {image for rid, image in members if rid == part} for part in (COMPLETE, TRAINING, TESTING)}
    assert not parts[TRAINING] & parts[TESTING]
    assert parts[TRAINING] | parts[TESTING] == parts[COMPLETE]


def test_loading_it_elsewhere_gives_the_same_records(demo_root: tuple[Path, DemoCatalog], tmp_path: Path) -> None:
    """Another home, user, hash seed and zone; no git to be found; and a catalog that holds a run already."""
    environ = {**os.environ, "HOME": str(tmp_path), "USER": "somebody", "LOGNAME": "somebody", "TZ": "Asia/Tokyo"}
    environ |= {"PYTHONHASHSEED": "7", "PATH": str(tmp_path), "DERIVA_ML_LOCAL": str(tmp_path / "local")}
    code = (
        "from deriva_ml import DerivaML\n"
        "from deriva_ml.execution import ExecutionConfiguration, Workflow\n"
        "code = Workflow(name='w', workflow_type='Analysis', url='https://example.org', checksum='0')\n"
        "with DerivaML('local', 1) as ml:\n"
        "    execution = ml.create_execution(ExecutionConfiguration(workflow=code))\n"
        "    with execution.execute():\n"
        "        execution.asset_file_path('Execution_Asset', 'a.txt').write_text('a')\n"
        "    execution.upload_execution_outputs()\n"
        "from deriva_ml.cli.create_demo import main\n"
        "raise SystemExit(main([]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "local") == contents(demo_root[0])


def test_loading_it_again_says_so_and_changes_nothing(
    demo_root: tuple[Path, DemoCatalog], capsys: pytest.CaptureFixture[str]
) -> None:
    root = demo_root[0]
    before = contents(root)
    assert main(["--host", str(root)]) == 0
    assert "is there already: 1797 images" in capsys.readouterr().out
    assert contents(root) == before


def test_a_catalog_that_is_in_the_way_is_named_with_a_way_out(
    catalog_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_connection(str(catalog_root)) as connection:
        connection.catalog(1).create_schema(SCHEMA)
    assert main(["--host", str(catalog_root)]) == 2
    said = capsys.readouterr().err
    assert "holds a schema digits that is not the demonstration's" in said
    assert "create-demo-catalog --catalog demo" in said


def test_records_under_its_rids_are_in_the_way(catalog_root: Path) -> None:
    with open_connection(str(catalog_root)) as connection:
        row = {"RID": TRAINING, "Description": "mine"}
        connection.catalog(1).insert("deriva-ml", "Dataset", [row], nondefaults=["RID"])
    with pytest.raises(DerivaMLConfigurationError, match=TRAINING):
        load_demo(str(catalog_root))


@pytest.mark.parametrize(("step", "done"), [("catalog", 1), ("images uploaded", 900), ("datasets", 0)])
@pytest.mark.slow
def test_a_load_that_was_killed_is_begun_anew(
    step: str, done: int, demo_root: tuple[Path, DemoCatalog], tmp_path: Path, settings: Settings
) -> None:
    code = (
        "import os, signal, sys\n"
        "from deriva_ml.demo.loader import load_demo\n"
        "def tell(what, done, total):\n"
        "    if what == sys.argv[2] and done >= int(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "load_demo(sys.argv[1], progress=tell)\n"
    )
    root = tmp_path / "catalog"
    killed = subprocess.run([sys.executable, "-c", code, str(root), step, str(done)], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert load_demo(str(root)).images == demo_root[1].images
    assert contents(root) == contents(demo_root[0])
