"""Dividing a dataset into one for training, one for testing, and perhaps one for validation.

1. The version that is current when the split begins is divided, whatever is changed meanwhile; the run records it as
   its input.
2. Nothing is written before it is known what goes where. Then the datasets are made at once, each with one version.
3. No element is in two partitions, and with ``partition_by`` no value is; that is checked on the result too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from deriva_ml.core.enums import MLVocab
from deriva_ml.core.exceptions import DerivaMLSelectionError
from deriva_ml.dataset.aux_classes import DatasetVersion
from deriva_ml.dataset.creation import NewDataset, create_datasets
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.dataset.finding import lookup_dataset
from deriva_ml.dataset.split_frame import Choice, Units, read_units, several
from deriva_ml.dataset.split_plan import (
    TESTING,
    TRAINING,
    VALIDATION,
    SelectionFunction,
    checked_choice,
    column_of,
    ordered_split,
    partition_sizes,
    random_split,
    stratified_split,
)
from deriva_ml.dataset.split_run import DRY_RUN, Catalog, Run, ensure_types, record_parameters, recording
from deriva_ml.dataset.versions import INITIAL_VERSION
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Json

__all__ = [
    "PartitionInfo",
    "SelectionFunction",
    "SplitResult",
    "chosen_elements",
    "random_split",
    "split_dataset",
    "stratified_split",
]

_SPLIT = "Split"


class PartitionInfo(BaseModel):
    """A dataset that a split has made.

    Attributes:
        rid: The dataset.
        version: Its version.
        count: How many elements it has.
    """

    rid: str
    version: str
    count: int


class SplitResult(BaseModel):
    """What a split has made.

    Attributes:
        source: The dataset that was divided.
        source_version: The version that was divided.
        split: The dataset that holds the partitions.
        training: The partition to fit with.
        testing: The partition to evaluate on.
        validation: The partition to choose settings with, if there is one.
        strategy: How it was divided, in words.
        element_table: The table of the elements.
        seed: What the choice depends on.
        dry_run: Nothing was written.
        execution_rid: The run that made it; None in a dry run.
    """

    source: str
    source_version: str = ""
    split: PartitionInfo
    training: PartitionInfo
    testing: PartitionInfo
    validation: PartitionInfo | None = None
    strategy: str
    element_table: str
    seed: int
    dry_run: bool = False
    execution_rid: str | None = None


def split_dataset(
    ml: Catalog,
    source_dataset_rid: str,
    execution: Run | None = None,
    *,
    test_size: float = 0.2,
    train_size: float | None = None,
    val_size: float | None = None,
    shuffle: bool = True,
    seed: int = 42,
    stratify_by_column: str | None = None,
    stratify_missing: str = "error",
    split_description: str = "",
    training_types: Sequence[str] | None = None,
    testing_types: Sequence[str] | None = None,
    validation_types: Sequence[str] | None = None,
    element_table: str | None = None,
    include_tables: Sequence[str] | None = None,
    selection_fn: SelectionFunction | None = None,
    partition_by: str | None = None,
    row_per: str | None = None,
    via: Sequence[str] | None = None,
    workflow_type: str = "Dataset_Split",
    dry_run: bool = False,
) -> SplitResult:
    """Divide a dataset into partitions, which become datasets in a dataset of type ``Split``.

    Args:
        ml: The catalog.
        source_dataset_rid: The dataset to divide.
        execution: The run that does it; its outputs are uploaded by the caller. By default a run is made for it.
        test_size: A fraction between 0 and 1, or a number; of elements, with ``partition_by`` of its values.
        train_size: Likewise; by default what the others leave.
        val_size: Likewise; by default there is no validation partition.
        shuffle: Choose at random, not in the order of RIDs.
        seed: What a random choice depends on: the same seed and version give the same partitions.
        stratify_by_column: A column of the join of ``include_tables``, such as ``Image.Quality``: each of its values
            gets the same share of every partition.
        stratify_missing: What becomes of elements without a value there: ``error``, ``drop`` or ``include``.
        split_description: What the split is for.
        training_types: Types of the training dataset beside ``Training``.
        testing_types: Types of the testing dataset beside ``Testing``.
        validation_types: Types of the validation dataset beside ``Validation``.
        element_table: The table of the elements; needed if the dataset has members of several.
        include_tables: The tables to join, that of the elements among them.
        selection_fn: A function that chooses.
        partition_by: A column of the element table, or of the join: elements that share a value stay together.
        row_per: The table of ``include_tables`` that a row stands for, where elements have several rows.
        via: Tables that the join goes by, which add no columns.
        workflow_type: The kind of a run that is made for it; a term that is missing is added.
        dry_run: Write nothing.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLInvalidTerm: A type is not in the vocabulary; nothing was written then.
        DerivaMLSelectionError: It cannot be divided like that (a ``ValueError`` too); nothing was written then.
    """
    choice = Choice(
        element_table=element_table,
        include_tables=several("include_tables", include_tables),
        stratify_by_column=stratify_by_column,
        stratify_missing=stratify_missing,
        partition_by=partition_by,
        row_per=row_per,
        via=several("via", via),
        selection_fn=selection_fn,
        shuffle=shuffle,
        seed=seed,
    )
    choice.check()
    source, version = source_of(ml, source_dataset_rid)
    units = read_units(source, str(version), choice)
    sizes = partition_sizes(usable(units, choice), test_size, train_size, val_size, units=units.noun)
    chosen = chosen_elements(units, choice, sizes)
    more = {TRAINING: training_types, TESTING: testing_types, VALIDATION: validation_types}
    types = {name: checked_types(ml, name, more[name]) for name in sizes}
    facts: dict[str, Json] = {
        "source": source_dataset_rid,
        "source_version": str(version),
        "element_table": units.element_table,
        "strategy": choice.strategy,
        "test_size": test_size,
        "train_size": train_size,
        "val_size": val_size,
        **choice.to_dict(),
    }
    if dry_run or (execution is not None and execution.dry_run):
        return _result(facts, dict.fromkeys((_SPLIT, *sizes), DRY_RUN), chosen, None)
    what = f"Split of dataset {source_dataset_rid} version {version}, {choice.strategy}, seed {seed}"
    with recording(
        ml, execution, name="Dataset Split", workflow_type=workflow_type, description=what, code=__file__
    ) as run:
        run.add_input_dataset(source_dataset_rid, version)
        ensure_types(ml.session, _SPLIT, *sizes)
        rids = _make(ml, run, chosen, types, units.element_table, f"{split_description}: {what}".removeprefix(": "))
        result = _result(facts, rids, chosen, run.execution_rid)
        record_parameters(run, "split_config.json", {**facts, "result": result.model_dump()})
    return result


def source_of(ml: Catalog, rid: str) -> tuple[Dataset, DatasetVersion]:
    """The dataset to divide, and its current version.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
    """
    source = lookup_dataset(ml, rid)
    return source, source.current_version


def usable(units: Units, choice: Choice) -> int:
    """How many units can be chosen: all, unless those without a value are left out."""
    if choice.stratify_by_column is None or choice.stratify_missing != "drop":
        return len(units.members)
    return sum(value is not None for value in column_of(units.frame, choice.stratify_by_column))


def chosen_elements(units: Units, choice: Choice, sizes: dict[str, int]) -> dict[str, list[str]]:
    """The elements of each partition.

    Raises:
        DerivaMLSelectionError: The selection function gave something else than partitions.
    """
    select: SelectionFunction = random_split if choice.shuffle else ordered_split
    if choice.selection_fn is not None:
        select = choice.selection_fn
    elif choice.stratify_by_column is not None:
        select = stratified_split(choice.stratify_by_column, choice.stratify_missing)
    found = checked_choice(select(units.frame, dict(sizes), choice.seed), sizes, len(units.members))
    chosen = {name: units.elements(positions) for name, positions in found.items()}
    _require_disjoint(chosen)
    return chosen


def _require_disjoint(chosen: Mapping[str, Iterable[str]]) -> None:
    """Refuse a result in which an element is in two partitions."""
    seen: dict[str, str] = {}
    for name, rids in chosen.items():
        for rid in rids:
            if rid in seen:
                raise DerivaMLSelectionError(f"{rid} would be in {seen[rid]} and in {name}.")
            seen[rid] = name


def checked_types(ml: Catalog, own: str, more: Sequence[str] | None) -> list[str]:
    """The types of a partition: its own, and others, which must be terms.

    Raises:
        DerivaMLInvalidTerm: A type is not in the vocabulary.
    """
    others = [more] if isinstance(more, str) else list(more or ())
    names = check_terms(ml.session, MLVocab.dataset_type.value, others) if others else []
    return list(dict.fromkeys([own, *names]))


def _make(
    ml: Catalog,
    run: Run,
    chosen: Mapping[str, Sequence[str]],
    types: Mapping[str, Sequence[str]],
    element_table: str,
    description: str,
) -> dict[str, str]:
    """Make the datasets; their RIDs."""
    total = sum(map(len, chosen.values()))
    wanted = [
        NewDataset(
            f"{name}: {len(rids)} of {total} records of {element_table}. {description}",
            types[name],
            members={element_table: rids},
        )
        for name, rids in chosen.items()
    ]
    whole = NewDataset(description, [_SPLIT], children=range(len(wanted)))
    made = create_datasets(ml.session, [*wanted, whole], run.execution_rid, "Made by a split.")
    return dict(zip((*chosen, _SPLIT), made, strict=True))


def _result(
    facts: Mapping[str, Any], rids: Mapping[str, str], chosen: Mapping[str, Sequence[str]], execution: str | None
) -> SplitResult:
    dry = execution is None
    version = DRY_RUN if dry else str(INITIAL_VERSION)

    def part(name: str, count: int) -> PartitionInfo:
        return PartitionInfo(rid=rids[name], version=version, count=count)

    counts = {name: len(elements) for name, elements in chosen.items()}
    return SplitResult(
        source=facts["source"],
        source_version=facts["source_version"],
        split=part(_SPLIT, sum(counts.values())),
        training=part(TRAINING, counts[TRAINING]),
        testing=part(TESTING, counts[TESTING]),
        validation=part(VALIDATION, counts[VALIDATION]) if VALIDATION in counts else None,
        strategy=facts["strategy"],
        element_table=facts["element_table"],
        seed=facts["seed"],
        dry_run=dry,
        execution_rid=execution,
    )
