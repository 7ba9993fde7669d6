"""Flags and small things that the commands about catalogs share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Commands", "add_json", "add_root", "folder_of", "progress_bar", "step_bar"]

Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_root(command: argparse.ArgumentParser) -> None:
    """Add ``--root``."""
    command.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="the catalog folder")


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help="print JSON, for programs")


def folder_of(arguments: argparse.Namespace) -> Path:
    """The folder that ``--root`` names."""
    root: Path = arguments.root
    return root.expanduser().absolute()


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes on standard error, where somebody looks at it.

    Args:
        title: What is going on.

    Yields:
        What is to be called with the bytes done and those to be done.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from deriva_ml.cli.printer import console

    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def step_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar of things on standard error, where somebody looks at it, with what is being done.

    Yields:
        What is to be called with what is being done, the number of things done, and that of those to be done; 0 while
        that is not known.
    """
    if not sys.stderr.isatty():
        yield lambda _what, _done, _all: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from deriva_ml.cli.printer import console

    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
