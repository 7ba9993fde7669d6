"""``ExecutionConfiguration``: what a run is given."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from deriva_ml.asset.aux_classes import AssetSpec
from deriva_ml.asset.local_file import LocalFile
from deriva_ml.core.error_text import legible
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.workflow import Workflow

__all__ = ["AssetRID", "ExecutionConfiguration"]


class AssetRID(str):
    """An asset as an input, by its RID.

    Deprecated: ``AssetSpec`` says more.

    Args:
        rid: The asset.
        description: What it is for.
    """

    __slots__ = ("description", "rid")

    rid: str
    description: str

    def __new__(cls, rid: str, description: str = "") -> Self:
        """The RID as text, with a description beside it."""
        made = super().__new__(cls, rid)
        made.rid = str(rid)
        made.description = description
        return made


def _plain(value: Any) -> Any:
    """What a configuration library made of a specification, as a plain mapping."""
    if isinstance(value, (BaseModel, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): value[key] for key in value if not str(key).startswith("_")}
    if is_dataclass(value) and not isinstance(value, type):
        named = {item.name: getattr(value, item.name) for item in fields(value) if not item.name.startswith("_")}
        return {name: item for name, item in named.items() if item is not None}
    return value


def _asset_spec(item: Any) -> Any:
    """An asset by its RID, or a file of this machine by its path, in a form that can be told apart."""
    if isinstance(item, (AssetSpec, LocalFile, dict)):
        return item
    # a RID has no directory part, and a name without one would be that of a RID mistyped
    return {"path": item} if isinstance(item, Path) or os.sep in str(item) else str(item)


def _kind_of_asset(item: Any) -> str:
    return "LocalFile" if isinstance(item, LocalFile) or (isinstance(item, dict) and "path" in item) else "AssetSpec"


AssetInputSpec = Annotated[
    Annotated[AssetSpec, Tag("AssetSpec")] | Annotated[LocalFile, Tag("LocalFile")], Discriminator(_kind_of_asset)
]
"""An input of a run that is one file."""


class ExecutionConfiguration(BaseModel):
    """What a run is given.

    Attributes:
        datasets: Datasets to bring, each in a version.
        assets: Assets to bring, by RID, and files of this machine, by path; a path is known by its directory part.
        workflow: The code.
        description: What the run is for.
        argv: The command that started it.
        config_choices: The name that was chosen in each configuration group.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    datasets: list[DatasetSpec] = Field(default_factory=list)
    assets: list[AssetInputSpec] = Field(default_factory=list)
    workflow: Workflow | None = None
    description: str = ""
    argv: list[str] = Field(default_factory=lambda: list(sys.argv))
    config_choices: dict[str, str] = Field(default_factory=dict)

    @field_validator("datasets", mode="before")
    @classmethod
    def _dataset_specs(cls, value: Any) -> list[Any]:
        return [_plain(item) for item in value or ()]

    @field_validator("assets", mode="before")
    @classmethod
    def _asset_specs(cls, value: Any) -> list[Any]:
        return [_asset_spec(_plain(item)) for item in value or ()]

    @field_validator("description", mode="before")
    @classmethod
    def _legible_description(cls, value: Any) -> Any:
        # a command line may bring bytes that are no text
        return "" if value is None else legible(value) if isinstance(value, str) else value

    @field_validator("config_choices", mode="before")
    @classmethod
    def _no_empty_choices(cls, value: Any) -> dict[str, str]:
        return {str(group): str(name) for group, name in dict(value or {}).items() if name is not None}

    @staticmethod
    def load_configuration(path: Path | str) -> ExecutionConfiguration:
        """Read a configuration as a run wrote it (``configuration.json``).

        Raises:
            DerivaMLConfigurationError: The file is not JSON.
        """
        file = Path(path)
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DerivaMLConfigurationError(
                f"{file.name} is not a configuration: {error}", source=str(file)
            ) from error
        return ExecutionConfiguration.model_validate(document)
