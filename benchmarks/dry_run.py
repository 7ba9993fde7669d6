"""What a pre-flight costs: ``deriva-ml-run dry_run=true`` beside plain hydra-zen that composes the same configuration.

A project whose run has 3 datasets and 5 assets, in an embedded catalog. The commands run cold, in turn, each in a
process of its own; what counts is the ratio of CPU times. Requests are counted in process, at two sizes of the inputs.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from figures import Sheet
from measure import Cost, commit, run, script, typical

RATIO, REQUESTS = 2.0, 6
LOOKING = ("dry_run=true", "dry_run=true, as JSON", "--offline")

MODEL = '''
def nothing(seed: int = 0, *, ml_instance=None, execution=None) -> None:
    """Write one file."""
    execution.asset_file_path("Execution_Asset", "out.txt", asset_types="Output_File").write_text("done")
'''

CONFIGS = """
from hydra_zen import builds, store
from deriva_ml import DerivaMLConfig
from deriva_ml.execution import Workflow, create_model_config
from models import nothing

store(create_model_config(description="benchmark"), name="deriva_model")
store(builds(DerivaMLConfig, populate_full_signature=True), group="deriva_ml", name="default_deriva")
store({datasets!r}, group="datasets", name="default_dataset")
store({assets!r}, group="assets", name="default_asset")
workflow = builds(Workflow, name="Nothing", workflow_type="Analysis", populate_full_signature=True)
store(workflow, group="workflow", name="default_workflow")
model = builds(nothing, populate_full_signature=True, zen_partial=True)
store(model, group="model_config", name="default_model")
"""

PLAIN = """
import configs.all
from hydra_zen import store, zen


def composed(deriva_ml, datasets, assets, description, workflow, model_config):
    pass


if __name__ == "__main__":
    store.add_to_hydra_store()
    zen(composed).hydra_main(config_name="deriva_model", config_path=None, version_base="1.3")
"""


def fill(home: Path, datasets: int, assets: int) -> tuple[list[dict[str, str]], list[str]]:
    """Datasets and assets in the default catalog of a home: versions of the ones, RIDs of the others."""
    from deriva_ml.connect import open_connection
    from deriva_ml.dataset.dataset import Dataset
    from deriva_ml.ml import DerivaML
    from deriva_ml.schema.create_schema import create_ml_schema

    root = home / ".deriva-ml" / "local"
    if not root.exists():
        root.parent.mkdir(parents=True)
        with open_connection(str(root), create=True) as connection:
            create_ml_schema(connection.create_catalog(1))
    with DerivaML(str(root), 1, working_dir=home / "filling") as ml:
        made = [Dataset.create_dataset(ml, None, "Training", f"number {at}") for at in range(datasets)]
        rows = []
        for at in range(assets):
            url = ml.session.objects.put(f"/hatrac/{assets}/{at}.bin", b"x" * (at + 1), filename=f"{at}.bin")
            md5 = ml.session.objects.head(url).md5
            rows.append({"URL": url, "Filename": f"{at}.bin", "Length": at + 1, "MD5": md5})
        files = ml.session.catalog.insert("deriva-ml", "Execution_Asset", rows)
    return [{"rid": one.dataset_rid, "version": "0.1.0"} for one in made], [str(row["RID"]) for row in files]


def project(folder: Path, datasets: list[dict[str, str]], assets: list[str]) -> Path:
    """A project with a model, its configuration, and a script for plain hydra-zen."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models.py").write_text(MODEL)
    (folder / "plain.py").write_text(PLAIN)
    (folder / "configs" / "__init__.py").touch()
    (folder / "configs" / "all.py").write_text(CONFIGS.format(datasets=datasets, assets=assets))
    (folder / ".gitignore").write_text("outputs/\n__pycache__/\n")
    commit(folder)
    return folder


def requests(home: Path, datasets: list[dict[str, str]], assets: list[str]) -> int:
    """How many requests a dry run makes, that for the model included, which is sent as the catalog is opened."""
    from deriva_ml.catalog.client import CatalogClient
    from deriva_ml.core.ml_config import DerivaMLConfig
    from deriva_ml.execution.composition import JobContext
    from deriva_ml.execution.request import RunRequest
    from deriva_ml.execution.runner import perform
    from deriva_ml.execution.workflow import Workflow
    from deriva_ml.ml import DerivaML

    asked: list[str] = []

    class Listening:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def send(self, request: Any) -> Any:
            asked.append(request.target)
            return self._inner.send(request)

    class Counted(DerivaML):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            client = CatalogClient(Listening(self.session.catalog.transport), self.session.catalog_id)
            self.session = replace(self.session, catalog=client)

    def model(*, ml_instance: Any, execution: Any) -> None:
        """Never called."""

    place = DerivaMLConfig(hostname=str(home / ".deriva-ml" / "local"), catalog_id=1)
    code = Workflow(name="w", workflow_type="Analysis", url="https://example.org/w", checksum="0" * 40)
    request = RunRequest(place, datasets, assets, "", code, model, dry_run=True, ml_class=Counted)
    outcome = perform(request, JobContext({}, None))
    if outcome.error is not None:
        raise outcome.error
    return len(asked)


def main() -> int:
    """Measure, and print figures and ratios; 1 if a target is missed."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rounds", type=int, default=7)
    rounds = flags.parse_args().rounds
    sheet = Sheet("dry runs of a run with 3 datasets and 5 assets", "plain hydra-zen, composing the same configuration")
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        many = fill(home, 30, 50)
        few = fill(home, 3, 5)
        for size, inputs in (("3 + 5", few), ("30 + 50", many)):
            sheet.add(f"requests, {size} inputs", requests(home, *inputs), "", at_most=REQUESTS)
        folder = project(Path(scratch) / "project", *few)
        command = script("deriva-ml-run")
        commands: dict[str, list[str | Path]] = {
            "plain": [script("python"), folder / "plain.py"],
            "dry_run=true": [command, "dry_run=true"],
            "dry_run=true, as JSON": [command, "dry_run=true", "--json"],
            "--offline": [command, "--offline"],
            "sweep of 8 jobs, dry_run=true": [command, "-m", "model_config.seed=1,2,3,4,5,6,7,8", "dry_run=true"],
            "dry_run=full": [command, "dry_run=full"],
            "the run itself": [command],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for at in range(rounds + 1):  # the first round compiles modules and fills the cache
            for name, words in commands.items():
                cost = run(words, cwd=folder, home=home)
                if at:
                    costs[name].append(cost)
    plain = typical(costs.pop("plain"))
    for name, found in costs.items():
        cost = typical(found)
        sheet.add(f"{name}, CPU", cost.cpu, "s", baseline=plain.cpu)
        sheet.add(f"{name}, wall", cost.wall, "s", baseline=plain.wall)
        if name in LOOKING:
            sheet.add(f"{name}, ratio of CPU", cost.cpu / plain.cpu, "", at_most=RATIO)
    return sheet.end()


if __name__ == "__main__":
    raise SystemExit(main())
