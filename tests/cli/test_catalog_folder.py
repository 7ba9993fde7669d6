"""The commands about a folder, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "deriva_ml.cli.catalog"]


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_folder_s_life_from_create_to_restore(tmp_path: Path) -> None:
    root, other = str(tmp_path / "folder"), str(tmp_path / "other")
    assert "Made catalog 1" in run("create", "--root", root, "--name", "first", "--project", "demo")
    assert "Made catalog lab" in run("create", "--root", root, "--catalog", "lab")
    assert "409" in run("create", "--root", root, "--catalog", "lab", code=1)
    listed = json.loads(run("list", "--root", root, "--json"))
    assert [one["id"] for one in listed] == ["1", "lab"]
    assert "first" in run("list", "--root", root)
    assert "all is well" in run("fsck", "--root", root)

    archive = str(tmp_path / "b.tar")
    assert "2 catalogs" in run("backup", "--root", root, archive)
    assert "already" in run("backup", "--root", root, archive, code=2)
    assert "not deleted" in run("delete", "--root", root, "--catalog", "lab", code=2)
    assert "Deleted catalog lab" in run("delete", "--root", root, "--catalog", "lab", "--yes")
    assert not (tmp_path / "folder" / "catalogs" / "lab.db").exists()
    assert "404" in run("delete", "--root", root, "--catalog", "lab", "--yes", code=1)
    assert [one["id"] for one in json.loads(run("list", "--root", root, "--json"))] == ["1"]

    assert "a new one" in run("restore", archive, "--root", other)
    before, after = (json.loads(run("info", "--root", one, "--json")) for one in (root, other))
    assert before["identity"] != after["identity"]
    assert [one["id"] for one in after["catalogs"]] == ["1", "lab"]
    assert "already" in run("restore", archive, "--root", other, code=2)
    run("restore", archive, "--root", str(tmp_path / "third"), "--same-identity")
    assert json.loads(run("info", "--root", str(tmp_path / "third"), "--json"))["identity"] == before["identity"]
    assert "no backup" in run("restore", str(tmp_path / "none.tar"), "--root", str(tmp_path / "fourth"), code=2)


def test_fsck_names_what_is_wrong_and_repair_removes_leftovers(tmp_path: Path) -> None:
    root = tmp_path / "folder"
    run("create", "--root", str(root))
    left = root / ".hatrac.db.ABC"
    left.write_bytes(b"x")
    assert "leftover: .hatrac.db.ABC" in run("fsck", "--root", str(root), code=1)
    found = json.loads(run("fsck", "--root", str(root), "--json", code=1))
    assert found["clean"] is False
    assert found["findings"][0]["where"] == ".hatrac.db.ABC"
    assert "(removed)" in run("fsck", "--root", str(root), "--repair")
    assert not left.exists()
    assert json.loads(run("fsck", "--root", str(root), "--json"))["clean"] is True
    (root / "catalogs" / "1.db").write_bytes(b"no database at all")
    assert "catalog 1" in run("fsck", "--root", str(root), "--repair", code=1)
    assert "not a catalog" in run("fsck", "--root", str(tmp_path), code=2)
