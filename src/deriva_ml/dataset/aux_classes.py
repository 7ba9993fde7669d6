"""Values about datasets: versions, the history, and the specification of a dataset as an input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import total_ordering
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, computed_field, field_serializer, field_validator, model_validator

from deriva_ml.core.ermrest import RID

if TYPE_CHECKING:
    from deriva_ml.dataset.spec_config import DatasetSpecConfig

__all__ = ["DatasetHistory", "DatasetMinid", "DatasetSpec", "DatasetSpecConfig", "DatasetVersion", "VersionPart"]

_PARTS = ("major", "minor", "patch")
_NUMBER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:\.dev(0|[1-9][0-9]*))?",
    re.ASCII,
)


class VersionPart(Enum):
    """The part of a version number that a change increments."""

    major = "major"
    minor = "minor"
    patch = "patch"


@total_ordering
class DatasetVersion:
    """The number of a dataset's version, such as ``1.2.0``; or of a development version, such as ``1.2.1.dev3``.

    Versions are ordered, do not change, and compare equal to (and hash as) their text. A development version comes
    before the release that it is named for, as PEP 440 has it. Tuples, lists and mappings of the parts are accepted in
    comparisons too.

    Args:
        major: Incremented when the dataset is another one.
        minor: Incremented when elements are added or removed.
        patch: Incremented when a description is corrected.
        dev: Number of a development version; None for a release.
    """

    __slots__ = ("_dev", "_parts")

    def __init__(self, major: int, minor: int = 0, patch: int = 0, dev: int | None = None) -> None:
        parts = (major, minor, patch)
        given = dict(zip(_PARTS, parts, strict=True)) | ({} if dev is None else {"dev": dev})
        for name, part in given.items():
            if isinstance(part, bool) or not isinstance(part, int):
                raise TypeError(f"{name} is not a whole number: {part!r}")
            if part < 0:
                raise ValueError(f"{name} is negative: {part}")
        self._parts = parts
        self._dev = dev

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

    @property
    def dev(self) -> int | None:
        """The number of a development version; None for a release."""
        return self._dev

    @property
    def is_release(self) -> bool:
        """Whether this is a release, not a development version."""
        return self._dev is None

    @classmethod
    def parse(cls, version: str) -> DatasetVersion:
        """Read ``X.Y.Z`` or ``X.Y.Z.devN``.

        Raises:
            ValueError: The text is not three numbers without leading zeros, and perhaps ``.dev`` and a fourth.
        """
        found = _NUMBER.fullmatch(version)
        if found is None:
            raise ValueError(f"not a version of the form X.Y.Z: {version!r}")
        return cls(*(int(part) for part in found.groups() if part is not None))

    @classmethod
    def of(cls, value: Any) -> DatasetVersion:
        """Make a version of whatever names one: text, the numbers, a mapping of the parts, a version.

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
        """The parts by name; ``dev`` only if this is a development version."""
        parts = dict(zip(_PARTS, self._parts, strict=True))
        return parts if self._dev is None else {**parts, "dev": self._dev}

    def to_tuple(self) -> tuple[int, int, int]:
        """The three numbers in order."""
        return self._parts

    def increment_version(self, component: VersionPart | str) -> DatasetVersion:
        """The next release: the component is incremented and what follows it becomes zero.

        A development version counts as the release before it: ``1.2.1.dev3`` gives 1.2.1, 1.3.0 and 2.0.0.
        """
        at = _PARTS.index(VersionPart(component).value)
        if self._dev is not None and not any(self._parts[at + 1 :]) and self._parts[at]:
            return DatasetVersion(*self._parts)
        parts = [*self._parts[:at], self._parts[at] + 1, 0, 0]
        return DatasetVersion(*parts[: len(_PARTS)])

    def next_dev(self) -> DatasetVersion:
        """The next development version: the next number, or the first one of the patch that follows a release."""
        if self._dev is not None:
            return DatasetVersion(*self._parts, self._dev + 1)
        return DatasetVersion(self.major, self.minor, self.patch + 1, 1)

    def __str__(self) -> str:
        number = ".".join(str(part) for part in self._parts)
        return number if self._dev is None else f"{number}.dev{self._dev}"

    def __repr__(self) -> str:
        dev = "" if self._dev is None else f", dev={self._dev}"
        return f"DatasetVersion({', '.join(str(part) for part in self._parts)}{dev})"

    def __hash__(self) -> int:
        return hash(str(self))

    def _key(self) -> tuple[tuple[int, int, int], bool, int]:
        """What versions are ordered by: of one number, development versions come before the release."""
        return self._parts, self._dev is None, self._dev or 0

    def __eq__(self, other: object) -> bool:
        try:
            return self._key() == DatasetVersion.of(other)._key()
        except ValueError:
            return NotImplemented

    def __lt__(self, other: object) -> bool:
        try:
            return self._key() < DatasetVersion.of(other)._key()
        except ValueError:
            return NotImplemented

    def __reduce__(self) -> tuple[type[DatasetVersion], tuple[int | None, ...]]:
        return DatasetVersion, (*self._parts, self._dev)


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


class DatasetMinid(BaseModel):
    """A persistent identifier of an exported version, as the identifier service describes it.

    Attributes:
        dataset_version: The version that was exported.
        metadata: What the service was told of it.
        minid: The identifier in its short form.
        bag_url: Where the bag is; of several places the first.
        identifier: The identifier in full.
        landing_page: The identifier's page.
        version_rid: The exported dataset and its snapshot, ``RID@snapshot``.
        checksum: SHA-256 of the bag.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)

    dataset_version: DatasetVersion
    metadata: dict[str, Any] = Field(default_factory=dict)
    minid: str = Field(alias="compact_uri")
    bag_url: str = Field(alias="location")
    identifier: str
    landing_page: str
    version_rid: str = Field(alias="RID")
    checksum: str = Field(default="", alias="checksums")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def dataset_rid(self) -> str:
        """The dataset."""
        return self.version_rid.partition("@")[0]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def dataset_snapshot(self) -> str:
        """The snapshot that was exported."""
        return self.version_rid.partition("@")[2]

    @model_validator(mode="before")
    @classmethod
    def _told(cls, value: Any) -> Any:
        """What the service was told stands under ``metadata``; what it says itself goes before."""
        told = value.get("metadata") if isinstance(value, dict) else None
        return {**told, **value} if isinstance(told, dict) else value

    @field_validator("dataset_version", mode="before")
    @classmethod
    def _version(cls, value: Any) -> DatasetVersion:
        return DatasetVersion.of(value)

    @field_validator("bag_url", mode="before")
    @classmethod
    def _first_place(cls, value: Any) -> Any:
        return value[0] if isinstance(value, list) and value else value

    @field_validator("checksum", mode="before")
    @classmethod
    def _sha256(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return next((item["value"] for item in value if item.get("function") == "sha256"), "")

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
