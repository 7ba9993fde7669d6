"""What importing costs is held by what is imported, not by a clock."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "hydra",
    "hydra_zen",
    "pydantic",
    "requests",
    "deriva",
    "bdbag",
    "pandas",
    "numpy",
    "sklearn",
    "rich",
    "sqlite3",
}


def _imported_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not _imported_by("import deriva_ml") & HEAVY


@pytest.mark.parametrize("command", ["run", "show", "upload", "catalog", "create_demo", "init", "validate_config"])
def test_importing_a_command_imports_nothing_heavy(command: str) -> None:
    assert not _imported_by(f"import deriva_ml.cli.{command}") & HEAVY


def test_every_public_name_is_there() -> None:
    import deriva_ml

    for name in deriva_ml.__all__:
        assert getattr(deriva_ml, name) is not None
