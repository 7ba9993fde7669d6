"""``DerivaMLConfig``: what it takes to open a catalog, as plain data."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from deriva_ml.core.config import Settings, default_workdir
from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.fields import refuse_unknown

__all__ = ["DerivaMLConfig"]


def _hydra_output_dir() -> Path | None:
    """Hydra's directory for the job at work, or None outside a Hydra application."""
    module = sys.modules.get("hydra.core.hydra_config")
    if module is None or not module.HydraConfig.initialized():
        return None
    folder = sys.modules["omegaconf"].OmegaConf.select(
        module.HydraConfig.get(), "runtime.output_dir", throw_on_missing=False
    )
    return None if folder is None else Path(folder)  # none: something is composed, and no job is at work


class DerivaMLConfig(BaseModel):
    """What it takes to open a catalog; the fields are the arguments of ``DerivaML``.

    Attributes:
        hostname: ``local``, a path, a host name, or a URL.
        catalog_id: The catalog, or ``"<id>@<snaptime>"``.
        domain_schemas: Schemas of the project; by default all that are not the platform's.
        default_schema: Where tables are made; by default the only domain schema.
        project_name: Prefix of new terms' identifiers; by default the default schema.
        cache_dir: Where bags and assets are kept; by default ``cache`` in the working directory.
        working_dir: Where runs work; by default a folder of this catalog's own below ``~/.deriva-ml``. One that is
            named may serve several catalogs: each has a part of its own in it.
        hydra_runtime_output_dir: Hydra's directory for the job; filled in inside a Hydra application.
        ml_schema: Name of the ML schema.
        logging_level: Level of this library's logger.
        deriva_logging_level: Level of the ``deriva`` libraries' loggers.
        credential: Credential for the host; by default the one that ``deriva`` stored at login.
        s3_bucket: Bucket for bags with a MINID.
        use_minid: Whether bags get a MINID; by default if there is a bucket.
        check_auth: Ask the host who the caller is before anything else.
        clean_execution_dir: Empty the directory of a run that completed once its outputs are uploaded.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    hostname: str = "local"
    catalog_id: str | int = 1
    domain_schemas: str | set[str] | None = None
    default_schema: str | None = None
    project_name: str | None = None
    cache_dir: str | Path | None = None
    working_dir: str | Path | None = None
    hydra_runtime_output_dir: str | Path | None = None
    ml_schema: str = ML_SCHEMA
    logging_level: int = logging.WARNING
    deriva_logging_level: int = logging.WARNING
    credential: dict[str, Any] | None = None
    s3_bucket: str | None = None
    use_minid: bool | None = None
    check_auth: bool = True
    clean_execution_dir: bool = True

    @model_validator(mode="before")
    @classmethod
    def _known_fields_only(cls, values: Any) -> Any:
        if isinstance(values, dict):
            refuse_unknown(cls.__name__, values, cls.model_fields)
        return values

    @model_validator(mode="after")
    def _complete(self) -> DerivaMLConfig:
        if self.hydra_runtime_output_dir is None:
            self.hydra_runtime_output_dir = _hydra_output_dir()
        if self.use_minid is None:
            self.use_minid = self.s3_bucket is not None
        elif self.use_minid and self.s3_bucket is None:
            self.use_minid = False
        return self

    @staticmethod
    def compute_workdir(
        working_dir: str | Path | None, catalog_id: str | int | None = None, hostname: str | None = None
    ) -> Path:
        """The working directory of a catalog, so that two catalogs or hosts never share one.

        An explicit directory is used as it is. Otherwise it lies below ``~/.deriva-ml``, by host and catalog; an
        embedded catalog's is named by its folder.

        Args:
            working_dir: The directory that the user chose, if any.
            catalog_id: The catalog.
            hostname: The host, as in ``DerivaMLConfig``.
        """
        if working_dir is not None:
            return Path(working_dir).expanduser().absolute()
        return default_workdir(Settings.read(), hostname, catalog_id)
