"""Opening a catalog: from what a user names to a session, making the default catalog on first use."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.copy_mark import mark_of
from deriva_ml.catalog.service import session_info
from deriva_ml.connect import Connection, open_connection
from deriva_ml.core.config import Settings, default_workdir, directory_name
from deriva_ml.core.constants import ML_SCHEMA, get_domain_schemas
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLCatalogError,
    DerivaMLConfigurationError,
)
from deriva_ml.core.files import file_lock, nearest, unusable_directory
from deriva_ml.core.logging_config import get_logger
from deriva_ml.core.values import dataclass
from deriva_ml.schema.create_schema import create_ml_schema, initialize_ml_schema
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Model

__all__ = ["DEFAULT_CATALOG", "READY_TAG", "Opened", "find_context", "open_session"]

DEFAULT_CATALOG = "1"
"""The catalog of the default folder that is made on first use."""

READY_TAG = "tag:deriva-ml,2026:ready"
"""Annotation that a catalog made on first use carries once everything is in it."""


@dataclass(frozen=True)
class Opened:
    """An open catalog.

    Attributes:
        connection: The way to the service; whoever opened it closes it.
        session: What the rooms work on.
        created_default: The default catalog was made just now.
    """

    connection: Connection
    session: Session
    created_default: bool


def _find_model(client: CatalogClient) -> Model | None:
    """The catalog's model, or None if there is no such catalog."""
    try:
        return client.model(refresh=True)
    except DerivaMLCatalogError as error:
        if error.status != 404:
            raise
        return None


def _is_whole(model: Model | None) -> bool:
    """Whether the default catalog is there with everything in it, or is used for something else."""
    return model is not None and (READY_TAG in model.annotations or bool(set(model.schemas) - {"public", ML_SCHEMA}))


def _ensure_default_catalog(connection: Connection) -> bool:
    """Make the default catalog if it is not there whole; whether this call made it.

    One process at a time does it. A process that was killed on the way leaves a catalog without the mark, which the
    next one completes.
    """
    root = connection.place.root
    assert root is not None
    try:
        return _make_default_catalog(connection, root)
    except OSError as error:
        raise unusable_directory(root, error) from error


def _make_default_catalog(connection: Connection, root: Path) -> bool:
    with file_lock(root / ".first-use.lock"):
        model = _find_model(connection.catalog(DEFAULT_CATALOG))
        if _is_whole(model):
            return False
        if model is None:
            connection.create_catalog(DEFAULT_CATALOG, name="deriva-ml")
        client = connection.catalog(DEFAULT_CATALOG)
        if model is not None and ML_SCHEMA in model.schemas:
            initialize_ml_schema(client)
        else:
            create_ml_schema(client)
        client.set_annotation(READY_TAG, True)
    get_logger().info("Made the default catalog %s at %s", DEFAULT_CATALOG, connection.place)
    return True


def _check_auth(connection: Connection) -> None:
    try:
        session_info(connection.transport)
    except (DerivaMLCatalogError, DerivaMLAuthenticationError) as error:
        hostname = connection.place.hostname
        is_url = hostname.startswith(("http://", "https://"))
        raise DerivaMLAuthenticationError(
            "You are not authorized to access this catalog. Please check your credentials and make sure you have "
            "logged in.",
            source=f"host {hostname}",
            hint="set DERIVA_ML_TOKEN to the token that deriva-ml-catalog serve printed when it began to serve this URL"
            if is_url
            else f"deriva-globus-auth-utils login --host {hostname}",
        ) from error


def _no_catalog(connection: Connection, catalog_id: str) -> DerivaMLConfigurationError:
    known = connection.catalog_ids()
    return DerivaMLConfigurationError(
        f"There is no catalog {catalog_id.partition('@')[0]} at {connection.place}.",
        source=f"hostname {connection.place.hostname!r}, catalog_id {catalog_id!r}",
        allowed=nearest(catalog_id, known) if known else (),
        hint="name one that exists with deriva_ml.catalog_id or --catalog",
    )


