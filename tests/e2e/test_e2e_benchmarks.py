"""The benchmarks run; how quick it is, no test says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "figures"),
    [
        (
            "catalog.py",
            "--rows 300 --rounds 2 --tables 3",
            ["insert of one row, served", "model of 3 tables", "opening"],
        ),
        ("catalog_scale.py", "--scale 0.0001 --rounds 2", ["the latest 100", "inputs and outputs", "size on disk"]),
        ("dry_run.py", "--rounds 1", ["requests, 30 + 50 inputs", "dry_run=true, ratio of CPU", "dry_run=full, wall"]),
        (
            "objects.py",
            "--rounds 2 --number 5 --size 9000000",
            ["object of 4 KiB, served", "peak memory of its process"],
        ),
        (
            "list_configs.py",
            "--rounds 1 --modules 2",
            ["importing its modules", "--list-configs --json", "20 configurations"],
        ),
        (
            "run_noop.py",
            "--rounds 1 --without-mlflow",
            [
                "MLflow is left out",
                "deriva-ml-run, the very first run",
                "what isolation adds",
                "to plain hydra-zen, CPU",
            ],
        ),
        (
            "bags.py",
            "--scale 0.001 --rounds 1",
            ["10 images, bag with its files", "data frame", "1,000 rows, bag", "estimate, requests", "tables written"],
        ),
    ],
)
def test_a_benchmark_gives_its_figures(tmp_path: Path, name: str, words: str, figures: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *words.split()], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stderr == ""
    assert done.returncode in (0, 1)  # 1: a target was missed, as may be on a busy machine
    *_, last = done.stdout.splitlines()
    assert "load" in last
    for figure in figures:
        assert figure in done.stdout


def test_the_benchmark_of_assets_gives_its_figures_and_no_more_requests_than_allowed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "assets.py"), "--scale", "0.001"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stderr == ""
    assert done.returncode in (0, 1)  # 1: a target was missed, as times may be on a busy machine
    *lines, last = done.stdout.splitlines()
    assert "load" in last
    for figure in (
        "upload of 10 files of 4 KiB",
        "upload of a file of 1 MiB; digests side by side",
        "10 small outputs, written and committed",
        "100 registrations",
    ):
        assert figure in done.stdout
    counted = [line for line in lines if ", requests " in line]
    assert ["listed" in counted[0], "resolved" in counted[1]] == [True, True]
    assert not [line for line in counted if "MISSED" in line]


@pytest.mark.slow
def test_where_mlflow_cannot_be_installed_the_comparison_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run_noop.py"), "--rounds", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **nowhere, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert done.stderr == ""
    assert "MLflow is left out: it cannot be installed here (ERROR: No matching distribution" in done.stdout
    assert "deriva-ml-run to plain hydra-zen, CPU" in done.stdout
    assert "to MLflow" not in done.stdout


def test_a_python_without_mlflow_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run_noop.py"), "--mlflow", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"--mlflow {tmp_path / 'none'}: this is no Python that has MLflow; python -m pip install mlflow adds it\n"
    )
