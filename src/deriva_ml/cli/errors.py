"""What a command does with an error: a few lines on standard error, and an exit code. The same for every command."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TextIO

__all__ = ["INTERRUPTED", "exit_code", "guarded", "show_error"]

INTERRUPTED = 130


def exit_code(error: BaseException) -> int:
    """The code that a command exits with: the error knows it; an error that is not ours means that the run failed."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    code = getattr(error, "exit_code", 1)
    return code if isinstance(code, int) else 1


def show_error(error: BaseException, *, debug: bool = False, stream: TextIO | None = None) -> None:
    """Write an error in a few lines; with ``debug``, after its traceback.

    Args:
        error: The error.
        debug: Show the traceback.
        stream: Where to write; standard error by default.
    """
    out = stream or sys.stderr
    if debug:
        traceback.print_exception(error, file=out)
    if isinstance(error, KeyboardInterrupt):
        print("Interrupted.", file=out)
        return
    print(f"Error: {_text(error)}", file=out)


def _text(error: BaseException) -> str:
    if hasattr(error, "exit_code"):
        return str(error)
    return f"{type(error).__name__}: {error}\n  do:      this is unexpected; --debug shows where it happened"


def guarded(command: Callable[[], int], *, debug: bool = False) -> int:
    """Run the body of a command; whatever it raises becomes a message and an exit code.

    Args:
        command: The body; returns the exit code.
        debug: Show tracebacks.
    """
    try:
        return command()
    except BrokenPipeError:
        # The reader of a pipe (head, less) left and has what it wanted; closing here keeps the interpreter's end quiet.
        sys.stdout = None
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the process ends here: nobody is above
        show_error(error, debug=debug)
        return exit_code(error)
