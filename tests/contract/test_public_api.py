"""The public API is the documented one: names, parameters, their order and their defaults.

The tables are written by hand from the specification (sections 1.1, 1.7, 1.9 to 1.11, 3.2, 3.6 to 3.9, 4, 5, 6, 9.1, and what
appendix B names of later versions). A method
may take more than is documented, behind what is documented; where it differs on purpose, ``DIFFERENT`` says why. Left out
are typed table definitions (``VocabularyTableDef`` and its like, whose fields are not documented).
"""

# ruff: noqa: E501 - a line of a table is a signature

from __future__ import annotations

import ast
import importlib
import inspect
import logging
from collections.abc import Callable
from typing import Any

import pytest

from deriva_ml.ml import DerivaML

DIFFERENT = {
    **dict.fromkeys(
        (f"Dataset.{name}.fetch_concurrency" for name in ("download_dataset_bag", "cache", "prefetch")),
        "8, as DatasetSpec has it: downloads are parallel",
    ),
    "Dataset.create_dataset.dataset_types": "one type may be given alone, and none",
}
"""Parameters that differ from what is documented, and why."""

DERIVA_ML = """
__init__(hostname, catalog_id, domain_schemas=None, default_schema=None, project_name=None, cache_dir=None, working_dir=None, hydra_runtime_output_dir=None, ml_schema="deriva-ml", logging_level=WARNING, deriva_logging_level=WARNING, credential=None, s3_bucket=None, use_minid=None, check_auth=True, clean_execution_dir=True)
instantiate(config)
from_context(path=None)
is_snapshot()
catalog_snapshot(version_snapshot)
download_dir(cached=False)
cache_table(table_name, force=False)
cache_features(table_name, feature_name, force=False)
globus_login(host)
chaise_url(table)
cite(entity, current=False)
user_list()
apply_catalog_annotations(navbar_brand_text="ML Data Browser", head_title="Catalog ML")
add_page(title, content)
create_vocabulary(vocab_name, comment="", schema=None, update_navbar=True)
create_table(table, schema=None, update_navbar=True)
define_association(associates, metadata=None, table_name=None, comment=None)
clear_cache(older_than_days=None)
get_cache_size()
list_execution_dirs()
clean_execution_dirs(older_than_days=None, exclude_rids=None)
get_storage_summary()
validate_schema(strict=False)
add_term(table, term_name, description, synonyms=None, exists_ok=True)
lookup_term(table, term_name)
list_vocabulary_terms(table)
delete_term(table, term_name)
clear_vocabulary_cache(table=None)
create_workflow(name, workflow_type, description="")
add_workflow(workflow)
find_workflows(*, sort=None)
lookup_workflow(rid)
lookup_workflow_by_url(url_or_checksum)
create_execution(configuration=None, workflow=None, dry_run=False, *, datasets=None, assets=None, description=None)
validate_dataset_specs(specs)
validate_execution_configuration(config)
lookup_execution(rid)
restore_execution(execution_rid=None)
resume_execution(_rid)
list_executions(*, status=None, workflow_rid=None, mode=None, since=None)
find_incomplete_executions()
pending_summary()
commit_pending_executions(*, execution_rids=None, clean_folder=False)
gc_executions(*, older_than=None, status=None, delete_working_dir=False)
find_executions(workflow=None, workflow_type=None, status=None, *, dataset=None, dataset_role="any", sort=True)
find_executions_consuming(rid)
lookup_experiment(_rid)
find_experiments(workflow_rid=None, status=None)
find_datasets(deleted=False, *, sort=None)
find_datasets_referencing(table, column=None)
lookup_dataset(_dataset, deleted=False)
delete_dataset(dataset, recurse=False)
list_dataset_element_types()
add_dataset_element_type(element)
download_dataset_bag(_spec)
estimate_bag_size(_spec)
bag_info(_spec)
denormalize_info(include_tables)
cache_dataset(_spec, materialize=True)
prefetch_dataset(_spec, materialize=True)
list_cached_bags()
delete_cached_bag(rid, version=None)
create_asset(asset_name, column_defs=None, fkey_defs=None, referenced_tables=None, comment="", schema=None, update_navbar=True)
asset_record_class(table_name)
list_assets(table, *, sort=None)
lookup_asset(_rid)
list_asset_tables()
find_assets(asset_table=None, asset_type=None, *, sort=None)
list_asset_executions(_rid, asset_role=None)
list_cached_assets()
delete_cached_asset(rid, md5=None)
create_feature(target_table, feature_name, terms=None, assets=None, metadata=None, optional=None, comment="", update_navbar=True)
feature_record_class(table, feature_name)
lookup_feature(table, feature_name)
find_features(table=None)
find_features_referencing(table, column=None)
delete_feature(table, feature_name)
add_features(_records)
fetch_table_features(table, feature_name=None, selector=None)
list_feature_values(table, feature_name, selector=None)
feature_values(table, feature_name, selector=None, materialize_limit=None, execution_rids=None)
select_by_workflow(records, workflow)
add_files(files, execution_rid, dataset_types=None, description="")
list_files(file_types=None)
resolve_rid(rid)
retrieve_rid(rid)
resolve_rids(rids, candidate_tables=None)
pathBuilder()
domain_path(schema=None)
table_path(table, schema=None)
get_table_as_dataframe(table)
get_table_as_dict(table)
get_table_annotations(table)
get_column_annotations(table, column_name)
set_display_annotation(table, annotation, column_name=None)
set_visible_columns(table, annotation)
set_visible_foreign_keys(table, annotation)
set_table_display(table, annotation)
set_column_display(table, column, annotation)
add_visible_column(table, context)
remove_visible_column(table, context)
reorder_visible_columns(table, context)
add_visible_foreign_key(table, context)
remove_visible_foreign_key(table, context)
reorder_visible_foreign_keys(table, context)
apply_annotations()
bootstrap_config(*, kinds=None, dataset_type_filter=None)
validate_config_file(path)
validate_config_directory(dir, *, recursive=True)
list_foreign_keys(table)
get_handlebars_template_variables(table)
"""

