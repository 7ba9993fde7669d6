"""The demo catalog, loaded once for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from deriva_ml.demo.loader import DemoCatalog, load_demo


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoCatalog]:
    """A folder whose catalog 1 holds the demonstration, and what the loader said."""
    base = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(base))
        return base / "catalog", load_demo(str(base / "catalog"))
