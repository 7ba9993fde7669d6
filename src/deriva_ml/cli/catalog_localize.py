"""``deriva-ml-catalog localize``: files of assets that are elsewhere, into the catalog's own store."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.catalog_flags import add_json
from deriva_ml.cli.place import add_place

if TYPE_CHECKING:
    from deriva_ml.asset.localize import LocalizeResult

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the command."""
    localize = commands.add_parser(
        "localize",
        help="bring files that assets refer to elsewhere into the catalog's own store",
        description="Files are verified by MD5 and length before the rows' URLs are rewritten; what is here already is "
        "left alone, so it can be repeated. Exit code 1: some file did not arrive.",
    )
    add_place(localize)
    localize.add_argument("table", metavar="TABLE", help="the table of the assets, as Table or schema:Table")
    localize.add_argument("rids", metavar="RID", nargs="*", help="the assets (default: all)")
    localize.add_argument(
        "--from", dest="origin", metavar="PLACE", help="where the files are, if the URLs do not say it"
    )
    localize.add_argument("--namespace", help="where the objects are to be (default: a namespace called as the table)")
    localize.add_argument("--dry-run", action="store_true", help="say what would be brought; nothing is written")
    add_json(localize)
    localize.set_defaults(run=_localize)


def _localize(arguments: argparse.Namespace) -> int:
    from deriva_ml.asset.localize import localize_assets
    from deriva_ml.cli.place import existing_catalog
    from deriva_ml.wire.path import table

    with existing_catalog(arguments) as ml:
        session = ml.session
        rids = arguments.rids
        if not rids:
            found = session.table(arguments.table)
            rids = [str(row["RID"]) for row in session.catalog.attributes(table(*found.qualified), "RID")]
        result = localize_assets(
            ml,
            session.table(arguments.table),
            rids,
            hatrac_namespace=arguments.namespace,
            dry_run=arguments.dry_run,
            source_hostname=arguments.origin,
        )
    return _show(result, arguments)


def _show(result: LocalizeResult, arguments: argparse.Namespace) -> int:
    from deriva_ml.cli.terminal import show_json
    from deriva_ml.core.files import human_size

    if arguments.json:
        show_json(result.to_dict())
    else:
        for one in result.localized:
            print(f"{one.rid}  {one.before}" + (f" -> {one.after}" if one.after else ""))
        done = "would be brought" if result.dry_run else "brought"
        print(
            f"{len(result.localized)} files {done} ({human_size(result.size)}); {len(result.skipped)} were here before"
        )
    for rid, reason in result.failed.items():
        print(f"Failed: {rid}: {reason}", file=sys.stderr)
    return 0 if result.is_complete else 1
