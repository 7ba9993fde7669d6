"""``deriva-ml-split-dataset``: divide a dataset into parts for training, for testing, and perhaps for validation."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from deriva_ml.cli.command import Command
from deriva_ml.cli.place import existing_catalog

if TYPE_CHECKING:
    from deriva_ml.dataset.split import PartitionInfo, SplitResult
    from deriva_ml.ml import DerivaML

__all__ = ["main"]

_RULE = "=" * 60
_TYPES = "Labeled"


def _size(text: str) -> float:
    """A fraction, or a whole number."""
    return float(text) if "." in text or "e" in text.lower() else int(text)


def _names(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-split-dataset",
        description="Divide a dataset into partitions, which become datasets of their own, recorded as made by a run.",
        epilog="Exit codes: 0 done, 1 something else went wrong, 2 the request was wrong (nothing was written), 4 the "
        "run's files did not all arrive, 5 the catalog cannot be reached.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("--hostname", "--host", dest="host", default="local", metavar="HOST", help="local, a path, a host name, a URL")
    add("--catalog-id", "--catalog", dest="catalog", default="1", metavar="ID", help="the catalog (default: 1)")
    add("--domain-schema", metavar="NAME", help="the project's schema (default: found out)")
    add("--dataset-rid", required=True, metavar="RID", help="the dataset to divide")
    size = "a fraction below 1, or a number"
    add("--test-size", type=_size, default=0.2, metavar="SIZE", help=f"for testing: {size} (default: 0.2)")
    add("--train-size", type=_size, metavar="SIZE", help=f"for training: {size} (default: what the others leave)")
    add("--val-size", type=_size, metavar="SIZE", help=f"for validation: {size} (default: none)")
    add("--no-shuffle", action="store_true", help="divide in the order of RIDs")
    add("--seed", type=int, default=42, metavar="N", help="what the choice depends on (default: 42)")
    add("--stratify-by-column", metavar="TABLE.COLUMN", help="each value gets the same share of every partition")
    add("--stratify-missing", choices=("error", "drop", "include"), default="error", help="elements without a value")
    add("--partition-by", metavar="COLUMN", help="elements that share a value stay together")
    add("--row-per", metavar="TABLE", help="what a row of the join stands for, where elements have several")
    add("--element-table", metavar="TABLE", help="the table of the elements, if members are of several")
    add("--include-tables", type=_names, metavar="A,B", help="the tables to join")
    add("--via", type=_names, metavar="A,B", help="tables that the join goes by, which add no columns")
    for name in ("training", "testing", "validation"):
        add(f"--{name}-types", type=_names, default=[_TYPES], metavar="A,B", help=f"types beside {name.capitalize()}")
    add("--description", default="", metavar="TEXT", help="what the split is for")
    add("--workflow-type", default="Dataset_Split", metavar="TERM", help="the kind of the run (default: Dataset_Split)")
    add("--dry-run", action="store_true", help="say what would be done, and write nothing")
    add("--show-urls", action="store_true", help="print the pages of the datasets")
    add("--json", action="store_true", help="print the result as JSON")
    add("--debug", action="store_true", help="show tracebacks")
    return out


def _split(flags: argparse.Namespace) -> int:
    from deriva_ml.core.exceptions import DerivaMLException
    from deriva_ml.dataset.split import split_dataset

    log = logging.getLogger("deriva_ml")
    with existing_catalog(flags) as ml:
        try:
            result = split_dataset(
                ml,
                flags.dataset_rid,
                test_size=flags.test_size,
                train_size=flags.train_size,
                val_size=flags.val_size,
                shuffle=not flags.no_shuffle,
                seed=flags.seed,
                stratify_by_column=flags.stratify_by_column,
                stratify_missing=flags.stratify_missing,
                split_description=flags.description,
                training_types=flags.training_types,
                testing_types=flags.testing_types,
                validation_types=flags.validation_types,
                element_table=flags.element_table,
                include_tables=flags.include_tables,
                partition_by=flags.partition_by,
                row_per=flags.row_per,
                via=flags.via,
                workflow_type=flags.workflow_type,
                dry_run=flags.dry_run,
            )
        except DerivaMLException as error:
            log.error("Split failed: %s", str(error).splitlines()[0])  # noqa: TRY400 - the command shows the error itself
            raise
        _show(ml, result, flags)
    return 0


def _parts(result: SplitResult) -> dict[str, PartitionInfo]:
    parts = {"Split": result.split, "Training": result.training, "Testing": result.testing}
    return parts if result.validation is None else {**parts, "Validation": result.validation}


def _urls(ml: DerivaML, result: SplitResult) -> dict[str, str]:
    from deriva_ml.dataset.dataset import Dataset

    named = {"Source": result.source}
    if not result.dry_run:
        named |= {name: part.rid for name, part in _parts(result).items()}
    return {name: Dataset(ml, rid).get_chaise_url() for name, rid in named.items()}


def _show(ml: DerivaML, result: SplitResult, flags: argparse.Namespace) -> None:
    from deriva_ml.cli.terminal import show_json

    urls = _urls(ml, result) if flags.show_urls else {}
    if flags.json:
        show_json(result.model_dump() | ({"urls": urls} if urls else {}))
        return
    lines = [f"Source: {result.source} (version {result.source_version})"]
    for name, part in _parts(result).items():
        made = "" if result.dry_run else f"{part.rid} (version {part.version}), "
        lines.append(f"{name}: {made}{part.count} records of {result.element_table}")
    lines += [f"Strategy: {result.strategy}", f"Seed: {result.seed}"]
    if result.execution_rid is not None:
        lines.append(f"Execution: {result.execution_rid}")
    lines += [f"{name} URL: {url}" for name, url in urls.items()]
    head = "DRY RUN - No changes will be made" if result.dry_run else "SPLIT COMPLETE"
    print("\n".join([_RULE, head, _RULE, *lines, _RULE]))


main = Command(parser, _split)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
