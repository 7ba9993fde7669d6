"""Values of a catalog that users meet: RIDs, definitions of columns, keys, foreign keys and tables, terms, progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, computed_field, field_validator

from deriva_ml.core.enums import BuiltinTypes, UploadState
from deriva_ml.core.values import dataclass

if TYPE_CHECKING:
    from deriva_ml.core.json_types import Json

__all__ = [
    "RID",
    "ColumnDef",
    "ColumnDefinition",
    "FileUploadState",
    "ForeignKeyDef",
    "ForeignKeyDefinition",
    "KeyDef",
    "KeyDefinition",
    "TableDef",
    "TableDefinition",
    "UploadCallback",
    "UploadProgress",
    "VocabularyTerm",
    "rid_part",
    "rid_regex",
    "snapshot_part",
]

rid_part = r"(?P<rid>(?:[A-Z\d]{1,4}|[A-Z\d]{1,4}(?:-[A-Z\d]{4})+))"
"""Pattern of a RID: one to four symbols, then groups of exactly four."""

snapshot_part = r"(?:@(?P<snapshot>(?:[A-Z\d]{1,4}|[A-Z\d]{1,4}(?:-[A-Z\d]{4})+)))?"
"""Pattern of the snapshot that may follow a RID."""

rid_regex = f"^{rid_part}{snapshot_part}$"

RID_PATTERN = r"^(?:[A-Z\d]{1,4}(?:-[A-Z\d]{4})*)(?:@(?:[A-Z\d]{1,4}(?:-[A-Z\d]{4})*))?$"
"""The pattern of `RID`; pydantic's engine knows no named groups."""

RID = Annotated[str, StringConstraints(pattern=RID_PATTERN)]
"""A record's identifier, checked where pydantic validates."""


def type_document(type_name: str | BuiltinTypes) -> dict[str, Json]:
    """ERMrest's document for a column type: ``text``, ``int4``, ``text[]``, ..."""
    name = type_name.value if isinstance(type_name, Enum) else str(type_name)
    if name.endswith("[]"):
        return {"typename": name, "is_array": True, "base_type": {"typename": name[:-2]}}
    return {"typename": name}


@dataclass
class ColumnDef:
    """Definition of a column.

    Args:
        name: The column's name.
        type: Its type.
        nullok: Whether it may be without a value.
        default: The value that an insert may ask for.
        comment: What it means.
        annotations: Annotations by key.
    """

    name: str
    type: BuiltinTypes | str = BuiltinTypes.text
    nullok: bool = True
    default: Json = None
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """The document that ERMrest takes."""
        return {
            "name": self.name,
            "type": type_document(self.type),
            "nullok": self.nullok,
            "default": self.default,
            "comment": self.comment,
            "annotations": dict(self.annotations),
        }


@dataclass
class KeyDef:
    """Definition of a unique key over ``columns``."""

    columns: Sequence[str]
    constraint_name: str | None = None
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)

    def to_dict(self, schema: str = "") -> dict[str, Json]:
        """The document that ERMrest takes."""
        return {
            "unique_columns": list(self.columns),
            "names": [[schema, self.constraint_name]] if self.constraint_name else [],
            "comment": self.comment,
            "annotations": dict(self.annotations),
        }


@dataclass
class ForeignKeyDef:
    """Definition of a reference from ``columns`` to ``referenced_columns`` of another table, pairwise."""

    columns: Sequence[str]
    referenced_schema: str
    referenced_table: str
    referenced_columns: Sequence[str] = ("RID",)
    constraint_name: str | None = None
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)

    def to_dict(self, schema: str = "", table: str = "") -> dict[str, Json]:
        """The document that ERMrest takes, for a foreign key of ``schema:table``."""
        return {
            "foreign_key_columns": [
                {"schema_name": schema, "table_name": table, "column_name": name} for name in self.columns
            ],
            "referenced_columns": [
                {
                    "schema_name": self.referenced_schema,
                    "table_name": self.referenced_table,
                    "column_name": name,
                }
                for name in self.referenced_columns
            ],
            "names": [[schema, self.constraint_name]] if self.constraint_name else [],
            "on_delete": self.on_delete,
            "on_update": self.on_update,
            "comment": self.comment,
            "annotations": dict(self.annotations),
        }


@dataclass
class TableDef:
    """Definition of a table; the system columns and the key on RID are added when it is created."""

    name: str
    columns: Sequence[ColumnDef | Mapping[str, Json]] = ()
    keys: Sequence[KeyDef | Mapping[str, Json]] = ()
    foreign_keys: Sequence[ForeignKeyDef | Mapping[str, Json]] = ()
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)


ColumnDefinition = ColumnDef
KeyDefinition = KeyDef
ForeignKeyDefinition = ForeignKeyDef
TableDefinition = TableDef


class VocabularyTerm(BaseModel):
    """A term of a controlled vocabulary.

    Attributes:
        name: The preferred name.
        synonyms: Other names.
        id: The term's CURIE.
        uri: The term's URI.
        description: What it means.
        rid: Its record.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = Field(validation_alias=AliasChoices("Name", "name"))
    synonyms: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("Synonyms", "synonyms"))
    id: str = Field(default="", validation_alias=AliasChoices("ID", "id"))
    uri: str = Field(default="", validation_alias=AliasChoices("URI", "uri"))
    description: str = Field(default="", validation_alias=AliasChoices("Description", "description"))
    rid: str = Field(validation_alias=AliasChoices("RID", "rid"))

    @field_validator("synonyms", mode="before")
    @classmethod
    def _no_synonyms(cls, value: Any) -> Any:
        return value or ()


class FileUploadState(BaseModel):
    """How the upload of one file went.

    Attributes:
        state: The outcome.
        status: The outcome in words.
        result: The catalog's row for the file, if there is one.
    """

    state: UploadState
    status: str = ""
    result: Any = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rid(self) -> str | None:
        """RID of the asset, if it was made."""
        return self.result["RID"] if self.result else None


@dataclass
class UploadProgress:
    """How far an upload is; sizes are in bytes.

    Attributes:
        file_path: The file at work.
        file_name: Its name in the catalog.
        bytes_completed: Bytes sent so far, of all files.
        bytes_total: Bytes to be sent, of all files.
        percent_complete: The share sent, 0 to 100.
        phase: ``hashing``, ``uploading`` or ``recording``.
        message: The same in words.
    """

    file_path: str = ""
    file_name: str = ""
    bytes_completed: int = 0
    bytes_total: int = 0
    percent_complete: float = 0.0
    phase: str = ""
    message: str = ""


@runtime_checkable
class UploadCallback(Protocol):
    """What is told about the progress of an upload."""

    def __call__(self, progress: UploadProgress) -> None:
        """Take notice of the progress."""
