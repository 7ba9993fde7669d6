"""``deriva-ml-catalog fsck``: whether a folder is whole."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from deriva_ml.cli.catalog_flags import add_json, add_root, folder_of, progress_bar

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the command."""
    fsck = commands.add_parser(
        "fsck",
        help="verify every database, row reference, object and URL of a folder",
        description="Exit code 0: all is well; 1: something was found; 2: the request is wrong.",
    )
    add_root(fsck)
    fsck.add_argument("--repair", action="store_true", help="remove what processes that ended too early left behind")
    add_json(fsck)
    fsck.set_defaults(run=_fsck)


def _fsck(arguments: argparse.Namespace) -> int:
    from deriva_ml.core.files import human_size
    from deriva_ml.server.app import open_service
    from deriva_ml.server.check import check_folder, report
    from deriva_ml.server.damage import damage_named
    from deriva_ml.server.sweep import sweep

    root = folder_of(arguments)
    # Opening refuses what is no catalog folder, or one of a later version.
    with closing(open_service(root)):
        pass
    with damage_named(root):
        with progress_bar("Objects") as progress:
            checked = check_folder(root, progress=progress)
        removed = sweep(root, checked.findings) if arguments.repair else []
    left = [finding for finding in checked.findings if finding not in removed]
    if arguments.json:
        print(report(checked, removed))
        return 1 if left else 0
    for finding in checked.findings:
        print(f"{finding.kind}: {finding.where}: {finding.problem}{' (removed)' if finding in removed else ''}")
    print(
        f"Checked {checked.catalogs} catalogs, {checked.urls} URLs, {checked.objects} object versions, "
        f"{human_size(checked.content)}: {_verdict(len(left), len(removed))}"
    )
    leftovers = sum(finding.is_leftover for finding in left)
    if leftovers:
        print(f"{leftovers} of these are leftovers, which --repair removes.")
    if len(left) > leftovers:
        print("Damage is mended from a backup: deriva-ml-catalog restore.")
    return 1 if left else 0


def _verdict(left: int, removed: int) -> str:
    said = "all is well" if not left else f"{left} thing{'s' if left > 1 else ''} found"
    return f"{said}, {removed} removed" if removed else said
