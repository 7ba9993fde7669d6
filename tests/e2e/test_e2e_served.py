"""A folder that is served: the same command from elsewhere, and any Deriva client reads what it recorded."""

from __future__ import annotations

import dataclasses
import re
import signal
import time
from typing import Any

import pytest
from deriva.core import DerivaServer


@pytest.fixture
def server(project: Any, tmp_path: Any) -> Any:
    """A process that serves the project's catalog folder, its URL and its token."""
    token_file = tmp_path / "token"
    words = ["serve", "--root", str(project.root), "--port", "0", "--token-file", str(token_file)]
    process = project.start("deriva-ml-catalog", *words)
    try:
        line = ""
        for _ in range(100):
            line = process.stdout.readline()
            if "http://" in line:
                break
            time.sleep(0.05)
        yield process, re.search(r"http://\S+", line)[0], token_file.read_text().strip()  # type: ignore[index]
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def served(server: Any) -> Any:
    """The URL and the token of the project's catalog folder."""
    return server[1:]


def test_a_run_through_a_served_folder_is_read_by_the_public_client(project: Any, served: Any) -> None:
    url, token = served
    elsewhere = dataclasses.replace(project, home=project.home.parent / "elsewhere", token=token)
    elsewhere.home.mkdir()
    done = elsewhere.run("deriva-ml-run", "+experiment=on_images", "--host", url)
    assert done.code == 0, done.err
    assert f"--host {url}" in done.out
    server = DerivaServer("http", url.removeprefix("http://"), credentials={"bearer-token": token})
    paths = server.connect_ermrest("1").getPathBuilder().schemas["deriva-ml"].tables
    rows = [row for row in paths["Execution"].entities() if row["Description"] == "Use {images}"]
    assert [row["Status"] for row in rows] == ["Completed"]
    refused = dataclasses.replace(elsewhere, token="wrong").run("deriva-ml-run", "--host", url)
    assert refused.code == 2
    assert "not authorized" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize(("fail_at", "code"), [("-1", 4), ("0.1", 1)])
def test_a_server_that_is_lost_while_the_model_runs_costs_nothing(
    project: Any, server: Any, fail_at: str, code: int
) -> None:
    service, url, token = server
    elsewhere = dataclasses.replace(project, home=project.home.parent / "elsewhere", token=token)
    elsewhere.home.mkdir()
    words = ["--host", url, "model_config.sleep=2", f"model_config.fail_at={fail_at}"]
    process = elsewhere.start("deriva-ml-run", *words)
    while not (project.folder / "started").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    service.send_signal(signal.SIGKILL)
    _out, err = process.communicate(timeout=80)
    assert process.returncode == code, err
    assert re.search(rf"deriva-ml-upload --execution \S+ --host {re.escape(url)}", err), err
    assert ("diverged at lr=0.1" in err) is (code == 1)
    assert err.count("cannot be told what becomes of") == 1, err
    assert err.count("trying again for up to") == 1, err
    assert len(err.splitlines()) <= 8, err
