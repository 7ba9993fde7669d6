"""``create-demo-catalog``: load the handwritten digits into a catalog of this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deriva_ml.cli.command import Command
from deriva_ml.cli.place import add_place

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="create-demo-catalog",
        description="Load the 1,797 handwritten digits that scikit-learn carries into a catalog, which is made if it "
        "does not exist. Their RIDs are the same in every demo catalog.",
        epilog="Exit codes: 0 done, or the demonstration was there already; 2 the request was wrong.",
        allow_abbrev=False,
    )
    add_place(out)
    out.add_argument("--debug", action="store_true", help="show tracebacks")
    return out


def _create(flags: argparse.Namespace) -> int:
    from deriva_ml.core.config import place_flags
    from deriva_ml.demo.loader import COMPLETE, SPLIT, TESTING, TRAINING, VERSION, load_demo

    with _bar() as tell:
        demo = load_demo(flags.host, flags.catalog, progress=tell)
    where = f"catalog {demo.catalog_id} at {demo.place}"
    if demo.execution_rid is None:
        print(f"The demonstration is there already: {demo.images} images in {where}.")
    else:
        print(f"Loaded {demo.images} images of handwritten digits into {where}.")
    print(f"Datasets, each in version {VERSION}: Complete {COMPLETE}, Split {SPLIT} of Training {TRAINING} and "
          f"Testing {TESTING}.")  # fmt: skip
    place = place_flags(flags.host, flags.catalog)
    print(f"Next: deriva-ml-run +experiment=digits_logistic{place}")
    return 0


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error that appears only where there is a terminal, and is gone at the end."""
    from rich.progress import BarColumn, Progress, TextColumn

    from deriva_ml.cli.terminal import console

    out = console(stderr=True)
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield tell


main = Command(parser, _create)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
