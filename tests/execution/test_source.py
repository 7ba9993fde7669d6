"""The code of a run is recognised by real git repositories in every state."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deriva_ml.core.exceptions import DerivaMLDirtyWorkflowError, DerivaMLWorkflowError
from deriva_ml.execution.source import calling_file, file_of, identify

SOURCE = "def train(*, ml_instance, execution):\n    pass\n"


class Repo:
    """A git repository with a model in it."""

    def __init__(self, root: Path, *, remote: str | None = None) -> None:
        self.root = root
        self.file = root / "src" / "model.py"
        self.file.parent.mkdir(parents=True)
        self.file.write_text(SOURCE)
        (root / "helper.py").write_text("x = 1\n")
        self.git("init", "-q", "-b", "main")
        if remote:
            self.git("remote", "add", "origin", remote)
        self.commit()

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
        command = ["git", "-C", str(self.root), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "state", "--allow-empty")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path):
    return Repo(tmp_path / "project")


@pytest.fixture
def git_calls(tmp_path, monkeypatch):
    """Counts the git processes: a git comes first on the PATH that notes its call and goes on as the real one."""
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    log = tmp_path / "git-calls"
    shim = tmp_path / "shim" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$3" >> {log}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}{os.pathsep}{os.environ['PATH']}")
    return lambda: log.read_text().split() if log.exists() else []


def test_clean_code_is_named_by_its_commit(repo):
    code = identify(repo.file)
    head = repo.git("rev-parse", "HEAD")
    assert code.url == f"project/blob/{head}/src/model.py"
    assert code.checksum == repo.git("hash-object", "src/model.py")
    assert code.version == f"0+g{head[:12]}"
    assert (code.root, code.commit, code.dirty, code.patch) == (repo.root, head, (), b"")


def test_the_remote_is_named_without_its_credentials(tmp_path):
    repo = Repo(tmp_path / "p", remote="https://bob:s3cret@example.org/lab/p.git")
    code = identify(repo.file)
    assert code.url == f"https://example.org/lab/p/blob/{code.commit}/src/model.py"
    assert "s3cret" not in repr(code)


def test_a_remote_from_an_included_file_is_found(tmp_path):
    repo = Repo(tmp_path / "p")
    (tmp_path / "more").write_text('[remote "origin"]\n\turl = git@example.org:lab/p.git\n')
    repo.git("config", "include.path", str(tmp_path / "more"))
    assert identify(repo.file).url.startswith("https://example.org/lab/p/blob/")


def test_another_remote_serves_where_there_is_no_origin(tmp_path):
    repo = Repo(tmp_path / "p")
    repo.git("remote", "add", "upstream", "ssh://git@example.org/lab/p.git")
    assert identify(repo.file).url.startswith("https://example.org/lab/p/blob/")


def test_a_clean_run_asks_git_three_times(repo, git_calls):
    identify(repo.file)
    assert git_calls() == ["rev-parse", "status", "describe"]


def test_a_changed_one_asks_once_more(repo, git_calls):
    repo.file.write_text(SOURCE + "# more\n")
    identify(repo.file, allow_dirty=True)
    assert git_calls() == ["rev-parse", "status", "describe", "diff"]


def test_the_version_is_from_the_last_tag(repo):
    repo.git("tag", "v1.2.3")
    assert identify(repo.file).version == "1.2.3"
    head = repo.commit()
    assert identify(repo.file).version == f"1.2.4.dev1+g{head[:12]}"


def modify(repo):
    repo.file.write_text(SOURCE + "# more\n")


def modify_helper(repo):
    (repo.root / "helper.py").write_text("x = 2\n")


def stage(repo):
    modify_helper(repo)
    repo.git("add", "helper.py")


def add_untracked(repo):
    (repo.root / "a new file").write_text("x")


def add_staged(repo):
    add_untracked(repo)
    repo.git("add", ".")


def delete(repo):
    (repo.root / "helper.py").unlink()


def delete_staged(repo):
    repo.git("rm", "-q", "helper.py")


def rename(repo):
    repo.git("mv", "helper.py", "aid.py")


def change_mode(repo):
    (repo.root / "helper.py").chmod(0o755)


def change_type(repo):
    (repo.root / "helper.py").unlink()
    (repo.root / "helper.py").symlink_to("src/model.py")


def conflict(repo):
    repo.git("checkout", "-q", "-b", "other")
    modify_helper(repo)
    repo.commit()
    repo.git("checkout", "-q", "main")
    (repo.root / "helper.py").write_text("x = 3\n")
    repo.commit()
    with pytest.raises(subprocess.CalledProcessError):
        repo.git("merge", "-q", "other")


def odd_name(repo):
    (Path(os.fsdecode(os.fsencode(repo.root) + b'/M  \xff\n"x'))).write_text("x")


def assume_unchanged(repo):
    repo.git("update-index", "--assume-unchanged", "src/model.py")
    modify(repo)


def change_submodule(repo):
    Repo(repo.root.parent / "library")
    repo.git("submodule", "--quiet", "add", str(repo.root.parent / "library"), "library")
    repo.commit()
    (repo.root / "library" / "helper.py").write_text("x = 5\n")


CHANGES = {
    modify: ".M src/model.py",
    modify_helper: ".M helper.py",
    stage: "M. helper.py",
    add_untracked: "?? a new file",
    add_staged: "A. a new file",
    delete: ".D helper.py",
    delete_staged: "D. helper.py",
    rename: "R. aid.py",
    change_mode: ".M helper.py",
    change_type: ".T helper.py",
    conflict: "UU helper.py",
    odd_name: '?? M  \\xff\n"x',
    assume_unchanged: ".M src/model.py",
    change_submodule: ".M library",
}


@pytest.mark.parametrize(("change", "shown"), CHANGES.items(), ids=[change.__name__ for change in CHANGES])
def test_every_kind_of_change_is_refused_by_name(repo, change, shown):
    change(repo)
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:
        identify(repo.file)
    assert shown in caught.value.paths
    assert caught.value.path == str(repo.file)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__ for change in CHANGES])
def test_allowed_changes_are_recorded(repo, change):
    clean = identify(repo.file)
    change(repo)
    code = identify(repo.file, allow_dirty=True)
    assert code.is_dirty
    assert CHANGES[change] in code.dirty
    assert code.version != clean.version
    assert ".dirty." in code.version


def test_two_states_of_changed_code_are_two_versions(repo):
    versions = set()
    for number in range(3):
        (repo.root / "helper.py").write_text(f"x = {number + 7}\n")
        versions.add(identify(repo.file, allow_dirty=True).version)
    assert len(versions) == 3


def test_two_commits_that_differ_in_a_helper_are_two_urls(repo):
    before = identify(repo.file)
    modify_helper(repo)
    repo.commit()
    after = identify(repo.file)
    assert before.checksum == after.checksum
    assert before.url != after.url


def test_the_patch_makes_what_ran_from_the_commit(repo, tmp_path):
    modify_helper(repo)
    new = repo.root / "src" / "fresh.py"
    new.write_text("def train():\n    return 'ä'  \n\r\n# no end of line")
    code = identify(new, allow_dirty=True)
    copy = tmp_path / "copy"
    repo.git("clone", "-q", str(repo.root), str(copy))
    (tmp_path / "code.patch").write_bytes(code.patch)
    subprocess.run(["git", "-C", str(copy), "apply", str(tmp_path / "code.patch")], check=True)
    assert (copy / "helper.py").read_bytes() == (repo.root / "helper.py").read_bytes()
    assert (copy / "src" / "fresh.py").read_bytes() == new.read_bytes()
    assert b"# ?? src/fresh.py" in code.patch


def test_a_file_that_git_ignores_is_not_clean(repo):
    (repo.root / ".gitignore").write_text("scratch/\n")
    repo.commit()
    (repo.root / "scratch").mkdir()
    (repo.root / "scratch" / "m.py").write_text(SOURCE)
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:
        identify(repo.root / "scratch" / "m.py")
    assert caught.value.paths == ("!! scratch/m.py",)


@pytest.fixture
def helper(repo, monkeypatch):
    """A module that the model imports; both are committed."""
    monkeypatch.syspath_prepend(str(repo.root / "src"))
    path = repo.root / "src" / "src_helper.py"
    path.write_text("x = 1\n")
    repo.file.write_text(f"from src_helper import x\n{SOURCE}")
    repo.commit()
    return path


def test_a_clean_run_with_helpers_asks_git_four_times(repo, helper, git_calls):
    assert not identify(repo.file).is_dirty
    assert git_calls() == ["rev-parse", "status", "cat-file", "describe"]


def test_an_imported_file_that_git_ignores_is_not_clean(repo, helper):
    repo.git("rm", "-q", "--cached", "src/src_helper.py")
    (repo.root / ".gitignore").write_text("src_helper.py\nother.py\n")
    repo.commit()
    (repo.root / "other.py").write_text("nobody imports it")
    helper.write_text("x = 1\n")
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:
        identify(repo.file)
    assert caught.value.paths == ("!! src/src_helper.py",)
    code = identify(repo.file, allow_dirty=True)
    assert b"+++ b/src/src_helper.py" in code.patch
    assert b"nobody imports it" not in code.patch


def test_an_imported_file_that_git_was_told_to_overlook_is_looked_at(repo, helper):
    repo.git("update-index", "--skip-worktree", "src/src_helper.py")
    assert not identify(repo.file).is_dirty
    helper.write_text("x = 2\n")
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:
        identify(repo.file)
    assert caught.value.paths == (".M src/src_helper.py",)


@pytest.mark.parametrize(
    "settings",
    [
        '[tool.setuptools_scm]\nversion_file = "src/src_helper.py"\n',
        '[tool.hatch.build.hooks.vcs]\nversion-file = "src/src_helper.py"\n',
    ],
)
def test_the_file_of_the_version_that_a_build_writes_is_exempt(repo, helper, settings):
    repo.git("rm", "-q", "--cached", "src/src_helper.py")
    (repo.root / ".gitignore").write_text("src_helper.py\n")
    (repo.root / "pyproject.toml").write_text(settings)
    repo.commit()
    helper.write_text("version = '1'\n")
    code = identify(repo.file)
    assert code.exempt == ("!! src/src_helper.py",)


@pytest.fixture
def library(repo, tmp_path, monkeypatch):
    """Another repository, from which the model imports."""
    other = Repo(tmp_path / "labtools", remote="git@example.org:lab/tools.git")
    (other.root / "src" / "src_tools.py").write_text("y = 1\n")
    other.commit()
    monkeypatch.syspath_prepend(str(other.root / "src"))
    repo.file.write_text(f"import src_tools\n{SOURCE}")
    repo.commit()
    return other


def test_a_library_of_another_repository_is_recorded_with_its_commit(repo, library):
    code = identify(repo.file)
    assert not code.is_dirty
    (found,) = code.libraries
    assert found.url == "https://example.org/lab/tools"
    assert found.commit == library.git("rev-parse", "HEAD")
    assert found.files == ("src/src_tools.py",)
    assert code.to_dict()["libraries"][0]["commit"] == found.commit


def test_two_commits_of_a_library_are_two_workflows(repo, library):
    before = identify(repo.file)
    (library.root / "helper.py").write_text("x = 2\n")
    library.commit()
    after = identify(repo.file)
    assert before.url == after.url
    assert before.version != after.version
    assert ".with." in before.version


def test_changed_files_of_a_library_are_refused_if_they_are_imported(repo, library, tmp_path):
    (library.root / "helper.py").write_text("x = 2\n")
    assert not identify(repo.file).is_dirty
    (library.root / "src" / "src_tools.py").write_text("y = 2\n")
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:
        identify(repo.file)
    assert caught.value.paths == (".M labtools:src/src_tools.py",)
    code = identify(repo.file, allow_dirty=True)
    copy = tmp_path / "copy"
    library.git("clone", "-q", str(library.root), str(copy))
    (tmp_path / "library.patch").write_bytes(code.libraries[0].patch)
    subprocess.run(["git", "-C", str(copy), "apply", str(tmp_path / "library.patch")], check=True)
    assert (copy / "src" / "src_tools.py").read_text() == "y = 2\n"
    assert (copy / "helper.py").read_text() == "x = 1\n"


def test_imported_files_that_are_in_no_repository_are_refused_or_kept(repo, tmp_path, monkeypatch):
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "src_loose.py").write_text("z = 1\n")
    monkeypatch.syspath_prepend(str(loose))
    repo.file.write_text(f"import src_loose\n{SOURCE}")
    repo.commit()
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:
        identify(repo.file)
    assert caught.value.paths == ("?? loose:src_loose.py",)
    code = identify(repo.file, allow_dirty=True)
    assert code.libraries[0].commit is None
    assert b"+z = 1" in code.libraries[0].patch


def test_changes_within_a_submodule_are_in_the_patch(repo, tmp_path):
    change_submodule(repo)
    code = identify(repo.file, allow_dirty=True)
    copy = tmp_path / "copy"
    repo.git("clone", "-q", "--recurse-submodules", str(repo.root), str(copy))
    (tmp_path / "code.patch").write_bytes(code.patch)
    subprocess.run(["git", "-C", str(copy), "apply", str(tmp_path / "code.patch")], check=True)
    assert (copy / "library" / "helper.py").read_text() == "x = 5\n"


def test_paths_of_the_project_file_are_exempt_but_never_the_model(repo):
    (repo.root / "pyproject.toml").write_text('[tool.deriva-ml]\ndirty-ignore = ["outputs/", "./notes", "src"]\n')
    (repo.root / "sub").mkdir()
    (repo.root / "sub" / "pyproject.toml").write_text('[tool.deriva-ml]\ndirty-ignore = ["log"]\n')
    inner = repo.root / "sub" / "model.py"
    inner.write_text(SOURCE)
    repo.commit()
    for name in ("outputs/x/1", "notes", "sub/log"):
        (repo.root / name).parent.mkdir(parents=True, exist_ok=True)
        (repo.root / name).write_text("x")
    assert identify(inner).exempt == ("?? notes", "?? outputs/x/1", "?? sub/log")
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:  # the inner project's exemptions are its own
        identify(repo.file)
    assert caught.value.paths == ("?? sub/log",)
    (repo.root / "outputs2").write_text("not below outputs/")
    modify(repo)
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:
        identify(repo.file)
    assert set(caught.value.paths) == {".M src/model.py", "?? outputs2", "?? sub/log"}


@pytest.mark.parametrize(
    "text", ['dirty-ignore = "x"', 'dirty-ignore = ["/etc"]', 'dirty-ignore = ["."]', "dirty-ignore ="]
)
def test_a_wrong_exemption_is_named_with_its_file(repo, text):
    (repo.root / "pyproject.toml").write_text(f"[tool.deriva-ml]\n{text}\n")
    repo.commit()
    with pytest.raises(DerivaMLWorkflowError) as caught:
        identify(repo.file)
    assert caught.value.source == str(repo.root / "pyproject.toml")


def test_outside_a_repository_a_run_is_refused_unless_allowed(tmp_path):
    (tmp_path / "loose").mkdir()
    file = tmp_path / "loose" / "m.py"
    file.write_text(SOURCE)
    with pytest.raises(DerivaMLWorkflowError, match="not in a git repository") as caught:
        identify(file)
    assert "--allow-dirty" in caught.value.hint
    code = identify(file, allow_dirty=True)
    assert (code.url, code.is_dirty, code.root) == ("loose/m.py", True, None)
    assert b"+def train" in code.patch


def test_a_repository_without_a_commit(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path / "new")], check=True)
    file = tmp_path / "new" / "m.py"
    file.write_text(SOURCE)
    with pytest.raises(DerivaMLWorkflowError, match="without a commit"):
        identify(file)
    assert identify(file, allow_dirty=True).root == tmp_path / "new"


def test_a_missing_git_is_named(repo, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DerivaMLWorkflowError, match="git cannot be started") as caught:
        identify(repo.file)
    assert "install git" in caught.value.hint
    assert (
        identify(repo.file, allow_dirty=True).checksum
        == hashlib.sha1(b"blob %d\0" % len(SOURCE) + SOURCE.encode()).hexdigest()
    )


def test_a_broken_repository_is_no_missing_one(repo):
    (repo.root / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(DerivaMLWorkflowError, match="git rev-parse failed"):
        identify(repo.file)


def test_a_worktree_and_a_link_are_the_repository_that_they_belong_to(tmp_path):
    repo = Repo(tmp_path / "p", remote="git@example.org:lab/p.git")
    repo.git("worktree", "add", "-q", str(tmp_path / "tree"))
    code = identify(tmp_path / "tree" / "src" / "model.py")
    assert code.url == f"https://example.org/lab/p/blob/{code.commit}/src/model.py"
    assert code.root == tmp_path / "tree"
    (tmp_path / "link.py").symlink_to(repo.file)
    assert identify(tmp_path / "link.py").url == code.url


def test_a_file_in_a_submodule_is_of_the_submodule(repo, tmp_path):
    Repo(tmp_path / "library")
    repo.git("submodule", "--quiet", "add", str(tmp_path / "library"), "library")
    repo.commit()
    add_untracked(repo)
    code = identify(repo.root / "library" / "src" / "model.py")
    assert code.root == repo.root / "library"


def test_the_working_directory_and_hooks_do_not_matter(repo, tmp_path, monkeypatch):
    Repo(tmp_path / "other")
    expected = identify(repo.file)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert identify(repo.file) == expected


def test_nothing_in_the_repository_is_written(repo):
    os.utime(repo.file, (1, 1))  # git would like to refresh its index
    before = (repo.root / ".git" / "index").read_bytes()
    identify(repo.file)
    assert (repo.root / ".git" / "index").read_bytes() == before


def test_line_ends_that_a_filter_changes_are_clean(repo):
    (repo.root / ".gitattributes").write_text("*.py text eol=crlf\n")
    repo.commit()
    repo.file.unlink()
    repo.git("checkout", "-q", "--", "src/model.py")
    assert b"\r\n" in repo.file.read_bytes()
    assert not identify(repo.file).is_dirty


def notebook(outputs):
    cell = {
        "cell_type": "code",
        "execution_count": 3 if outputs else None,
        "id": "a",
        "metadata": {},
        "outputs": outputs,
    }
    document = {"cells": [{**cell, "source": ["1 + 1"]}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1) + "\n"


def test_a_notebook_is_identified_without_its_outputs(repo):
    file = repo.root / "n.ipynb"
    file.write_text(notebook([]))
    repo.commit()
    clean = identify(file)
    assert clean.checksum == repo.git("hash-object", "n.ipynb")
    file.write_text(notebook([{"output_type": "stream", "name": "stdout", "text": "2"}]))
    ran = identify(file)
    assert (ran.checksum, ran.url, ran.is_dirty) == (clean.checksum, clean.url, False)
    assert ran.is_notebook
    file.write_text(notebook([]).replace("1 + 1", "1 + 2"))
    with pytest.raises(DerivaMLDirtyWorkflowError):
        identify(file)


def test_a_notebook_that_was_committed_with_outputs_is_clean(repo):
    file = repo.root / "n.ipynb"
    file.write_text(notebook([{"output_type": "stream", "name": "stdout", "text": "2"}]))
    repo.commit()
    assert not identify(file).is_dirty


def install(folder, content=SOURCE, recorded=SOURCE):
    site = folder / "lib" / "python3.11" / "site-packages"
    (site / "models").mkdir(parents=True)
    (site / "models" / "m.py").write_text(content)
    info = site / "My_Models-1.0.dist-info"
    info.mkdir()
    digest = base64.urlsafe_b64encode(hashlib.sha256(recorded.encode()).digest()).rstrip(b"=").decode()
    (info / "RECORD").write_text(f"models/__init__.py,,\nmodels/m.py,sha256={digest},{len(recorded)}\n")
    return site / "models" / "m.py"


def test_installed_code_is_named_by_its_distribution(repo, git_calls):
    file = install(repo.root / ".venv")
    code = identify(file)
    assert (code.url, code.version, code.is_dirty) == ("pypi:my-models==1.0/models/m.py", "1.0", False)
    assert git_calls() == []


def test_installed_code_that_was_changed_is_not_clean(tmp_path):
    file = install(tmp_path, content=SOURCE + "# hacked\n")
    with pytest.raises(DerivaMLDirtyWorkflowError) as caught:
        identify(file)
    assert caught.value.paths == (".M models/m.py",)
    assert b"+# hacked" in identify(file, allow_dirty=True).patch


def test_a_real_installed_package_is_clean():
    import pydantic.main

    code = identify(Path(pydantic.main.__file__))
    assert code.url == f"pypi:pydantic=={pydantic.VERSION}/pydantic/main.py"


def test_what_is_no_file_is_refused(tmp_path):
    for name in (tmp_path / "absent.py", tmp_path, Path("<stdin>")):
        with pytest.raises(DerivaMLWorkflowError, match="not in a file"):
            identify(name)
    assert identify(Path("<stdin>"), allow_dirty=True).url == "interactive"


def test_the_record_of_the_code_is_plain_data(repo):
    odd_name(repo)
    json.dumps(identify(repo.file, allow_dirty=True).to_dict()).encode("ascii")


def test_the_file_of_a_model_is_found_through_wrappers():
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*arguments, **keywords):
            return function(*arguments, **keywords)

        return wrapper

    class Model:
        def __call__(self): ...

        def method(self): ...

    here = Path(__file__)
    for model in (
        decorate,
        functools.partial(decorate(install)),
        Model().method,
        functools.partial(decorate(Model.method)),
    ):
        assert file_of(model) == here
    with pytest.raises(DerivaMLWorkflowError, match="not defined in a Python file"):
        file_of(len)


def test_under_a_test_runner_the_calling_file_is_the_test():
    assert calling_file() == Path(__file__)


@pytest.mark.parametrize("start", [["{script}"], ["-m", "script"], ["-c", "import script"], ["-c", "{inline}"]])
def test_the_calling_file_is_the_program(tmp_path, start):
    (tmp_path / "library.py").write_text(
        "from deriva_ml.execution.source import calling_file\ndef call():\n    return calling_file()\n"
    )
    script = tmp_path / "script.py"
    script.write_text("import library\nprint(library.call())\n")
    inline = "from deriva_ml.execution.source import calling_file\nprint(calling_file())"
    arguments = [argument.format(script=script, inline=inline) for argument in start]
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = "<string>" if start[-1] == "{inline}" else str(script)
    assert done.stdout.strip() == expected
