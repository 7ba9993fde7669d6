"""``deriva-ml-catalog clone``: a catalog of its own from what can be reached from one record of another."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.catalog_flags import add_copying, add_json, credential_in, place_and_catalog, step_bar

if TYPE_CHECKING:
    from deriva_ml.catalog.clone_result import CloneCatalogResult
    from deriva_ml.dataset.workspace_plan import WorkspaceOptions

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the command."""
    clone = commands.add_parser(
        "clone",
        help="copy what can be reached from one record into a catalog of its own",
        description="A dataset with its members, features and files, or any other record with all that belongs to it. "
        "RIDs are kept; datasets get a version of what is in the copy. SRC and DST are PLACE, or PLACE#CATALOG (of "
        "the source: 1 if none is given; of the copy: the next number). A copy that broke off is marked as unfinished; "
        "the same command begins it anew. Exit code 1: something could not be copied.",
    )
    clone.add_argument("source", metavar="SRC", help="PLACE or PLACE#CATALOG")
    clone.add_argument("target", metavar="DST", nargs="?", help="PLACE or PLACE#CATALOG (default: the place of SRC)")
    clone.add_argument("--root-rid", required=True, metavar="RID", help="the record: a dataset, a subject, ...")
    clone.add_argument("--dry-run", action="store_true", help="say what would be copied; nothing is written")
    clone.add_argument("--alias", help="a second name for the copy")
    _add_extent(clone)
    add_copying(clone)
    clone.add_argument("--truncate-oversized", action="store_true", help="cut values that DST refuses as too long")
    clone.add_argument("--concurrency", type=int, default=1, metavar="N", help="tables at a time (default: 1)")
    clone.add_argument("--keep-versions", action="store_true", help="give datasets no version of what is in the copy")
    add_json(clone)
    clone.set_defaults(run=_clone)


def _add_extent(clone: argparse.ArgumentParser) -> None:
    """Add what says how much is copied."""
    clone.add_argument("--include", action="append", metavar="TABLE", help="copy this table whole (may be repeated)")
    clone.add_argument("--exclude", action="append", metavar="TABLE", help="do not copy this table (may be repeated)")
    clone.add_argument("--exclude-schema", action="append", metavar="SCHEMA", help="copy nothing of this schema")
    clone.add_argument(
        "--assets",
        choices=("none", "refs", "full"),
        default="refs",
        help="files: neither rows nor files, rows that name them where they are (default), or copies of them",
    )
    clone.add_argument(
        "--orphans",
        choices=("fail", "delete", "nullify"),
        default="fail",
        help="rows that refer to what does not come along: an error (default), left out, or without the reference",
    )
    clone.add_argument("--prune-hidden", action="store_true", help="make no references to tables that you see in part")
    for what, said in (
        ("associations", "copy only associations that lie on the way"),
        ("vocabularies", "copy only the terms in use"),
        ("ml-schema", "make only tables that are reached"),
        ("annotations", "leave out annotations"),
        ("policy", "leave out access lists and rules"),
    ):
        clone.add_argument(f"--no-{what}", action="store_true", help=said)


def _options(arguments: argparse.Namespace) -> WorkspaceOptions:
    from deriva_ml.catalog.clone_result import AssetCopyMode, OrphanStrategy
    from deriva_ml.dataset.workspace_plan import WorkspaceOptions

    return WorkspaceOptions(
        include_tables=arguments.include,
        exclude_objects=arguments.exclude,
        exclude_schemas=arguments.exclude_schema,
        include_associations=not arguments.no_associations,
        include_vocabularies=not arguments.no_vocabularies,
        add_ml_schema=not arguments.no_ml_schema,
        asset_mode=AssetCopyMode(arguments.assets),
        copy_annotations=not arguments.no_annotations,
        copy_policy=not arguments.no_policy,
        orphan_strategy=OrphanStrategy(arguments.orphans),
        prune_hidden_fkeys=arguments.prune_hidden,
    )


def _clone(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from deriva_ml.dataset.ml_workspace import create_ml_workspace, plan_ml_workspace

    place, source_id = place_and_catalog(arguments.source)
    options = _options(arguments)
    credential = credential_in(arguments.source_token_file)
    if arguments.dry_run:
        plan = plan_ml_workspace(place, source_id or "1", arguments.root_rid, options, source_credential=credential)
        return _show(plan, arguments)
    to, target_id = place_and_catalog(arguments.target) if arguments.target else (None, None)
    with _advised(), step_bar() as progress:
        made = create_ml_workspace(
            place,
            source_id or "1",
            arguments.root_rid,
            **asdict(options),
            dest_hostname=to,
            dest_catalog_id=target_id,
            alias=arguments.alias,
            source_credential=credential,
            dest_credential=credential_in(arguments.target_token_file),
            truncate_oversized=arguments.truncate_oversized,
            reinitialize_dataset_versions=not arguments.keep_versions,
            table_concurrency=arguments.concurrency,
            progress_callback=progress,
            restart=arguments.restart,
        )
    return _show(made, arguments)


@contextmanager
def _advised() -> Iterator[None]:
    """Show what an interruption was told to say."""
    try:
        yield
    except BaseException as error:
        for note in getattr(error, "__notes__", ()):
            print(note, file=sys.stderr)
        raise


def _show(made: CloneCatalogResult, arguments: argparse.Namespace) -> int:
    from deriva_ml.cli.terminal import show_json

    if arguments.json:
        show_json(made.to_dict())
    else:
        print(made.to_text())
    if not made.is_whole:
        print("Something could not be copied; see above.", file=sys.stderr)
    return 0 if made.is_whole else 1
