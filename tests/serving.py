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


class Server:
    """A folder served by the command, which may be stopped, killed and started again.

    Args:
        folder: The folder.
        secret: The file for the token; the same token is taken again as long as it is there.

    Attributes:
        port: Where it is served now.
        process: The command.
    """

    def __init__(self, folder: Path, secret: Path) -> None:
        self.folder = folder
        self.secret = secret
        self.start()

    def start(self, port: int = 0) -> None:
        """Serve the folder, on a port that is free or on this one."""
        words = ["serve", "--root", str(self.folder), "--port", str(port), "--token-file", str(self.secret)]
        self.process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+:(\d+)", line)
        assert found is not None, (line, self.process.stderr.read() if self.process.stderr else "")
        self.port = int(found[1])

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        self.process.send_signal(number)
        self.process.communicate()

    @property
    def url(self) -> str:
        """Where it is served now."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credential(self) -> dict[str, str]:
        """Who may do everything."""
        return {"bearer-token": self.secret.read_text().strip()}