DERIVA_ML_ATTRIBUTES = """
catalog catalog_id host_name model ml_schema domain_schemas default_schema project_name working_dir cache_dir
hydra_runtime_output_dir credential s3_bucket use_minid clean_execution_dir start_time status configuration
working_data catalog_provenance
"""

DERIVA_MODEL = """
name_to_table(table)
is_vocabulary(table)
vocab_columns(table)
is_association(table, unqualified=True, pure=True, min_arity=2, max_arity=2)
find_association(table1, table2)
is_asset(table)
find_assets()
find_vocabularies()
find_features(table=None)
lookup_feature(table, feature_name)
asset_metadata(table)
is_dataset_rid(rid, deleted=False)
list_dataset_element_types()
get_schema_description(include_system_columns=False)
create_table(table_def)
refresh_model()
apply()
is_system_schema(schema_name)
is_domain_schema(schema_name)
"""

DATASET = """
__init__(catalog, dataset_rid, description="", execution_rid=None)
create_dataset(ml_instance, execution_rid, dataset_types=None, description="", version=None)
dataset_history()
increment_dataset_version(component, description="", execution_rid=None)
add_dataset_type(_type)
add_dataset_types(_types)
remove_dataset_type(_type)
list_dataset_element_types()
list_dataset_members(recurse=False, limit=None, version=None)
add_dataset_members(members, validate=True, description="", execution_rid=None)
delete_dataset_members(members, description="", execution_rid=None)
list_dataset_parents(recurse=False, version=None)
list_dataset_children(recurse=False, version=None)
list_executions()
find_features(table)
denormalize_as_dataframe(include_tables, version=None)
denormalize_as_dict(include_tables, version=None)
denormalize_columns(include_tables)
denormalize_info(include_tables, version=None)
cache_denormalized(include_tables)
get_denormalized_as_dataframe(include_tables, *, row_per=None, via=(), version=None)
get_denormalized_as_dict(include_tables, *, row_per=None, via=(), version=None)
describe_denormalized(include_tables, *, row_per=None, via=())
list_schema_paths(tables=None)
download_dataset_bag(version, materialize=True, use_minid=False, exclude_tables=None, timeout=None, fetch_concurrency=1)
estimate_bag_size(version, exclude_tables=None)
bag_info(version, exclude_tables=None)
cache(version, materialize=True, exclude_tables=None, timeout=None, fetch_concurrency=1)
prefetch(version, materialize=True, exclude_tables=None, timeout=None, fetch_concurrency=1)
get_chaise_url()
to_markdown(show_children=False, indent=0)
display_markdown(show_children=False, indent=0)
edit(description)
mark_dev(description)
release(bump, description)
release_diff()
compare_versions(a, b)
feature_values(table, feature_name, selector=None, materialize_limit=None, execution_rids=None)
"""

