"""The features of a bag, and their values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLMaterializeLimitExceeded, DerivaMLNotFoundError
from deriva_ml.core.files import nearest
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.joined_sql import quoted, sql_name
from deriva_ml.feature.feature import Feature, features_of_model
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.select import Selector
from deriva_ml.feature.shape import EXECUTION
from deriva_ml.feature.values import selected
from deriva_ml.schema.vocabulary import vocabulary_columns
from deriva_ml.wire.model import Json, Table

__all__ = ["fetch_table_features", "find_features", "lookup_feature", "read_values"]


def find_features(database: BagDatabase, table: str | Table | None = None) -> list[Feature]:
    """The features of a table, or of all tables, whether or not the bag has values of them."""
    target = None if table is None else database.table(table)

    def read_terms(vocabulary: Table) -> Mapping[str, str]:
        names = vocabulary_columns(vocabulary)
        terms = [(str(row[names["Name"]]), row[names["Synonyms"]]) for row in database.rows(vocabulary)]
        synonyms = {str(synonym): name for name, known in terms for synonym in _texts(known)}
        return synonyms | {name: name for name, _known in terms}

    return features_of_model(database.model, target, read_terms)


def _texts(value: Json) -> list[Any]:
    return value if isinstance(value, list) else []


def lookup_feature(database: BagDatabase, table: str | Table, feature_name: str) -> Feature:
    """The feature of this name on a table.

    Raises:
        DerivaMLNotFoundError: The table has no such feature.
    """
    target = database.table(table)
    known = {feature.feature_name: feature for feature in find_features(database, target)}
    if feature_name not in known:
        raise DerivaMLNotFoundError(
            f"Feature '{feature_name}' not found on table '{target.name}'.", allowed=nearest(feature_name, known)
        )
    return known[feature_name]


def fetch_table_features(
    database: BagDatabase, table: str | Table, feature_name: str | None = None, selector: Selector | None = None
) -> dict[str, list[FeatureRecord]]:
    """The values of a table's features, or of one of them, by the name of the feature."""
    if feature_name is not None:
        return {feature_name: read_values(database, lookup_feature(database, table, feature_name), selector)}
    return {each.feature_name: read_values(database, each, selector) for each in find_features(database, table)}


def read_values(
    database: BagDatabase,
    feature: Feature,
    selector: Selector | None = None,
    *,
    executions: Collection[str] | None = None,
    workflow: str | None = None,
    limit: int | None = None,
) -> list[FeatureRecord]:
    """The values of a feature that the bag has.

    Args:
        database: The bag's tables.
        feature: The feature.
        selector: Takes one value where a record has several; if it takes none, the record has no value.
        executions: Only values that these executions made.
        workflow: Only values made by executions of this workflow (a RID), or of workflows of this type.
        limit: More values than this are an error.

    Raises:
        DerivaMLDataError: There are more values than that.
    """
    record = feature.feature_record_class()
    made_by = None if executions is None else frozenset(executions)
    if workflow is not None:
        of_workflow = executions_of(database, workflow)
        made_by = of_workflow if made_by is None else made_by & of_workflow
    rows = database.rows(feature.feature_table)
    records = [record.from_row(row) for row in rows if made_by is None or row[EXECUTION] in made_by]
    if limit is not None and len(records) > limit:
        raise DerivaMLMaterializeLimitExceeded(
            f"values of {feature}", limit, hint="raise materialize_limit, or ask for the values of some executions only"
        )
    if selector is None:
        return list(records)
    return [each for each in selected(records, selector) if each is not None]


def executions_of(database: BagDatabase, workflow: str) -> frozenset[str]:
    """The executions of the bag that are of a workflow (a RID), or of workflows of a type."""
    ml = database.model.schemas[database.ml_schema].tables
    execution, types = ml[MLTable.execution.value], ml[MLTable.workflow_type.value]
    if not database.has(execution):
        return frozenset()
    of_type = f"SELECT {quoted('Workflow')} FROM {database.source(types)} WHERE {quoted('Workflow_Type')} = ?1"
    sql = (
        f"SELECT {quoted('RID')} FROM {sql_name(execution)} "
        f"WHERE {quoted('Workflow')} = ?1 OR {quoted('Workflow')} IN ({of_type})"
    )
    return frozenset(str(rid) for (rid,) in database.query(sql, [workflow]))
