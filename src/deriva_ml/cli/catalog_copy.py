"""``deriva-ml-catalog copy | export``: a catalog to another service, or into plain files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.catalog_flags import known_catalog, step_bar
from deriva_ml.cli.place import add_place

if TYPE_CHECKING:
    from deriva_ml.catalog.client import CatalogClient
    from deriva_ml.connect import Connection
    from deriva_ml.workspace.evidence import Sign

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
    copy.add_argument(
        "--restart",
        action="store_true",
        help="begin an unfinished copy anew though the process that began it is on another machine",
    )
    for side, flag in (("SRC", "source"), ("DST", "target")):
        copy.add_argument(
            f"--{flag}-token-file",
            type=Path,
            metavar="FILE",
            help=f"the token for {side} is in this file, where it is not that of DERIVA_ML_TOKEN",
        )
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
    with open_connection(from_place, credential=_credential(arguments.source_token_file)) as source:
        client = known_catalog(source, source_id or "1", f"SRC {arguments.source}")
        name = arguments.name or client.info().get("name")
        with open_connection(to_place, create=True, credential=_credential(arguments.target_token_file)) as target:
            identities = [service_info(one.transport).get("identity", one.identity) for one in (source, target)]
            about = {"source": f"{identities[0]}#{client.catalog_id}", "by": _process()}
            copy = _target(target, target_id, str(name) if name else None, about, arguments)
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


def _credential(file: Path | None) -> dict[str, Any] | None:
    """The token in a file, as a credential."""
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    if file is None:
        return None
    try:
        token = file.expanduser().read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise DerivaMLConfigurationError(f"Cannot read the token file {file}: {error.strerror}") from error
    if not token:
        raise DerivaMLConfigurationError(f"The token file is empty: {file}")
    return {"bearer-token": token}


def _process() -> dict[str, Any]:
    from dataclasses import asdict

    from deriva_ml.workspace.evidence import ProcessMark

    return asdict(ProcessMark.current())


def _target(
    target: Connection, catalog_id: str | None, name: str | None, about: dict[str, Any], arguments: argparse.Namespace
) -> CatalogClient:
    """The catalog that becomes the copy: a new one, or one in which a copy broke off, emptied."""
    from deriva_ml.catalog.copy_mark import clear, mark, mark_of
    from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLConfigurationError

    if catalog_id is None:
        broken = [one for one in target.catalog_ids() if _broke_off(target.catalog(one), about)]
        if not broken:
            return target.create_catalog(name=name)
        catalog_id = broken[0]
    else:
        try:
            return target.create_catalog(catalog_id, name=name)
        except DerivaMLCatalogError as error:
            if error.status != 409:
                raise
    copy = target.catalog(catalog_id)
    source = f"DST {arguments.target}"
    try:
        said = mark_of(dict(copy.model().annotations))
    except DerivaMLCatalogError as error:
        if error.status != 404:
            raise
        raise DerivaMLConfigurationError(
            f"There was a catalog {catalog_id} at {target.place}; the id of a deleted catalog is not given out again.",
            source=source,
            hint="name another id, or none for the next number",
        ) from error
    if said is None:
        raise DerivaMLConfigurationError(
            f"There is a catalog {catalog_id} at {target.place} already; nothing was changed.",
            source=source,
            hint="name another id, or none for the next number",
        )
    if said.get("source") != about["source"]:
        raise DerivaMLConfigurationError(
            f"Catalog {catalog_id} at {target.place} is the unfinished copy of another catalog: {said.get('source')}.",
            source=source,
            hint="name another id, or none for the next number; or delete it first",
        )
    _check_over(said, catalog_id, arguments)
    print(f"Catalog {catalog_id} is a copy that broke off; it is begun anew.", file=sys.stderr)
    mark(copy, {**said, **about})
    clear(copy)
    return copy


def _broke_off(copy: CatalogClient, about: dict[str, Any]) -> bool:
    """Whether a catalog is a copy of the same source by a process that has ended."""
    from deriva_ml.catalog.copy_mark import mark_of
    from deriva_ml.workspace.evidence import Sign

    said = mark_of(dict(copy.model().annotations))
    return said is not None and said.get("source") == about["source"] and _sign(said) is Sign.gone


def _sign(said: dict[str, Any]) -> Sign:
    """Whether the process that makes an unfinished copy is still there."""
    from deriva_ml.workspace.evidence import ProcessMark, Sign

    try:
        return ProcessMark(**said["by"]).sign()
    except (KeyError, TypeError):
        return Sign.unknown


def _check_over(said: dict[str, Any], catalog_id: str, arguments: argparse.Namespace) -> None:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.workspace.evidence import Sign

    sign = _sign(said)
    if sign is Sign.gone or (sign is Sign.unknown and arguments.restart):
        return
    by = said.get("by") or {}
    who = f"process {by.get('pid', '?')} on {by.get('host', 'an unknown machine')}"
    raise DerivaMLConfigurationError(
        f"Catalog {catalog_id} is an unfinished copy that {who} "
        + ("is making at this moment." if sign is Sign.alive else "began; it cannot be seen from here."),
        source=f"DST {arguments.target}",
        hint="wait for it, or end it" if sign is Sign.alive else "if it has ended, begin the copy anew: --restart",
    )


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
