"""What recording costs: ``deriva-ml-run`` of a model that does nothing, beside plain hydra-zen and beside MLflow.

The same function each time, in one project, cold, in turn: called by hydra-zen; called by ``deriva-ml-run``, which
records the run in full in an embedded catalog and calls it in a child process (``isolation=inline``: in its own);
called between the start and the end of a run of MLflow, with SQLite behind it and telemetry off. What counts is the
ratio of CPU times. What only a first run does, making the catalog or the database and its tables, is told apart.

Modules are compiled once, before anything is measured, for all of them alike and into the same place: without that, a
package that lies where it is edited would be compiled at each start wherever PYTHONDONTWRITEBYTECODE is set, and those
that pip installed would not.

MLflow gets an environment of its own, made by pip in the user's cache; where that cannot be done the comparison is left
out, and said to be.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import mlflow_python
from figures import Sheet
from measure import Cost, commit, run, script, typical

PLAIN_TARGET, MLFLOW_TARGET, ISOLATION_TARGET = 2.0, 0.4, 60.0

MODEL = '''
def nothing(seed: int = 0, *, ml_instance=None, execution=None) -> None:
    """Do nothing."""
'''

PLAIN = """
from hydra_zen import builds, store, zen
from models import nothing

store(builds(nothing, populate_full_signature=True), name="nothing")

if __name__ == "__main__":
    store.add_to_hydra_store()
    zen(nothing).hydra_main(config_name="nothing", config_path=None, version_base="1.3")
"""

CONFIGS = """
from hydra_zen import builds, store
from deriva_ml import DerivaMLConfig
from deriva_ml.execution import Workflow, create_model_config
from models import nothing

store(create_model_config(description="benchmark"), name="deriva_model")
store(builds(DerivaMLConfig, populate_full_signature=True), group="deriva_ml", name="default_deriva")
store([], group="datasets", name="default_dataset")
store([], group="assets", name="default_asset")
workflow = builds(Workflow, name="Nothing", workflow_type="Analysis", populate_full_signature=True)
store(workflow, group="workflow", name="default_workflow")
model = builds(nothing, populate_full_signature=True, zen_partial=True)
store(model, group="model_config", name="default_model")
"""


def project(folder: Path) -> Path:
    """A project with the model, its configuration, and scripts for plain hydra-zen and MLflow."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models.py").write_text(MODEL)
    (folder / "plain.py").write_text(PLAIN)
    (folder / "tracked.py").write_text(mlflow_python.SCRIPT)
    (folder / "configs" / "all.py").write_text(CONFIGS)
    (folder / ".gitignore").write_text("outputs/\nmlruns/\n")
    commit(folder)
    return folder


def commands(folder: Path, mlflow: Path | None) -> dict[str, list[str | Path]]:
    """What is measured, by name, in the order in which each round runs it."""
    found: dict[str, list[str | Path]] = {
        "plain hydra-zen": [script("python"), folder / "plain.py"],
        "deriva-ml-run": [script("deriva-ml-run")],
        "deriva-ml-run, inline": [script("deriva-ml-run"), "isolation=inline"],
    }
    return found if mlflow is None else {**found, "MLflow": [mlflow, folder / "tracked.py"]}


def measure(
    contestants: Mapping[str, Sequence[str | Path]], folder: Path, scratch: Path, rounds: int
) -> tuple[dict[str, Cost], dict[str, list[Cost]]]:
    """What the first run of each costs in a new home, and what each round does."""
    compiling, home = scratch / "compiling", scratch / "home"
    for each in (compiling, home):
        each.mkdir()

    def once(name: str, home: Path) -> Cost:
        return run(contestants[name], cwd=folder, home=home, extra=mlflow_python.QUIET)

    for name in contestants:
        once(name, compiling)
    # All of ours share a home and so a catalog: only the first of them makes it.
    first = {name: once(name, home) for name in contestants}
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name in contestants:
            costs[name].append(once(name, home))
    return first, costs


def report(sheet: Sheet, first: dict[str, Cost], costs: dict[str, list[Cost]]) -> None:
    """Print what was measured, and hold it against the targets."""
    medians = {name: typical(found) for name, found in costs.items()}
    plain, ours = medians["plain hydra-zen"], medians["deriva-ml-run"]
    for name, cost in medians.items():
        sheet.add(f"{name}, CPU", cost.cpu, "s", baseline=plain.cpu)
        sheet.add(f"{name}, wall", cost.wall, "s", baseline=plain.wall)
        sheet.add(f"{name}, peak memory", cost.rss / 1e6, "MB", baseline=plain.rss / 1e6)
        if name in ("deriva-ml-run", "MLflow"):
            sheet.add(f"{name}, the very first run, CPU", first[name].cpu, "s", baseline=first["plain hydra-zen"].cpu)
    pairs = zip(costs["deriva-ml-run"], costs["deriva-ml-run, inline"], strict=True)
    added = median(isolated.cpu - inline.cpu for isolated, inline in pairs)
    sheet.add("what isolation adds, CPU", added * 1000, "ms", at_most=ISOLATION_TARGET)
    sheet.add("deriva-ml-run to plain hydra-zen, CPU", ours.cpu / plain.cpu, "times", at_most=PLAIN_TARGET)
    if "MLflow" in medians:
        sheet.add("deriva-ml-run to MLflow, CPU", ours.cpu / medians["MLflow"].cpu, "times", at_most=MLFLOW_TARGET)


def with_mlflow(given: argparse.Namespace) -> Path | None:
    """The Python that runs MLflow; None, with a word about it, if there is to be none or can be none."""
    try:
        python = None if given.without_mlflow else given.mlflow or mlflow_python.prepared()
    except RuntimeError as error:
        print(f"MLflow is left out: it cannot be installed here ({error}); --mlflow PYTHON names one that has it")
        return None
    if python is None:
        print("MLflow is left out, as asked")
        return None
    version = mlflow_python.version(python)
    if version is None:
        raise SystemExit(f"--mlflow {python}: this is no Python that has MLflow; python -m pip install mlflow adds it")
    print(f"MLflow {version}")
    return Path(python)


def main() -> int:
    """Measure and print; 1 if a target is missed."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rounds", type=int, default=9)
    which = flags.add_mutually_exclusive_group()
    which.add_argument("--mlflow", type=Path, metavar="PYTHON", help="a Python that has MLflow (default: one is made)")
    which.add_argument("--without-mlflow", action="store_true", help="leave MLflow out")
    given = flags.parse_args()
    mlflow = with_mlflow(given)
    sheet = Sheet("A run of a model that does nothing", "plain hydra-zen, calling the same model")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        where = project(scratch / "project")
        report(sheet, *measure(commands(where, mlflow), where, scratch, given.rounds))
    return sheet.end()


if __name__ == "__main__":
    raise SystemExit(main())
