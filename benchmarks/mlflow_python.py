"""A Python that has MLflow, to compare with: it is no dependency of ours, so it gets an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ASK = "from importlib.metadata import version; print(version('mlflow'))"

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""The variables by which MLflow says that its telemetry is turned off."""

SCRIPT = """
import os
import mlflow
from models import nothing

mlflow.set_tracking_uri(f"sqlite:///{os.environ['HOME']}/mlflow.db")
mlflow.set_experiment("benchmark")
with mlflow.start_run():
    mlflow.log_param("seed", 0)
    nothing(seed=0)
    mlflow.log_metric("done", 1.0)
"""
"""The tracked no-op: a run with one parameter and one measure, in a database of the home directory."""


def version(python: Path) -> str | None:
    """The version of MLflow that a Python has; None if it has none, or is none."""
    try:
        asked = subprocess.run([str(python), "-c", ASK], check=False, capture_output=True, text=True)
    except OSError:
        return None
    return None if asked.returncode else asked.stdout.strip()


def prepared() -> Path:
    """The Python of an environment that is made once, in the user's cache.

    Raises:
        RuntimeError: MLflow cannot be installed, with what pip says of it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "deriva-ml-benchmarks" / f"mlflow-{sys.implementation.cache_tag}"
    python = folder / "bin" / "python"
    # pip installs what a package needs before the package itself: if MLflow is there, all of it is.
    if version(python) is None:
        print(f"making an environment with MLflow in {folder} (a minute or two, once)", flush=True)
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        _call([str(python), "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "30", "mlflow"])
    return python


def _call(words: list[str]) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise RuntimeError(said[-1] if said else f"{' '.join(words)} exited with {done.returncode}")
