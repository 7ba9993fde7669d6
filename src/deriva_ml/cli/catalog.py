"""``deriva-ml-catalog``: everything about catalogs as a whole; each group of commands is a module of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.cli.catalog_flags import add_root, folder_of
from deriva_ml.cli.catalog_users import add_user_commands
from deriva_ml.cli.command import Command

if TYPE_CHECKING:
    from deriva_ml.server.app import Service
    from deriva_ml.wire.http import Client

__all__ = ["main", "parser"]

DEFAULT_PORT = 8765

TIME_LIMIT = 15.0
"""Seconds for a request over HTTP, as the original has it."""

MODULES = (
    "catalog_folder",
    "catalog_check",
    "catalog_backup",
    "catalog_copy",
    "catalog_clone",
    "catalog_localize",
    "catalog_versions",
    "catalog_bdbag",
)
"""The modules of this room that add commands: each has ``register(commands)``, which sets what runs as ``run``."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="deriva-ml-catalog",
        description="Make, look at, check, keep, move, share and serve catalogs.",
        allow_abbrev=False,
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="serve a folder over HTTP: to its users, or on loopback behind one token",
        description="Serve a folder over HTTP. A folder with users asks for their tokens or passwords, and its access "
        "lists say what each may do. A folder without users is served on loopback only, to who holds the one token "
        "that is printed. Beyond loopback it takes users and TLS.",
    )
    serve.set_defaults(run=_serve)
    serve.add_argument(
        "--time-limit",
        type=_seconds,
        default=TIME_LIMIT,
        metavar="SECONDS",
        help="refuse a request that works on the database for longer; 0 for no limit (default: %(default)s)",
    )
    add_root(serve)
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    serve.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="the port; 0 for any that is free (default: %(default)s)"
    )
    serve.add_argument("--tls-cert", type=Path, metavar="FILE", help="speak HTTPS with this certificate chain (PEM)")
    serve.add_argument("--tls-key", type=Path, metavar="FILE", help="the private key of the certificate (PEM)")
    serve.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="keep the token in this file, readable by you alone, instead of printing a new one; for a folder "
        "without users",
    )

    add_user_commands(commands, add_root)
    for module in MODULES:
        import_module(f"deriva_ml.cli.{module}").register(commands)
    return top


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}; 0 for no limit")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError(f"not a port: {text}; there are 0 to 65535")
    return value


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

    from deriva_ml.server.http import Application, check_reach, listen, serve
    from deriva_ml.server.sessions import Gate
    from deriva_ml.server.users import users_of

    certificate, key = _certificate(arguments)
    with closing(_open(arguments)) as service, closing(users_of(service.root)) as users:
        known = len(users.users())
        check_reach(arguments.host, is_secure=certificate is not None, has_users=known > 0)
        tokens = _tokens(arguments.token_file, known=known)
        with listen(arguments.host, arguments.port) as listener:
            _announce(arguments, listener.getsockname()[1], list(tokens), known)
            # The server hands a signal on when it has stopped; this lets the folder be closed before the process ends.
            signal.signal(signal.SIGTERM, _stop)
            gate = Gate(service, tokens, users, is_secure=certificate is not None)
            try:
                serve(Application(gate), listener, certificate=certificate, key=key)
            except KeyboardInterrupt:
                print("Stopped.")
    return 0


def _certificate(arguments: argparse.Namespace) -> tuple[Path | None, Path | None]:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.server.http import check_certificate

    certificate, key = arguments.tls_cert, arguments.tls_key
    if certificate is not None and key is not None:
        check_certificate(certificate, key)
    elif certificate is not None or key is not None:
        raise DerivaMLConfigurationError(
            "A certificate and its private key go together.", source="--tls-cert, --tls-key", hint="name both"
        )
    return certificate, key


def _tokens(file: Path | None, *, known: int) -> dict[str, Client]:
    """Who holds which token beside the users: where there are none, one token is its owner's."""
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.server.app import local_client

    if not known:
        return {_token(file): local_client()}
    if file is not None:
        raise DerivaMLConfigurationError(
            "The folder has users, and each has a token of their own: there is none to keep in a file.",
            source="--token-file",
            hint="leave it out; a new token for a user: deriva-ml-catalog user token NAME",
        )
    return {}


def _announce(arguments: argparse.Namespace, port: int, tokens: Sequence[str], known: int) -> None:
    scheme = "https" if arguments.tls_cert else "http"
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    url = f"{scheme}://{host}:{port}"
    print(f"Serving {folder_of(arguments)} at {url}")
    if known:
        print(f"Users: {known}; each signs in with a token or password of their own")
    elif arguments.token_file is not None:
        print(f"Token: in {arguments.token_file}")
    else:
        print(f"Token: {tokens[0]}")
    print(f"To use it: DERIVA_ML_TOKEN=<token> deriva-ml-run --host {url} ...", flush=True)


def _stop(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _token(path: Path | None) -> str:
    """The bearer token: that in the file, or a new one, which is written to the file if one is named."""
    import os
    import secrets

    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    # A dash in front would be taken for an option by tools that are given the token as an argument.
    token = f"t{secrets.token_urlsafe(32)}"
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
