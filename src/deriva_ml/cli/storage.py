"""``deriva-ml-storage``: what bags, cached assets and runs take of this machine's disk, and removing them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deriva_ml.cli.command import Command

if TYPE_CHECKING:
    from deriva_ml.execution.stored import StoredItem
    from deriva_ml.workspace.places import WorkPlace

__all__ = ["main"]

WHAT = ("cache", "executions", "all")
SORTS = ("size", "location", "type", "modified")


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-storage",
        description="Show what bags, cached assets and runs take of this machine's disk, for every catalog and "
        "wherever it is kept, and remove it. The directory of a run whose outputs are not in the catalog yet is never "
        "removed without --force.",
        epilog="Exit codes: 0 done, 1 something could not be removed, 2 the request was wrong.",
        allow_abbrev=False,
    )
    out.add_argument("--list", nargs="?", const="all", choices=WHAT, help="what to list (default: all)")
    out.add_argument("--sort", choices=SORTS, default="size", help="order of the list (default: size)")
    out.add_argument("--delete", nargs="+", metavar="RID", help="remove what is kept of these datasets, assets or runs")
    out.add_argument("--yes", "-y", action="store_true", help="do not ask before something is removed")
    out.add_argument("--force", action="store_true", help="remove runs too whose outputs are not in the catalog")
    out.add_argument("--working-dir", metavar="DIR", help="only what is kept in or below this directory")
    out.add_argument("--json", action="store_true", help="print JSON")
    out.add_argument("--debug", action="store_true", help="show tracebacks")
    return out


def _storage(flags: argparse.Namespace) -> int:
    from deriva_ml.execution.stored import find_items, stored_items

    what = flags.list or "all"
    items: list[StoredItem] = []
    for place in _places(flags.working_dir):
        items += stored_items(place, cache=what != "executions", runs=what != "cache")
    if flags.delete:
        return _delete(find_items(items, flags.delete), yes=flags.yes, force=flags.force)
    _list(_sorted(items, flags.sort), as_json=flags.json)
    return 0


def _places(below: str | None) -> list[WorkPlace]:
    from pathlib import Path

    from deriva_ml.workspace.places import known_places

    if below is None:
        return known_places()
    root = Path(below).expanduser().absolute()
    inside = (root, *root.parents)
    return [
        place
        for place in known_places()
        if any(each == root or root in each.parents for each in (place.records_dir, place.cache_dir))
        or place.records_dir in inside
    ]


def _sorted(items: Sequence[StoredItem], by: str) -> list[StoredItem]:
    if by == "size":
        return sorted(items, key=lambda item: (-item.size, item.key))
    if by == "modified":
        return sorted(items, key=lambda item: (-item.modified, item.key))
    if by == "type":
        return sorted(items, key=lambda item: (item.kind, -item.size))
    return sorted(items, key=lambda item: (str(item.path),))


def _list(items: Sequence[StoredItem], *, as_json: bool) -> None:
    from deriva_ml.cli.terminal import show_json

    if as_json:
        show_json(
            [
                {
                    "catalog": str(item.place),
                    "type": str(item.kind),
                    "rid": item.rid,
                    "detail": item.detail,
                    "path": str(item.path),
                    "size_bytes": item.size,
                    "files": item.files,
                    "modified": item.modified,
                    "kept": item.kept or None,
                }
                for item in items
            ]
        )
    elif items:
        _show(items)
    else:
        print("Nothing is kept on this machine.")


def _show(items: Sequence[StoredItem]) -> None:
    """Print a line for each item, and the totals."""
    from datetime import UTC, datetime

    from deriva_ml.cli.tables import Table
    from deriva_ml.cli.terminal import emit, escape_text
    from deriva_ml.core.files import human_size

    columns = ("Catalog", "RID", "Type", "Size", "Files", "Modified", "What")
    table = Table(columns, right=("Size", "Files"), fixed=columns[:-1])
    for item in items:
        when = datetime.fromtimestamp(item.modified, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        stays = f" [yellow](stays: {escape_text(item.kept)})[/yellow]" if item.kept else ""
        what = escape_text(item.detail or str(item.path)) + stays
        place, size = escape_text(str(item.place)), human_size(item.size)
        table.add_row(place, item.rid, str(item.kind), size, str(item.files), when, what)
    cache = sum(item.size for item in items if item.kind.is_cache)
    runs = sum(item.size for item in items if not item.kind.is_cache)
    total = f"Total: {human_size(cache + runs)} in {len(items)} item(s)"
    emit(table, f"[dim]{total}: cache {human_size(cache)}, runs {human_size(runs)}[/dim]")


def _delete(items: Sequence[StoredItem], *, yes: bool, force: bool) -> int:
    from deriva_ml.cli.errors import show_error
    from deriva_ml.core.exceptions import DerivaMLException
    from deriva_ml.core.files import human_size
    from deriva_ml.execution.stored import delete_item

    _show(items)
    if not yes and not _confirmed(len(items)):
        print("Nothing was removed.")
        return 0
    freed, failed = 0, 0
    for item in items:
        try:
            freed += delete_item(item, force=force)
        except DerivaMLException as error:
            show_error(error)
            failed += 1
        except OSError as error:
            print(f"{item.path} could not be removed: {error.strerror or error}", file=sys.stderr)
            failed += 1
    print(f"Removed {len(items) - failed} of {len(items)}: {human_size(freed)}.")
    return 1 if failed else 0


def _confirmed(count: int) -> bool:
    if not sys.stdin.isatty():
        print("Nobody can be asked here: add --yes to remove it.", file=sys.stderr)
        return False
    return input(f"Remove {'it' if count == 1 else f'these {count}'}? [y/N]: ").strip().lower() in ("y", "yes")


main = Command(parser, _storage)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
