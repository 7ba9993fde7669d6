"""What the rooms of floors 4 and 5 work on: one catalog, its objects, and this machine's folders for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.transport import brief
from deriva_ml.core.config import Place
from deriva_ml.core.constants import ML_SCHEMA, is_system_schema
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLReadOnlyError, DerivaMLTableNotFound
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.wire.model import Model, Table

__all__ = ["HasSession", "NamedTable", "Session", "session_of"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class NamedTable(Protocol):
    """A table of the ``deriva`` package, as far as it is looked at: its name, and its schema's."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def schema(self) -> _Named:
        """Its schema."""


@dataclass(frozen=True)
class Session:
    """One catalog as a user works with it.

    Attributes:
        catalog: Rows and model.
        objects: Bytes.
        place: Where the catalog service is.
        identity: What the service is: the identity of its folder, or its host name.
        catalog_id: The catalog's id, without a snapshot.
        ml_schema: Name of the ML schema.
        domain_schemas: Schemas of the project.
        default_schema: Where tables are made if no schema is named.
        project_name: Prefix of new terms' identifiers.
        working_dir: Where runs work.
        cache_dir: Where bags and assets are kept.
        own_dir: The part of a working directory that was chosen which is this catalog's alone; None where the working
            directory is the catalog's own as a whole.
        is_passing: The catalog is thrown away in a moment: this machine keeps no note of where it works for it.
    """

    catalog: CatalogClient
    objects: ObjectClient
    place: Place
    identity: str
    catalog_id: str
    working_dir: Path
    cache_dir: Path
    ml_schema: str = ML_SCHEMA
    domain_schemas: frozenset[str] = frozenset()
    default_schema: str | None = None
    project_name: str = "deriva-ml"
    own_dir: Path | None = None
    is_passing: bool = False

    @property
    def records_dir(self) -> Path:
        """Where this machine's records of the catalog's runs are; no other catalog's are there."""
        return self.own_dir or self.working_dir

    @property
    def runs_dir(self) -> Path:
        """What the directories of the catalog's runs are in."""
        return (self.own_dir or self.working_dir / "deriva-ml") / "execution"

    def model(self) -> Model:
        """The catalog's model."""
        return self.catalog.model()

    @property
    def is_snapshot(self) -> bool:
        """Whether this is the catalog as of a past moment."""
        return self.catalog.snaptime is not None

    def snapshot(self, snaptime: str) -> Session:
        """The same session on the catalog as of ``snaptime``."""
        return replace(self, catalog=self.catalog.snapshot(snaptime))

    def brief(self) -> Session:
        """The same session for what can be done later or left out: a catalog that is away is given up soon."""
        return replace(self, catalog=self.catalog.over(brief(self.catalog.transport)))

    def require_writable(self) -> None:
        """Refuse to write to a snapshot.

        Raises:
            DerivaMLReadOnlyError: This is a snapshot.
        """
        if self.is_snapshot:
            raise DerivaMLReadOnlyError(
                f"Catalog {self.catalog_id}@{self.catalog.snaptime} is a snapshot and cannot be changed.",
                hint=f"connect to catalog {self.catalog_id} without a snapshot",
            )

    def schema_order(self) -> list[str]:
        """The schemas in which a bare table name is looked for, in this order."""
        return [*sorted(self.domain_schemas), self.ml_schema, "www", "WWW"]

    def table(self, name: str | Table | NamedTable) -> Table:
        """The table of this name: in the project's schemas, then in the ML schema.

        Args:
            name: ``Table``, ``schema:Table``, a table itself, or a table of the ``deriva`` package.

        Raises:
            DerivaMLTableNotFound: There is none; the nearest names are in the error.
        """
        if isinstance(name, Table):
            return name
        if not isinstance(name, str):
            name = f"{name.schema.name}:{name.name}"
        model = self.model()
        first, colon, rest = name.partition(":")
        schemas = [first] if colon else self.schema_order()
        wanted = rest if colon else name
        for schema in schemas:
            if schema in model.schemas and wanted in model.schemas[schema].tables:
                return model.schemas[schema].tables[wanted]
        known = [
            table for schema in self.schema_order() if schema in model.schemas for table in model.schemas[schema].tables
        ]
        raise DerivaMLTableNotFound(name, allowed=nearest(wanted, known))

    def domain(self, schema: str | None = None) -> str:
        """The schema in which to make a table.

        Raises:
            DerivaMLConfigurationError: None was named and there is no default, or there is no such schema.
        """
        chosen = schema or self.default_schema
        if chosen is None:
            raise DerivaMLConfigurationError(
                "No schema was named for the new table, and the catalog has no default schema.",
                allowed=sorted(self.domain_schemas),
                hint="pass schema=..., or connect with default_schema=...",
            )
        if chosen not in self.model().schemas:
            raise DerivaMLConfigurationError(
                f"Schema {chosen} does not exist.",
                allowed=nearest(chosen, (name for name in self.model().schemas if not is_system_schema(name))),
                hint="create the schema first",
            )
        return chosen


@runtime_checkable
class HasSession(Protocol):
    """Something that carries a session, such as a ``DerivaML``."""

    @property
    def session(self) -> Session:
        """The session."""


def session_of(owner: HasSession | Session) -> Session:
    """The session of a ``DerivaML``, or the session itself."""
    return owner if isinstance(owner, Session) else owner.session