def _open_model(connection: Connection, client: CatalogClient, catalog_id: str) -> tuple[Model, bool]:
    """The catalog's model, which the client keeps, and whether the catalog was made just now."""
    model = _find_model(client)
    created = False
    if connection.place.is_default and catalog_id == DEFAULT_CATALOG and not _is_whole(model):
        created = _ensure_default_catalog(connection)
        model = _find_model(client)
    if model is None:
        raise _no_catalog(connection, catalog_id)
    if (mark := mark_of(dict(model.annotations))) is not None:
        raise DerivaMLConfigurationError(
            f"Catalog {catalog_id} at {connection.place} is a copy that is not finished.",
            source=f"hostname {connection.place.hostname!r}, catalog_id {catalog_id!r}",
            hint=f"wait for the copy of {mark.get('source', 'another catalog')}, or repeat what made it: "
            "deriva-ml-catalog copy or clone",
        )
    return model, created


def _domain_schemas(model: Model, given: str | Iterable[str] | None, ml_schema: str) -> frozenset[str]:
    if given is None:
        return get_domain_schemas(model.schemas, ml_schema)
    names = frozenset([given] if isinstance(given, str) else given)
    for name in names - set(model.schemas):
        raise DerivaMLConfigurationError(
            f"Schema {name} does not exist.", source="domain_schemas", allowed=nearest(name, model.schemas)
        )
    return names


def _default_schema(domain: frozenset[str], given: str | None) -> str | None:
    if given is None:
        return next(iter(domain)) if len(domain) == 1 else None
    if given not in domain:
        raise DerivaMLConfigurationError(
            f"The default schema {given} is not one of the project's schemas.",
            source="default_schema",
            allowed=sorted(domain),
        )
    return given


def open_session(
    hostname: str,
    catalog_id: str | int,
    *,
    domain_schemas: str | Iterable[str] | None = None,
    default_schema: str | None = None,
    project_name: str | None = None,
    working_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    ml_schema: str = ML_SCHEMA,
    credential: dict[str, Any] | None = None,
    check_auth: bool = True,
) -> Opened:
    """Open a catalog; the default catalog of the default folder is made if it is not there yet.

    The arguments are those of ``DerivaML``.

    Raises:
        DerivaMLConfigurationError: The place is not a catalog folder, or has no such catalog or schema.
        DerivaMLAuthenticationError: The host does not know the caller.
        DerivaMLUnreachable: The host cannot be reached.
    """
    settings = Settings.read()
    connection = open_connection(hostname, settings=settings, credential=credential)
    try:
        if check_auth and connection.place.root is None:
            _check_auth(connection)
        client = connection.catalog(catalog_id)
        model, created = _open_model(connection, client, str(catalog_id))
        domain = _domain_schemas(model, domain_schemas, ml_schema)
        default = _default_schema(domain, default_schema)
    except BaseException:
        connection.close()
        raise
    usual = default_workdir(settings, hostname, catalog_id, identity=connection.identity)
    work = Path(working_dir).expanduser().absolute() if working_dir else usual
    # A directory that the user chose may be chosen for several catalogs, in which runs have the same RIDs.
    own = None if work == usual else work / "deriva-ml" / directory_name(connection.identity)[:8] / client.catalog_id
    session = Session(
        catalog=client,
        objects=connection.objects(),
        place=connection.place,
        identity=connection.identity,
        catalog_id=client.catalog_id,
        working_dir=work,
        cache_dir=Path(cache_dir).expanduser().absolute() if cache_dir else (own or work) / "cache",
        ml_schema=ml_schema,
        domain_schemas=domain,
        default_schema=default,
        project_name=project_name or default or "deriva-ml",
        own_dir=own,
    )
    return Opened(connection, session, created)


def find_context(path: Path | None = None) -> dict[str, Any]:
    """What the nearest ``.deriva-context.json`` says of a catalog, as arguments of ``DerivaML``.

    Args:
        path: Where to look, and above it; the current directory by default.

    Raises:
        FileNotFoundError: There is no such file in ``path`` or above it.
    """
    start = (path or Path.cwd()).absolute()
    for folder in (start, *start.parents):
        file = folder / ".deriva-context.json"
        if file.is_file():
            context = json.loads(file.read_text(encoding="utf-8"))
            given = {name: context[name] for name in ("default_schema", "working_dir") if name in context}
            return {"hostname": context["hostname"], "catalog_id": context["catalog_id"], **given}
    raise FileNotFoundError(f"no .deriva-context.json in {start} or above it")
