"""``deriva-ml-catalog copy | export`` as a user types them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.serving import served

from deriva_ml.catalog.copy_mark import mark
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.ml import DerivaML
from deriva_ml.wire.path import cnt, table
from deriva_ml.workspace.evidence import ProcessMark

COMMAND = [sys.executable, "-m", "deriva_ml.cli.catalog"]


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_catalog_is_copied_and_exported(catalog_root: Path, tmp_path: Path) -> None:
    with open_connection(str(catalog_root)) as connection:
        url = connection.objects().put("/hatrac/a/one", b"one")
        head = connection.objects().head(url)
        row = {"URL": url, "Filename": "one", "Length": head.length, "MD5": head.md5}
        connection.catalog(1).insert("deriva-ml", "Execution_Metadata", [row])
    other = tmp_path / "other"
    assert "1 objects" in run("copy", str(catalog_root), f"{other}#lab")
    assert "0 objects" in run("copy", f"{catalog_root}#1", f"{catalog_root}#again", "--name", "second")
    for folder in (catalog_root, other):
        assert "all is well" in run("fsck", "--root", str(folder))
    refused = run("copy", str(catalog_root), f"{other}#lab", code=2)
    assert "already" in refused
    assert "next number" in refused
    assert "catalog none" in run("copy", f"{catalog_root}#none", str(other), code=2)
    bag = tmp_path / "bag"
    assert "1 objects" in run("export", "--host", str(other), "--catalog", "lab", str(bag), "--objects")
    assert (bag / "manifest-sha256.txt").exists()
    assert "already" in run("export", "--host", str(other), "--catalog", "lab", str(bag), code=2)


def many_rows(folder: Path) -> None:
    with open_connection(str(folder)) as connection:
        client = connection.catalog(1)
        columns = [
            {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
            for name in ("RID", "RCT", "RMT", "RCB", "RMB")
        ]
        columns.append({"name": "N", "type": {"typename": "int4"}, "nullok": True})
        client.create_table(
            "public",
            {
                "schema_name": "public",
                "table_name": "Many",
                "column_definitions": columns,
                "keys": [{"unique_columns": ["RID"]}],
            },
        )
        client.insert("public", "Many", [{"N": n} for n in range(60_000)])


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_copy_that_broke_off_is_marked_and_the_same_command_finishes_it(
    catalog_root: Path, tmp_path: Path, way: signal.Signals
) -> None:
    many_rows(catalog_root)
    other = tmp_path / "other"
    run("create", "--root", str(other))
    process = subprocess.Popen(
        [*COMMAND, "copy", str(catalog_root), f"{other}#lab"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with open_connection(str(other)) as connection:
        # The rows of the large table are under way: pages of it are there, and not yet all.
        count = 0
        while count == 0 and process.poll() is None:
            if "lab" in connection.catalog_ids():
                catalog = connection.catalog("lab")
                found = catalog.model(refresh=True).table("public", "Many")
                count = len(catalog.rows(table("public", "Many").limited(1))) if found else 0
    process.send_signal(way)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[way], errors
    if way is not signal.SIGKILL:
        assert re.search(r"to begin it anew in its place: deriva-ml-catalog copy .*#lab", errors)
    assert "an unfinished copy" in run("list", "--root", str(other))
    assert "an unfinished copy" in run("info", "--root", str(other))
    with pytest.raises(DerivaMLConfigurationError, match="not finished"):
        DerivaML(str(other), "lab")
    assert "copy that was never finished" in run("copy", f"{other}#lab", f"{other}#third", code=2)
    assert "begun anew" in run("copy", str(catalog_root), f"{other}#lab")
    assert "unfinished" not in run("list", "--root", str(other))
    with open_connection(str(other)) as connection:
        assert connection.catalog("lab").aggregate(table("public", "Many"), n=cnt("*")) == {"n": 60_000}
    assert "all is well" in run("fsck", "--root", str(other))


def test_an_unfinished_copy_is_taken_over_only_when_its_process_is_known_to_have_ended(
    catalog_root: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    with open_connection(str(catalog_root)) as source, open_connection(str(other), create=True) as target:
        mine = asdict(ProcessMark.current())
        about = {"source": f"{source.identity}#1", "by": mine}
        mark(target.create_catalog("busy"), about)
        mark(target.create_catalog("far"), {**about, "by": {**mine, "boot": "another", "host": "elsewhere"}})
        mark(target.create_catalog("foreign"), {**about, "source": "another#1"})
    assert "making at this moment" in run("copy", str(catalog_root), f"{other}#busy", "--restart", code=2)
    assert "--restart" in run("copy", str(catalog_root), f"{other}#far", code=2)
    assert "of another catalog" in run("copy", str(catalog_root), f"{other}#foreign", "--restart", code=2)
    assert "begun anew" in run("copy", str(catalog_root), f"{other}#far", "--restart")
    assert "to catalog 1 of" in run("copy", str(catalog_root), str(other))


def test_each_side_of_a_copy_has_a_token_of_its_own(catalog_root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run("create", "--root", str(other))
    first, second = tmp_path / "first", tmp_path / "second"
    with (
        served(catalog_root, "--token-file", str(first)) as source,
        served(other, "--token-file", str(second)) as target,
    ):
        start, to = f"{source.url}#1", f"{target.url}#lab"
        assert "401" in run("copy", start, to, "--source-token-file", str(second), code=2)
        assert "401" in run(
            "copy", start, to, "--source-token-file", str(first), "--target-token-file", str(first), code=2
        )
        assert "Cannot read" in run("copy", start, to, "--source-token-file", str(tmp_path / "none"), code=2)
        run("copy", start, to, "--source-token-file", str(first), "--target-token-file", str(second))
    assert "lab" in run("list", "--root", str(other))
