"""Starts the process that loads and composes configurations, and reads what it found."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from deriva_ml.project.config_package import ConfigPackage
from deriva_ml.project.findings import Loading, composition_of, finding_of, module_of

__all__ = ["load_package"]


def load_package(package: ConfigPackage, config_name: str) -> Loading:
    """Load a package in a process of its own, and compose what it offers.

    Args:
        package: The package.
        config_name: The main configuration.
    """
    with tempfile.TemporaryDirectory(prefix="deriva-ml-") as folder:
        request, answer = Path(folder) / "request.json", Path(folder) / "answer.jsonl"
        wanted = {"folder": str(package.folder), "config_name": config_name}
        request.write_text(json.dumps(wanted), encoding="utf-8")
        # -P: the working directory is not on the path; -B: nothing is written beside the project's files
        command = [sys.executable, "-P", "-B", "-m", "deriva_ml.project.inspection", str(request), str(answer)]
        done = subprocess.run(command, cwd=package.project, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        text = answer.read_text(encoding="utf-8") if answer.exists() else ""
    loading = _read(text)
    if loading.broke_off:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        loading.broke_off += f" (exit code {done.returncode}{': ' + said[-1] if said else ''})"
    return loading


def _read(text: str) -> Loading:
    loading = Loading(broke_off="start")
    for line in text.splitlines():
        what, value = json.loads(line)
        if what == "begin":
            loading.broke_off = str(value)
        elif what == "module":
            loading.modules.append(module_of(value))
        elif what == "groups":
            loading.groups = value
        elif what == "finding":
            loading.findings.append(finding_of(value))
        elif what == "composition":
            loading.compositions.append(composition_of(value))
        else:
            loading.broke_off = ""
    return loading
