"""A line between a client and a server: a real TCP proxy that can be slow, narrow, silent, cut, or lead elsewhere."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PART = 1 << 14


class Line:
    """Forwards connections from a port of its own to a server.

    Args:
        port: The server's port on this machine.

    Attributes:
        port: The server's port; may be changed, for connections made later.
        delay: Seconds before each part of an answer is passed on.
        rate: Bytes a second that pass on the way to the server; None for no limit.
        is_silent: Connections are taken, and nothing passes.
        break_after: After so many bytes an answer breaks off, once.
        lose: Whether to break the connection in place of passing these bytes on to the server.
        lose_answer: Whether to break it when the server has had these bytes, and before its answer passes.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.delay = 0.0
        self.rate: float | None = None
        self.is_silent = False
        self.break_after: int | None = None
        self.lose: Callable[[bytes], bool] = lambda _content: False
        self.lose_answer: Callable[[bytes], bool] = lambda _content: False
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where the client finds it."""
        return f"http://127.0.0.1:{self.own_port}"

    def cut(self) -> None:
        """Break all connections that there are."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Take no connections any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.port), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for source, target, outward in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, target, outward), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, outward: bool) -> None:
        passed = 0
        with suppress(OSError):
            while content := source.recv(PART):
                while self.is_silent:
                    time.sleep(0.02)
                    if source.fileno() < 0:
                        return
                if outward:
                    if self.lose(content):
                        break
                    if self.lose_answer(content):
                        target.sendall(content)
                        source.shutdown(socket.SHUT_WR)  # the client hears that there is no answer
                        time.sleep(0.3)
                        break
                    if self.rate:
                        time.sleep(len(content) / self.rate)
                else:
                    time.sleep(self.delay)
                    passed += len(content)
                    if self.break_after is not None and passed > self.break_after:
                        target.sendall(content[: max(0, self.break_after - passed)])
                        self.break_after = None
                        break
                target.sendall(content)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """A line to a server on this machine while the block lasts."""
    line = Line(port)
    try:
        yield line
    finally:
        line.close()
