"""What a child prints: kept in files byte for byte, and shown to whoever wants to see it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

__all__ = ["Echo", "Printed", "Veil"]

Veil = Callable[[bytes], bytes]
"""Changes what is kept of a line, which ends with its line end: to leave out what must not be written down."""

Echo = Callable[[str, bytes], None]
"""Is given what the child prints as it comes: the name of the file that keeps it, and the bytes."""

_READ = 1 << 16
_LONGEST_LINE = 1 << 20


class Printed:
    """Takes what a child prints.

    Args:
        folder: Where it is kept.
        names: The files, one for each source.
        sources: File descriptors to read from.
        echo: Is given it too.
        veil: Changes what is kept, line by line; by default it is kept byte for byte.

    Attributes:
        lost: By file, why it could not be kept whole.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        sources: Sequence[int],
        echo: Echo | None = None,
        veil: Veil | None = None,
    ) -> None:
        self._folder = folder
        self._names = dict(zip(sources, names, strict=True))
        self._echo = echo
        self._veil = veil
        self._begun: dict[int, bytes] = {}
        self._files: dict[int, IO[bytes]] = {}
        self._stack = ExitStack()
        self.lost: dict[str, str] = {}

    def __enter__(self) -> Self:
        for source, name in self._names.items():
            os.set_blocking(source, False)
            self._files[source] = self._stack.enter_context((self._folder / name).open("ab", buffering=0))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def take(self, source: int) -> bool:
        """Take what is there; whether more may come."""
        try:
            content = os.read(source, _READ)
        except BlockingIOError:
            return True
        if not content:
            return False
        self._keep(source, content)
        if self._echo is not None:
            self._echo(self._names[source], content)
        return True

    def _keep(self, source: int, content: bytes, *, at_end: bool = False) -> None:
        """Keep it, with a veil only in whole lines; a line that does not end is cut where it gets too long."""
        if self._veil is None:
            self._write(source, content)
            return
        held = self._begun.pop(source, b"") + content
        whole, end, rest = held.rpartition(b"\n")
        if at_end or len(rest) > _LONGEST_LINE:
            whole, end, rest = held, b"", b""
        if rest:
            self._begun[source] = rest
        lines = (whole + end).splitlines(keepends=True)
        self._write(source, b"".join(map(self._veil, lines)))

    def _write(self, source: int, content: bytes) -> None:
        """Write it down; a full disk must not hold up the child, which would wait for its output to be taken."""
        file = self._files.get(source)
        if file is None:
            return
        try:
            while content:
                content = content[file.write(content) :]
        except OSError as error:
            del self._files[source]
            self.lost[self._names[source]] = error.strerror or str(error)

    def drain(self) -> None:
        """Take what was printed before the end; whoever still holds the other end is not waited for."""
        for source in self._names:
            while True:
                try:
                    content = os.read(source, _READ)
                except BlockingIOError:
                    break
                if not content:
                    break
                self._keep(source, content)
                if self._echo is not None:
                    self._echo(self._names[source], content)
            self._keep(source, b"", at_end=True)
