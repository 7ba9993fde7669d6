"""``deriva-ml-catalog bdbag``: letting the command ``bdbag`` get the files of catalog folders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the command."""
    bdbag = commands.add_parser(
        "bdbag",
        help="let the command bdbag get the files of catalog folders",
        description="A bag that was made from a catalog folder without its files names them by URLs that bdbag does "
        "not know. This adds to bdbag's configuration, once for each user, how it gets them: bdbag --materialize then "
        "works for such bags as for others, without network and secrets. Nothing else in the file is changed.",
    )
    bdbag.add_argument(
        "--folder",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a catalog folder to look into too; may be repeated. Folders that this machine has worked with are found "
        "by themselves",
    )
    bdbag.add_argument("--remove", action="store_true", help="take the entry out of the configuration again")
    bdbag.add_argument(
        "--config-file",
        type=Path,
        metavar="FILE",
        help="bdbag's configuration file (default: what BDBAG_CONFIG_FILE names, else ~/.bdbag/bdbag.json)",
    )
    bdbag.set_defaults(run=_bdbag)


def _bdbag(arguments: argparse.Namespace) -> int:
    from deriva_ml.core.config import Settings
    from deriva_ml.dataset.bdbag_settings import register_handler, unregister_handler

    file = (arguments.config_file or Settings.read().bdbag_config).expanduser().absolute()
    if arguments.remove:
        changed = unregister_handler(file)
        print(f"bdbag gets no files of catalog folders {'any more' if changed else 'so far'}: {file}")
        return 0
    folders = [_folder(given) for given in arguments.folder]
    changed = register_handler(file, folders)
    print(f"bdbag gets the files of catalog folders{'' if changed else ' already'}: {file}")
    return 0


def _folder(given: Path) -> Path:
    from deriva_ml.core.config import folder_identity
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    folder = given.expanduser().absolute()
    if folder_identity(folder) is None:
        raise DerivaMLConfigurationError(
            f"{folder} is not a catalog folder.", source=f"--folder {given}", hint="name one that is there"
        )
    return folder
