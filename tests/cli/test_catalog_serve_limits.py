"""No request of one client keeps a served folder from answering the others."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import requests
from tests.server.test_limits import SLOW, fill


def test_a_slow_query_and_an_endless_pattern_end_in_time(tmp_path: Path) -> None:
    fill(tmp_path / "folder", 3000)
    token = tmp_path / "token"
    command = [sys.executable, "-m", "deriva_ml.cli.catalog", "serve", "--root", str(tmp_path / "folder")]
    process = subprocess.Popen(
        [*command, "--port", "0", "--token-file", str(token), "--time-limit", "0.5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = next(word for word in process.stdout.readline().split() if word.startswith("http"))
        process.stdout.readline(), process.stdout.readline()
        headers = {"authorization": f"Bearer {token.read_text().strip()}"}
        started = time.monotonic()
        slow = requests.get(url + SLOW, headers=headers, timeout=20)
        assert (slow.status_code, "Query run time limit exceeded." in slow.text) == (400, True)
        endless = requests.get(
            f"{url}/ermrest/catalog/1/entity/s:T/a::regexp::{'%28x%2B%29%2B%24%7C%28x%2A%29%2Ay'}?limit=1",
            headers=headers,
            timeout=20,
        )
        assert endless.status_code == 200
        never = requests.get(
            f"{url}/ermrest/catalog/1/entity/s:T/a::regexp::%28x%2Ax%2A%29%2Ay", headers=headers, timeout=20
        )
        assert never.status_code in (200, 400)
        assert time.monotonic() - started < 10
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
