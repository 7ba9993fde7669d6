"""Errors at the boundary of a command: a few lines, and an exit code."""

from __future__ import annotations

import io
import logging

import pytest

from deriva_ml.cli.errors import INTERRUPTED, exit_code, guarded, show_error
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLModelError,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DerivaMLModelError("x"), 1),
        (DerivaMLConfigurationError("x"), 2),
        (DerivaMLUploadError("x"), 4),
        (DerivaMLUnreachable("x"), 5),
        (KeyboardInterrupt(), INTERRUPTED),
        (RuntimeError("x"), 1),
    ],
)
def test_the_error_knows_the_exit_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise error

    assert exit_code(error) == code
    assert guarded(fail) == code
    assert "Traceback" not in capsys.readouterr().err


def test_debug_shows_the_traceback() -> None:
    out = io.StringIO()
    show_error(ValueError("wrong"), debug=True, stream=out)
    assert "Traceback" in out.getvalue() or "ValueError: wrong" in out.getvalue()
    assert out.getvalue().rstrip().endswith("--debug shows where it happened")


def test_an_error_of_ours_is_shown_with_what_to_do() -> None:
    out = io.StringIO()
    show_error(DerivaMLConfigurationError("No x.", source="here", allowed=["y"], hint="take y"), stream=out)
    assert out.getvalue() == "Error: No x.\n  from:    here\n  allowed: y\n  do:      take y\n"


def test_a_log_that_cannot_be_written_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    logger = logging.getLogger("full")
    handler = logging.StreamHandler(Full())
    logger.addHandler(handler)
    logger.propagate = False

    def command() -> int:
        logger.error("something")
        return 0

    try:
        assert guarded(command) == 0
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().err == ""
    assert logging.raiseExceptions


def test_a_secret_is_not_shown_with_an_error() -> None:
    out = io.StringIO()
    show_error(DerivaMLConfigurationError("No.", source="override +a.password=hunter2"), debug=True, stream=out)
    assert "hunter2" not in out.getvalue()
    assert "password=***" in out.getvalue()
