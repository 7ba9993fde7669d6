"""A part of a dataset as a dataset of its own, chosen at random or in proportion to the values of a column."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from deriva_ml.core.enums import MLVocab
from deriva_ml.dataset.creation import NewDataset, create_datasets
from deriva_ml.dataset.split import PartitionInfo, chosen_elements, source_of, usable
from deriva_ml.dataset.split_frame import Choice, read_units, several
from deriva_ml.dataset.split_plan import SelectionFunction, sample_size
from deriva_ml.dataset.split_run import DRY_RUN, Catalog, Run, record_parameters, recording
from deriva_ml.dataset.versions import INITIAL_VERSION
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Json

__all__ = ["SubsampleResult", "subsample"]

_SAMPLE = "Sample"


class SubsampleResult(BaseModel):
    """What a subsample has made.

    Attributes:
        source: The dataset that it was taken from.
        source_version: The version that it was taken from.
        sample: The dataset that was made.
        strategy: How it was chosen, in words.
        element_table: The table of the elements.
        seed: What the choice depends on.
        dry_run: Nothing was written.
        execution_rid: The run that made it; None in a dry run.
    """

    source: str
    source_version: str
    sample: PartitionInfo
    strategy: str
    element_table: str
    seed: int
    dry_run: bool = False
    execution_rid: str | None = None


def subsample(
    ml: Catalog,
    source_dataset_rid: str,
    execution: Run | None = None,
    *,
    size: float,
    shuffle: bool = True,
    seed: int = 42,
    stratify_by_column: str | None = None,
    stratify_missing: str = "error",
    description: str = "",
    dataset_types: Sequence[str] | None = None,
    element_table: str | None = None,
    include_tables: Sequence[str] | None = None,
    selection_fn: SelectionFunction | None = None,
    partition_by: str | None = None,
    row_per: str | None = None,
    via: Sequence[str] | None = None,
    workflow_type: str = "Dataset_Management",
    dry_run: bool = False,
) -> SubsampleResult:
    """Make a dataset of a part of the elements of another one.

    Args:
        ml: The catalog.
        source_dataset_rid: The dataset to take from.
        execution: The run that does it; its outputs are uploaded by the caller. By default a run is made for it.
        size: A fraction between 0 and 1, or a number; of elements, with ``partition_by`` of its values.
        shuffle: Choose at random, not in the order of RIDs.
        seed: What a random choice depends on.
        stratify_by_column: A column of the join of ``include_tables``, whose values keep their shares.
        stratify_missing: What becomes of elements without a value there: ``error``, ``drop`` or ``include``.
        description: What it is for.
        dataset_types: Its types.
        element_table: The table of the elements; needed if the dataset has members of several.
        include_tables: The tables to join, that of the elements among them.
        selection_fn: A function that chooses the rows of the one partition ``Sample``.
        partition_by: A column of the element table, or of the join: elements that share a value stay together.
        row_per: The table of ``include_tables`` that a row stands for, where elements have several rows.
        via: Tables that the join goes by, which add no columns.
        workflow_type: The kind of a run that is made for it; a term that is missing is added.
        dry_run: Write nothing.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLInvalidTerm: A type is not in the vocabulary; nothing was written then.
        DerivaMLSelectionError: It cannot be chosen like that (a ``ValueError`` too); nothing was written then.
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
    count = sample_size(usable(units, choice), size, units=units.noun)
    elements = chosen_elements(units, choice, {_SAMPLE: count})[_SAMPLE]
    types = check_terms(ml.session, MLVocab.dataset_type.value, list(dataset_types)) if dataset_types else []
    result = SubsampleResult(
        source=source_dataset_rid,
        source_version=str(version),
        sample=PartitionInfo(rid=DRY_RUN, version=DRY_RUN, count=len(elements)),
        strategy=choice.strategy,
        element_table=units.element_table,
        seed=seed,
        dry_run=True,
    )
    if dry_run or (execution is not None and execution.dry_run):
        return result
    what = f"{len(elements)} records of {units.element_table} of dataset {source_dataset_rid} version {version}"
    what = f"{what}, {choice.strategy}, seed {seed}"
    with recording(
        ml, execution, name="Dataset Subsample", workflow_type=workflow_type, description=what, code=__file__
    ) as run:
        run.add_input_dataset(source_dataset_rid, version)
        wanted = NewDataset(f"{description}: {what}".removeprefix(": "), types, members={units.element_table: elements})
        (rid,) = create_datasets(ml.session, [wanted], run.execution_rid, "Made by a subsample.")
        result.sample = PartitionInfo(rid=rid, version=str(INITIAL_VERSION), count=len(elements))
        result.execution_rid, result.dry_run = run.execution_rid, False
        facts: dict[str, Json] = {**result.model_dump(), "size": size, **choice.to_dict()}
        record_parameters(run, "subsample_config.json", facts)
    return result
