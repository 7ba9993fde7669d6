"""``deriva-ml-catalog renew-versions``: versions of datasets for a catalog that was made from another one's rows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.catalog_flags import add_json
from deriva_ml.cli.place import add_place

if TYPE_CHECKING:
    from deriva_ml.ml import DerivaML

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the command."""
    renew = commands.add_parser(
        "renew-versions",
        help="give datasets of a clone versions that it can show",
        description="A catalog that was made from the rows of another one (by the deriva package's own clone) has "
        "versions of datasets that are moments of the other's past, and cannot show them. Each dataset whose current "
        "version is such a one gets its next patch version, of what is in this catalog now. Earlier versions, and what "
        "is recorded of runs that used them, stay as they are. Datasets whose version can be shown are left alone.",
    )
    add_place(renew)
    renew.add_argument(
        "--from",
        dest="origin",
        metavar="PLACE#ID",
        help="where the rows came from: noted in the versions' descriptions, and as the catalog's provenance if it has "
        "none",
    )
    add_json(renew)
    renew.set_defaults(run=_renew)


def _renew(arguments: argparse.Namespace) -> int:
    from deriva_ml.cli.place import existing_catalog
    from deriva_ml.cli.terminal import show_json
    from deriva_ml.dataset.clones import reinitialize_dataset_versions

    source = _named(arguments.origin)
    with existing_catalog(arguments) as ml:
        renewed = reinitialize_dataset_versions(ml, arguments.origin)
        if source is not None:
            _note(ml, *source)
    if arguments.json:
        show_json(
            [
                {
                    "dataset": one.dataset_rid,
                    "before": str(one.before),
                    "moment": one.snapshot,
                    "version": str(one.after),
                }
                for one in renewed
            ]
        )
        return 0
    for one in renewed:
        print(f"{one.dataset_rid}  {one.after}  (after {one.before}, a moment that is not in this catalog)")
    print(f"{len(renewed)} datasets have a new version." if renewed else "Every current version can be shown.")
    return 0


def _named(origin: str | None) -> tuple[str, str] | None:
    """The place and the catalog that the rows came from."""
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    if origin is None:
        return None
    place, _mark, catalog_id = origin.rpartition("#")
    if not place or not catalog_id:
        raise DerivaMLConfigurationError(
            f"Not a catalog at a place: {origin}", source="--from", hint="such as data.example.org#7"
        )
    return place, catalog_id


def _note(ml: DerivaML, place: str, catalog_id: str) -> None:
    """Note where the catalog came from, unless that is noted already."""
    from deriva_ml.schema.provenance import CatalogCreationMethod, get_catalog_provenance, set_catalog_provenance

    if get_catalog_provenance(ml) is None:
        details = {"source_hostname": place, "source_catalog_id": catalog_id}
        set_catalog_provenance(ml, creation_method=CatalogCreationMethod.clone, clone_details=details)
