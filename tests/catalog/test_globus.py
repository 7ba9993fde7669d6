"""A login that nobody answers ends with an error that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from deriva_ml import DerivaML
from deriva_ml.core.exceptions import DerivaMLAuthenticationError
try:
    DerivaML.globus_login("localhost.invalid")
except DerivaMLAuthenticationError as error:
    print(f"REFUSED {error}")
"""


def test_a_login_without_an_answer_fails_with_the_way_out(tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environ,
        check=True,
    )
    assert "REFUSED The login at localhost.invalid failed" in done.stdout
    assert "deriva-globus-auth-utils login --host localhost.invalid" in done.stdout
