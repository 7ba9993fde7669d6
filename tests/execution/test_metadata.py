"""The files that describe a run hold enough to repeat it, and are registered at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.masking import Mask
from deriva_ml.execution.metadata import describe_run, stage_metadata
from deriva_ml.execution.workflow import Workflow
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


CATALOG = {"hostname": "local", "identity": "0-1", "catalog_id": "1"}


def described(configuration, workflow, **options):
    given = {"execution_rid": "1-ABCD", "catalog": CATALOG, "mask": Mask(), "now": NOW}
    files = describe_run(configuration, workflow, **{**given, **options})
    return {file.name: file for file in files}


def test_the_configuration_holds_inputs_code_and_command(configuration, workflow):
    files = described(configuration, workflow)
    document = json.loads(files["configuration.json"].content)
    assert document["execution_rid"] == "1-ABCD"
    assert document["catalog"] == CATALOG
    assert document["argv"] == ["run", "lr=1"]
    assert document["code"]["commit"] in document["workflow"]["url"]
    assert document["code"]["dirty"] == []
    assert files["uv.lock"].content == b"version = 1\n"
    snapshot = json.loads(files["environment_snapshot_20260102_030405.txt"].content)
    assert snapshot["lock_file"] == "uv.lock"
    assert snapshot["sys"]["argv"] == ["run", "lr=1"]


def test_the_configuration_of_the_run_is_its_own_workflow(configuration, workflow):
    bare = ExecutionConfiguration(description="without")
    document = json.loads(described(bare, workflow)["configuration.json"].content)
    assert document["workflow"]["name"] == "Test"
    assert bare.workflow is None


def test_hydra_files_are_named_by_their_job(configuration, workflow, tmp_path):
    for folder in (tmp_path / "7" / ".hydra", tmp_path / "7" / "outputs"):
        folder.mkdir(parents=True)
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml", "other.yaml"):
        (tmp_path / "7" / ".hydra" / name).write_text("password: x1\nlr: 1\n")
    files = described(configuration, workflow, hydra_output_dir=tmp_path / "7")
    hydra = {name: file for name, file in files.items() if name.startswith("hydra-")}
    assert set(hydra) == {"hydra-7-config.yaml", "hydra-7-hydra.yaml", "hydra-7-overrides.yaml"}
    assert hydra["hydra-7-config.yaml"].content == b"password: ***\nlr: 1\n"


def test_changed_code_comes_with_its_patch(configuration, project):
    (project / "src" / "model.py").write_text("x = 1\n")
    dirty = Workflow(name="T", workflow_type="Training").resolve(project / "src" / "model.py", allow_dirty=True)
    assert described(configuration, dirty)["code.patch"].content == dirty.code.patch


def test_files_are_written_and_registered_with_one_write(configuration, workflow, tmp_path):
    manifest = Manifest(tmp_path / "run" / MANIFEST_NAME, "1-ABCD")
    files = list(described(configuration, workflow).values())
    stage_metadata(manifest, tmp_path / "run", "deriva-ml", files)
    entries = manifest.pending_assets()
    assert [entry.file_name for entry in entries] == [file.name for file in files]
    for entry, file in zip(entries, files, strict=True):
        assert manifest.file_of(entry).read_bytes() == file.content
        assert entry.asset_types == (file.asset_type,)
        assert entry.description
    assert len(manifest.path.read_text().splitlines()) == 1 + len(files)


def test_a_secret_in_changed_code_or_in_the_lock_file_is_not_kept(configuration, project):
    (project / "src" / "model.py").write_text("password = 'hunter22'\nurl = 'planted-value-17'\n")
    (project / "uv.lock").write_text("source = 'https://me:hunter33@example.org/simple'\n")
    dirty = Workflow(name="T", workflow_type="Training").resolve(project / "src" / "model.py", allow_dirty=True)
    files = described(configuration, dirty, mask=Mask({"FAKE_TOKEN": "planted-value-17"}))
    whole = b"".join(file.content for file in files.values())
    for secret in (b"hunter22", b"hunter33", b"planted-value-17"):
        assert secret not in whole
    assert b"+password = '***'" in files["code.patch"].content


def test_changed_libraries_come_with_patches_of_their_own(configuration, project, tmp_path, monkeypatch):
    for place in ("a", "b"):
        (tmp_path / place / "tools").mkdir(parents=True)
        (tmp_path / place / "tools" / f"metadata_{place}.py").write_text(f"name = {place!r}\n")
        monkeypatch.syspath_prepend(str(tmp_path / place / "tools"))
    (project / "src" / "model.py").write_text("import metadata_a, metadata_b\n")
    code = Workflow(name="T", workflow_type="Training").resolve(project / "src" / "model.py", allow_dirty=True)
    files = described(configuration, code)
    assert b"+name = 'a'" in files["code-tools.patch"].content
    assert b"+name = 'b'" in files["code-tools-2.patch"].content
