"""A new project is there whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.project.creation import create_project, plan_project

WRITE_LITTLE = """
import sys
from deriva_ml.cli.init import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in no repository, and a git that knows a name."""
    config = tmp_path / "gitconfig"
    config.write_text("[user]\nname = Ann\nemail = ann@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    work = tmp_path / "work"
    work.mkdir()
    return work


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def log(folder: Path) -> str:
    command = ["git", "-C", str(folder), "log", "--format=%an %s"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_project_is_made_with_its_first_commit_and_nothing_is_left_over(place: Path) -> None:
    made = create_project(plan_project(place / "deep" / "er" / 'Mein "Netz" (2)'))
    folder = place / "deep" / "er" / 'Mein "Netz" (2)'
    assert made.commit is not None
    assert not made.commit.is_anonymous
    assert log(folder) == "Ann Start of the project\n"
    status = subprocess.run(["git", "-C", str(folder), "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b""
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    mask = os.umask(0)
    os.umask(mask)
    assert (folder / "README.md").stat().st_mode & 0o777 == 0o666 & ~mask
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_git_that_knows_no_name_commits_without_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.parent / "gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    made = create_project(plan_project(place / "x"))
    assert made.commit is not None
    assert made.commit.is_anonymous
    assert log(place / "x") == "deriva-ml-init Start of the project\n"


def test_a_folder_in_a_repository_gets_no_repository_of_its_own(place: Path) -> None:
    subprocess.run(["git", "init", "-q", str(place)], check=True)
    made = create_project(plan_project(place / "x"))
    assert made.commit is None
    assert made.plan.repository == place
    assert not (place / "x" / ".git").exists()


def test_files_that_are_there_are_named_and_stay(place: Path) -> None:
    (place / "src" / "configs").mkdir(parents=True)
    (place / "README.md").write_text("mine")
    (place / "src" / "configs" / "base.py").write_text("mine")
    before = everything(place)
    with pytest.raises(DerivaMLConfigurationError, match=r"2 of the .* README.md, src/configs/base.py"):
        create_project(plan_project(place, name="x"))
    assert everything(place) == before
    made = create_project(plan_project(place, name="x"), replace=True)
    assert made.plan.different == ("README.md", "src/configs/base.py")
    assert (place / "README.md").read_text().startswith("# x\n")
    again = plan_project(place, name="x")
    assert set(again.present) == set(again.files)
    assert again.to_write == {}


def test_a_folder_in_the_place_of_a_file_is_never_replaced(place: Path) -> None:
    (place / "README.md").mkdir()
    before = everything(place)
    with pytest.raises(DerivaMLConfigurationError, match=r"README\.md"):
        create_project(plan_project(place, name="x"), replace=True)
    assert everything(place) == before


def test_other_files_of_the_folder_are_not_committed(place: Path) -> None:
    (place / "data.bin").write_bytes(b"x")
    made = create_project(plan_project(place, name="x"))
    assert made.others
    tracked = subprocess.run(["git", "-C", str(place), "ls-files"], check=True, capture_output=True, text=True).stdout
    assert set(tracked.split()) == set(made.plan.files)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_git_that_refuses_leaves_nothing(place: Path, is_there: bool) -> None:
    hooks = place.parent / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\necho 'no commits on Saturdays' >&2\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    with (place.parent / "gitconfig").open("a") as config:
        config.write(f"[core]\nhooksPath = {hooks}\n")
    if is_there:
        (place / "new").mkdir()
        (place / "new" / "README.md").write_text("mine")
    before = everything(place)
    with pytest.raises(DerivaMLConfigurationError, match="no commits on Saturdays"):
        create_project(plan_project(place / "new"), replace=True)
    assert everything(place) == before
    assert create_project(plan_project(place / "new", git=False), replace=True).commit is None


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_that_cannot_be_written_leaves_nothing(place: Path, is_there: bool) -> None:
    """The system takes no file longer than 1,500 bytes, as if the disk were full: some of the files are longer."""
    if is_there:
        (place / "new").mkdir()
        (place / "new" / ".gitignore").write_text("mine")
    before = everything(place)
    done = subprocess.run(
        [sys.executable, "-B", "-c", WRITE_LITTLE, "new", "--force"],
        cwd=place,
        capture_output=True,
        text=True,
        preexec_fn=_write_little,
    )
    assert done.returncode == 2
    assert "cannot be written: File too large" in done.stderr
    assert everything(place) == before


def _write_little() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))


def test_the_name_of_a_folder_host_is_good_from_everywhere(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    plan = plan_project("x", hostname="./lab", catalog_id="7")
    assert f'hostname="{place}/lab"' in plan.files["src/configs/deriva.py"]
    assert "catalog_id=7," in plan.files["src/configs/deriva.py"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"folder": "file"}, "is a file"),
        ({"folder": "file/x"}, "is a file"),
        ({"name": "a\nb"}, "--name"),
        ({"hostname": ""}, "No catalog host"),
        ({"hostname": "./${x}"}, "--host"),
        ({"catalog_id": " "}, "--catalog"),
    ],
)
def test_a_wrong_request_is_refused(place: Path, words: dict[str, str], said: str) -> None:
    (place / "file").touch()
    words = {"folder": "new", **words}
    with pytest.raises(DerivaMLConfigurationError, match=said):
        plan_project(place / words.pop("folder"), **words)  # type: ignore[arg-type]
