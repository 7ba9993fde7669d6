"""A workflow says which code runs; in the catalog it is a row that can be found again and changed."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from deriva_ml.core.exceptions import (
    DerivaMLDirtyWorkflowError,
    DerivaMLExecutionError,
    DerivaMLInvalidTerm,
    DerivaMLNotFoundError,
    DerivaMLReadOnlyError,
    DerivaMLWorkflowError,
)
from deriva_ml.execution.source import file_of
from deriva_ml.execution.workflow import Workflow, find_workflows, lookup_workflow


def test_making_a_workflow_looks_at_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DERIVA_ML_WORKFLOW_URL", "https://elsewhere")
    workflow = Workflow(name="T", workflow_type="Training")
    assert (workflow.url, workflow.checksum, workflow.version) == (None, None, None)
    assert workflow.workflow_type == ["Training"]


def test_a_workflow_can_be_configured_with_hydra_zen():
    from hydra_zen import builds, instantiate

    kinds = ["Training", "Embedding"]
    config = builds(Workflow, name="T", workflow_type=kinds, description="d", populate_full_signature=True)
    workflow = instantiate(config, allow_dirty=True)
    assert isinstance(workflow, Workflow)
    assert (workflow.workflow_type, workflow.allow_dirty) == (kinds, True)


def test_it_is_resolved_for_a_file_a_name_or_a_model(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project / "src"))
    file = project / "src" / "model.py"
    namespace = {}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    plain = Workflow(name="T", workflow_type="Training")
    found = {plain.resolve(code).url for code in (file, str(file), namespace["train"], partial(namespace["train"]))}
    assert len(found) == 1
    resolved = plain.resolve(file)
    assert resolved.url.endswith("/src/model.py")
    assert resolved.git_root == project
    assert resolved.code.commit in resolved.url
    assert plain.url is None
    assert resolved.resolve("/does/not/matter") is resolved


def test_by_default_it_is_the_program_that_runs(project):
    (project / "run.py").write_text(
        "from deriva_ml.execution.workflow import Workflow\n"
        "print(Workflow(name='T', workflow_type='Training', allow_dirty=True).resolve().url)\n"
    )
    done = subprocess.run([sys.executable, "run.py"], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("/run.py")


def test_changed_code_needs_leave(project, monkeypatch):
    file = project / "src" / "model.py"
    file.write_text("x = 1\n")
    plain = Workflow(name="T", workflow_type="Training")
    with pytest.raises(DerivaMLDirtyWorkflowError):
        plain.resolve(file)
    with pytest.raises(DerivaMLDirtyWorkflowError):
        Workflow.get_url_and_checksum(file)
    for workflow in (
        plain.resolve(file, allow_dirty=True),
        plain.model_copy(update={"allow_dirty": True}).resolve(file),
    ):
        assert workflow.code.is_dirty
    monkeypatch.setenv("DERIVA_ML_ALLOW_DIRTY", "true")
    assert plain.resolve(file).allow_dirty
    assert Workflow.get_url_and_checksum(file, allow_dirty=True)[0].endswith("/src/model.py")


def test_a_container_says_what_is_in_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DERIVA_MCP_IN_DOCKER", "true")
    monkeypatch.setenv("DERIVA_MCP_IMAGE_DIGEST", "sha256:1")
    monkeypatch.setenv("DERIVA_MCP_VERSION", "1.2")
    resolved = Workflow(name="T", workflow_type="Training", version="mine").resolve(tmp_path / "absent.py")
    assert resolved.url.endswith("@sha256:1")
    assert (resolved.checksum, resolved.version) == ("sha256:1", "mine")


def test_a_notebook_runner_hands_over(monkeypatch, tmp_path):
    monkeypatch.setenv("DERIVA_ML_WORKFLOW_URL", "https://h/n.ipynb")
    monkeypatch.setenv("DERIVA_ML_WORKFLOW_CHECKSUM", "abc")
    resolved = Workflow(name="T", workflow_type="Training").resolve()
    assert (resolved.url, resolved.checksum, resolved.is_notebook) == ("https://h/n.ipynb", "abc", True)


def test_the_dynamic_version_is_that_of_setuptools_scm(project, tmp_path):
    subprocess.run(["git", "-C", str(project), "tag", "v3.1.4"], check=True)
    assert Workflow.get_dynamic_version(project / "src") == "3.1.4"
    (tmp_path / "loose").mkdir()
    with pytest.raises(DerivaMLWorkflowError, match="no git repository"):
        Workflow.get_dynamic_version(tmp_path / "loose")


def test_the_same_code_is_one_row_and_other_code_another(ml, workflow, project):
    rid = ml.add_workflow(workflow)
    assert ml.add_workflow(workflow) == rid
    (project / "helper.py").write_text("x = 1\n")
    subprocess.run(["git", "-C", str(project), "add", "-A"], check=True)
    commit = ["git", "-C", str(project), "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "more"]
    subprocess.run(commit, check=True)
    later = Workflow(name="Test", workflow_type="Training").resolve(project / "src" / "model.py")
    assert later.checksum == workflow.checksum
    assert ml.add_workflow(later) != rid
    other = ml.add_workflow(later)
    assert [found.rid for found in find_workflows(ml.session)] == [rid, other]
    assert [found.rid for found in ml.find_workflows(sort=True)] == [other, rid]
    assert [found.rid for found in ml.find_workflows(sort=lambda found: found.rid == rid)] == [other, rid]


def test_a_row_is_found_by_rid_url_and_checksum(ml, workflow):
    rid = ml.add_workflow(workflow)
    for found in (ml.lookup_workflow(rid), ml.lookup_workflow_by_url(workflow.url)):
        assert (found.rid, found.name, found.workflow_type) == (rid, "Test", ["Training"])
        assert (found.url, found.checksum, found.version) == (workflow.url, workflow.checksum, workflow.version)
    with pytest.raises(DerivaMLNotFoundError, match="'9-ZZZZ' not found"):
        ml.lookup_workflow("9-ZZZZ")


def test_a_workflow_of_the_catalog_writes_through(ml, workflow):
    found = ml.lookup_workflow(ml.add_workflow(workflow))
    found.description = "better"
    found.add_workflow_type("Embedding")
    found.add_workflow_types(["Testing"])
    found.remove_workflow_type("Training")
    again = ml.lookup_workflow(found.rid)
    assert again.description == "better"
    assert sorted(again.workflow_types) == sorted(found.workflow_types) == ["Embedding", "Testing"]
    with pytest.raises(DerivaMLInvalidTerm):
        found.workflow_type = ["Nonsense"]
    assert sorted(ml.lookup_workflow(found.rid).workflow_types) == ["Embedding", "Testing"]


def test_a_workflow_that_is_not_there_cannot_be_changed_there(workflow):
    with pytest.raises(DerivaMLExecutionError, match="not registered in the catalog"):
        workflow.add_workflow_type("Testing")
    workflow.description = "only here"
    assert workflow.description == "only here"


def test_a_snapshot_cannot_be_changed(ml, workflow):
    rid = ml.add_workflow(workflow)
    old = lookup_workflow(ml.session.snapshot(ml.session.catalog.latest_snaptime()), rid)
    with pytest.raises(DerivaMLReadOnlyError, match="snapshot"):
        old.description = "x"
    with pytest.raises(DerivaMLReadOnlyError, match="snapshot"):
        old.add_workflow_type("Testing")


def test_new_workflows_have_known_kinds(ml):
    assert ml.create_workflow("T", "Training").workflow_type == ["Training"]
    with pytest.raises(DerivaMLInvalidTerm):
        ml.create_workflow("T", ["Trainin"])


def test_the_file_of_a_model_is_where_it_was_defined():
    assert file_of(test_new_workflows_have_known_kinds) == Path(__file__)
