"""How a catalog came to be: kept with the catalog, in an annotation of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deriva_ml.core.enums import BaseStrEnum
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.schema.session import HasSession, Session, session_of

__all__ = [
    "CatalogCreationMethod",
    "CatalogProvenance",
    "CloneDetails",
    "get_catalog_provenance",
    "set_catalog_provenance",
]

PROVENANCE = "tag:deriva-ml,2026:catalog-provenance"


class CatalogCreationMethod(BaseStrEnum):
    """By what a catalog was made."""

    clone = "clone"
    create = "create"
    schema = "schema"
    unknown = "unknown"


class CloneDetails(BaseModel):
    """What a copy was made from.

    Attributes:
        source_hostname: Where the source is.
        source_catalog_id: Its id.
        source_snapshot: The moment that was copied.
        root_rid: The record from which everything that was copied can be reached; None for a whole catalog.
        tables: How many tables were copied.
        rows: How many rows.
        objects: How many objects.
    """

    model_config = ConfigDict(extra="allow")

    source_hostname: str
    source_catalog_id: str
    source_snapshot: str | None = None
    root_rid: str | None = None
    tables: int | None = None
    rows: int | None = None
    objects: int | None = None


class CatalogProvenance(BaseModel):
    """How a catalog came to be.

    Attributes:
        creation_method: By what it was made.
        created_at: When (ISO 8601, UTC).
        hostname: Where.
        catalog_id: Its id there.
        created_by: By whom.
        name: Its name.
        description: What it is for.
        clone_details: What it was made from, if it is a copy.
    """

    model_config = ConfigDict(extra="allow")

    creation_method: CatalogCreationMethod = CatalogCreationMethod.unknown
    created_at: str | None = None
    hostname: str | None = None
    catalog_id: str | None = None
    created_by: str | None = None
    name: str | None = None
    description: str | None = None
    clone_details: CloneDetails | None = None

    @property
    def is_clone(self) -> bool:
        """The catalog is a copy of another one."""
        return self.creation_method == CatalogCreationMethod.clone


def get_catalog_provenance(catalog: HasSession | Session) -> CatalogProvenance | None:
    """How a catalog came to be; None if nobody has noted it.

    Raises:
        DerivaMLDataError: What is noted cannot be read.
    """
    session = session_of(catalog)
    document = session.model().annotations.get(PROVENANCE)
    if document is None:
        return None
    try:
        return CatalogProvenance.model_validate(document)
    except ValidationError as error:
        raise DerivaMLDataError(
            f"The catalog's note of how it came to be cannot be read: {error.error_count()} field(s) do not fit.",
            source=f"annotation {PROVENANCE} of catalog {session.catalog_id}",
        ) from error


def set_catalog_provenance(
    catalog: HasSession | Session,
    provenance: CatalogProvenance | Mapping[str, Any] | None = None,
    **fields: Any,
) -> CatalogProvenance:
    """Note how a catalog came to be.

    Args:
        catalog: The catalog.
        provenance: All of it; by default it is made of ``fields``.
        **fields: The fields of ``CatalogProvenance``.

    Returns:
        What was noted.

    Raises:
        DerivaMLDataError: A value does not fit its field; nothing was noted.
    """
    session = session_of(catalog)
    session.require_writable()
    given = provenance.model_dump() if isinstance(provenance, CatalogProvenance) else dict(provenance or {})
    usual = {"hostname": session.place.hostname, "catalog_id": session.catalog_id}
    try:
        made = CatalogProvenance.model_validate({**usual, **given, **fields})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        allowed = [str(item.value) for item in CatalogCreationMethod] if "creation_method" in first["loc"] else ()
        raise DerivaMLDataError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']} (it is {first['input']!r})", allowed=allowed
        ) from error
    session.catalog.set_annotation(PROVENANCE, made.model_dump(mode="json", exclude_none=True))
    return made
