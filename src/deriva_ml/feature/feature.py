"""Features of a catalog: making, finding and removing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import cast

from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLNotFoundError, DerivaMLValidationError
from deriva_ml.core.files import nearest
from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.feature.definition import Metadata, TableLike, feature_columns, listed
from deriva_ml.feature.records import FeatureRecord, TermReader, record_class
from deriva_ml.feature.shape import FEATURE_NAME, FeatureShape, feature_shapes
from deriva_ml.schema.chaise import refresh_menu
from deriva_ml.schema.references import require_column
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import Associate, association_document
from deriva_ml.schema.vocabulary import add_term, list_vocabulary_terms, vocabulary, vocabulary_columns
from deriva_ml.wire.model import Model, Table

__all__ = [
    "Feature",
    "create_feature",
    "delete_feature",
    "feature_record_class",
    "features_of_model",
    "find_features",
    "lookup_feature",
]

NAME_BYTES = 63
"""The longest name of a table, in bytes; PostgreSQL's limit."""


@dataclass(frozen=True, eq=False)
class Feature(FeatureShape):
    """A feature of a catalog or of a bag.

    Attributes:
        read_terms: Reads the terms of a vocabulary, for the check of new values.
    """

    read_terms: TermReader | None = field(default=None, repr=False)

    def feature_record_class(self) -> type[FeatureRecord]:
        """The class of the feature's values."""
        return record_class(self, self.read_terms)


def features_of_model(model: Model, target: Table | None = None, read_terms: TermReader | None = None) -> list[Feature]:
    """The features that a model has, of one table or of all; a bag's model will do."""
    return [
        Feature(
            shape.feature_table, shape.target_table, shape.feature_name, shape.target_column, shape.model, read_terms
        )
        for shape in feature_shapes(model, target)
    ]


def find_features(session: Session, table: TableLike | None = None) -> list[Feature]:
    """The features of one table, or of all tables."""
    target = None if table is None else session.table(table)

    def read_terms(vocabulary: Table) -> Mapping[str, str]:
        terms = list_vocabulary_terms(session.brief(), vocabulary)  # what is no term the catalog refuses too
        synonyms = {synonym: term.name for term in terms for synonym in term.synonyms}
        return synonyms | {term.name: term.name for term in terms}

    return features_of_model(session.model(), target, read_terms)


def find_features_referencing(session: Session, table: TableLike, column: str | None = None) -> list[Feature]:
    """The features that have to do with a table: those of its records, and those whose values refer to it.

    Args:
        session: The catalog.
        table: The table.
        column: Only features that refer to this column: ``RID`` of what they describe and of assets, ``Name`` of terms.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLNotFoundError: The table has no such column.
    """
    found = session.table(table)
    if column is not None:
        require_column(found, column)
    return [
        feature
        for feature in find_features(session)
        if any(column is None or column in fkey.referenced_columns for fkey in feature.feature_table.references(found))
    ]


def lookup_feature(session: Session, table: TableLike, feature_name: str) -> Feature:
    """The feature of this name on a table.

    Raises:
        DerivaMLNotFoundError: There is none; the table's features are in the error.
    """
    target = session.table(table)
    known = find_features(session, target)
    for feature in known:
        if feature.feature_name == feature_name:
            return feature
    raise DerivaMLNotFoundError(
        f"Feature {target.name}:{feature_name} doesn't exist.",
        allowed=nearest(feature_name, [feature.feature_name for feature in known]),
        hint=f"make it with create_feature({target.name!r}, {feature_name!r}, ...)",
    )


def feature_record_class(session: Session, table: TableLike, feature_name: str) -> type[FeatureRecord]:
    """The class of a feature's values."""
    return lookup_feature(session, table, feature_name).feature_record_class()


def create_feature(
    session: Session,
    target_table: TableLike,
    feature_name: str,
    terms: Sequence[TableLike] | None = None,
    assets: Sequence[TableLike] | None = None,
    metadata: Sequence[Metadata] | None = None,
    optional: Iterable[str] | None = None,
    comment: str = "",
    update_navbar: bool = True,
    *,
    schema: str | None = None,
) -> type[FeatureRecord]:
    """Make a feature of a table.

    Args:
        session: The catalog.
        target_table: The table whose records the feature describes.
        feature_name: Its name, which becomes a term of ``Feature_Name``.
        terms: Vocabularies: one column for each, named like it.
        assets: Asset tables: one column for each, named like it.
        metadata: Further columns: definitions of columns, or tables and keys to refer to.
        optional: Names of columns that may be without a value.
        comment: What the feature says.
        update_navbar: Let the feature's table join the menu of the catalog's web interface, if it has one.
        schema: Where its table is made; by default in the default schema.

    Returns:
        The class of its values.

    Raises:
        DerivaMLTableTypeError: Something in ``terms`` is no vocabulary, or in ``assets`` no asset table.
        DerivaMLDataError: The feature exists already, or two columns have one name.
        DerivaMLValidationError: ``optional`` names a column that there is not, or the name is too long.
    """
    session.require_writable()
    target = session.table(target_table)
    where = session.domain(schema)
    name = f"Execution_{target.name}_{feature_name}"
    _check_name(session, target, feature_name, where, name)
    values = feature_columns(
        session, target, feature_name, listed(terms), listed(assets), listed(metadata), listed(optional)
    )
    names = vocabulary(session, f"{session.ml_schema}:{MLVocab.feature_name.value}")
    document = association_document(
        where,
        name,
        [
            Associate(session.ml_schema, MLTable.execution.value),
            Associate(target.schema, target.name),
            Associate(session.ml_schema, names.name, vocabulary_columns(names)["Name"]),
        ],
        values.columns,
        values.references,
        comment=comment or f"Feature {feature_name} of {target.name}.",
    )
    for own in cast("list[dict[str, Json]]", document["column_definitions"]):
        if own["name"] == FEATURE_NAME:
            own["default"] = feature_name
    add_term(session, names, feature_name, comment or f"A feature of {target.name}.")
    session.catalog.create_table(where, document)
    if update_navbar:
        refresh_menu(session)
    return feature_record_class(session, target, feature_name)


def delete_feature(session: Session, table: TableLike, feature_name: str) -> bool:
    """Remove a feature with all its values; False if there is none."""
    session.require_writable()
    target = session.table(table)
    for feature in find_features(session, target):
        if feature.feature_name == feature_name:
            session.catalog.drop_table(*feature.feature_table.qualified)
            return True
    return False


def _check_name(session: Session, target: Table, feature_name: str, schema: str, table_name: str) -> None:
    if not feature_name.strip():
        raise DerivaMLValidationError("A feature needs a name.")
    if len(table_name.encode()) > NAME_BYTES:
        raise DerivaMLValidationError(
            f"The feature's table would be called {table_name}, which has more than {NAME_BYTES} bytes.",
            hint="choose a shorter name for the feature",
        )
    if any(feature.feature_name == feature_name for feature in find_features(session, target)):
        raise DerivaMLDataError(
            f"Feature {target.name}:{feature_name} exists already.",
            hint="choose another name, or delete_feature first; that removes its values",
        )
    if session.model().table(schema, table_name) is not None:
        raise DerivaMLDataError(
            f"Feature {target.name}:{feature_name} needs a table {table_name}, which schema {schema} has already.",
            hint="choose another name, or another schema: create_feature(..., schema=...)",
        )
