"""The snapshot of the environment tells enough and no secret."""

from __future__ import annotations

import importlib.metadata
import json
import re
import time

import pytest

from deriva_ml.execution import environment
from deriva_ml.execution.environment import (
    ALLOWED_VARIABLES,
    Container,
    NotebookHandover,
    _graphics,
    find_lock_file,
    get_execution_environment,
    git_environment,
    installed_distributions,
)
from deriva_ml.execution.masking import is_secret_name


def test_the_snapshot_holds_no_planted_secret():
    environ = {"FAKE_TOKEN": "planted-4711", "PYTHONPATH": "/opt/planted-4711/lib", "HOME": "/home/me", "LANG": "C"}
    argv = ["deriva-ml-run", "model.endpoint=https://h/planted-4711", "--token", "other-secret", "lr=1"]
    text = json.dumps(get_execution_environment(argv=argv, environ=environ))
    assert "planted-4711" not in text
    assert "other-secret" not in text
    assert "lr=1" in text


def test_only_allowed_variables_are_recorded():
    environ = {"SOMETHING": "else", "OMP_NUM_THREADS": "3"}
    assert get_execution_environment(environ=environ)["os"]["environ"] == {"OMP_NUM_THREADS": "3"}
    assert not [name for name in ALLOWED_VARIABLES if is_secret_name(name)]


def test_the_snapshot_names_packages_python_machine_and_lock(tmp_path):
    (tmp_path / "poetry.lock").touch()
    (tmp_path / "uv.lock").touch()
    snapshot = get_execution_environment(project=tmp_path)
    assert snapshot["imports"]["pydantic"] == importlib.metadata.version("pydantic")
    assert snapshot["lock_file"] == "uv.lock"
    assert snapshot["hardware"]["cpu_count"] >= 1
    assert snapshot["hardware"]["cpu"]
    assert snapshot["platform"]["system"]
    assert snapshot["hardware"]["memory_bytes"] > 1 << 20
    json.dumps(snapshot)


def test_distributions_agree_with_importlib_metadata():
    expected = {
        re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower(): found.version
        for found in importlib.metadata.distributions()
    }
    assert installed_distributions() == dict(sorted(expected.items()))


def test_metadata_of_old_kinds_is_read(tmp_path):
    (tmp_path / "Old_Name-1.2-py3.11.egg-info").mkdir()
    (tmp_path / "edit.egg-info").mkdir()
    (tmp_path / "edit.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: edit\nVersion: 3.4\n")
    (tmp_path / "broken.egg-info").mkdir()
    assert installed_distributions([str(tmp_path), str(tmp_path / "absent")]) == {"old-name": "1.2", "edit": "3.4"}


def test_the_snapshot_is_cheap():
    get_execution_environment()
    started = time.process_time()
    for _ in range(5):
        get_execution_environment()
    assert (time.process_time() - started) / 5 < 0.08


def test_the_lock_file_is_optional(tmp_path):
    assert find_lock_file(tmp_path) is None
    assert find_lock_file(None) is None


@pytest.mark.parametrize(
    ("given", "url", "checksum"),
    [
        ({"DERIVA_MCP_IMAGE_DIGEST": "sha256:1"}, "ghcr.io/informatics-isi-edu/deriva-ml-mcp@sha256:1", "sha256:1"),
        ({"DERIVA_MCP_IMAGE_NAME": "img", "DERIVA_MCP_IMAGE_DIGEST": "sha256:1"}, "img@sha256:1", "sha256:1"),
        ({"DERIVA_MCP_GIT_COMMIT": "abc"}, "https://github.com/informatics-isi-edu/deriva-ml-mcp/commit/abc", "abc"),
        ({}, "https://github.com/informatics-isi-edu/deriva-ml-mcp", ""),
    ],
)
def test_a_container_identifies_itself(given, url, checksum):
    container = Container.read({"DERIVA_MCP_IN_DOCKER": "true"} | given)
    assert (container.url, container.checksum) == (url, checksum)


def test_outside_a_container_there_is_none():
    assert Container.read({"DERIVA_MCP_IMAGE_DIGEST": "sha256:1"}) is None


def test_the_handover_of_a_notebook():
    assert NotebookHandover.read({}) is None
    handed = NotebookHandover.read({"DERIVA_ML_WORKFLOW_URL": "u", "DERIVA_ML_NOTEBOOK_PATH": "/x/n.ipynb"})
    assert (handed.url, handed.checksum, handed.path.name) == ("u", "", "n.ipynb")


def test_git_sees_no_other_repository(monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    assert "GIT_DIR" not in git_environment()
    assert git_environment()["GIT_OPTIONAL_LOCKS"] == "0"


def test_a_container_is_recorded_with_the_digest_of_its_image():
    environ = {
        "DERIVA_MCP_IN_DOCKER": "true",
        "DERIVA_MCP_IMAGE_NAME": "lab/image",
        "DERIVA_MCP_IMAGE_DIGEST": "sha256:1",
    }
    container = get_execution_environment(environ=environ)["container"]
    assert (container["image"], container["digest"]) == ("lab/image", "sha256:1")
    assert get_execution_environment(environ={"SINGULARITY_CONTAINER": "/x.sif"})["container"]["kind"] is not None


def test_the_gpus_and_their_driver_are_recorded_where_there_are_any(tmp_path, monkeypatch):
    """There is no GPU here: the files are laid out as the NVIDIA driver shows them."""
    for place, model in {"0000:01:00.0": "NVIDIA H200", "0000:02:00.0": "NVIDIA A100-SXM4-40GB"}.items():
        folder = tmp_path / "gpus" / place
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-0\n")
    monkeypatch.setattr(environment, "_NVIDIA", tmp_path)
    assert _graphics() == {}
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15\nGCC version: 12.2\n")
    told = get_execution_environment(environ={})
    assert "550.54.15" in json.dumps(told)
    assert _graphics()["gpus"] == ["NVIDIA H200", "NVIDIA A100-SXM4-40GB"]
