"""One run, from the command to the record that anybody can read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.connect import open_connection


def rows(table: Any, **where: Any) -> list[Any]:
    """The rows of a table of the public path builder with these values."""
    for name, value in where.items():
        table = table.filter(table.column_definitions[name].eq(value))
    return list(table.entities())


@pytest.fixture
def catalog(project: Any) -> Any:
    """The public ``deriva`` client on the project's catalog, opened when it is called."""
    opened: list[Any] = []

    def connect() -> tuple[Any, Any]:
        connection = open_connection(str(project.root))
        opened.append(connection)
        handles = connection.deriva()
        return handles.catalog("1"), handles.store()

    yield connect
    for connection in opened:
        connection.close()


def test_a_run_is_recorded_so_that_the_public_client_reads_all_of_it(
    project: Any, catalog: Any, tmp_path: Path
) -> None:
    done = project.run("deriva-ml-run", "model_config.lr=0.5", "+experiment=on_images", "assets=image")
    assert done.code == 0, done.err
    assert "Completed" in done.out
    assert f"at {project.root}" in done.out
    assert sorted(path.name for path in project.folder.iterdir()) == [".git", ".gitignore", "src"]
    [rid] = [item["record"]["execution_rid"] for item in project.json() if item["record"]["description"] != "load"]
    assert f"deriva-ml-show {rid}" in done.out

    ermrest, store = catalog()
    paths = ermrest.getPathBuilder().schemas["deriva-ml"].tables
    [execution] = rows(paths["Execution"], RID=rid)
    assert (execution["Status"], execution["Description"]) == ("Completed", "Use {images}")
    assert execution["Start_Time"] < execution["Stop_Time"]

    [workflow] = rows(paths["Workflow"], RID=execution["Workflow"])
    assert workflow["URL"].endswith("/src/models.py")
    content = (project.folder / "src" / "models.py").read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    assert workflow["Checksum"] == blob

    links = paths["Dataset_Execution"]
    [consumed] = rows(links, Execution=rid)
    versions = paths["Dataset_Version"]
    [version] = rows(versions, RID=consumed["Dataset_Version"])
    assert (consumed["Dataset"], version["Version"]) == (project.facts["dataset"], project.facts["version"])

    outputs = paths["Execution_Asset_Execution"]
    [made] = rows(outputs, Execution=rid)
    [asset] = rows(paths["Execution_Asset"], RID=made["Execution_Asset"])
    store.get_obj(asset["URL"], destfilename=str(tmp_path / "fetched"))
    fetched = (tmp_path / "fetched").read_bytes()
    assert fetched == b"lr=0.5\n"
    assert (asset["MD5"], asset["Length"]) == (hashlib.md5(fetched, usedforsecurity=False).hexdigest(), 7)
    assert (made["Asset_Role"], asset["Filename"]) == ("Output", "weights.txt")

    toy = ermrest.getPathBuilder().schemas["toy"].tables
    used = toy["Image_Execution"]
    [image] = [row for row in rows(used, Execution=rid) if row["Asset_Role"] == "Input"]
    assert image["Image"] == project.facts["asset"]
    scores = toy["Execution_Image_Score"]
    assert sorted(row["Value"] for row in rows(scores, Execution=rid)) == [6, 12, 18]

    described = paths["Execution_Metadata_Execution"]
    rids = {row["Execution_Metadata"] for row in rows(described, Execution=rid)}
    names = {row["Filename"] for row in paths["Execution_Metadata"].entities() if row["RID"] in rids}
    assert "configuration.json" in names
    assert [name for name in names if name.startswith("environment_snapshot")]
    assert {name.rpartition("-")[2] for name in names if name.startswith("hydra-")} == {
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    }


def test_a_model_that_raises_is_recorded_as_failed_with_its_outputs(project: Any) -> None:
    done = project.run("deriva-ml-run", "model_config.lr=2", "model_config.fail_at=2")
    assert done.code == 1
    assert "models.train raised ValueError: diverged at lr=2.0" in done.err
    assert f"{project.folder}/src/models.py:16" in done.err
    assert "Traceback" not in done.err + done.out
    assert "Failed" in done.out
    newest = project.json()[0]["record"]
    assert newest["status"] == "Failed"
    report = project.json(newest["execution_rid"])
    assert [asset["file_name"] for asset in report["output_assets"]] == ["weights.txt"]
    assert "traceback.txt" in [asset["file_name"] for asset in report["metadata"]]
    assert "diverged at lr=2.0" in report["record"]["status_detail"]


def test_debug_shows_the_traceback_of_a_model_that_raises(project: Any) -> None:
    done = project.run("deriva-ml-run", "model_config.lr=2", "model_config.fail_at=2", "--debug")
    assert done.code == 1
    assert "Traceback" in done.err
    assert 'raise ValueError(f"diverged' in done.err


def test_a_dry_run_leaves_everything_byte_for_byte_as_it_was(project: Any) -> None:
    before = project.fingerprint()
    done = project.run("deriva-ml-run", "+experiment=on_images", "assets=image", "dry_run=true")
    assert done.code == 0, done.err
    assert project.facts["dataset"] in done.out
    assert "nothing was written" in done.out
    done = project.run("deriva-ml-run", "+multirun=rates", "dry_run=true")
    assert done.code == 0, done.err
    assert done.out.count("would run") == 3
    assert "one parent execution, and 3 that are part of it over model_config.lr" in done.out
    assert project.fingerprint() == before


def test_a_dry_run_does_not_make_the_default_catalog(project: Any) -> None:
    empty = type(project)(project.folder, project.home / "elsewhere", project.facts)
    empty.home.mkdir()
    assert empty.run("deriva-ml-run", "dry_run=true").code == 0
    assert not empty.root.exists()
    done = empty.run("deriva-ml-run", "+experiment=on_images", "dry_run=true")
    assert (done.code, empty.root.exists()) == (2, False)


def test_the_default_catalog_is_made_on_first_use_and_the_run_says_where(project: Any) -> None:
    empty = type(project)(project.folder, project.home / "elsewhere", project.facts)
    empty.home.mkdir()
    first = empty.run("deriva-ml-run")
    assert first.code == 0, first.err
    assert f"Made a catalog for this machine: {empty.root}" in first.err
    assert "Made a catalog" not in empty.run("deriva-ml-run").err
    assert len(empty.json()) == 2


def test_uncommitted_changes_are_refused_unless_allowed(project: Any) -> None:
    with (project.folder / "src" / "models.py").open("a") as out:
        out.write("# more\n")
    before = project.fingerprint()
    done = project.run("deriva-ml-run")
    assert done.code == 2
    assert "uncommitted changes" in done.err
    assert "--allow-dirty" in done.err
    assert project.fingerprint() == before
    done = project.run("deriva-ml-run", "dry_run=true")
    assert (done.code, "A real run needs a commit" in done.err) == (0, True)
    assert project.run("deriva-ml-run", "--allow-dirty").code == 0


def test_hydras_own_flags_are_answered_by_hydra(project: Any) -> None:
    done = project.run("deriva-ml-run", "model_config.lr=7", "--cfg", "job", "--package", "model_config")
    assert done.code == 0, done.err
    assert "lr: 7.0" in done.out
    done = project.run("deriva-ml-run", "--list-configs")
    assert done.code == 0
    assert "three images" in done.out
    assert "on_images" in done.out
