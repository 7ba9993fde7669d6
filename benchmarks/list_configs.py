"""What ``deriva-ml-run --list-configs`` costs in a project with 200 configurations, beside importing its modules.

Both are run cold, in turn. What counts is the ratio of their CPU times: what is above one is the reading, the
descriptions and the tree.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from measure import Cost, run, script, typical

TARGET = 1.5

BASE = """
from hydra_zen import builds, store
from deriva_ml import DerivaMLConfig
from deriva_ml.execution import Workflow, create_model_config

Main = create_model_config(description="benchmark")
store(Main, name="deriva_model")
store(builds(DerivaMLConfig, populate_full_signature=True), group="deriva_ml", name="default_deriva")
store([], group="datasets", name="default_dataset")
store([], group="assets", name="default_asset")
workflow = builds(Workflow, name="Nothing", workflow_type="Analysis", populate_full_signature=True)
store(workflow, group="workflow", name="default_workflow")
"""

MODELS = '''
from hydra_zen import builds, make_config, store
from deriva_ml.execution import multirun_config, with_description
from configs.base import Main

def train(lr: float = 0.1, epochs: int = 10, *, ml_instance=None, execution=None) -> None:
    """Train model NUMBER."""

Train = builds(train, populate_full_signature=True, zen_partial=True)
for index in range(4):
    name = f"NUMBER_{index}"
    store(Train, lr=0.1 * index, group="model_config", name=name)
    store(with_description(["1-ABCD"], f"dataset {name}"), group="datasets", name=name)
for index in range(1):
    defaults = ["_self_", {"override /model_config": f"NUMBER_{index}"}]
    experiment = make_config(hydra_defaults=defaults, description=f"experiment {index}", bases=(Main,))
    store(experiment, group="experiment", package="_global_", name=f"NUMBER_{index}")
multirun_config("NUMBER", ["+experiment=NUMBER_0", "model_config.lr=1,2,3"], "# Rates")
'''

IMPORTS = "import sys; sys.path.insert(0, '.'); from deriva_ml.execution import load_configs; load_configs('configs')"


def project(folder: Path, modules: int) -> Path:
    """A project with ten configurations in each module."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "base.py").write_text(BASE)
    for number in range(modules):
        (folder / "configs" / f"model_{number}.py").write_text(MODELS.replace("NUMBER", f"m{number}"))
    return folder


def main() -> int:
    """Measure and print; 1 if the ratio is above the target."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rounds", type=int, default=9)
    flags.add_argument("--modules", type=int, default=20)
    given = flags.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, home = project(Path(scratch) / "project", given.modules), Path(scratch) / "home"
        home.mkdir()
        commands = {
            "importing its modules": [Path(sys.executable), "-c", IMPORTS],
            "--list-configs": [script("deriva-ml-run"), "--list-configs"],
            "--list-configs --json": [script("deriva-ml-run"), "--list-configs", "--json"],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for round_number in range(given.rounds + 1):
            for name, command in commands.items():
                cost = run(command, cwd=folder, home=home)
                if round_number:  # the first one compiles modules
                    costs[name].append(cost)
    medians = {name: typical(found) for name, found in costs.items()}
    base = medians["importing its modules"].cpu
    for name, cost in medians.items():
        print(f"{name:<24}{cost.cpu:7.3f} s CPU {cost.wall:7.3f} s wall {cost.cpu / base:6.2f} x")
    print(f"{10 * given.modules} configurations; target: at most {TARGET} x; load {os.getloadavg()[0]:.1f}")
    return int(medians["--list-configs"].cpu > TARGET * base)


if __name__ == "__main__":
    raise SystemExit(main())
