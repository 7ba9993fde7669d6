"""``DerivaML``: one catalog as a user works with it. It composes the rooms below and does nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.enums import Status
from deriva_ml.core.logging_config import configure_logging
from deriva_ml.schema import rids, table_rows, vocabulary
from deriva_ml.schema.bound import Room, of_owner, of_session
from deriva_ml.schema.display import AnnotationDraft
from deriva_ml.schema.opening import DEFAULT_CATALOG, READY_TAG, find_context, open_session

if TYPE_CHECKING:
    from deriva_ml.asset import asset, asset_record, cached
    from deriva_ml.asset import tables as asset_tables
    from deriva_ml.core.ml_config import DerivaMLConfig
    from deriva_ml.dataset import (
        bag,
        cached_bags,
        clones,
        estimate,
        files,
        finding,
        live_denormalize,
        members,
        referencing,
    )
    from deriva_ml.execution import (
        collecting,
        committing,
        creating,
        execution_record,
        experiment,
        local_runs,
        pending,
        resume,
        storage,
        workflow,
    )
    from deriva_ml.execution import finding as run_finding
    from deriva_ml.execution import validation as run_validation
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration
    from deriva_ml.execution.inputs import DownloadNotice, InputSource
    from deriva_ml.feature import feature, frames, values
    from deriva_ml.model.deriva_model import DerivaModel
    from deriva_ml.project import bootstrap, config_validation
    from deriva_ml.schema import chaise, display, provenance, references, validation
    from deriva_ml.schema.provenance import CatalogProvenance
    from deriva_ml.workspace.working_data import WorkingDataCache
else:
    # A room that is not used is not imported: most runs touch a few of them.
    display = Room("deriva_ml.schema.display")
    asset = Room("deriva_ml.asset.asset")
    asset_record = Room("deriva_ml.asset.asset_record")
    asset_tables = Room("deriva_ml.asset.tables")
    bag = Room("deriva_ml.dataset.bag")
    cached_bags = Room("deriva_ml.dataset.cached_bags")
    estimate = Room("deriva_ml.dataset.estimate")
    bootstrap = Room("deriva_ml.project.bootstrap")
    cached = Room("deriva_ml.asset.cached")
    chaise = Room("deriva_ml.schema.chaise")
    collecting = Room("deriva_ml.execution.collecting")
    committing = Room("deriva_ml.execution.committing")
    config_validation = Room("deriva_ml.project.config_validation")
    clones = Room("deriva_ml.dataset.clones")
    creating = Room("deriva_ml.execution.creating")
    execution_record = Room("deriva_ml.execution.execution_record")
    experiment = Room("deriva_ml.execution.experiment")
    feature = Room("deriva_ml.feature.feature")
    finding = Room("deriva_ml.dataset.finding")
    frames = Room("deriva_ml.feature.frames")
    files = Room("deriva_ml.dataset.files")
    live_denormalize = Room("deriva_ml.dataset.live_denormalize")
    local_runs = Room("deriva_ml.execution.local_runs")
    members = Room("deriva_ml.dataset.members")
    pending = Room("deriva_ml.execution.pending")
    provenance = Room("deriva_ml.schema.provenance")
    references = Room("deriva_ml.schema.references")
    referencing = Room("deriva_ml.dataset.referencing")
    resume = Room("deriva_ml.execution.resume")
    run_finding = Room("deriva_ml.execution.finding")
    run_validation = Room("deriva_ml.execution.validation")
    storage = Room("deriva_ml.execution.storage")
    validation = Room("deriva_ml.schema.validation")
    values = Room("deriva_ml.feature.values")
    workflow = Room("deriva_ml.execution.workflow")

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
        self.status = Status.pending
        self.configuration: ExecutionConfiguration | None = None
        self.annotation_draft = AnnotationDraft()
        self.on_download: DownloadNotice | None = None
        """Is told how far the inputs of runs are: of which one, and a ``BagProgress``."""
        self.inputs_from: InputSource | None = None
        """Where runs take their inputs from, if not from this catalog."""

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
    def model(self) -> DerivaModel:
        """The catalog's model: the ``deriva`` package's, with what the ML layer knows of its tables."""
        from deriva_ml.model.deriva_model import DerivaModel

        return DerivaModel(self.session, self.catalog.getCatalogModel)

    def pathBuilder(self) -> Any:  # noqa: N802  # the specification's name
        """The ``deriva`` package's own path builder."""
        return self.catalog.getPathBuilder()

    def domain_path(self, schema: str | None = None) -> Any:
        """The ``deriva`` package's own path builder of one of the project's schemas.

        Raises:
            DerivaMLConfigurationError: None was named and there is no default, or there is no such schema.
        """
        return self.pathBuilder().schemas[self.session.domain(schema)]

    @staticmethod
    def globus_login(host: str) -> str:
        """Log in at a Deriva host with Globus, unless that was done.

        Args:
            host: The host's name.

        Returns:
            What was done, in words.

        Raises:
            DerivaMLAuthenticationError: The login failed.
        """
        from deriva_ml.catalog.globus import globus_login

        return globus_login(host)

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

    @property
    def working_data(self) -> WorkingDataCache:
        """Tables that are kept in the working directory."""
        from deriva_ml.workspace.working_data import WorkingDataCache

        return WorkingDataCache(self.session.records_dir)

    @property
    def catalog_provenance(self) -> CatalogProvenance | None:
        """How the catalog came to be; None if nobody has noted it."""
        return provenance.get_catalog_provenance(self.session)

    cite = of_session(lambda: rids.cite)
    user_list = of_session(lambda: table_rows.user_list)
    validate_schema = of_owner(lambda: validation.validate_ml_schema)

    # -- vocabularies and tables ---------------------------------------------------------------------------------

    create_vocabulary = of_session(lambda: vocabulary.create_vocabulary)
    add_term = of_session(lambda: vocabulary.add_term)
    lookup_term = of_session(lambda: vocabulary.lookup_term)
    list_vocabulary_terms = of_session(lambda: vocabulary.list_vocabulary_terms)
    delete_term = of_session(lambda: vocabulary.delete_term)
    clear_vocabulary_cache = of_session(lambda: vocabulary.clear_vocabulary_cache)

    create_table = of_session(lambda: table_rows.create_table)
    define_association = of_session(lambda: table_rows.define_association)
    table_path = of_session(lambda: table_rows.table_path)
    cache_table = of_session(lambda: table_rows.cache_table)
    get_table_as_dict = of_session(lambda: table_rows.get_table_as_dict)
    get_table_as_dataframe = of_session(lambda: table_rows.get_table_as_dataframe)

    resolve_rid = of_session(lambda: rids.resolve_rid)
    resolve_rids = of_session(lambda: rids.resolve_rids)
    retrieve_rid = of_session(lambda: rids.retrieve_rid)

    # -- how a web interface shows the catalog -------------------------------------------------------------------

    chaise_url = of_session(lambda: chaise.chaise_url)
    apply_catalog_annotations = of_session(lambda: chaise.apply_catalog_annotations)
    add_page = of_session(lambda: chaise.add_page)
    get_table_annotations = of_owner(lambda: display.get_table_annotations)
    get_column_annotations = of_owner(lambda: display.get_column_annotations)
    set_display_annotation = of_owner(lambda: display.set_display_annotation)
    set_visible_columns = of_owner(lambda: display.set_visible_columns)
    set_visible_foreign_keys = of_owner(lambda: display.set_visible_foreign_keys)
    set_table_display = of_owner(lambda: display.set_table_display)
    set_column_display = of_owner(lambda: display.set_column_display)
    add_visible_column = of_owner(lambda: display.add_visible_column)
    remove_visible_column = of_owner(lambda: display.remove_visible_column)
    reorder_visible_columns = of_owner(lambda: display.reorder_visible_columns)
    add_visible_foreign_key = of_owner(lambda: display.add_visible_foreign_key)
    remove_visible_foreign_key = of_owner(lambda: display.remove_visible_foreign_key)
    reorder_visible_foreign_keys = of_owner(lambda: display.reorder_visible_foreign_keys)
    apply_annotations = of_owner(lambda: display.apply_annotations)
    list_foreign_keys = of_session(lambda: references.list_foreign_keys)
    get_handlebars_template_variables = of_session(lambda: references.get_handlebars_template_variables)

    # -- assets --------------------------------------------------------------------------------------------------

    create_asset = of_session(lambda: asset.create_asset)
    asset_record_class = of_session(lambda: asset_record.record_class)
    list_assets = of_owner(lambda: asset.list_assets)
    lookup_asset = of_owner(lambda: asset.lookup_asset)
    find_assets = of_owner(lambda: asset.find_assets)
    list_asset_tables = of_session(lambda: asset_tables.asset_tables)
    list_asset_executions = of_session(lambda: run_finding.list_asset_executions)
    list_cached_assets = of_session(lambda: cached.list_cached_assets)
    delete_cached_asset = of_session(lambda: cached.delete_cached_asset)
    add_files = of_session(lambda: files.add_files)
    list_files = of_session(lambda: files.list_files)

    # -- features ------------------------------------------------------------------------------------------------

    create_feature = of_session(lambda: feature.create_feature)
    feature_record_class = of_session(lambda: feature.feature_record_class)
    lookup_feature = of_session(lambda: feature.lookup_feature)
    find_features = of_session(lambda: feature.find_features)
    find_features_referencing = of_session(lambda: feature.find_features_referencing)
    delete_feature = of_session(lambda: feature.delete_feature)
    add_features = of_session(lambda: values.add_features)
    list_feature_values = of_session(lambda: values.list_feature_values)
    cache_features = of_session(lambda: frames.cache_features)
    fetch_table_features = of_session(lambda: values.fetch_table_features)
    feature_values = of_session(lambda: values.feature_values)
    select_by_workflow = of_session(lambda: values.select_by_workflow)

    # -- datasets ------------------------------------------------------------------------------------------------

    find_datasets = of_owner(lambda: finding.find_datasets)
    find_datasets_referencing = of_owner(lambda: referencing.find_datasets_referencing)
    lookup_dataset = of_owner(lambda: finding.lookup_dataset)
    delete_dataset = of_session(lambda: finding.delete_dataset)
    list_dataset_executions = of_session(lambda: run_finding.list_dataset_executions)
    list_dataset_element_types = of_session(lambda: members.list_dataset_element_types)
    add_dataset_element_type = of_session(lambda: members.add_dataset_element_type)
    download_dataset_bag = of_session(lambda: bag.download_dataset_bag)
    reinitialize_dataset_versions = of_session(lambda: clones.reinitialize_dataset_versions)
    estimate_bag_size = of_session(lambda: estimate.estimate_bag_size)
    bag_info = of_session(lambda: estimate.bag_info)
    cache_dataset = of_session(lambda: cached_bags.cache_dataset)
    prefetch_dataset = of_session(lambda: cached_bags.cache_dataset)
    list_cached_bags = of_session(lambda: cached_bags.list_cached_bags)
    delete_cached_bag = of_session(lambda: cached_bags.delete_cached_bag)
    denormalize_info = of_session(lambda: live_denormalize.denormalize_info)

    # -- workflows and executions --------------------------------------------------------------------------------

    create_workflow = of_session(lambda: workflow.create_workflow)
    add_workflow = of_session(lambda: workflow.add_workflow)
    find_workflows = of_session(lambda: workflow.find_workflows)
    lookup_workflow = of_session(lambda: workflow.lookup_workflow)
    lookup_workflow_by_url = of_session(lambda: workflow.lookup_workflow_by_url)
    create_execution = of_owner(lambda: creating.create_execution)
    validate_dataset_specs = of_owner(lambda: run_validation.validate_dataset_specs)
    validate_execution_configuration = of_owner(lambda: run_validation.validate_execution_configuration)
    lookup_execution = of_session(lambda: execution_record.lookup_execution)
    find_executions = of_session(lambda: run_finding.find_executions)
    find_executions_consuming = of_session(lambda: run_finding.find_executions_consuming)

    restore_execution = of_owner(lambda: resume.restore_execution)
    resume_execution = of_owner(lambda: resume.resume_execution)
    list_executions = of_session(lambda: local_runs.list_executions)
    find_incomplete_executions = of_session(lambda: local_runs.find_incomplete_executions)
    pending_summary = of_session(lambda: pending.pending_summary)
    commit_pending_executions = of_session(lambda: committing.commit_pending_executions)
    gc_executions = of_session(lambda: collecting.gc_executions)
    lookup_experiment = of_owner(lambda: experiment.lookup_experiment)
    find_experiments = of_owner(lambda: experiment.find_experiments)

    # -- projects ------------------------------------------------------------------------------------------------

    bootstrap_config = of_owner(lambda: bootstrap.bootstrap_config)
    validate_config_file = of_owner(lambda: config_validation.validate_config_file)
    validate_config_directory = of_owner(lambda: config_validation.validate_config_directory)

    # -- this machine's disk -------------------------------------------------------------------------------------

    clear_cache = of_session(lambda: storage.clear_cache)
    get_cache_size = of_session(lambda: storage.get_cache_size)
    list_execution_dirs = of_session(lambda: storage.list_execution_dirs)
    clean_execution_dirs = of_session(lambda: storage.clean_execution_dirs)
    get_storage_summary = of_session(lambda: storage.get_storage_summary)