DATASET_BAG = """
__init__(catalog, dataset_rid=None, description="", execution_rid=None, dataset_types=None)
list_tables()
get_table_as_dict(table)
get_table_as_dataframe(table)
dataset_history()
list_dataset_members(recurse=False, limit=None)
list_dataset_children(recurse=False)
list_dataset_parents(recurse=False)
list_executions()
list_dataset_element_types()
find_features(table)
fetch_table_features(table, feature_name=None, selector=None)
list_feature_values(table, feature_name, selector=None)
feature_values(table, feature_name, selector=None)
denormalize_as_dataframe(include_tables)
denormalize_as_dict(include_tables)
denormalize_columns(include_tables)
denormalize_info(include_tables)
get_denormalized_as_dataframe(include_tables, *, row_per=None, via=())
get_denormalized_as_dict(include_tables, *, row_per=None, via=())
describe_denormalized(include_tables, *, row_per=None, via=())
list_schema_paths(tables=None)
restructure_assets(output_dir, asset_table=None, group_by=None, use_symlinks=True, type_selector=None, type_to_dir_map=None, enforce_vocabulary=True, value_selector=None, file_transformer=None, *, targets=None, target_transform=None)
materialize(*, fetch_concurrency=8)
as_torch_dataset(element_type, *, sample_loader=None, transform=None, targets=None, target_transform=None, missing="error", reachable=True)
as_tf_dataset(element_type, *, sample_loader=None, transform=None, targets=None, target_transform=None, missing="error", reachable=True, output_signature=None)
"""

DERIVA_ML_DATABASE = """
lookup_dataset(_dataset)
find_datasets()
lookup_term(table, term_name)
get_table_as_dict(table)
get_table_as_dataframe(table)
list_dataset_element_types()
find_features(table=None)
resolve_rid(rid)
pathBuilder()
"""

ASSET = """
__init__(catalog, asset_rid, asset_table, filename="", url="", length=0, md5="", description="", asset_types=None, execution_rid=None)
list_executions(asset_role=None)
find_features()
list_feature_values(feature_name)
add_asset_type(name)
remove_asset_type(name)
get_metadata()
get_chaise_url()
download(dest_dir, update_catalog=False)
"""

ASSET_FILE_PATH = """
__init__(asset_path, asset_table, file_name, asset_metadata, asset_types, asset_rid=None)
set_asset_types(_types)
"""

ASSET_MANIFEST = """
__init__(path, execution_rid)
pending_assets()
uploaded_assets()
add_asset(_key, _entry)
update_asset_metadata(_key, _metadata)
update_asset_types(_key, _types)
mark_uploaded(_key, rid)
mark_failed(_key, error)
add_feature(_name, _entry)
"""

FEATURE = """
feature_record_class()
"""

