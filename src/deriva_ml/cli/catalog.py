"""``deriva-ml-catalog``: serve a catalog folder to other processes, and look at one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.cli.command import Command

if TYPE_CHECKING:
    from deriva_ml.server.app import Service

__all__ = ["main", "parser"]

DEFAULT_PORT = 8765


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="deriva-ml-catalog",
        description="Serve a catalog folder to other processes of this machine, and look at one.",
        allow_abbrev=False,
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve a folder over HTTP, on loopback, behind a bearer token")
    _add_root(serve)
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

    info = commands.add_parser("info", help="say what a folder holds")
    _add_root(info)
    return top


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="the catalog folder")


def _catalog(arguments: argparse.Namespace) -> int:
    return (_serve if arguments.command == "serve" else _info)(arguments)


def _open(root: Path) -> Service:
    from deriva_ml.server.app import open_service

    return open_service(root.expanduser().absolute())


def _serve(arguments: argparse.Namespace) -> int:
    from deriva_ml.core.files import require

    for package in ("starlette", "uvicorn"):
        require(package, "serve")
    import signal
    from contextlib import closing

    from deriva_ml.server.app import local_client
    from deriva_ml.server.http import Application, listen, serve

    with closing(_open(arguments.root)) as service, listen(arguments.host, arguments.port) as listener:
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
    raise KeyboardInterrupt


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


def _info(arguments: argparse.Namespace) -> int:
    from deriva_ml.connect import open_connection
    from deriva_ml.core.files import human_size

    root = arguments.root.expanduser().absolute()
    with open_connection(str(root)) as connection:
        print(f"Folder:   {root}")
        print(f"Identity: {connection.identity}")
        for catalog_id in connection.catalog_ids():
            catalog = connection.catalog(catalog_id)
            model, about = catalog.model(), catalog.info()
            label = f" ({about['name']})" if about.get("name") else ""
            tables = sum(1 for _ in model.tables())
            print(
                f"Catalog {catalog_id}{label}: {len(model.schemas)} schemas, {tables} tables, "
                f"latest change {about['snaptime']}"
            )
        count, size = _objects(root / "objects")
        print(f"Objects:  {count} files, {human_size(size)}")
    return 0


def _objects(folder: Path) -> tuple[int, int]:
    """Number and size of the files that hold objects."""
    sizes = [path.stat().st_size for path in folder.glob("[0-9a-f][0-9a-f]/*")]
    return len(sizes), sum(sizes)


main = Command(parser, _catalog)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
