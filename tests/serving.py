"""Folders served by the installed command, in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-m", "deriva_ml.cli.catalog"]


@dataclass(frozen=True)
class Served:
    """A folder that is being served.

    Attributes:
        url: Where.
        lines: What the command printed as it started.
        process: The command.
    """

    url: str
    lines: list[str]
    process: subprocess.Popen[str]

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    @property
    def token(self) -> str:
        """What the second line says of the token."""
        return self.lines[1].removeprefix("Token: ").strip()


@contextmanager
def served(folder: Path, *more: str) -> Iterator[Served]:
    """Serve a folder while the block lasts; it must end quietly when it is told to."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--root", str(folder), "--port", "0", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        url = re.search(r"https?://\S+", lines[0])
        assert url, (lines, process.stderr.read() if process.stderr else "")
        yield Served(url[0], lines, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            _, errors = process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
    assert process.returncode == 0, errors
    assert errors == ""
