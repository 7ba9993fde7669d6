"""A served catalog that is stopped, killed, restarted or moved while a run of the command works with it."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.line import line_to
from tests.serving import Server

MODEL = '''

def careful(lr: float = 0.1, catches: bool = True, *, ml_instance=None, execution=None) -> None:
    """Ask a catalog that is away."""
    execution.asset_file_path("Execution_Asset", "before.txt").write_text("before")
    Path("started").touch()
    while not Path("go").exists():
        time.sleep(0.05)
    try:
        list(ml_instance.get_table_as_dict("Image"))
    except Exception as error:
        if not catches:
            raise
        execution.asset_file_path("Execution_Asset", "away.txt").write_text(type(error).__name__)
'''
CONFIG = """
from models import careful
models(builds(careful, populate_full_signature=True, zen_partial=True), name="careful")
"""


@dataclass
class Away:
    """A project that works from elsewhere with a folder that is served."""

    project: Any
    server: Server

    @property
    def host(self) -> list[str]:
        return ["--host", self.server.url]

    def start(self, *words: str) -> Any:
        """Start a run, and wait until its model works."""
        started = self.project.folder / "started"
        started.unlink(missing_ok=True)
        process = self.project.start("deriva-ml-run", *self.host, *words)
        while not started.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        return process

    def run(self, command: str, *words: str) -> Any:
        return self.project.run(command, *self.host, *words)

    def runs(self) -> list[Any]:
        """What the catalog has of the runs that were started here, the newest first."""
        done = self.run("deriva-ml-show", "--json")
        assert done.code == 0, done.err
        return [item for item in json.loads(done.out) if item["record"]["description"] != "load"]

    def report(self, rid: str) -> Any:
        done = self.run("deriva-ml-show", "--json", rid)
        assert done.code == 0, done.err
        return json.loads(done.out)


@pytest.fixture
def away(project: Any, tmp_path: Path) -> Iterator[Away]:
    server = Server(project.root, tmp_path / "token")
    home = tmp_path / "elsewhere"
    home.mkdir()
    try:
        yield Away(replace(project, home=home, token=server.credential["bearer-token"]), server)
    finally:
        server.kill()


def _add_model(folder: Path) -> None:
    for name, text in (("models.py", MODEL), ("configs/all.py", CONFIG)):
        with (folder / "src" / name).open("a") as file:
            file.write(text)


def names(report: Any) -> list[str]:
    return sorted(use["file_name"] for use in report["output_assets"])


def kept(report: Any) -> set[str]:
    return {use["file_name"] for use in report["metadata"]}


def finish(away: Away, rid: str) -> Any:
    """Finish a run, twice, with the command that its end has named; what the catalog has of it."""
    for found in (f"{rid}: ", "Nothing to upload"):
        done = away.run("deriva-ml-upload")
        assert (done.code, found in done.out) == (0, True), (done.out, done.err)
        report = away.report(rid)
        assert report["record"]["upload_state"] == "uploaded"
        assert len(names(report)) == len(set(names(report)))
    return report


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_goes_on_without_its_catalog_and_is_finished_when_it_is_back(away: Away, number: int) -> None:
    process = away.start("+experiment=on_images", "model_config.sleep=3")
    away.server.kill(number)
    before = time.monotonic()
    _out, err = process.communicate(timeout=80)
    assert time.monotonic() - before < 50
    assert process.returncode == 4, err
    [rid] = re.findall(rf"deriva-ml-upload --execution (\S+) {' '.join(away.host)}", err)
    assert err.count("trying again for up to 31 s") == 1, err
    meanwhile = away.run("deriva-ml-show")
    assert meanwhile.code == 5
    assert re.search(rf"{rid} .* Completed +3 file\(s\), 3 row\(s\), its status", meanwhile.out), meanwhile.out
    assert away.run("deriva-ml-upload").code == 5
    away.server.start(away.server.port)
    [item] = away.runs()
    assert (item["record"]["status"], item["record"]["upload_state"]) == ("Completed", "failed")
    report = finish(away, rid)
    record = report["record"]
    assert record["status"] == "Completed"
    assert record["stop_time"] > record["start_time"]
    assert 3 <= float(re.search(r"([\d.]+)sec", record["duration"])[1]) < 15  # type: ignore[index]
    assert names(report) == ["weights.txt"]
    assert {"resources.json", "stderr.txt"} <= kept(report)
    assert [feature["count"] for feature in report["features"]] == [3]


def test_a_server_that_is_restarted_while_the_model_runs_is_not_noticed(away: Away) -> None:
    process = away.start("+experiment=on_images", "model_config.sleep=2")
    away.server.kill()
    away.server.start(away.server.port)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "cannot be" not in err
    [item] = away.runs()
    assert names(away.report(item["record"]["execution_rid"])) == ["weights.txt"]


def test_a_sweep_goes_on_with_a_server_that_is_restarted_on_its_way(away: Away) -> None:
    process = away.start("-m", "model_config.lr=1,2", "model_config.sleep=1")
    away.server.kill()
    away.server.start(away.server.port)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    runs = away.runs()
    assert [item["record"]["status"] for item in runs] == ["Completed"] * 3
    assert [item["jobs"] for item in runs if item["jobs"]] == [2]


@pytest.mark.slow
def test_a_sweep_whose_catalog_does_not_come_back_is_closed_by_the_next_command(away: Away) -> None:
    process = away.start("-m", "model_config.lr=1,2", "model_config.sleep=1")
    away.server.kill()
    _out, err = process.communicate(timeout=80)
    assert process.returncode == 1, err  # the second job could not begin
    away.server.start(away.server.port)
    done = away.run("deriva-ml-upload")
    assert done.code == 0, done.err
    states = {bool(item["jobs"]): item["record"] for item in away.runs()}
    assert (states[True]["status"], states[True]["upload_state"]) == ("Failed", "uploaded")
    assert (states[False]["status"], states[False]["upload_state"]) == ("Completed", "uploaded")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_interrupted_while_its_catalog_is_away(away: Away, number: int, code: int) -> None:
    process = away.start("model_config.sleep=60")
    away.server.kill()
    process.send_signal(number)
    before = time.monotonic()
    _out, err = process.communicate(timeout=30)
    assert time.monotonic() - before < 10
    assert process.returncode == code
    [rid] = re.findall(r"deriva-ml-upload --execution (\S+) --host", err)
    away.server.start(away.server.port)
    report = finish(away, rid)
    record = report["record"]
    assert (record["status"], names(report)) == ("Aborted", ["weights.txt"])
    assert record["stop_time"] > record["start_time"]


def test_an_interruption_does_not_wait_for_a_model_that_waits_for_its_catalog(away: Away) -> None:
    _add_model(away.project.folder)
    process = away.start("--allow-dirty", "model_config=careful")
    away.server.kill()
    (away.project.folder / "go").touch()
    while "trying again for up to" not in process.stderr.readline():
        assert process.poll() is None
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert time.monotonic() - before < 12
    assert process.returncode == 130


def test_a_run_that_is_killed_while_its_catalog_is_away(away: Away) -> None:
    process = away.start("model_config.sleep=60")
    away.server.kill()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    away.server.start()  # under another address: it is the same catalog
    [record] = [item["record"] for item in away.runs()]
    assert (record["status"], record["upload_state"]) == ("Aborted", "pending")
    assert "is gone" in record["status_detail"]
    report = finish(away, record["execution_rid"])
    assert names(report) == ["weights.txt"]


@pytest.mark.slow
@pytest.mark.parametrize(("catches", "code", "status"), [(True, 4, "Completed"), (False, 1, "Failed")])
def test_a_model_that_asks_a_catalog_that_is_away_hears_so(away: Away, catches: bool, code: int, status: str) -> None:
    folder = away.project.folder
    _add_model(folder)
    process = away.start("--allow-dirty", "model_config=careful", f"model_config.catches={catches}")
    away.server.kill()
    (folder / "go").touch()
    _out, err = process.communicate(timeout=90)
    assert process.returncode == code, err
    assert ("raised DerivaMLUnreachable" in err) is not catches
    [rid] = re.findall(r"deriva-ml-upload --execution (\S+) --host", err)
    away.server.start(away.server.port)
    report = finish(away, rid)
    assert report["record"]["status"] == status
    assert names(report) == (["away.txt", "before.txt"] if catches else ["before.txt"])
    assert ("DerivaMLUnreachable" in str(report["record"]["status_detail"])) is not catches


@pytest.mark.slow
def test_a_catalog_that_is_lost_while_the_outputs_are_uploaded(away: Away) -> None:
    process = away.start("+experiment=on_images", "model_config.sleep=60")
    away.server.kill()
    process.send_signal(signal.SIGINT)
    process.communicate()
    away.server.start()
    with line_to(away.server.port) as line:
        gone: list[bytes] = []

        def lose(content: bytes) -> bool:
            if b"Execution_Asset_Execution" in content:
                gone.append(content)
            return bool(gone)

        line.lose = lose
        lost = away.project.run("deriva-ml-upload", "--host", line.url)
        assert lost.code == 4, lost.err
        assert "repeat this command" in lost.err
        gone.clear()
        line.lose = lambda _content: False
        done = away.project.run("deriva-ml-upload", "--host", line.url)
        assert done.code == 0, done.err
    [item] = away.runs()
    assert names(away.report(item["record"]["execution_rid"])) == ["weights.txt"]


@pytest.mark.slow
def test_a_catalog_that_is_away_from_the_start_leaves_nothing_behind(away: Away) -> None:
    away.server.kill()
    for command in ("deriva-ml-run", "deriva-ml-upload", "deriva-ml-show"):
        done = away.run(command)
        assert done.code == 5, done.err
        assert "Connection refused" in done.err
        assert "trying again for up to 4 s" in done.err
    left = [path for path in away.project.home.rglob("*") if path.name in {"journal.db", "execution"}]
    assert left == []


@pytest.mark.slow
def test_a_slow_line_takes_its_time(away: Away) -> None:
    with line_to(away.server.port) as line:
        line.delay = 0.05
        done = away.project.run("deriva-ml-run", "--host", line.url, "+experiment=on_images")
    assert done.code == 0, done.err
    assert "Completed" in done.out


def test_a_token_that_is_not_known_any_more_is_said_and_loses_nothing(away: Away) -> None:
    process = away.start("model_config.sleep=60")
    away.server.kill()
    process.send_signal(signal.SIGINT)
    process.communicate()
    away.server.secret.unlink()
    away.server.start()
    refused = away.run("deriva-ml-upload")
    assert refused.code == 2
    assert "DERIVA_ML_TOKEN" in refused.err
    away.project = replace(away.project, token=away.server.credential["bearer-token"])
    [item] = away.runs()
    assert names(finish(away, item["record"]["execution_rid"])) == ["weights.txt"]


def test_a_folder_that_is_moved_away_while_the_model_runs(project: Any) -> None:
    process = project.start("deriva-ml-run", "+experiment=on_images", "model_config.sleep=1")
    while not (project.folder / "started").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    project.root.rename(project.root.with_name("moved"))
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert "is not there any more" in err
    assert not project.root.exists()
    [rid] = re.findall(r"deriva-ml-upload --execution (\S+)$", err, re.MULTILINE)
    meanwhile = project.run("deriva-ml-show")
    assert (meanwhile.code, rid in meanwhile.out) == (5, True)
    assert project.run("deriva-ml-upload").code == 5
    project.root.with_name("moved").rename(project.root)
    assert project.run("deriva-ml-upload").code == 0
    report = project.json(rid)
    assert (report["record"]["status"], report["record"]["upload_state"]) == ("Completed", "uploaded")
    assert names(report) == ["weights.txt"]