FEATURE_RECORD = """
feature_columns()
asset_columns()
term_columns()
value_columns()
select_newest(records)
select_latest(records)
select_first(records)
select_by_execution(execution_rid)
select_majority_vote(column=None)
"""

EXECUTION = """
__init__(configuration, ml_object, workflow=None, reload=None, dry_run=False)
execute()
__enter__()
execution_start()
execution_stop()
update_status(status, msg)
upload_execution_outputs(clean_folder=None, progress_callback=None, max_retries=3, retry_delay=5.0, timeout=None, chunk_size=None)
commit_output_assets(clean_folder=None, progress_callback=None)
pending_summary()
abort()
download_dataset_bag(_spec)
download_asset(asset_rid, dest_dir, update_catalog=True, use_cache=False)
asset_file_path(asset_name, file_name, asset_types=None, copy_file=False, rename_file=None, metadata=None, description=None)
table_path(table)
upload_assets(assets_dir)
add_features(_records)
create_dataset(dataset_types=None, version=None, description="")
add_files(files, dataset_types=None, description="")
metrics_file(filename="metrics.jsonl")
add_input_dataset(_rid, version=None)
list_input_datasets()
list_assets(asset_role=None)
add_nested_execution(_child, sequence=None)
list_nested_executions(recurse=False)
list_parent_executions(recurse=False)
is_nested()
is_parent()
"""

EXECUTION_ATTRIBUTES = """
status execution_rid workflow_rid working_dir datasets dataset_rids asset_paths configuration execution_record catalog
database_catalog start_time stop_time uploaded_assets
"""

EXECUTION_RECORD = """
update_status(status, detail="")
is_nested()
is_parent()
list_nested_executions(recurse=False)
list_parent_executions(recurse=False)
add_nested_execution(_child, sequence=None)
list_input_datasets()
list_assets(asset_role=None)
"""

EXPERIMENT = """
__init__(ml, execution_rid)
get_chaise_url()
summary()
to_markdown(show_datasets=True, show_assets=True)
display_markdown(show_datasets=True, show_assets=True)
"""

DATABASE_MODEL = """
__init__(minid, bag_path, dbase_path)
"""

SCHEMA_BUILDER = """
__init__(model, schemas, database_path=":memory:")
build()
"""

SCHEMA_ORM = """
list_tables()
get_orm_class(table)
get_table(table)
dispose()
"""

BAG_DATA_SOURCE = """
__init__(bag_path, model=None)
"""

CATALOG_DATA_SOURCE = """
__init__(catalog, schemas)
"""

DATA_LOADER = """
__init__(orm, source)
load_tables(tables=None, on_conflict="ignore", batch_size=1000, progress_callback=None)
"""

FOREIGN_KEY_ORDERER = """
__init__(model, schemas)
get_insertion_order(tables=None)
get_deletion_order(tables=None)
get_dependencies(table)
get_dependents(table)
find_cycles()
validate_insertion_order(_tables)
"""

DENORMALIZER = """
__init__(dataset)
as_dataframe(include_tables, *, row_per=None, via=())
as_dict(include_tables, *, row_per=None, via=())
columns(include_tables)
describe(include_tables, *, row_per=None, via=())
list_paths(tables=None)
"""

