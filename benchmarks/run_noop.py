"""What recording costs: ``deriva-ml-run`` of a model that does nothing, beside the same function under plain hydra-zen.

Both are run cold, in turn, in a project of their own; the run is recorded in full in an embedded catalog. What counts
is the ratio of their CPU times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measure import Cost, commit, run, script, typical

TARGET = 3.0

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
    """A project with the model, its configuration, and a script for plain hydra-zen."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models.py").write_text(MODEL)
    (folder / "plain.py").write_text(PLAIN)
    (folder / "configs" / "all.py").write_text(CONFIGS)
    (folder / ".gitignore").write_text("outputs/\n__pycache__/\n")
    commit(folder)
    return folder


def main() -> int:
    """Measure and print both numbers and their ratio; 1 if the ratio is above the target."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rounds", type=int, default=9)
    rounds = flags.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        folder, home = project(Path(scratch) / "project"), Path(scratch) / "home"
        home.mkdir()
        ours = [script("deriva-ml-run")]
        theirs = [Path(sys.executable), folder / "plain.py"]
        run(theirs, cwd=folder, home=home)  # compiles modules
        first = run(ours, cwd=folder, home=home)  # makes the catalog
        pairs = [(run(theirs, cwd=folder, home=home), run(ours, cwd=folder, home=home)) for _ in range(rounds)]
    plain, recorded = typical([pair[0] for pair in pairs]), typical([pair[1] for pair in pairs])
    ratio = recorded.cpu / plain.cpu
    _line("plain hydra-zen", plain)
    _line("deriva-ml-run", recorded)
    _line("the very first run", first)
    print(f"{'ratio of CPU':<20}{ratio:7.2f}      (target: at most {TARGET:.0f})")
    return 0 if ratio <= TARGET else 1


def _line(what: str, cost: Cost) -> None:
    print(f"{what:<20}{cost.cpu:7.3f} s CPU {cost.wall:7.3f} s wall {cost.rss / 1e6:6.0f} MB")


if __name__ == "__main__":
    raise SystemExit(main())
