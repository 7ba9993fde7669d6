"""Flags and small things that the commands about catalogs share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.catalog.client import CatalogClient
    from deriva_ml.connect import Connection

__all__ = [
    "Commands",
    "add_copying",
    "add_json",
    "add_root",
    "credential_in",
    "folder_of",
    "known_catalog",
    "place_and_catalog",
    "progress_bar",
    "step_bar",
]

Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_root(command: argparse.ArgumentParser) -> None:
    """Add ``--root``."""
    command.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="the catalog folder")


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_copying(command: argparse.ArgumentParser) -> None:
    """Add what every command takes that makes a catalog, SRC, into another one, DST."""
    for side, flag in (("SRC", "source"), ("DST", "target")):
        command.add_argument(
            f"--{flag}-token-file",
            type=Path,
            metavar="FILE",
            help=f"the token for {side} is in this file, where it is not that of DERIVA_ML_TOKEN",
        )
    command.add_argument(
        "--restart",
        action="store_true",
        help="begin an unfinished copy anew though the process that began it is on another machine",
    )


def folder_of(arguments: argparse.Namespace) -> Path:
    """The folder that ``--root`` names."""
    root: Path = arguments.root
    return root.expanduser().absolute()


def known_catalog(connection: Connection, catalog_id: str, source: str) -> CatalogClient:
    """A catalog that is there.

    Args:
        connection: The way to its service.
        catalog_id: The catalog, or a snapshot of it.
        source: What named it, for the error.

    Raises:
        DerivaMLConfigurationError: There is none of this id, or it was deleted.
    """
    from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLConfigurationError

    client = connection.catalog(catalog_id)
    try:
        connection.catalog(client.catalog_id).info()
    except DerivaMLCatalogError as error:
        if error.status not in {404, 409}:
            raise
        raise DerivaMLConfigurationError(
            f"There is no catalog {client.catalog_id} at {connection.place}.",
            source=source,
            allowed=connection.catalog_ids(),
            hint="name one that is there",
        ) from error
    return client


def place_and_catalog(text: str) -> tuple[str, str | None]:
    """A place, and the catalog in it, if one is named."""
    place, mark, catalog_id = text.rpartition("#")
    return (place, catalog_id) if mark and place else (text, None)


def credential_in(file: Path | None) -> dict[str, Any] | None:
    """The token in a file, as a credential."""
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    if file is None:
        return None
    try:
        token = file.expanduser().read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise DerivaMLConfigurationError(f"Cannot read the token file {file}: {error.strerror}") from error
    if not token:
        raise DerivaMLConfigurationError(f"The token file is empty: {file}")
    return {"bearer-token": token}


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

    from deriva_ml.cli.terminal import console

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

    from deriva_ml.cli.terminal import console

    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
