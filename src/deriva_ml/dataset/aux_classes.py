"""Values about datasets: versions, the history, and the specification of a dataset as an input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import total_ordering
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from deriva_ml.core.ermrest import RID

if TYPE_CHECKING:
    from deriva_ml.dataset.spec_config import DatasetSpecConfig

__all__ = ["DatasetHistory", "DatasetSpec", "DatasetSpecConfig", "DatasetVersion", "VersionPart"]

_PARTS = ("major", "minor", "patch")
_NUMBER = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)", re.ASCII)


class VersionPart(Enum):
    """The part of a version number that a change increments."""

    major = "major"
    minor = "minor"
    patch = "patch"


@total_ordering
class DatasetVersion:
    """The number of a dataset's version, such as ``1.2.0``.

    Versions are ordered, do not change, and compare equal to (and hash as) their text. Tuples, lists and mappings of
    the three parts are accepted in comparisons too.

    Args:
        major: Incremented when the dataset is another one.
        minor: Incremented when elements are added or removed.
        patch: Incremented when a description is corrected.
    """

    __slots__ = ("_parts",)

    def __init__(self, major: int, minor: int = 0, patch: int = 0) -> None:
        parts = (major, minor, patch)
        for name, part in zip(_PARTS, parts, strict=True):
            if isinstance(part, bool) or not isinstance(part, int):
                raise TypeError(f"{name} is not a whole number: {part!r}")
            if part < 0:
                raise ValueError(f"{name} is negative: {part}")
        self._parts = parts

    @property
    def major(self) -> int:
        """The first number."""
        return self._parts[0]

    @property
    def minor(self) -> int:
        """The second number."""
        return self._parts[1]

    @property
    def patch(self) -> int:
        """The third number."""
        return self._parts[2]

    @classmethod
    def parse(cls, version: str) -> DatasetVersion:
        """Read ``X.Y.Z``.

        Raises:
            ValueError: The text is not three numbers without leading zeros.
        """
        found = _NUMBER.fullmatch(version)
        if found is None:
            raise ValueError(f"not a version of the form X.Y.Z: {version!r}")
        return cls(*(int(part) for part in found.groups()))

    @classmethod
    def of(cls, value: Any) -> DatasetVersion:
        """Make a version of whatever names one: text, three numbers, a mapping of the parts, a version.

        Raises:
            ValueError: The value names no version.
        """
        if isinstance(value, DatasetVersion):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        try:
            if isinstance(value, Mapping):
                return cls(**value)
            if isinstance(value, Sequence) and 1 <= len(value) <= len(_PARTS):
                return cls(*value)
        except TypeError as error:
            raise ValueError(f"not a version: {value!r} ({error})") from error
        raise ValueError(f"not a version: {value!r}; give 'X.Y.Z', three numbers, or major, minor and patch")

    def to_dict(self) -> dict[str, int]:
        """The parts by name."""
        return dict(zip(_PARTS, self._parts, strict=True))

    def to_tuple(self) -> tuple[int, int, int]:
        """The parts in order."""
        return self._parts

    def increment_version(self, component: VersionPart | str) -> DatasetVersion:
        """The next version: the component is incremented and what follows it becomes zero."""
        at = _PARTS.index(VersionPart(component).value)
        parts = [*self._parts[:at], self._parts[at] + 1, 0, 0]
        return DatasetVersion(*parts[: len(_PARTS)])

    def __str__(self) -> str:
        return ".".join(str(part) for part in self._parts)

    def __repr__(self) -> str:
        return f"DatasetVersion({', '.join(str(part) for part in self._parts)})"

    def __hash__(self) -> int:
        return hash(str(self))

    def __eq__(self, other: object) -> bool:
        try:
            return self._parts == DatasetVersion.of(other).to_tuple()
        except ValueError:
            return NotImplemented

    def __lt__(self, other: object) -> bool:
        try:
            return self._parts < DatasetVersion.of(other).to_tuple()
        except ValueError:
            return NotImplemented

    def __reduce__(self) -> tuple[type[DatasetVersion], tuple[int, int, int]]:
        return DatasetVersion, self._parts


class DatasetHistory(BaseModel):
    """One version in a dataset's history.

    Attributes:
        dataset_version: The number.
        dataset_rid: The dataset.
        version_rid: The version's own record.
        execution_rid: The execution that made the version, if one did.
        description: What changed.
        minid: Identifier of an exported bag.
        spec_hash: What that bag was made from.
        snapshot: The catalog's snapshot that shows the version.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    dataset_version: DatasetVersion
    dataset_rid: RID
    version_rid: RID
    execution_rid: RID | None = None
    description: str = ""
    minid: str | None = None
    spec_hash: str | None = None
    snapshot: str | None = None

    @field_validator("dataset_version", mode="before")
    @classmethod
    def _version(cls, value: Any) -> DatasetVersion:
        return DatasetVersion.of(value)

    @field_validator("execution_rid", mode="before")
    @classmethod
    def _no_execution(cls, value: Any) -> Any:
        return value or None

    @field_validator("description", mode="before")
    @classmethod
    def _no_description(cls, value: Any) -> Any:
        return value or ""

    @field_serializer("dataset_version")
    def _plain_version(self, value: DatasetVersion) -> dict[str, int]:
        return value.to_dict()


class DatasetSpec(BaseModel):
    """A dataset as an input: which one, in which version, and how much of it is fetched.

    Attributes:
        rid: The dataset.
        version: Its version; required, as a run that names none cannot be repeated.
        materialize: Fetch the files of assets too, not only the tables.
        description: What it is for.
        exclude_tables: Tables that are left out, with everything that is reached through them.
        timeout: Seconds to wait for a connection and for an answer of a server that exports bags; here bags are written
            from rows, with the limits that the connection has.
        fetch_concurrency: How many files are fetched at a time.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    rid: RID
    version: DatasetVersion
    materialize: bool = True
    description: str = ""
    exclude_tables: set[str] | None = None
    timeout: tuple[int, int] | None = None
    fetch_concurrency: int = Field(default=8, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _bare_rid(cls, value: Any) -> Any:
        return {"rid": value} if isinstance(value, str) else value

    @field_validator("version", mode="before")
    @classmethod
    def _version(cls, value: Any) -> DatasetVersion:
        return DatasetVersion.of(value)

    @field_serializer("version")
    def _plain_version(self, value: DatasetVersion) -> dict[str, int]:
        return value.to_dict()

    @field_serializer("exclude_tables")
    def _sorted_tables(self, value: set[str] | None) -> list[str] | None:
        return None if value is None else sorted(value)


def __getattr__(name: str) -> Any:
    # hydra-zen takes 0.2 s to import: the class is made when it is first named.
    if name == "DatasetSpecConfig":
        from deriva_ml.dataset.spec_config import DatasetSpecConfig

        return DatasetSpecConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
