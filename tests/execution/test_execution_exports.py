"""The names that projects import from ``deriva_ml.execution`` are there, and each is loaded alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

import deriva_ml.execution


@pytest.mark.parametrize("name", deriva_ml.execution.__all__)
def test_every_name_is_there(name):
    assert getattr(deriva_ml.execution, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nonsense"):
        deriva_ml.execution.Nonsense  # noqa: B018


def test_a_run_loads_no_heavy_library():
    heavy = ("requests", "deriva", "bdbag", "pandas", "hydra", "hydra_zen", "rich", "setuptools_scm", "numpy")
    code = f"import deriva_ml.execution.execution, sys\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
