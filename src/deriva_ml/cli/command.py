"""A command of the package: its flags, its body, and what becomes of an error; the same for every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

from deriva_ml.cli.errors import guarded
from deriva_ml.core.values import dataclass

__all__ = ["Command"]


@dataclass(frozen=True)
class Command:
    """A command; to call it is to run it.

    Attributes:
        parser: Makes the parser of its flags, ``--debug`` among them.
        body: What it does with them; returns the exit code.
    """

    parser: Callable[[], argparse.ArgumentParser]
    body: Callable[[argparse.Namespace], int]

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command.

        Args:
            argv: Arguments; by default those of the process.

        Returns:
            The exit code.
        """
        flags = self.parser().parse_args(argv)
        return guarded(partial(self.body, flags), debug=flags.debug, is_process=argv is None)
