"""The commands about a folder, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deriva_ml.cli.catalog import main

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
    assert "lab is taken" in run("create", "--root", root, "--catalog", "lab", code=2)
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
    assert "no catalog lab" in run("delete", "--root", root, "--catalog", "lab", "--yes", code=2)
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


COMMANDS = [
    ("list",),
    ("info",),
    ("fsck",),
    ("delete", "--catalog", "1", "--yes"),
    ("backup", "b.tar"),
    ("serve", "--port", "0"),
    ("user", "list"),
    ("group", "list"),
    ("grant", "reader", "ann"),
    ("revoke", "ann"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_is_no_folder_is_said_in_the_same_words_by_all(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full" / "of").mkdir(parents=True)
    for name, said in (
        ("none", "There is no catalog folder at"),
        ("full", "This folder is not a catalog"),
        ("file", "This is a file, not a catalog folder"),
    ):
        assert main([*words, "--root", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"file", "full"}


def test_a_catalog_that_is_not_there_is_a_wrong_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "folder")
    assert main(["create", "--root", root]) == 0
    folder = ["--root", root, "--catalog", "9"]
    for words in (
        ["delete", *folder, "--yes"],
        ["grant", "reader", "ann", *folder],
        ["revoke", "ann", *folder],
        ["copy", f"{root}#9", str(tmp_path / "other")],
        ["export", "--host", root, "--catalog", "9", str(tmp_path / "bag")],
        ["renew-versions", "--host", root, "--catalog", "9"],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "no catalog 9 at" in said
    assert not (tmp_path / "other").exists()


def test_a_project_has_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "--root", str(tmp_path / "folder"), "--project", " "]) == 2
    assert "no name" in capsys.readouterr().err
    assert not (tmp_path / "folder").exists()


def test_users_and_groups_are_listed_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(tmp_path / "folder")]
    main(["create", *root])
    for words in (["user", "add", "ann", "--group", "team"], ["user", "add", "bob"]):
        assert main([*words, *root]) == 0
    capsys.readouterr()
    assert main(["user", "list", "--json", *root]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["groups"], one["tokens"]) for one in listed] == [("ann", ["team"], 1), ("bob", [], 1)]
    assert main(["group", "list", "--json", *root]) == 0
    assert json.loads(capsys.readouterr().out) == {"team": ["ann"]}


def test_what_is_no_backup_is_said_in_a_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no backup")
    (tmp_path / "folder").mkdir()
    for name, said in (("none", "There is no backup"), ("file", "is not a backup"), ("folder", "is not a backup")):
        assert main(["restore", str(tmp_path / name), "--root", str(tmp_path / "out")]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert said in lines[0]
        assert len(lines) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


@pytest.mark.parametrize(
    "wrong", [("--port", "70000"), ("--port", "x"), ("--time-limit", "-1"), ("--time-limit", "nan")]
)
def test_numbers_beyond_their_range_are_refused(wrong: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--root", str(tmp_path), *wrong])


def test_a_folder_here_is_not_taken_for_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["create", "--root", "lab"]) == 0
    assert main(["copy", "lab", "./other"]) == 2
    assert "./lab" in capsys.readouterr().err
    assert main(["copy", "./lab", "./other"]) == 0