CLASSES = {
    "deriva_ml.ml:DerivaML": DERIVA_ML,
    "deriva_ml.model.deriva_model:DerivaModel": DERIVA_MODEL,
    "deriva_ml.dataset:Dataset": DATASET,
    "deriva_ml.dataset:DatasetBag": DATASET_BAG,
    "deriva_ml.model:DerivaMLDatabase": DERIVA_ML_DATABASE,
    "deriva_ml.model:DatabaseModel": DATABASE_MODEL,
    "deriva_ml.model:SchemaBuilder": SCHEMA_BUILDER,
    "deriva_ml.model:SchemaORM": SCHEMA_ORM,
    "deriva_ml.model:BagDataSource": BAG_DATA_SOURCE,
    "deriva_ml.model:CatalogDataSource": CATALOG_DATA_SOURCE,
    "deriva_ml.model:DataLoader": DATA_LOADER,
    "deriva_ml.model:ForeignKeyOrderer": FOREIGN_KEY_ORDERER,
    "deriva_ml.asset:Asset": ASSET,
    "deriva_ml.asset:AssetFilePath": ASSET_FILE_PATH,
    "deriva_ml.asset:AssetManifest": ASSET_MANIFEST,
    "deriva_ml.feature:Feature": FEATURE,
    "deriva_ml.feature:FeatureRecord": FEATURE_RECORD,
    "deriva_ml.dataset:Denormalizer": DENORMALIZER,
    "deriva_ml.execution:Execution": EXECUTION,
    "deriva_ml.execution:ExecutionRecord": EXECUTION_RECORD,
    "deriva_ml.experiment:Experiment": EXPERIMENT,
}

FUNCTIONS = {
    "deriva_ml.catalog": """
create_ml_workspace(source_hostname, source_catalog_id, root_rid, *, include_tables=None, exclude_objects=None, exclude_schemas=None, include_associations=True, include_vocabularies=True, dest_hostname=None, alias=None, add_ml_schema=True, asset_mode="refs", copy_annotations=True, copy_policy=True, source_credential=None, dest_credential=None, orphan_strategy="fail", prune_hidden_fkeys=False, truncate_oversized=False, reinitialize_dataset_versions=True, table_concurrency=1, progress_callback=None)
localize_assets(catalog, asset_table, asset_rids, schema_name=None, hatrac_namespace=None, chunk_size=None, dry_run=False, source_hostname=None)
""",
    "deriva_ml.schema": """
create_ml_catalog(hostname, project_name, catalog_alias=None)
create_ml_schema(catalog, schema_name="deriva-ml", project_name=None)
initialize_ml_schema(_model, schema_name="deriva-ml")
reset_ml_schema(catalog, ml_schema="deriva-ml")
validate_ml_schema(ml, strict=False)
""",
    "deriva_ml.asset": """
asset_record_class(model, table_name)
""",
    "deriva_ml.core.validation": """
ValidationResult(is_valid=True)
validate_rids(ml, dataset_rids=None, asset_rids=None, dataset_versions=None, workflow_rids=None, execution_rids=None, warn_missing_descriptions=True)
validate_execution_config(ml, datasets, assets)
validate_vocabulary_terms(ml, vocabulary_name, terms)
""",
    "deriva_ml.dataset.upload": """
upload_directory(model, directory, progress_callback=None, max_retries=3, retry_delay=5.0, timeout=None, chunk_size=None)
upload_root(prefix)
execution_root(prefix, _rid)
execution_rids(prefix)
feature_root(prefix, _rid)
feature_dir(prefix, _rid, _schema, _target, _feature)
feature_value_path(prefix, _rid, _schema, _target, _feature)
asset_root(prefix, _rid)
flat_asset_dir(prefix, _rid, _table)
manifest_path(prefix, _rid)
table_path(prefix, _schema, _table)
asset_type_path(prefix, _rid, _table)
asset_file_path(prefix, _rid, _table, _name, _metadata=None)
normalize_asset_dir(path)
is_feature_dir(path)
asset_table_upload_spec(model, _table, chunk_size=None)
bulk_upload_configuration(model, chunk_size=None)
upload_asset(model, file, table)
""",
    "deriva_ml.model.annotations": """
fk_constraint(_schema, _constraint)
""",
    "deriva_ml.dataset": """
random_split(df, partition_sizes, seed)
stratified_split(stratify_column, missing="error")
split_dataset(ml, source_dataset_rid, *, test_size=0.2, train_size=None, val_size=None, shuffle=True, seed=42, stratify_by_column=None, stratify_missing="error", split_description="", training_types=None, testing_types=None, validation_types=None, element_table=None, include_tables=None, selection_fn=None, partition_by=None, row_per=None, via=None, workflow_type="Dataset_Split", dry_run=False)
subsample(ml, source_dataset_rid, execution=None, *, size, seed=42, stratify_by_column=None, partition_by=None, row_per=None, via=None, dry_run=False)
""",
}

