"""Processes that load everything once and, for each line that they read, do work in a copy of themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["asking", "serve"]


@contextmanager
def asking(module: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Callable[..., int]]:
    """Start a module as a harness; gives what has a piece of work done, and tells the exit code of the copy.

    Args:
        module: The module.
        arguments: Its arguments.
        environ: Environment variables that it has beside those of this process.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environ or {})},
        cwd=Path(__file__).parents[1],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    out, into = process.stdout, process.stdin

    def work(**what: Any) -> int:
        into.write(json.dumps(what) + "\n")
        into.flush()
        return int(out.readline())

    with process:
        yield work
        into.close()


def serve(work: Callable[[dict[str, Any]], object]) -> None:
    """The harness's side: do each piece of work in a copy, and say its exit code.

    Args:
        work: Does it; an error is code 3.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 3
            try:
                work(json.loads(line))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
