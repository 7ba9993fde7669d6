"""``deriva-ml-catalog clone`` as a user types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.dataset.project import DEMO, Project, make_project
from tests.serving import served

from deriva_ml.connect import open_connection
from deriva_ml.ml import DerivaML
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import table

COMMAND = [sys.executable, "-m", "deriva_ml.cli.catalog"]


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def lab(session: Session) -> Project:
    return make_project(replace(session, domain_schemas=frozenset({DEMO}), default_schema=DEMO), 6)


def test_a_dataset_is_cloned_after_a_look_at_what_that_means(lab: Project, catalog_root: Path, tmp_path: Path) -> None:
    rid = lab.dataset(lab.images[:4]).dataset_rid
    other = tmp_path / "other"
    said = run("clone", str(catalog_root), str(other), "--root-rid", rid, "--dry-run")
    assert said.startswith(f"To be copied: what can be reached from deriva-ml:Dataset {rid}")
    assert "4  demo-schema:Image\n" in said
    assert not other.exists()
    plan = json.loads(run("clone", f"{catalog_root}#1", "--root-rid", rid, "--dry-run", "--json"))
    assert plan["catalog_id"] is None
    made = json.loads(
        run("clone", str(catalog_root), f"{other}#lab", "--root-rid", rid, "--assets", "full", "--alias", "a", "--json")
    )
    assert (made["catalog_id"], made["alias"], made["objects"]) == ("lab", "a", 4)
    assert made["tables"] == plan["tables"]
    assert "all is well" in run("fsck", "--root", str(other))
    assert "already" in run("clone", str(catalog_root), f"{other}#lab", "--root-rid", rid, code=2)
    assert "2 rows of deriva-ml:Dataset_Version" in run(
        "clone", str(catalog_root), str(other), "--root-rid", rid, "--exclude", "Execution", code=2
    )
    assert "made null" in run(
        "clone", str(catalog_root), "--root-rid", rid, "--exclude", "Execution", "--orphans", "nullify", "--dry-run"
    )


def test_what_could_not_be_copied_is_named_and_the_exit_code_says_so(
    lab: Project, catalog_root: Path, tmp_path: Path
) -> None:
    (row,) = lab.session.catalog.rows_by(DEMO, "Image", "RID", [lab.images[0]])
    lab.session.objects.delete(str(row["URL"]))
    said = run(
        "clone", str(catalog_root), str(tmp_path / "o"), "--root-rid", lab.subjects[0], "--assets", "full", code=1
    )
    assert f"Missing: demo-schema:Image RID {lab.images[0]}" in said


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_a_clone_that_broke_off_is_begun_anew_by_the_same_command(
    lab: Project, catalog_root: Path, tmp_path: Path, way: signal.Signals
) -> None:
    subject = lab.subjects[0]
    catalog = lab.session.catalog
    catalog.insert(DEMO, "Subject", [{"Name": f"n{n}"} for n in range(40_000)])
    other = tmp_path / "other"
    run("create", "--root", str(other))
    command = ["clone", str(catalog_root), str(other), "--root-rid", subject, "--include", "Subject"]
    process = subprocess.Popen([*COMMAND, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with open_connection(str(other)) as connection:
        # Its tables are there, and its rows are under way.
        while process.poll() is None:
            if "2" in connection.catalog_ids() and connection.catalog("2").model().table(DEMO, "Subject"):
                break
    process.send_signal(way)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[way], errors
    if way is signal.SIGINT:
        assert "DST#2" in errors
    assert "an unfinished copy" in run("list", "--root", str(other))
    run(*command)
    assert "unfinished" not in run("list", "--root", str(other))
    with DerivaML(str(other), "2") as ml:
        assert len(ml.session.catalog.rows(table(DEMO, "Subject"))) == 40_003
    assert "all is well" in run("fsck", "--root", str(other))


def test_each_side_of_a_clone_has_a_token_of_its_own(lab: Project, catalog_root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run("create", "--root", str(other))
    first, second = tmp_path / "first", tmp_path / "second"
    with (
        served(catalog_root, "--token-file", str(first)) as source,
        served(other, "--token-file", str(second)) as target,
    ):
        base = ["clone", f"{source.url}#1", target.url, "--root-rid", lab.subjects[0]]
        assert "401" in run(*base, "--source-token-file", str(second), code=2)
        run(*base, "--source-token-file", str(first), "--target-token-file", str(second), "--concurrency", "3")
    assert "all is well" in run("fsck", "--root", str(other))
