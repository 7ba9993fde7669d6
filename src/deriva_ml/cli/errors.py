"""What a command does with an error: a few lines on standard error, and an exit code. The same for every command."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from deriva_ml.cli.streams import patient_streams
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLException

__all__ = ["INTERRUPTED", "TERMINATED", "Terminated", "exit_code", "guarded", "show_error"]

INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """The process was told to end (SIGTERM): an interruption like any other, with an exit code of its own."""

    exit_code = TERMINATED


def exit_code(error: BaseException) -> int:
    """The code that a command exits with: the error knows it; an error that is not ours means that the run failed."""
    code = getattr(error, "exit_code", INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)
    return code if isinstance(code, int) else 1


def show_error(error: BaseException, *, debug: bool = False, stream: TextIO | None = None) -> None:
    """Write an error in a few lines, without secrets; with ``debug``, after its traceback.

    Args:
        error: The error.
        debug: Show the traceback.
        stream: Where to write; standard error by default.
    """
    from deriva_ml.execution.environment import mask

    out = stream or sys.stderr
    if debug:
        print(mask("".join(traceback.format_exception(error))), file=out, end="")
    if isinstance(error, KeyboardInterrupt):
        print(error_text(error) or "Interrupted.", file=out)
        return
    print(f"Error: {mask(_text(error))}", file=out)


def _text(error: BaseException) -> str:
    if isinstance(error, DerivaMLException):
        return error_text(error)
    if isinstance(error, SystemExit):
        return f"The program called sys.exit({error.code!r}).\n  do:      --debug shows where it happened"
    text = f"{type(error).__name__}: {error_text(error)}".removesuffix(": ")
    return f"{text}\n  do:      this is unexpected; --debug shows where it happened"


def guarded(command: Callable[[], int], *, debug: bool = False, is_process: bool = False) -> int:
    """Run the body of a command; whatever it raises becomes a message and an exit code.

    A reader of its output that leaves early (``head``) changes neither what the command does nor its exit code.

    Args:
        command: The body; returns the exit code.
        debug: Show tracebacks.
        is_process: The process is this command, and ends with it.
    """
    with patient_streams(), _quiet_logging(), _lasting_objects(is_process):
        try:
            with _termination_interrupts():
                return command()
        except BaseException as error:  # noqa: BLE001  # the process ends here: nobody is above
            show_error(error, debug=debug)
            return exit_code(error)


@contextmanager
def _lasting_objects(is_process: bool) -> Iterator[None]:
    """Spare a process that is one command the search for garbage among what it will need to its end.

    Nearly all that it makes until it calls a model (which turns the collector on) are modules and classes, and looking
    through them, at the start and once more when the interpreter ends, is a sixth of the time of a short command.
    """
    if not is_process:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """A log that cannot be written (the disk is full) is no reason for a traceback of logging's own."""
    before = logging.raiseExceptions
    logging.raiseExceptions = False
    try:
        yield
    finally:
        logging.raiseExceptions = before


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Within the block SIGTERM, which batch systems send, ends what runs as Ctrl-C does: the run becomes Aborted."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    owner = os.getpid()

    def stop(number: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() == owner:
            raise Terminated("Terminated (SIGTERM).")
        os.kill(os.getpid(), number)  # a process that the model forked ends as if nothing had been changed

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
