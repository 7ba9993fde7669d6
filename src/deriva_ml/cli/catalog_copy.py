"""``deriva-ml-catalog copy | export``: a catalog to another service, or into plain files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from deriva_ml.cli.catalog_flags import add_copying, credential_in, known_catalog, place_and_catalog, step_bar
from deriva_ml.cli.place import add_place

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the commands."""
    copy = commands.add_parser(
        "copy",
        help="copy a catalog to another folder, served folder or Deriva host",
        description="Model, rows with their RIDs, vocabularies, datasets with their versions, annotations, access "
        "lists and objects. Each is named as PLACE, or PLACE#CATALOG: a folder, a URL or a host name, and the "
        "catalog's id there (of the source: 1 if none is given; of the copy: the next number). A copy that broke off "
        "is marked as unfinished; the same command begins it anew. Exit code 1: something could not be copied.",
    )
    copy.add_argument("source", metavar="SRC", help="PLACE or PLACE#CATALOG")
    copy.add_argument("target", metavar="DST", help="PLACE or PLACE#CATALOG; a folder is made if there is none")
    copy.add_argument("--name", help="a name to show (default: that of the source)")
    add_copying(copy)
    copy.set_defaults(run=_copy)

    export = commands.add_parser("export", help="write a catalog into a folder of plain files, as a bag")
    add_place(export)
    export.add_argument("target", type=Path, help="a folder that does not exist")
    export.add_argument("--format", choices=("csv", "json"), default="csv", help="form of the rows (default: csv)")
    export.add_argument("--objects", action="store_true", help="bring the assets' files, too")
    export.set_defaults(run=_export)


def _copy(arguments: argparse.Namespace) -> int:
    from deriva_ml.catalog.copying import copy_catalog
    from deriva_ml.catalog.service import service_info
    from deriva_ml.connect import open_connection
    from deriva_ml.core.files import human_size
    from deriva_ml.schema.unfinished import copy_target, who_copies

    (from_place, source_id), (to_place, target_id) = (
        place_and_catalog(arguments.source),
        place_and_catalog(arguments.target),
    )
    with open_connection(from_place, credential=credential_in(arguments.source_token_file)) as source:
        client = known_catalog(source, source_id or "1", f"SRC {arguments.source}")
        name = arguments.name or client.info().get("name")
        with open_connection(to_place, create=True, credential=credential_in(arguments.target_token_file)) as target:
            identities = [service_info(one.transport).get("identity", one.identity) for one in (source, target)]
            about = {"source": f"{identities[0]}#{client.catalog_id}", "by": who_copies()}
            copy = copy_target(
                target,
                target_id,
                str(name) if name else None,
                about,
                named=f"DST {arguments.target}",
                restart=arguments.restart,
                say=lambda text: print(text, file=sys.stderr),
            )
            try:
                with step_bar() as progress:
                    made = copy_catalog(
                        client,
                        source.objects(),
                        copy,
                        target.objects(),
                        same_store=identities[0] == identities[1],
                        origin=source.place.base_url,
                        about=about,
                        progress=progress,
                    )
            except BaseException:
                print(
                    f"The copy is not finished. Catalog {copy.catalog_id} of {to_place} is marked so; to begin it anew "
                    f"in its place: deriva-ml-catalog copy {arguments.source} {to_place}#{copy.catalog_id}",
                    file=sys.stderr,
                )
                raise
    print(
        f"Copied {arguments.source} as of {made.snaptime} to catalog {made.catalog_id} of {to_place}: {made.tables} "
        f"tables, {made.rows} rows, {made.versions} versions of datasets, {made.objects} objects "
        f"({human_size(made.size)})"
    )
    return _missing(made.missing)


def _export(arguments: argparse.Namespace) -> int:
    from deriva_ml.catalog.exporting import export_catalog
    from deriva_ml.connect import open_connection

    with open_connection(arguments.host) as connection, step_bar() as progress:
        made = export_catalog(
            known_catalog(connection, arguments.catalog, "--catalog"),
            connection.objects(),
            arguments.target.expanduser().absolute(),
            form=arguments.format,
            with_objects=arguments.objects,
            progress=progress,
        )
    print(f"Exported {made.tables} tables and {made.objects} objects as of {made.snaptime} to {made.path}")
    return _missing(made.missing)


def _missing(missing: list[str]) -> int:
    for line in missing:
        print(f"Missing: {line}", file=sys.stderr)
    return 1 if missing else 0
