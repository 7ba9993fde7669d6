"""``deriva-ml-catalog``: everything about catalogs as a whole; each group of commands is a module of its own."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.cli.catalog_flags import add_root, folder_of
from deriva_ml.cli.command import Command

if TYPE_CHECKING:
    from deriva_ml.server.app import Service

__all__ = ["main", "parser"]

DEFAULT_PORT = 8765

TIME_LIMIT = 15.0
"""Seconds for a request over HTTP, as the original has it."""

MODULES = ("catalog_folder", "catalog_check", "catalog_backup", "catalog_copy")
"""The modules of this room that add commands: each has ``register(commands)``, which sets what runs as ``run``."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="deriva-ml-catalog",
        description="Make, look at, check, keep, move and serve catalogs.",
        allow_abbrev=False,
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve a folder over HTTP, on loopback, behind a bearer token")
    serve.set_defaults(run=_serve)
    serve.add_argument(
        "--time-limit",
        type=float,
        default=TIME_LIMIT,
        metavar="SECONDS",
        help="refuse a request that works on the database for longer; 0 for no limit (default: %(default)s)",
    )
    add_root(serve)
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    serve.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="the port; 0 for any that is free (default: %(default)s)"
    )
    serve.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="keep the token in this file, readable by you alone, instead of printing a new one",
    )

    for module in MODULES:
        import_module(f"deriva_ml.cli.{module}").register(commands)
    return top


def _run(arguments: argparse.Namespace) -> int:
    return int(arguments.run(arguments))


def _open(arguments: argparse.Namespace) -> Service:
    from deriva_ml.server.app import open_service

    return open_service(folder_of(arguments), time_limit=arguments.time_limit or None)


def _serve(arguments: argparse.Namespace) -> int:
    from deriva_ml.core.files import require

    for package in ("starlette", "uvicorn"):
        require(package, "serve")
    import signal
    from contextlib import closing

    from deriva_ml.server.app import local_client
    from deriva_ml.server.http import Application, listen, serve

    with closing(_open(arguments)) as service, listen(arguments.host, arguments.port) as listener:
        token = _token(arguments.token_file)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        print(f"Serving {service.root} at {url}")
        if arguments.token_file is None:
            print(f"Token: {token}")
        else:
            print(f"Token: in {arguments.token_file}")
        print(f"To use it: DERIVA_ML_TOKEN=<token> deriva-ml-run --host {url} ...", flush=True)
        # The server hands a signal on when it has stopped; this lets the folder be closed before the process ends.
        signal.signal(signal.SIGTERM, _stop)
        try:
            serve(Application(service, {token: local_client()}), listener)
        except KeyboardInterrupt:
            print("Stopped.")
    return 0


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def _token(path: Path | None) -> str:
    """The bearer token: that in the file, or a new one, which is written to the file if one is named."""
    import os
    import secrets

    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    token = secrets.token_urlsafe(32)
    if path is None:
        return token
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = path.read_text(encoding="ascii", errors="replace").strip()
        if not kept:
            raise DerivaMLConfigurationError(
                f"The token file is empty: {path}", source="--token-file", hint="remove it, and a new one is made"
            ) from None
        return kept
    except OSError as error:
        raise DerivaMLConfigurationError(
            f"Cannot write the token file {path}: {error.strerror}", source="--token-file"
        ) from error
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(f"{token}\n")
    return token


main = Command(parser, _run)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