FUNCTIONS |= {
    "deriva_ml.execution": """
create_model_config(ml_class=None, description="Model execution", hydra_defaults=None)
run_notebook(config_name, overrides=None, workflow_name=None, workflow_type="Analysis Notebook", ml_class=None, config_package="configs")
run_model(deriva_ml, datasets, assets, description, workflow, model_config, dry_run=False, ml_class=None, upload_timeout=600, upload_chunk_size=50_000_000, script_config=None)
load_configs(package_name="configs")
notebook_config(name, config_class=None, defaults=None)
get_notebook_configuration(config_class, config_name, overrides=None, job_name="notebook", version_base="1.3")
with_description(items, description)
reset_multirun_state()
""",
    "deriva_ml.execution.multirun_config": """
multirun_config(name, overrides, description="")
get_multirun_config(name)
list_multirun_configs()
get_all_multirun_configs()
""",
    "deriva_ml.execution:BaseConfig": """
__init__(deriva_ml=None, datasets=None, assets=None, dry_run=False, description="")
""",
    "deriva_ml.execution:DescribedList": """
__init__(items=None, description="")
""",
    "deriva_ml.execution:MultirunSpec": """
__init__(name, overrides, description="")
""",
}

DEFINITIONS = """
RID BuiltinTypes ColumnDefinition KeyDefinition ForeignKeyDefinition TableDefinition DerivaSystemColumns
DerivaAssetColumns ExecAssetType ExecMetadataType FileSpec FileUploadState MLAsset MLVocab UploadCallback UploadProgress
UploadState
"""

