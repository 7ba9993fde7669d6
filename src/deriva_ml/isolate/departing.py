"""The end of a child: what its function left behind is waited for, ended and named, and the process ends.

1. Pools of the standard library hold threads and processes that end when the interpreter does: they are let go first,
   as the interpreter would. What does work, a thread or a process of ``multiprocessing``, gets a while, and a name.
2. A copy of another process must not end what is the other's: what is found there is put aside when the copy is made.
   What has been made since is ended by hand: exit functions, finalizers, and the buffers of files that were left open.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import FunctionType
from typing import Any, NoReturn

__all__ = ["end_as_an_interpreter_does", "leave", "left_threads", "let_be", "take_leave"]


def left_threads() -> list[threading.Thread]:
    """The threads that would keep the process alive."""
    here = threading.current_thread()
    return [thread for thread in threading.enumerate() if thread is not here and not thread.daemon]


def take_leave(grace: float) -> list[str]:
    """Wait for threads and processes that were left behind; what those are that go on.

    Args:
        grace: For so many seconds.
    """
    until = time.monotonic() + grace
    if left_threads():
        # whoever waits for a pool waits for its work, which may take longer
        threading.Thread(target=_dismiss_pools, name="deriva-ml-end", daemon=True).start()
    for thread in left_threads():
        thread.join(max(0.0, until - time.monotonic()))
    left = [f"a thread was left behind: {thread.name}" for thread in left_threads()]
    return left + [f"a process was left behind, and ended: {name}" for name in _end_processes(until)]


def _dismiss_pools() -> None:
    """What an interpreter does at its end before it waits for threads: those of pools that have no work end."""
    for callback in reversed(list(getattr(threading, "_threading_atexits", ()))):
        callback()


def _end_processes(until: float) -> Iterator[str]:
    """Wait for processes of ``multiprocessing``, which an interpreter would wait for; end those that go on."""
    library: Any = sys.modules.get("multiprocessing.process")
    if library is None:
        return
    mine = [child for child in library.active_children() if child._parent_pid == os.getpid()]  # noqa: SLF001
    for child in mine:
        if not child.daemon:
            child.join(max(0.0, until - time.monotonic()))
            if child.is_alive():
                yield child.name
                child.terminate()
                child.join(0.5)
                child.kill()


def let_be() -> None:
    """In a copy of another process: leave to the other what it will do at its end, since nothing must be done twice."""
    import atexit
    import weakref

    gc.freeze()  # what is found at the end is then what was made here
    finalizers: Any = weakref.finalize
    for known in list(finalizers._registry):  # noqa: SLF001 - there is no other way to find them
        known.atexit = False
    finalizers._registered_with_atexit = False  # noqa: SLF001
    atexit._clear()  # noqa: SLF001
    for module, name in (("logging", "shutdown"), ("multiprocessing.util", "_exit_function")):
        if module in sys.modules:  # what this process has of its own is ended by these too
            atexit.register(getattr(sys.modules[module], name))


def end_as_an_interpreter_does() -> None:
    """Call what was registered for the end, and end what was left open: a file has bytes that are not written yet."""
    import atexit

    atexit._run_exitfuncs()  # noqa: SLF001
    made = gc.get_objects()
    _each([thing for thing in made if issubclass(type(thing), io.TextIOWrapper)], "flush")
    _each([thing for thing in made if isinstance(getattr(type(thing), "__del__", None), FunctionType)], "__del__")
    _each([thing for thing in made if _is_packing(thing)], "close")
    _each([thing for thing in made if issubclass(type(thing), (io.BufferedWriter, io.BufferedRandom))], "flush")


def _is_packing(thing: object) -> bool:
    """Whether it is a file that is written by Python code, such as a compressed one: its last bytes come at its end."""
    kind = type(thing)  # isinstance would ask the thing, and some answer by loading or raising
    return issubclass(kind, io.IOBase) and kind.__module__ not in {"_io", "io"} and "close" in vars(kind)


def _each(things: list[Any], what: str) -> None:
    """Do something with each, and tell of errors, as an interpreter does at its end: they have no consequence."""
    for thing in things:
        if what != "__del__" and thing.closed:
            continue
        try:
            getattr(type(thing), what)(thing)
        except BaseException:  # noqa: BLE001
            with contextlib.suppress(Exception):
                sys.stderr.write(f"Exception ignored at the end of {thing!r}:\n")
                traceback.print_exc()


def leave(code: int) -> NoReturn:
    """End at once, though threads go on."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001, S112 - replaced or closed by the function; there is nobody to tell
            continue
    if "ctypes" in sys.modules:  # native code has buffers of its own
        with contextlib.suppress(Exception):
            sys.modules["ctypes"].CDLL(None).fflush(None)
    os._exit(code)
