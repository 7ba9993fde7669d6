"""``Experiment``: a run as a scientist compares it with others: its choices, its model's settings, its data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from deriva_ml.core.enums import ExecMetadataType, MLAsset, MLTable, Status
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.dataset.dataset_types import types_of
from deriva_ml.execution.execution_record import ExecutionRecord, lookup_execution
from deriva_ml.execution.finding import newest_executions
from deriva_ml.execution.uses import AssetUse, DatasetUse, list_assets, list_input_datasets
from deriva_ml.schema.chaise import record_url
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.wire.path import eq, regexp, table

__all__ = ["Experiment", "find_experiments", "lookup_experiment"]

_CONFIG = "-config.yaml"
_HYDRA = "-hydra.yaml"


@dataclass(eq=False)
class Experiment:
    """A run with the configuration that Hydra resolved for it. Each part is read when it is first asked for.

    Attributes:
        ml: The catalog: a ``DerivaML`` or its session.
        execution_rid: The run.
    """

    ml: HasSession | Session
    execution_rid: str

    @property
    def _session(self) -> Session:
        return session_of(self.ml)

    @cached_property
    def execution(self) -> ExecutionRecord:
        """The run's row.

        Raises:
            DerivaMLRidsNotFound: Nothing has this RID.
            DerivaMLTableTypeError: The RID names something else.
        """
        return lookup_execution(self._session, self.execution_rid)

    # -- configuration -------------------------------------------------------------------------------------------

    @cached_property
    def _files(self) -> list[AssetUse]:
        return list_assets(self._session, self.execution_rid)

    def _read(self, ending: str) -> dict[str, Any]:
        """A YAML file of Hydra's that the run recorded; empty if it recorded none."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError  # type: ignore[import-untyped]

        kinds = {str(ExecMetadataType.hydra_config)}
        found = [use for use in self._files if use.file_name.endswith(ending) and kinds & set(use.types)]
        if not found:
            return {}
        with tempfile.TemporaryDirectory(prefix="deriva-ml-") as folder:
            target = Path(folder) / "file"
            self._session.objects.fetch(found[0].url, target, md5=found[0].md5, length=found[0].length)
            try:
                read = OmegaConf.to_container(OmegaConf.load(target), resolve=False)
            except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
                raise DerivaMLDataError(
                    f"The configuration that execution {self.execution_rid} recorded cannot be read.",
                    source=f"{found[0].table} {found[0].rid} ({found[0].file_name}): {error}",
                ) from error
        return {str(key): value for key, value in read.items()} if isinstance(read, dict) else {}

    @cached_property
    def config_choices(self) -> dict[str, str]:
        """What was chosen of each group, Hydra's own groups aside."""
        hydra = self._read(_HYDRA)
        hydra = hydra.get("hydra", hydra)
        choices = (hydra.get("runtime") or {}).get("choices") or {}
        return {str(group): str(name) for group, name in choices.items() if not str(group).startswith("hydra/")}

    @cached_property
    def hydra_config(self) -> dict[str, Any]:
        """The resolved configuration, with ``config_choices``; empty for a run that was not configured by Hydra."""
        config = self._read(_CONFIG)
        return {**config, "config_choices": self.config_choices} if config else {}

    @property
    def model_config(self) -> dict[str, Any]:
        """The model's part of the configuration."""
        section = self.hydra_config.get("model_config")
        return dict(section) if isinstance(section, dict) else {}

    @property
    def name(self) -> str:
        """The configuration that was chosen for the model; the run's RID if none was."""
        return self.config_choices.get("model_config", self.execution_rid)

    # -- the run -------------------------------------------------------------------------------------------------

    @property
    def description(self) -> str:
        """What the run was for."""
        return self.execution.description

    @property
    def status(self) -> str:
        """How far the run is."""
        return str(self.execution.status)

    @cached_property
    def input_datasets(self) -> list[DatasetUse]:
        """The datasets that the run consumed, with their versions."""
        return list_input_datasets(self._session, self.execution_rid)

    @property
    def input_assets(self) -> list[AssetUse]:
        """The files that the run consumed."""
        return [use for use in self._files if use.role == "Input" and not _is_metadata(use)]

    @property
    def output_assets(self) -> list[AssetUse]:
        """The files that the run made, without those that describe it."""
        return [use for use in self._files if use.role == "Output" and not _is_metadata(use)]

    @property
    def metadata_assets(self) -> list[AssetUse]:
        """The files that describe the run."""
        return [use for use in self._files if _is_metadata(use)]

    def get_chaise_url(self) -> str:
        """Where the web interface of the catalog's host shows the run; a folder has none, and the URL only names it."""
        return self._url(self.execution_rid, str(MLTable.execution))

    def _url(self, rid: str, name: str, schema: str | None = None) -> str:
        return record_url(self._session, schema or self._session.ml_schema, name, rid)

    # -- in one piece --------------------------------------------------------------------------------------------

    def _asset(self, use: AssetUse) -> dict[str, Any]:
        return {
            "asset_rid": use.rid,
            "asset_table": use.table,
            "filename": use.file_name,
            "description": use.description,
            "asset_types": list(use.types),
            "url": self._url(use.rid, use.table, use.schema),
        }

    def _datasets(self) -> list[dict[str, Any]]:
        types = types_of(self._session, [use.rid for use in self.input_datasets])
        return [
            {
                "dataset_rid": use.rid,
                "description": use.description,
                "version": use.version,
                "dataset_types": types[use.rid],
            }
            for use in self.input_datasets
        ]

    def summary(self) -> dict[str, Any]:
        """Everything above as plain values.

        Returns:
            ``name``, ``execution_rid``, ``description``, ``status``, ``config_choices``, ``model_config`` (without the
            entries that are Hydra's, which begin with ``_``), ``input_datasets``, ``input_assets``, ``output_assets``,
            ``metadata_assets`` and ``url``.
        """
        return {
            "name": self.name,
            "execution_rid": self.execution_rid,
            "description": self.description,
            "status": self.status,
            "config_choices": dict(self.config_choices),
            "model_config": _public(self.model_config),
            "input_datasets": self._datasets(),
            "input_assets": [self._asset(use) for use in self.input_assets],
            "output_assets": [self._asset(use) for use in self.output_assets],
            "metadata_assets": [self._asset(use) for use in self.metadata_assets],
            "url": self.get_chaise_url(),
        }

    def to_markdown(self, show_datasets: bool = True, show_assets: bool = True) -> str:
        """The run in Markdown.

        Args:
            show_datasets: List the datasets that it consumed, with those in them.
            show_assets: List the files that it consumed.
        """
        lines = [f"### {self.name} ([{self.execution_rid}]({self.get_chaise_url()}))", ""]
        if self.description:
            lines += [f"**Description:** {self.description}", ""]
        if self.config_choices:
            chosen = ", ".join(f"`{group}={name}`" for group, name in sorted(self.config_choices.items()))
            lines += [f"**Configuration Choices:** {chosen}", ""]
        settings = _public(self.model_config)
        if settings:
            lines += ["**Model Configuration:**", *(f"- **{key}**: {value}" for key, value in settings.items()), ""]
        if show_datasets and self.input_datasets:
            lines += ["**Input Datasets:**", *self._dataset_lines(), ""]
        if show_assets and self.input_assets:
            lines.append("**Input Assets:**")
            for use in self.input_assets:
                lines.append(f"- [{use.rid}]({self._url(use.rid, use.table, use.schema)}) {use.table}: {use.file_name}")
            lines.append("")
        return "\n".join(lines)

    def _dataset_lines(self) -> Iterator[str]:
        for use in self.input_datasets:
            yield self._dataset_line(use.rid, use.version, use.description, 0)
            for child in Dataset(self._session, use.rid).list_dataset_children(version=use.version):
                yield self._dataset_line(child.dataset_rid, None, child.description, 1)

    def _dataset_line(self, rid: str, version: str | None, description: str, indent: int) -> str:
        number = f" v{version}" if version else ""
        return f"{'  ' * indent}- [{rid}]({self._url(rid, str(MLTable.dataset))}){number}: {description}"

    def display_markdown(self, show_datasets: bool = True, show_assets: bool = True) -> None:
        """Show the run in a notebook.

        Raises:
            DerivaMLMissingExtra: IPython is not installed.
        """
        from deriva_ml.core.files import require

        require("IPython.display", "notebook").display_markdown(self.to_markdown(show_datasets, show_assets), raw=True)

    def to_dict(self) -> dict[str, Any]:
        """The run's row as plain values."""
        return asdict(self.execution)


