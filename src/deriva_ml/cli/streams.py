"""Standard output whose reader may leave: what is written to a closed pipe is dropped, and the work goes on."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

__all__ = ["patient_streams"]


class _Patient(io.FileIO):
    """A descriptor that turns into the null device when its reader has gone."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in {errno.EPIPE, errno.EIO}:  # a pipe without a reader, a terminal that was closed
                raise
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return memoryview(data).nbytes


def _patient(stream: TextIO | None) -> TextIO:
    if stream is None:  # the caller closed it (>&-)
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - lives as long as the command
    stream.flush()
    raw = _Patient(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=raw.isatty()
    )


@contextmanager
def patient_streams() -> Iterator[None]:
    """Within the block, a model or a command that prints into a closed pipe is not disturbed by it.

    Streams that somebody has replaced (a test, a notebook) are left as they are.
    """
    before = sys.stdout, sys.stderr
    with suppress(OSError, ValueError):
        if sys.stdout is sys.__stdout__:
            sys.stdout = _patient(sys.stdout)
        if sys.stderr is sys.__stderr__:
            sys.stderr = _patient(sys.stderr)
            if isinstance(sys.stderr, io.TextIOWrapper):
                sys.stderr.reconfigure(line_buffering=True)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before
