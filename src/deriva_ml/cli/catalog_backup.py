"""``deriva-ml-catalog backup | restore``: a folder as one backup, and back."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

from deriva_ml.cli.catalog_flags import add_root, folder_of, progress_bar

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the commands."""
    backup = commands.add_parser("backup", help="copy a folder, also while it is in use, into one file or a new folder")
    add_root(backup)
    backup.add_argument("target", type=Path, help="FILE.tar, FILE.tar.gz, or a folder that does not exist")
    backup.add_argument(
        "--copy",
        action="store_true",
        help="copy objects into a folder on the same disk; by default they are linked, which takes no space",
    )
    backup.add_argument(
        "--without-users",
        action="store_true",
        help="leave the users of a served folder out; by default they are kept, with the hashes of their secrets, and "
        "only you may read the backup",
    )
    backup.set_defaults(run=_backup)

    restore = commands.add_parser(
        "restore",
        help="make a folder from a backup; nothing is overwritten",
        description="The restored folder gets an identity of its own, since what runs keep on this machine (journals, "
        "caches, outputs that wait for upload) goes by identity, and two folders with the same one would be taken for "
        "each other. Give --same-identity where the backup takes the place of a folder that is lost.",
    )
    restore.add_argument("backup", type=Path, help="what backup made")
    add_root(restore)
    restore.add_argument("--same-identity", action="store_true", help="keep the identity of the folder backed up")
    restore.set_defaults(run=_restore)


def _backup(arguments: argparse.Namespace) -> int:
    from deriva_ml.core.files import human_size
    from deriva_ml.server.app import open_service
    from deriva_ml.server.backup import back_up

    root = folder_of(arguments)
    with closing(open_service(root)):
        pass
    with progress_bar("Backup") as progress:
        made = back_up(
            root,
            arguments.target.expanduser().absolute(),
            progress=progress,
            link=not arguments.copy,
            with_users=not arguments.without_users,
        )
    users = " and its users" if made.users else ""
    print(
        f"Backed up {len(made.catalogs)} catalogs{users} and {made.objects} objects ({human_size(made.size)}) "
        f"to {made.path}"
    )
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from deriva_ml.server.restore import identity_of, restore

    root = folder_of(arguments)
    backup = arguments.backup.expanduser().absolute()
    identity = identity_of(backup) if arguments.same_identity else None
    with progress_bar("Restore") as progress:
        made = restore(backup, root, identity=identity, progress=progress)
    users = ", the users" if made.users else ""
    print(f"Restored {len(made.catalogs)} catalogs{users} and {made.objects} objects of {made.created} to {root}")
    kind = "that of the folder backed up" if identity else "a new one; --same-identity keeps the old one"
    print(f"Identity: {made.identity} ({kind})")
    return 0