def _is_metadata(use: AssetUse) -> bool:
    return use.table == str(MLAsset.execution_metadata)


def _public(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not str(key).startswith("_")}


def lookup_experiment(ml: HasSession, execution_rid: str) -> Experiment:
    """The run of a RID, with its configuration.

    Args:
        ml: The catalog.
        execution_rid: The run.

    Raises:
        DerivaMLRidsNotFound: Nothing has this RID.
        DerivaMLTableTypeError: The RID names something else.
    """
    found = Experiment(ml, execution_rid)
    found.execution  # noqa: B018  # a RID that names no run is an error here, not later
    return found


def find_experiments(
    ml: HasSession, workflow_rid: str | None = None, status: Status | str | None = None
) -> Iterator[Experiment]:
    """The runs that Hydra configured, the newest first, in two requests.

    Args:
        ml: The catalog.
        workflow_rid: Only of this workflow.
        status: Only with this status.
    """
    session = session_of(ml)
    schema, name = session.ml_schema, str(MLAsset.execution_metadata)
    path = table(schema, name).where(regexp("Filename", ".*-config[.]yaml$"))
    path = path.link(schema, f"{name}_Execution", on=[("RID", name)], alias="L")
    path = path.where(eq("Asset_Role", "Output"))
    configured = {str(row["Execution"]) for row in session.catalog.attributes(path, "Execution")}
    for record in newest_executions(session, workflow=workflow_rid, status=status):
        if record.execution_rid in configured:
            yield _known(ml, record)


def _known(ml: HasSession, record: ExecutionRecord) -> Experiment:
    made = Experiment(ml, record.execution_rid)
    made.__dict__["execution"] = record
    return made