NAMES = {
    "deriva_ml": DEFINITIONS
    + """
DerivaMLConfig DerivaMLException DerivaMLInvalidTerm DerivaMLTableTypeError DerivaMLDirtyWorkflowError DerivaML Execution
Asset AssetFilePath AssetSpec AssetSpecConfig FeatureRecord SchemaValidationReport validate_ml_schema CatalogProvenance
CatalogCreationMethod CloneDetails get_catalog_provenance set_catalog_provenance __version__
""",
    "deriva_ml.core": DEFINITIONS
    + """
DerivaML DerivaMLConfig DerivaMLException DerivaMLInvalidTerm DerivaMLTableTypeError get_logger configure_logging apply_logger_overrides is_hydra_initialized LoggerMixin LOGGER_NAME
""",
    "deriva_ml.core.definitions": DEFINITIONS
    + """
Status MLTable ML_SCHEMA DRY_RUN_RID SYSTEM_SCHEMAS get_domain_schemas is_system_schema rid_part snapshot_part rid_regex
VocabularyTerm VocabularyTermHandle ColumnDef KeyDef ForeignKeyDef TableDef
""",
    "deriva_ml.catalog": (
        "create_ml_workspace localize_assets LocalizeResult AssetCopyMode CloneCatalogResult OrphanStrategy CatalogProvenance CatalogCreationMethod "
        "CloneDetails get_catalog_provenance set_catalog_provenance"
    ),
    "deriva_ml.core.base": "DerivaML",
    "deriva_ml.core.filespec": "FileSpec",
    "deriva_ml.core.working_data": "WorkingDataCache",
    "deriva_ml.core.logging_config": (
        "get_logger configure_logging apply_logger_overrides is_hydra_initialized LoggerMixin LOGGER_NAME"
    ),
    "deriva_ml.core.config": "DerivaMLConfig",
    "deriva_ml.core.validation": "VALIDATION_CONFIG STRICT_VALIDATION_CONFIG ValidationResult",
    "deriva_ml.interfaces": (
        "DatasetLike WritableDataset AssetLike WritableAsset DerivaMLCatalogReader DerivaMLCatalog"
    ),
    "deriva_ml.asset": ("AssetSpec AssetSpecConfig AssetFilePath Asset AssetManifest AssetRecord asset_record_class"),
    "deriva_ml.dataset": (
        "Dataset DatasetBag DatasetSpec DatasetSpecConfig DatasetVersion VersionPart split_dataset random_split "
        "stratified_split SelectionFunction PartitionInfo SplitResult subsample SubsampleResult Denormalizer CachedBag"
    ),
    "deriva_ml.core.exceptions": (
        "DerivaMLRidsNotFound NoAssociationException AmbiguousAssociationException DerivaMLDenormalizeError "
        "DerivaMLDenormalizeAmbiguousPath DerivaMLDenormalizeUnrelatedAnchor DerivaMLDenormalizeDownstreamLeaf "
        "DerivaMLMaterializeLimitExceeded DerivaMLUploadError DerivaMLStateInconsistency"
    ),
    "deriva_ml.execution": (
        "Execution ExecutionConfiguration Workflow AssetRID AssetSpec AssetSpecConfig run_model create_model_config "
        "reset_multirun_state DerivaMLModel BaseConfig DerivaBaseConfig base_defaults get_notebook_configuration "
        "notebook_config run_notebook load_configs DescribedList with_description MultirunSpec multirun_config get_multirun_config "
        "list_multirun_configs get_all_multirun_configs DatasetCollection LocalFile LocalFileConfig "
        "ExecutionSnapshot PendingSummary WorkspacePendingSummary UploadReport GcReport"
    ),
    "deriva_ml.execution.base_config": (
        "BaseConfig DerivaBaseConfig base_defaults DescribedList with_description load_configs notebook_config "
        "get_notebook_configuration"
    ),
    "deriva_ml.execution.runner": "run_model create_model_config reset_multirun_state",
    "deriva_ml.feature": "Feature FeatureRecord",
    "deriva_ml.experiment": "Experiment",
    "deriva_ml.model": (
        "DerivaModel DatabaseModel DerivaMLDatabase SchemaBuilder SchemaORM DataLoader DataSource BagDataSource "
        "CatalogDataSource ForeignKeyOrderer Display VisibleColumns VisibleForeignKeys TableDisplay ColumnDisplay "
        "PseudoColumn Facet SortKey NameStyle InboundFK OutboundFK fk_constraint"
    ),
    "deriva_ml.model.annotations": (
        "Display VisibleColumns VisibleForeignKeys TableDisplay ColumnDisplay PseudoColumn Facet SortKey NameStyle "
        "InboundFK OutboundFK fk_constraint"
    ),
    "deriva_ml.schema": (
        "create_ml_catalog create_ml_schema initialize_ml_schema reset_ml_schema validate_ml_schema SchemaValidator "
        "SchemaValidationReport ValidationIssue ValidationSeverity"
    ),
}

Parameter = tuple[str, Any]
REQUIRED = inspect.Parameter.empty


