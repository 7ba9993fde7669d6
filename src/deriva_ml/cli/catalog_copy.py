"""``deriva-ml-catalog copy | export``: a catalog to another service, or into plain files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from deriva_ml.cli.place import add_place

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the commands."""
    copy = commands.add_parser(
        "copy",
        help="copy a catalog to another folder, served folder or Deriva host",
        description="Model, rows with their RIDs, vocabularies, datasets with their versions, annotations, access "
        "lists and objects. Each is named as PLACE, or PLACE#CATALOG: a folder, a URL or a host name, and the "
        "catalog's id there (of the source: 1 if none is given; of the copy: the next number).",
    )
    copy.add_argument("source", metavar="SRC", help="PLACE or PLACE#CATALOG")
    copy.add_argument("target", metavar="DST", help="PLACE or PLACE#CATALOG; a folder is made if there is none")
    copy.add_argument("--name", help="a name to show (default: that of the source)")
    copy.set_defaults(run=_copy)

    export = commands.add_parser("export", help="write a catalog into a folder of plain files, as a bag")
    add_place(export)
    export.add_argument("target", type=Path, help="a folder that does not exist")
    export.add_argument("--format", choices=("csv", "json"), default="csv", help="form of the rows (default: csv)")
    export.add_argument("--objects", action="store_true", help="bring the assets' files, too")
    export.set_defaults(run=_export)


def _place(text: str) -> tuple[str, str | None]:
    """A place, and the catalog in it, if one is named."""
    place, mark, catalog_id = text.rpartition("#")
    return (place, catalog_id) if mark and place else (text, None)


def _copy(arguments: argparse.Namespace) -> int:
    from deriva_ml.catalog.copying import copy_catalog
    from deriva_ml.catalog.service import service_info
    from deriva_ml.connect import open_connection
    from deriva_ml.core.files import human_size

    (from_place, source_id), (to_place, target_id) = _place(arguments.source), _place(arguments.target)
    with open_connection(from_place) as source:
        client = source.catalog(source_id or "1")
        name = arguments.name or client.info().get("name")
        with open_connection(to_place, create=True) as target:
            identities = [service_info(one.transport).get("identity", one.identity) for one in (source, target)]
            made = copy_catalog(
                client,
                source.objects(),
                target.create_catalog(target_id, name=str(name) if name else None),
                target.objects(),
                same_store=identities[0] == identities[1],
                say=_say,
            )
    print(
        f"Copied {arguments.source} as of {made.snaptime} to catalog {made.catalog_id} of {to_place}: {made.tables} "
        f"tables, {made.rows} rows, {made.versions} versions of datasets, {made.objects} objects "
        f"({human_size(made.size)})"
    )
    return _missing(made.missing)


def _export(arguments: argparse.Namespace) -> int:
    from deriva_ml.catalog.exporting import export_catalog
    from deriva_ml.connect import open_connection

    with open_connection(arguments.host) as connection:
        made = export_catalog(
            connection.catalog(arguments.catalog),
            connection.objects(),
            arguments.target.expanduser().absolute(),
            form=arguments.format,
            with_objects=arguments.objects,
            say=_say,
        )
    print(f"Exported {made.tables} tables and {made.objects} objects as of {made.snaptime} to {made.path}")
    return _missing(made.missing)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def _missing(missing: list[str]) -> int:
    for line in missing:
        print(f"Missing: {line}", file=sys.stderr)
    return 1 if missing else 0
