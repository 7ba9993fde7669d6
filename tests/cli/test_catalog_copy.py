"""``deriva-ml-catalog copy | export`` as a user types them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deriva_ml.connect import open_connection

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
    assert "409" in run("copy", str(catalog_root), f"{other}#lab", code=1)
    assert "catalog none" in run("copy", f"{catalog_root}#none", str(other), code=1)
    bag = tmp_path / "bag"
    assert "1 objects" in run("export", "--host", str(other), "--catalog", "lab", str(bag), "--objects")
    assert (bag / "manifest-sha256.txt").exists()
    assert "already" in run("export", "--host", str(other), "--catalog", "lab", str(bag), code=2)
