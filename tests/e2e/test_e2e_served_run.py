"""A run on a folder that is served: by somebody who may work in it, and by somebody who may only read."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.serving import COMMAND, served

from deriva_ml.connect import open_connection
from deriva_ml.wire.path import table


def command(*arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def token(root: Path, name: str, level: str) -> str:
    text = command("user", "add", name, "--root", str(root))
    command("grant", level, name, "--root", str(root))
    return text.partition("Token: ")[2].split()[0]


def test_a_user_runs_on_versions_made_before_she_came_and_a_reader_cannot(project: Any) -> None:
    tokens = {"ann": token(project.root, "ann", "writer"), "bob": token(project.root, "bob", "reader")}
    with served(project.root) as server:

        def run_as(secret: str) -> Any:
            one = replace(project, token=secret)
            return one.run("deriva-ml-run", "--host", server.url, "+experiment=on_images")

        done = run_as(tokens["ann"])
        assert done.code == 0, done.err
        assert "Completed" in done.out
        refused = run_as(tokens["bob"])
        assert refused.code != 0
        assert "403" in refused.err
        unknown = run_as("nobody's")
        assert unknown.code == 2
        assert "DERIVA_ML_TOKEN" in unknown.err
        assert "Traceback" not in refused.err + unknown.err
    with open_connection(str(project.root)) as connection:
        client = connection.catalog("1")
        made = [row for row in client.rows(table("deriva-ml", "Execution")) if row["RCB"] == "ann"]
    assert [row["Status"] for row in made] == ["Completed"]