def documented(line: str) -> tuple[str, list[Parameter]]:
    """A line of a table: the function's name, and its parameters with their defaults.

    A name with an underscore before it stands for a parameter whose place is documented and whose name is not.
    """
    function = ast.parse(f"def {line}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    plain = [argument.arg for argument in given.args]
    defaults: list[Any] = [_value(node) for node in given.defaults]
    parameters = list(zip(plain, [REQUIRED] * (len(plain) - len(defaults)) + defaults, strict=True))
    named = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return function.name, parameters + [(each.arg, _value(node) if node else REQUIRED) for each, node in named]


def _value(node: ast.expr) -> Any:
    return logging.WARNING if isinstance(node, ast.Name) and node.id == "WARNING" else ast.literal_eval(node)


def lines(tables: dict[str, str]) -> list[str]:
    """The lines of tables, each behind what it is of."""
    return [f"{home}.{line}" for home, table in tables.items() for line in table.strip().splitlines()]


def found(home: str, name: str) -> Callable[..., Any]:
    module, _, owner = home.partition(":")
    holder: Any = importlib.import_module(module)
    return getattr(getattr(holder, owner) if owner else holder, name)


def taken(home: str, name: str) -> list[inspect.Parameter]:
    """The parameters of a function; of a method without the object that it is of."""
    owner = home.partition(":")[2]
    if name == "__init__":
        return list(inspect.signature(found(*home.split(":"))).parameters.values())
    method = found(home, name)
    parameters = list(inspect.signature(method).parameters.values())
    if owner:
        module = importlib.import_module(home.partition(":")[0])
        static = inspect.getattr_static(getattr(module, owner), name)
        if not isinstance(static, staticmethod | classmethod):
            parameters = parameters[1:]
    return parameters


def called(line: str) -> str:
    """What a line is about: ``Class.method``, or ``module.function``."""
    home, _, name = line.partition("(")[0].rpartition(".")
    return f"{home.partition(':')[2] or home}.{name}"


def objections(line: str) -> list[str]:
    """What a function lacks of what its line says, or asks for beyond it."""
    home = line.partition("(")[0].rpartition(".")[0]
    name, wanted = documented(line[len(home) + 1 :])
    try:
        parameters = taken(home, name)
    except (AttributeError, ImportError) as error:
        return [str(error)]
    own = {parameter.name: parameter for parameter in parameters}
    places = {each.name: place for place, each in enumerate(parameters) if each.kind is not each.KEYWORD_ONLY}
    keyword_only = line.partition("*, ")[2]
    found_wrong = []
    for place, (parameter, default) in enumerate(wanted):
        if f"{called(line)}.{parameter}" in DIFFERENT:
            continue
        if parameter.startswith("_"):
            if place not in places.values():
                found_wrong.append(f"nothing is in place {place} of {list(own)}")
        elif parameter not in own:
            found_wrong.append(f"{parameter} is not in {list(own)}")
        elif parameter not in keyword_only and places.get(parameter) != place:
            found_wrong.append(f"{parameter} has another place in {list(own)}")
        elif default is not REQUIRED and own[parameter].default != default:
            found_wrong.append(f"the default of {parameter} is {own[parameter].default!r}")
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    beyond = [each for each in parameters[len(wanted) :] if each.name not in dict(wanted) and each.kind not in variadic]
    if not line.endswith("(table, context)"):  # of these the specification leaves the rest open
        found_wrong += [f"{each.name} is needed too" for each in beyond if each.default is REQUIRED]
    return found_wrong


@pytest.mark.parametrize("line", lines(CLASSES) + lines(FUNCTIONS), ids=called)
def test_a_function_takes_what_is_documented(line: str) -> None:
    assert objections(line) == []


@pytest.mark.parametrize("module", NAMES)
def test_a_documented_name_can_be_imported(module: str) -> None:
    for name in NAMES[module].split():
        assert getattr(importlib.import_module(module), name, None) is not None, f"{module} has no {name}"


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    for module in ("deriva_ml", "deriva_ml.catalog", "deriva_ml.core", "deriva_ml.schema", "deriva_ml.dataset"):
        with pytest.raises(AttributeError):
            importlib.import_module(module).no_such_name  # noqa: B018


@pytest.mark.parametrize("name", ["Display", "VisibleColumns", "VisibleForeignKeys", "TableDisplay", "ColumnDisplay"])
def test_a_builder_of_an_annotation_names_it(name: str) -> None:
    built = found("deriva_ml.model.annotations", name)
    assert built.tag.startswith("tag:")
    assert built().to_dict() == {}


@pytest.mark.parametrize("name", DERIVA_ML_ATTRIBUTES.split())
def test_an_opened_catalog_has_its_documented_attributes(ml: DerivaML, name: str) -> None:
    assert hasattr(ml, name)
