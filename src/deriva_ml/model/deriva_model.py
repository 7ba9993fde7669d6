"""``ml.model``: the ``deriva`` package's model of a catalog, with what the ML layer knows of its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from deriva_ml.asset.tables import metadata_columns, require_asset_table
from deriva_ml.core.constants import is_system_schema
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import AmbiguousAssociationException, NoAssociationException
from deriva_ml.dataset.members import list_dataset_element_types
from deriva_ml.feature.feature import Feature, find_features, lookup_feature
from deriva_ml.schema import tables
from deriva_ml.schema.chaise import CHAISE_CONFIG
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.table_rows import create_table
from deriva_ml.schema.vocabulary import find_vocabularies, vocabulary_columns
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import eq, table

__all__ = ["DerivaModel"]


class DerivaModel:
    """The model of a catalog.

    What it has no method for is asked of the ``deriva`` package's model: ``schemas``, ``annotations``, ``acls``...
    Tables that it returns are that package's; tables that it is given are names, that package's, or ours.

    Args:
        catalog: The catalog: a ``DerivaML`` or its session.
        read: Gives the ``deriva`` package's model.
    """

    def __init__(self, catalog: HasSession | Session, read: Callable[[], Any]) -> None:
        self._session = session_of(catalog)
        self._read = read

    @cached_property
    def model(self) -> Any:
        """The ``deriva`` package's own model."""
        return self._read()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def session(self) -> Session:
        """The catalog that it is of, for functions that take a ``DerivaML``."""
        return self._session

    @property
    def ml_schema(self) -> str:
        """Name of the ML schema."""
        return self._session.ml_schema

    @property
    def domain_schemas(self) -> frozenset[str]:
        """The project's schemas."""
        return self._session.domain_schemas

    @property
    def default_schema(self) -> str | None:
        """Where tables are made if no schema is named."""
        return self._session.default_schema

    def _theirs(self, found: Table) -> Any:
        return self.model.schemas[found.schema].tables[found.name]

    # -- schemas and tables --------------------------------------------------------------------------------------

    def is_system_schema(self, schema_name: str) -> bool:
        """Whether a schema is the service's or the ML layer's."""
        return is_system_schema(schema_name, self.ml_schema)

    def is_domain_schema(self, schema_name: str) -> bool:
        """Whether a schema is one of the project's."""
        return schema_name in self.domain_schemas

    def name_to_table(self, table: str | Any) -> Any:
        """The table of this name: in the project's schemas, then in the ML schema, then in WWW.

        Raises:
            DerivaMLTableNotFound: There is none; the nearest names are in the error.
        """
        return self._theirs(self._session.table(table))

    def create_table(self, table_def: Any, schema: str | None = None) -> Any:
        """Make a table; see ``DerivaML.create_table``."""
        made = create_table(self._session, table_def, schema)
        self.refresh_model()
        return self._theirs(made)

    def refresh_model(self) -> None:
        """Read the model again, as others may have changed it."""
        self._session.catalog.model(refresh=True)
        self.__dict__.pop("model", None)

    def apply(self) -> None:
        """Send what was changed in the ``deriva`` package's model (annotations, comments, rights) to the catalog."""
        self.model.apply()
        self._session.catalog.model(refresh=True)

    @property
    def chaise_config(self) -> dict[str, Any]:
        """The catalog's annotation for its web interface; empty if there is none."""
        found = self._session.model().annotations.get(CHAISE_CONFIG)
        return dict(found) if isinstance(found, dict) else {}

    # -- kinds of table ------------------------------------------------------------------------------------------

    def is_vocabulary(self, table: str | Any) -> bool:
        """Whether a table is a controlled vocabulary."""
        return tables.is_vocabulary(self._session.table(table))

    def vocab_columns(self, table: str | Any) -> dict[str, str]:
        """The columns of a vocabulary: the actual name by the usual one."""
        return vocabulary_columns(self._session.table(table))

    def is_asset(self, table: str | Any) -> bool:
        """Whether a table holds a row for each stored file."""
        return tables.is_asset(self._session.table(table))

    def is_association(
        self, table: str | Any, unqualified: bool = True, pure: bool = True, min_arity: int = 2, max_arity: int = 2
    ) -> bool:
        """Whether a table does nothing but relate rows of others.

        Args:
            table: The table.
            unqualified: The related rows alone tell its rows apart, without a further column.
            pure: There is no column besides the references.
            min_arity: The least number of related rows.
            max_arity: The greatest number of related rows.
        """
        found = self._session.table(table)
        if tables.is_association(found, min_arity=min_arity, max_arity=max_arity, pure=pure):
            return True
        return not unqualified and self._theirs(found).is_association(min_arity, max_arity, unqualified, pure)

    def find_association(self, table1: str | Any, table2: str | Any) -> tuple[Any, str, str]:
        """The table that relates two others, with its columns for the one and for the other.

        Raises:
            NoAssociationException: There is none.
            AmbiguousAssociationException: There are several.
        """
        one, other = self._session.table(table1), self._session.table(table2)
        found = []
        for candidate in tables.referencing(self._session.model(), one):
            if not tables.is_association(candidate, pure=False):
                continue
            mine = [fkey for fkey in candidate.association_keys() if fkey.referenced_table == one.qualified]
            theirs = [
                fkey
                for fkey in candidate.association_keys()
                if fkey.referenced_table == other.qualified and fkey not in mine[:1]
            ]
            if mine and theirs:
                found.append((candidate, mine[0].columns[0], theirs[0].columns[0]))
        if len(found) != 1:
            kind = AmbiguousAssociationException if found else NoAssociationException
            raise kind(one.name, other.name, [f"{each[0].schema}:{each[0].name}" for each in found])
        association, column, other_column = found[0]
        return self._theirs(association), column, other_column

    def _all(self) -> list[Table]:
        model = self._session.model()
        return [
            found
            for schema in self._session.schema_order()
            if schema in model.schemas
            for found in model.schemas[schema].tables.values()
        ]

    def find_assets(self) -> list[Any]:
        """The asset tables."""
        return [self._theirs(found) for found in self._all() if tables.is_asset(found)]

    def find_vocabularies(self) -> list[Any]:
        """The vocabularies."""
        return [self._theirs(found) for found in find_vocabularies(self._session)]

    def asset_metadata(self, table: str | Any) -> set[str]:
        """The columns of an asset table that the project gave it.

        Raises:
            DerivaMLTableTypeError: It is no asset table.
        """
        return {column.name for column in metadata_columns(require_asset_table(self._session.table(table)))}

    # -- features and datasets -----------------------------------------------------------------------------------

    def find_features(self, table: str | Any | None = None) -> list[Feature]:
        """The features of a table, or of all."""
        return find_features(self._session, None if table is None else self._session.table(table))

    def lookup_feature(self, table: str | Any, feature_name: str) -> Feature:
        """The feature of this name.

        Raises:
            DerivaMLException: The table has no such feature.
        """
        return lookup_feature(self._session, self._session.table(table), feature_name)

    def list_dataset_element_types(self) -> list[Any]:
        """The tables whose rows can be members of datasets."""
        return [self._theirs(found) for found in list_dataset_element_types(self._session)]

    def is_dataset_rid(self, rid: str, deleted: bool = False) -> bool:
        """Whether a RID names a dataset; one that is marked as deleted counts if ``deleted`` is true."""
        path = table(self.ml_schema, str(MLTable.dataset)).where(eq("RID", rid))
        rows = self._session.catalog.attributes(path, "RID", "Deleted")
        return bool(rows) and (deleted or not rows[0]["Deleted"])

    # -- description ---------------------------------------------------------------------------------------------

    def get_schema_description(self, include_system_columns: bool = False) -> dict[str, Json]:
        """The project's tables and those of the ML schema in plain words, for people and for language models.

        Returns:
            ``domain_schemas``, ``default_schema``, ``ml_schema`` and ``schemas``: by schema and table its ``comment``,
            ``kind`` (vocabulary, asset, association or table), ``columns`` and ``foreign_keys``.
        """
        model = self._session.model()
        schemas: dict[str, Json] = {}
        for name in (*sorted(self.domain_schemas), self.ml_schema):
            if name in model.schemas:
                described: Mapping[str, Json] = {
                    found.name: _described(found, include_system_columns)
                    for found in model.schemas[name].tables.values()
                }
                schemas[name] = {"comment": model.schemas[name].comment, "tables": dict(described)}
        return {
            "domain_schemas": [*sorted(self.domain_schemas)],
            "default_schema": self.default_schema,
            "ml_schema": self.ml_schema,
            "schemas": schemas,
        }


def _kind(found: Table) -> str:
    if tables.is_vocabulary(found):
        return "vocabulary"
    if tables.is_asset(found):
        return "asset"
    return "association" if tables.is_association(found, max_arity=9, pure=False) else "table"


def _described(found: Table, include_system_columns: bool) -> dict[str, Json]:
    columns: list[Json] = [
        {
            "name": column.name,
            "type": column.type.name,
            "nullok": column.nullok,
            "default": column.default,
            "comment": column.comment,
        }
        for column in (found.columns if include_system_columns else found.user_columns)
    ]
    references: list[Json] = [
        {
            "columns": list(fkey.columns),
            "referenced_table": f"{fkey.referenced_table[0]}:{fkey.referenced_table[1]}",
            "referenced_columns": list(fkey.referenced_columns),
        }
        for fkey in found.foreign_keys
        if fkey.columns not in (("RCB",), ("RMB",))
    ]
    return {"comment": found.comment, "kind": _kind(found), "columns": columns, "foreign_keys": references}
