"""Bars for what travels in a run: inputs on their way here, outputs on their way to the catalog."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import UploadProgress
    from deriva_ml.dataset.bag import BagProgress

__all__ = ["TransferBar", "transfer_bar"]


class TransferBar:
    """A line on standard error while something travels: bytes, rate, time left, and which file or how many.

    It is made when the first bytes are told of, so that runs without transfers load nothing and show nothing.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._what = ""

    def on_download(self, what: str, progress: BagProgress) -> None:
        """Show how far an input is."""
        files = f"{what}: {progress.files_done} of {progress.files_total} files"
        self._show(what, files, progress.bytes_done, progress.bytes_total)
        if progress.files_done == progress.files_total:
            self.close()

    def on_upload(self, progress: UploadProgress) -> None:
        """Show how far the outputs are."""
        self._show("outputs", progress.file_name, progress.bytes_completed, progress.bytes_total)
        if progress.bytes_completed >= progress.bytes_total:
            self.close()

    def _show(self, what: str, text: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if self._task is None or what != self._what:
            self._what, self._task = what, self._bar.add_task(text, total=total)
        self._bar.update(self._task, description=text, completed=done, total=total)

    def close(self) -> None:
        """Take the bar away; the next transfer shows another."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


def _bar() -> Any:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    from deriva_ml.cli.terminal import console

    columns = (
        BarColumn(10),
        DownloadColumn(binary_units=True, table_column=Column(no_wrap=True)),
        TransferSpeedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        # what is named last is cut off first where the terminal is narrow
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
    )
    return Progress(*columns, console=console(stderr=True), transient=True)


@contextmanager
def transfer_bar() -> Iterator[TransferBar | None]:
    """A bar for the time of a command; None where nobody looks at standard error."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = TransferBar()
    try:
        yield bar
    finally:
        bar.close()
