"""``DerivaML``: one catalog as a user works with it. It composes the rooms below and does nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.logging_config import configure_logging
from deriva_ml.schema import vocabulary
from deriva_ml.schema.opening import DEFAULT_CATALOG, READY_TAG, find_context, open_session
from deriva_ml.schema.rids import citation, resolve_rid, resolve_rids, retrieve_rid
from deriva_ml.schema.table_rows import list_users, table_frame, table_rows
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    import pandas as pd

    from deriva_ml.asset.asset import Asset
    from deriva_ml.asset.asset_record import AssetRecord
    from deriva_ml.core.enums import Status
    from deriva_ml.core.ermrest import ColumnDefinition, ForeignKeyDefinition, TableDefinition, VocabularyTerm
    from deriva_ml.core.ml_config import DerivaMLConfig
    from deriva_ml.dataset.aux_classes import DatasetSpec
    from deriva_ml.dataset.dataset import Dataset
    from deriva_ml.dataset.dataset_bag import DatasetBag
    from deriva_ml.execution.execution import Execution
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration
    from deriva_ml.execution.execution_record import ExecutionRecord
    from deriva_ml.execution.workflow import Workflow
    from deriva_ml.feature.feature import Feature
    from deriva_ml.feature.records import FeatureRecord
    from deriva_ml.feature.select import Selector
    from deriva_ml.schema.rids import BatchRidResult, ResolveRidResult
    from deriva_ml.schema.validation import SchemaValidationReport
    from deriva_ml.schema.vocabulary import VocabularyTermHandle

__all__ = ["DEFAULT_CATALOG", "READY_TAG", "DerivaML"]


class DerivaML:
    """One catalog: its data, its vocabularies, and the runs that are recorded in it.

    Nothing is read or written by the constructor besides the catalog's model, except that the default catalog of the
    default folder is made on first use.

    The arguments are the fields of ``DerivaMLConfig``, which documents them.

    Raises:
        DerivaMLConfigurationError: The place is not a catalog folder, or has no such catalog.
        DerivaMLAuthenticationError: The host does not know the caller.
        DerivaMLUnreachable: The host cannot be reached.
    """

    def __init__(
        self,
        hostname: str = "local",
        catalog_id: str | int = 1,
        domain_schemas: str | Iterable[str] | None = None,
        default_schema: str | None = None,
        project_name: str | None = None,
        cache_dir: str | Path | None = None,
        working_dir: str | Path | None = None,
        hydra_runtime_output_dir: str | Path | None = None,
        ml_schema: str = ML_SCHEMA,
        logging_level: int = logging.WARNING,
        deriva_logging_level: int = logging.WARNING,
        credential: dict[str, Any] | None = None,
        s3_bucket: str | None = None,
        use_minid: bool | None = None,
        check_auth: bool = True,
        clean_execution_dir: bool = True,
    ) -> None:
        configure_logging(logging_level, deriva_logging_level)
        opened = open_session(
            hostname,
            catalog_id,
            domain_schemas=domain_schemas,
            default_schema=default_schema,
            project_name=project_name,
            working_dir=working_dir,
            cache_dir=cache_dir,
            ml_schema=ml_schema,
            credential=credential,
            check_auth=check_auth,
        )
        self.connection = opened.connection
        self.session = opened.session
        self.created_default = opened.created_default
        self.host_name = hostname
        self.catalog_id = catalog_id
        self.credential = credential
        self.s3_bucket = s3_bucket
        self.use_minid = bool(s3_bucket) if use_minid is None else use_minid and bool(s3_bucket)
        self.clean_execution_dir = clean_execution_dir
        self.hydra_runtime_output_dir = Path(hydra_runtime_output_dir) if hydra_runtime_output_dir else None
        self.start_time = datetime.now(UTC)

    # -- opening and closing -------------------------------------------------------------------------------------

    @classmethod
    def instantiate(cls, config: DerivaMLConfig) -> Self:
        """Open the catalog that a configuration names; projects' own subclasses are kept."""
        return cls(**config.model_dump())

    @classmethod
    def from_context(cls, path: Path | None = None) -> Self:
        """Open the catalog that the nearest ``.deriva-context.json`` names, from ``path`` upwards.

        Raises:
            FileNotFoundError: There is no such file in ``path`` or above it.
        """
        return cls(**find_context(path))

    def close(self) -> None:
        """Give back what the connection holds."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- what the session knows ----------------------------------------------------------------------------------

    @property
    def working_dir(self) -> Path:
        """Where runs work."""
        return self.session.working_dir

    @property
    def cache_dir(self) -> Path:
        """Where bags and assets are kept."""
        return self.session.cache_dir

    @property
    def ml_schema(self) -> str:
        """Name of the ML schema."""
        return self.session.ml_schema

    @property
    def domain_schemas(self) -> frozenset[str]:
        """Schemas of the project."""
        return self.session.domain_schemas

    @property
    def default_schema(self) -> str | None:
        """Where tables are made if no schema is named."""
        return self.session.default_schema

    @property
    def project_name(self) -> str:
        """Prefix of new terms' identifiers."""
        return self.session.project_name

    @property
    def catalog(self) -> Any:
        """The ``deriva`` package's own catalog, on this connection."""
        return self.connection.deriva().catalog(str(self.catalog_id))

    @property
    def model(self) -> Any:
        """The ``deriva`` package's own model of the catalog."""
        return self.catalog.getCatalogModel()

    def pathBuilder(self) -> Any:  # noqa: N802  # the specification's name
        """The ``deriva`` package's own path builder."""
        return self.catalog.getPathBuilder()

    def is_snapshot(self) -> bool:
        """Whether this is the catalog as of a past moment."""
        return self.session.is_snapshot

    def catalog_snapshot(self, version_snapshot: str) -> Self:
        """The same catalog as of ``version_snapshot``: same class, credential and directories."""
        return type(self)(
            self.host_name,
            f"{self.session.catalog_id}@{version_snapshot}",
            domain_schemas=self.domain_schemas,
            default_schema=self.default_schema,
            project_name=self.project_name,
            cache_dir=self.cache_dir,
            working_dir=self.working_dir,
            ml_schema=self.ml_schema,
            credential=self.credential,
        )

    def download_dir(self, cached: bool = False) -> Path:
        """The cache, or the working directory."""
        return self.cache_dir if cached else self.working_dir

    def cite(self, entity: Mapping[str, Json] | str, current: bool = False) -> str:
        """A lasting reference to a record: its URL as of now, or as it is at any time if ``current``.

        Raises:
            DerivaMLRidsNotFound: There is no such record.
        """
        return citation(self.session, entity, current)

    def user_list(self) -> list[dict[str, Json]]:
        """The catalog's users: ID and Full_Name."""
        return list_users(self.session)

    def validate_schema(self, strict: bool = False) -> SchemaValidationReport:
        """Compare the ML schema with what this library needs."""
        from deriva_ml.schema.validation import validate_ml_schema

        return validate_ml_schema(self, strict)

    # -- vocabularies and tables ---------------------------------------------------------------------------------

    def create_vocabulary(self, vocab_name: str, comment: str = "", schema: str | None = None) -> Table:
        """Make a vocabulary table."""
        return vocabulary.create_vocabulary(self.session, vocab_name, comment, schema)

    def add_term(
        self,
        table: str | Table,
        term_name: str,
        description: str,
        synonyms: Sequence[str] | None = None,
        exists_ok: bool = True,
    ) -> VocabularyTermHandle:
        """Add a term to a vocabulary; one that is there already is returned, if that is allowed."""
        return vocabulary.add_term(self.session, table, term_name, description, synonyms, exists_ok=exists_ok)

    def lookup_term(self, table: str | Table, term_name: str) -> VocabularyTermHandle:
        """The term of this name or synonym."""
        return vocabulary.lookup_term(self.session, table, term_name)

    def list_vocabulary_terms(self, table: str | Table) -> list[VocabularyTerm]:
        """All terms of a vocabulary, by name."""
        return vocabulary.list_vocabulary_terms(self.session, table)

    def delete_term(self, table: str | Table, term_name: str) -> None:
        """Remove a term that nothing refers to."""
        vocabulary.delete_term(self.session, table, term_name)

    def create_table(self, table: TableDefinition, schema: str | None = None) -> Table:
        """Make a plain table."""
        where = self.session.domain(schema)
        return self.session.catalog.create_table(where, table_document(where, table))

    def resolve_rid(self, rid: str) -> ResolveRidResult:
        """Find the table of a RID."""
        return resolve_rid(self.session, rid)

    def resolve_rids(self, rids: Iterable[str]) -> dict[str, BatchRidResult]:
        """Find the tables of many RIDs at once; the unknown ones alone are named in the error."""
        return resolve_rids(self.session, rids)

    def retrieve_rid(self, rid: str) -> dict[str, Json]:
        """The whole row of a RID."""
        return retrieve_rid(self.session, rid)

    def get_table_as_dict(self, table: str | Table) -> Iterator[dict[str, Json]]:
        """The rows of a table."""
        yield from table_rows(self.session, table)

    def get_table_as_dataframe(self, table: str | Table) -> pd.DataFrame:
        """The rows of a table as a data frame."""
        return table_frame(self.session, table)

    # -- assets and features -------------------------------------------------------------------------------------

    def create_asset(
        self,
        asset_name: str,
        column_defs: Sequence[ColumnDefinition] | None = None,
        fkey_defs: Sequence[ForeignKeyDefinition] | None = None,
        referenced_tables: Sequence[str | Table] | None = None,
        comment: str = "",
        schema: str | None = None,
    ) -> Table:
        """Make an asset table with its two companions."""
        from deriva_ml.asset.asset import create_asset

        return create_asset(
            self.session, asset_name, column_defs, fkey_defs, referenced_tables, comment=comment, schema=schema
        )

    def asset_record_class(self, table_name: str | Table) -> type[AssetRecord]:
        """The class of an asset table's metadata."""
        from deriva_ml.asset.asset_record import asset_record_class

        return asset_record_class(self.session.model(), self.session.table(table_name))

    def list_assets(self, table: str | Table) -> list[Asset]:
        """The assets of a table."""
        from deriva_ml.asset import asset

        return asset.list_assets(self, table)

    def lookup_asset(self, rid: str) -> Asset:
        """The asset of a RID."""
        from deriva_ml.asset import asset

        return asset.lookup_asset(self, rid)

    def find_assets(self, asset_table: str | Table | None = None, asset_type: str | None = None) -> Iterator[Asset]:
        """The assets of one table or of all, of one type or of any."""
        from deriva_ml.asset import asset

        return asset.find_assets(self, asset_table, asset_type)

    def list_asset_executions(self, asset_rid: str, asset_role: str | None = None) -> list[ExecutionRecord]:
        """The runs that read or made an asset."""
        from deriva_ml.asset.asset import asset_executions
        from deriva_ml.execution.execution_record import lookup_executions

        return lookup_executions(
            self.session, [rid for rid, _role in asset_executions(self.session, asset_rid, asset_role)]
        )

    def list_asset_tables(self) -> list[Table]:
        """The asset tables of the project and of the ML schema."""
        from deriva_ml.asset.tables import asset_tables

        return asset_tables(self.session)

    def create_feature(
        self,
        target_table: str | Table,
        feature_name: str,
        terms: Sequence[Table | str] | None = None,
        assets: Sequence[Table | str] | None = None,
        metadata: Sequence[Any] | None = None,
        optional: Iterable[str] | None = None,
        comment: str = "",
        schema: str | None = None,
    ) -> type[FeatureRecord]:
        """Make a feature of a table; the class of its values."""
        from deriva_ml.feature import feature

        return feature.create_feature(
            self.session, target_table, feature_name, terms, assets, metadata, optional, comment, schema
        )

    def feature_record_class(self, table: str | Table, feature_name: str) -> type[FeatureRecord]:
        """The class of a feature's values."""
        from deriva_ml.feature import feature

        return feature.feature_record_class(self.session, table, feature_name)

    def lookup_feature(self, table: str | Table, feature_name: str) -> Feature:
        """The feature of this name."""
        from deriva_ml.feature import feature

        return feature.lookup_feature(self.session, table, feature_name)

    def find_features(self, table: str | Table | None = None) -> list[Feature]:
        """The features of a table, or of all."""
        from deriva_ml.feature import feature

        return feature.find_features(self.session, table)

    def delete_feature(self, table: str | Table, feature_name: str) -> bool:
        """Remove a feature with all its values; False if there is none."""
        from deriva_ml.feature import feature

        return feature.delete_feature(self.session, table, feature_name)

    def add_features(self, features: Sequence[FeatureRecord]) -> int:
        """Store values at once; inside a run use ``execution.add_features``, so that they carry provenance."""
        from deriva_ml.feature import values

        return values.add_features(self.session, features)

    def list_feature_values(
        self, table: str | Table, feature_name: str, selector: Selector | None = None
    ) -> list[FeatureRecord]:
        """The values of a feature; the selector takes one where a record has several."""
        from deriva_ml.feature import values

        return values.list_feature_values(self.session, table, feature_name, selector)

    def fetch_table_features(
        self, table: str | Table, feature_name: str | None = None, selector: Selector | None = None
    ) -> dict[str, list[FeatureRecord]]:
        """The values of one feature of a table, or of all its features, by feature name."""
        from deriva_ml.feature import values

        return values.fetch_table_features(self.session, table, feature_name, selector)

    # -- datasets ------------------------------------------------------------------------------------------------

    def find_datasets(self, deleted: bool = False) -> list[Dataset]:
        """The datasets of the catalog."""
        from deriva_ml.dataset import dataset

        return dataset.find_datasets(self.session, deleted)

    def lookup_dataset(self, dataset: str | DatasetSpec, deleted: bool = False) -> Dataset:
        """The dataset of a RID."""
        from deriva_ml.dataset import dataset as datasets

        return datasets.lookup_dataset(self.session, dataset, deleted)

    def delete_dataset(self, dataset: Dataset | str, recurse: bool = False) -> None:
        """Mark a dataset as deleted; its record, versions and members stay."""
        from deriva_ml.dataset import dataset as datasets

        datasets.delete_dataset(self.session, dataset, recurse)

    def list_dataset_element_types(self) -> list[Table]:
        """The tables whose records can be members of datasets."""
        from deriva_ml.dataset import members

        return members.list_dataset_element_types(self.session)

    def add_dataset_element_type(self, element: str | Table) -> Table:
        """Let records of a table be members of datasets."""
        from deriva_ml.dataset import members

        return members.add_dataset_element_type(self.session, element)

    def download_dataset_bag(self, dataset: DatasetSpec) -> DatasetBag:
        """Fetch a version of a dataset as a bag, or find it in the cache."""
        from deriva_ml.dataset.bag import download_dataset_bag

        return download_dataset_bag(self.session, dataset)

    # -- workflows and executions --------------------------------------------------------------------------------

    def create_workflow(self, name: str, workflow_type: str | list[str], description: str = "") -> Workflow:
        """A new workflow, not yet in the catalog, whose kinds are known to be terms."""
        from deriva_ml.execution import workflow

        return workflow.create_workflow(self.session, name, workflow_type, description)

    def add_workflow(self, workflow: Workflow) -> str:
        """The RID of a workflow; its row is made if there is none for the same code."""
        from deriva_ml.execution.workflow import add_workflow

        return add_workflow(self.session, workflow)

    def find_workflows(self) -> list[Workflow]:
        """The workflows of the catalog."""
        from deriva_ml.execution import workflow

        return workflow.find_workflows(self.session)

    def lookup_workflow(self, rid: str) -> Workflow:
        """The workflow of a RID."""
        from deriva_ml.execution import workflow

        return workflow.lookup_workflow(self.session, rid)

    def lookup_workflow_by_url(self, url_or_checksum: str) -> Workflow:
        """The newest workflow of a URL or checksum."""
        from deriva_ml.execution import workflow

        return workflow.lookup_workflow_by_url(self.session, url_or_checksum)

    def create_execution(
        self,
        configuration: ExecutionConfiguration,
        workflow: Workflow | str | None = None,
        dry_run: bool = False,
        *,
        parent: str | None = None,
        sequence: int | None = None,
    ) -> Execution:
        """Record a new run, as part of another if one is named, bring its inputs, and give it ready to start."""
        from deriva_ml.execution.execution import Execution

        return Execution(configuration, self, workflow=workflow, dry_run=dry_run, parent=parent, sequence=sequence)

    def lookup_execution(self, execution_rid: str) -> ExecutionRecord:
        """The run of a RID, as the catalog has it."""
        from deriva_ml.execution import execution_record

        return execution_record.lookup_execution(self.session, execution_rid)

    def find_executions(
        self, workflow: str | None = None, workflow_type: str | None = None, status: Status | str | None = None
    ) -> Iterator[ExecutionRecord]:
        """The runs of the catalog, the newest first."""
        from deriva_ml.execution import execution_record

        return iter(
            execution_record.find_executions(
                self.session, workflow=workflow, workflow_type=workflow_type, status=status
            )
        )
