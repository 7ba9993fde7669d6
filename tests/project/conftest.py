"""A project as ``deriva-ml-init`` makes it, and a catalog with a dataset and an asset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from deriva_ml.dataset.dataset import Dataset
from deriva_ml.ml import DerivaML
from deriva_ml.project.rendering import project_files


@dataclass(frozen=True)
class Project:
    """A project's folder."""

    folder: Path

    def config(self, name: str) -> Path:
        """One of its configuration files."""
        return self.folder / "src" / "configs" / name

    def add(self, name: str, text: str) -> int:
        """Add text to a configuration file; the line at which it begins."""
        path = self.config(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(before + text, encoding="utf-8")
        return before.count("\n") + 1


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that is right."""
    folder = tmp_path / "project"
    for name, text in project_files("A project", "local", 1).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return Project(folder)


@dataclass(frozen=True)
class Stock:
    """What the catalog holds.

    Attributes:
        ml: The catalog.
        dataset: A dataset in version 0.1.0.
        asset: A file.
    """

    ml: DerivaML
    dataset: str
    asset: str


@pytest.fixture
def stock(ml: DerivaML) -> Stock:
    dataset = Dataset.create_dataset(ml, None, "Training", "Handwritten digits")
    session = ml.session
    url = session.objects.put("/hatrac/model.json", b"{}", filename="model.json")
    row = {"URL": url, "Filename": "model.json", "Length": 2, "MD5": session.objects.head(url).md5}
    (asset,) = session.catalog.insert("deriva-ml", "Execution_Asset", [row])
    return Stock(ml, dataset.dataset_rid, str(asset["RID"]))
