"""The values of a feature as a data frame, and kept in the working directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deriva_ml.core.files import require
from deriva_ml.feature.feature import lookup_feature
from deriva_ml.feature.select import Selector
from deriva_ml.feature.values import list_feature_values
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Table
from deriva_ml.workspace.working_data import WorkingDataCache, plain_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cache_features", "feature_frame"]


def feature_frame(
    session: Session,
    table_name: str | Table,
    feature_name: str,
    selector: Selector | None = None,
    *,
    execution: str | None = None,
    workflow: str | None = None,
) -> pd.DataFrame:
    """The values of a feature, a row for each; all of its columns are there even if it has no values.

    Args:
        session: The catalog.
        table_name: The table that the feature is of.
        feature_name: The feature.
        selector: Takes one value where a record has several.
        execution: Only values that this run gave.
        workflow: Only values that runs of this workflow gave.

    Raises:
        DerivaMLException: The table has no such feature.
    """
    shape = lookup_feature(session, table_name, feature_name)
    records = list_feature_values(session, table_name, feature_name, selector, execution=execution, workflow=workflow)
    columns = [shape.target_column, "Execution", "Feature_Name", *sorted(c.name for c in shape.feature_columns), "RCT"]
    rows = [record.model_dump(by_alias=True) for record in records]
    return require("pandas", "pandas").DataFrame(rows, columns=columns)


def cache_features(
    session: Session,
    table_name: str | Table,
    feature_name: str,
    force: bool = False,
    *,
    selector: Selector | None = None,
    execution: str | None = None,
    workflow: str | None = None,
) -> pd.DataFrame:
    """The values of a feature, kept in the working directory: the catalog is asked the first time only.

    They are kept as ``features_<table>_<feature>``. What was selected from them is not kept, as a selector has no
    name: with a selector, a run or a workflow the catalog is asked each time.

    Args:
        session: The catalog.
        table_name: The table that the feature is of.
        feature_name: The feature.
        force: Ask the catalog again.
        selector: Takes one value where a record has several.
        execution: Only values that this run gave.
        workflow: Only values that runs of this workflow gave.

    Raises:
        DerivaMLException: The table has no such feature.
    """
    if selector is not None or execution is not None or workflow is not None:
        return feature_frame(session, table_name, feature_name, selector, execution=execution, workflow=workflow)
    kept = WorkingDataCache(session.records_dir)
    name = f"features_{session.table(table_name).name}_{feature_name}"
    if force or not kept.has_table(name):
        kept.cache_table(name, plain_frame(feature_frame(session, table_name, feature_name)))
    return kept.read_table(name)
