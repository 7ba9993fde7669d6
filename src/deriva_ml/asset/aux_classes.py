"""What users hold in their hands: the specification of an input, and the path of an input or output file."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from deriva_ml.core.enums import AssetRole
from deriva_ml.core.ermrest import RID
from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.workspace.manifest import AssetEntry, Manifest

if TYPE_CHECKING:
    from deriva_ml.asset.spec_config import AssetSpecConfig

__all__ = ["AssetFilePath", "AssetSpec", "AssetSpecConfig", "Binding"]

Metadata = Mapping[str, Json]


class AssetSpec(BaseModel):
    """An asset that a run reads; a bare string is its RID.

    Attributes:
        rid: The asset.
        asset_role: Its role in the execution.
        cache: Keep the file in the cache for other runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rid: RID
    asset_role: str = AssetRole.input.value
    cache: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_rid(cls, value: Any) -> Any:
        return {"rid": str(value)} if isinstance(value, str) else value


@dataclass(frozen=True)
class Binding:
    """What ties the path of an output to its entry in a manifest.

    Attributes:
        manifest: The run's manifest.
        key: The entry's key.
        check_metadata: Gives metadata in the form in which it is recorded, or refuses it.
        check_types: Gives asset types in the form in which they are recorded, or refuses them.
    """

    manifest: Manifest
    key: str
    check_metadata: Callable[[Mapping[str, Any]], Metadata] = dict
    check_types: Callable[[Iterable[str]], Iterable[str]] = tuple


class AssetFilePath(PosixPath):  # Python 3.11 makes no subclass of Path itself
    """The path of an asset's file, usable wherever a path is; paths derived from it are plain paths.

    Without a table it is a plain path itself.

    Args:
        asset_path: Where the file is, or is to be written.
        asset_table: The asset's table.
        file_name: Its name in the catalog.
        asset_metadata: Its metadata.
        asset_types: Its types.
        asset_rid: Its RID, if it is in the catalog.
        binding: The entry in a manifest that metadata, types and RID are read from and written to. There is no other
            copy of them then.
    """

    _values: dict[str, Any]
    _binding: Binding | None

    def __new__(
        cls,
        asset_path: str | Path = ".",
        asset_table: str = "",
        file_name: str = "",
        asset_metadata: Mapping[str, Any] | None = None,
        asset_types: str | Iterable[str] | None = None,
        asset_rid: str | None = None,
        *,
        binding: Binding | None = None,
    ) -> Self:
        """Make the path; what it says of the asset is kept beside it."""
        if not asset_table:
            # pathlib makes the results of rename() and the like by calling the class with a path alone
            return PosixPath(asset_path)  # type: ignore[return-value]
        made: Self = _new(cls, asset_path)
        values = {
            "asset_table": asset_table,
            "file_name": file_name or Path(asset_path).name,
            "metadata": dict(asset_metadata or {}),
            "asset_types": [asset_types] if isinstance(asset_types, str) else list(asset_types or ()),
            "asset_rid": asset_rid,
        }
        made.__dict__.update(_values=values, _binding=binding)
        return made

    if sys.version_info >= (3, 12):

        def __init__(self, asset_path: str | Path = ".", *_args: Any, **_kwargs: Any) -> None:
            super().__init__(asset_path)

        def with_segments(self, *segments: str | os.PathLike[str]) -> Path:
            """A derived path, which is a plain one."""
            return PosixPath(*segments)

    else:

        @classmethod
        def _from_parts(cls, args: Any) -> Path:
            return PosixPath._from_parts(args)  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001

        @classmethod
        def _from_parsed_parts(cls, drv: str, root: str, parts: list[str]) -> Path:
            return PosixPath._from_parsed_parts(drv, root, parts)  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001

    def __reduce__(self) -> tuple[Any, ...]:
        # what another process gets is a path with the values of now, without the manifest
        values = (self.asset_table, self.file_name, self.metadata, self.asset_types, self.asset_rid)
        return (type(self), (str(self), *values))

    @property
    def asset_path(self) -> Path:
        """The path as a plain one."""
        return Path(str(self))

    @property
    def asset_table(self) -> str:
        """The asset's table."""
        return str(self._values["asset_table"])

    @property
    def asset_name(self) -> str:
        """The asset's table."""
        return self.asset_table

    @property
    def file_name(self) -> str:
        """The file's name in the catalog."""
        return str(self._values["file_name"])

    @property
    def key(self) -> str | None:
        """The key of the manifest entry, if there is one."""
        return self._binding.key if self._binding else None

    @property
    def metadata(self) -> dict[str, Any]:
        """The asset's metadata. Assigning replaces it, in the manifest too."""
        return dict(self._entry().metadata if self._binding else self._values["metadata"])

    @metadata.setter
    def metadata(self, values: Mapping[str, Any] | BaseModel) -> None:
        given = values.model_dump() if isinstance(values, BaseModel) else dict(values)
        given = {name: value for name, value in given.items() if value is not None}
        if self._binding:
            self._binding.manifest.update(self._binding.key, metadata=dict(self._binding.check_metadata(given)))
        else:
            self._values["metadata"] = given

    @property
    def asset_metadata(self) -> dict[str, Any]:
        """The asset's metadata."""
        return self.metadata

    @property
    def asset_types(self) -> list[str]:
        """The asset's types."""
        return list(self._entry().asset_types if self._binding else self._values["asset_types"])

    @asset_types.setter
    def asset_types(self, types: str | Iterable[str]) -> None:
        self.set_asset_types(types)

    def set_asset_types(self, types: str | Iterable[str]) -> None:
        """Replace the asset's types, in the manifest too."""
        given = [types] if isinstance(types, str) else list(types)
        if self._binding:
            self._binding.manifest.update(self._binding.key, asset_types=list(self._binding.check_types(given)))
        else:
            self._values["asset_types"] = given

    @property
    def asset_rid(self) -> str | None:
        """The asset's RID; None while it has none."""
        return self._entry().rid if self._binding else self._values["asset_rid"]

    def _entry(self) -> AssetEntry:
        assert self._binding is not None
        return self._binding.manifest.asset(self._binding.key)


def _new(cls: type[AssetFilePath], path: str | Path) -> Any:
    """An instance of the class for a path, by what the version of Python offers."""
    if sys.version_info >= (3, 12):
        return object.__new__(cls)
    plain, made = PosixPath(path), object.__new__(cls)
    for slot in ("_drv", "_root", "_parts"):
        setattr(made, slot, getattr(plain, slot))
    return made


def __getattr__(name: str) -> Any:
    if name == "AssetSpecConfig":
        # hydra-zen is loaded by who uses it
        return importlib.import_module("deriva_ml.asset.spec_config").AssetSpecConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
