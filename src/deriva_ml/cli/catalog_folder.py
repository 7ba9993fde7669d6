"""``deriva-ml-catalog create | list | info | delete``: the catalogs of a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.catalog_flags import add_json, add_root, folder_of, known_catalog

if TYPE_CHECKING:
    from deriva_ml.catalog.client import CatalogClient
    from deriva_ml.connect import Connection

__all__ = ["register"]


def register(commands: Any) -> None:
    """Add the commands."""
    create = commands.add_parser("create", help="make a catalog, and the folder if there is none")
    add_root(create)
    create.add_argument("--catalog", metavar="ID", help="the id it shall have (default: the next number)")
    create.add_argument("--name", metavar="TEXT", help="a name to show")
    create.add_argument("--project", metavar="NAME", help="make the tables of deriva-ml in it, for this project")
    create.set_defaults(run=_create)

    for name, text, run in (
        ("list", "list the catalogs of a folder", _list),
        ("info", "say what a folder holds", _info),
    ):
        command = commands.add_parser(name, help=text)
        add_root(command)
        add_json(command)
        command.set_defaults(run=run)

    delete = commands.add_parser(
        "delete",
        help="delete a catalog with all of its history; its objects are kept",
        description="Delete a catalog with all of its history. It asks for the id first. Objects are kept, and the id "
        "is not given out again. Nothing brings the catalog back but a backup that was made before.",
    )
    add_root(delete)
    delete.add_argument("--catalog", required=True, metavar="ID", help="the catalog")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    delete.set_defaults(run=_delete)


def _create(arguments: argparse.Namespace) -> int:
    from deriva_ml.connect import open_connection
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.schema.create_schema import create_ml_schema

    root = folder_of(arguments)
    if arguments.project is not None and not arguments.project.strip():
        raise DerivaMLConfigurationError(
            "The project has no name.", source="--project", hint="name it, or leave it out"
        )
    with open_connection(str(root), create=True) as connection:
        client = _new(connection, arguments.catalog, arguments.name)
        if arguments.project:
            create_ml_schema(client, project_name=arguments.project)
        print(f"Made catalog {client.catalog_id} in {root}")
    return 0


def _new(connection: Connection, catalog_id: str | None, name: str | None) -> CatalogClient:
    from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLConfigurationError

    try:
        return connection.create_catalog(catalog_id, name=name)
    except DerivaMLCatalogError as error:
        if error.status != 409:
            raise
        raise DerivaMLConfigurationError(
            f"The id {catalog_id} is taken at {connection.place}: a catalog has it, or had it before it was deleted.",
            source="--catalog",
            hint="name another id, or none for the next number",
        ) from error


def _list(arguments: argparse.Namespace) -> int:
    from deriva_ml.cli.terminal import show_json
    from deriva_ml.connect import open_connection

    with open_connection(str(folder_of(arguments))) as connection:
        listed = [_described(connection, catalog_id) for catalog_id in connection.catalog_ids()]
    if arguments.json:
        show_json(listed)
        return 0
    for one in listed:
        print(f"{one['id']}\t{one['name'] or ''}\t{one['tables']} tables\tlatest change {one['snaptime']}{_mark(one)}")
    if not listed:
        print("No catalogs.", file=sys.stderr)
    return 0


def _described(connection: Connection, catalog_id: str) -> dict[str, Any]:
    from deriva_ml.catalog.copy_mark import mark_of

    catalog = connection.catalog(catalog_id)
    model, about = catalog.model(), catalog.info()
    return {
        "id": catalog_id,
        "name": about.get("name"),
        "schemas": len(model.schemas),
        "tables": sum(1 for _ in model.tables()),
        "snaptime": about["snaptime"],
        "unfinished_copy": mark_of(dict(model.annotations)) is not None,
    }


def _mark(described: dict[str, Any]) -> str:
    return ", an unfinished copy" if described["unfinished_copy"] else ""


def _info(arguments: argparse.Namespace) -> int:
    from contextlib import closing

    from deriva_ml.cli.terminal import show_json
    from deriva_ml.connect import open_connection
    from deriva_ml.core.files import human_size
    from deriva_ml.server.damage import damage_named
    from deriva_ml.server.users import users_of

    root = folder_of(arguments)
    with open_connection(str(root)) as connection:
        identity = connection.identity
        catalogs = [_described(connection, catalog_id) for catalog_id in connection.catalog_ids()]
    with damage_named(root), closing(users_of(root)) as known:
        users = len(known.users())
    count, size = _objects(root / "objects")
    if arguments.json:
        about = {"folder": str(root), "identity": identity, "catalogs": catalogs, "users": users}
        show_json({**about, "objects": count, "bytes": size})
        return 0
    print(f"Folder:   {root}")
    print(f"Identity: {identity}")
    for one in catalogs:
        label = f" ({one['name']})" if one["name"] else ""
        print(
            f"Catalog {one['id']}{label}: {one['schemas']} schemas, {one['tables']} tables, "
            f"latest change {one['snaptime']}{_mark(one)}"
        )
    if users:
        print(f"Users:    {users}")
    print(f"Objects:  {count} files, {human_size(size)}")
    return 0


def _objects(folder: Path) -> tuple[int, int]:
    """Number and size of the files that hold objects."""
    sizes = [path.stat().st_size for path in folder.glob("[0-9a-f][0-9a-f]/*")]
    return len(sizes), sum(sizes)


def _delete(arguments: argparse.Namespace) -> int:
    from deriva_ml.catalog.service import delete_catalog
    from deriva_ml.connect import open_connection
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.server.catalogs import remove_database
    from deriva_ml.server.damage import damage_named

    root = folder_of(arguments)
    with open_connection(str(root)) as connection:
        about = known_catalog(connection, arguments.catalog, "--catalog").info()
        if not arguments.yes and not _agreed(arguments.catalog, about.get("name"), root):
            raise DerivaMLConfigurationError(
                f"Catalog {arguments.catalog} was not deleted.",
                source="deriva-ml-catalog delete",
                hint="type the id when asked, or give --yes",
            )
        delete_catalog(connection.transport, arguments.catalog)
    with damage_named(root):
        remove_database(root, arguments.catalog)
    print(f"Deleted catalog {arguments.catalog} of {root}")
    return 0


def _agreed(catalog_id: str, name: object, root: Path) -> bool:
    if not sys.stdin.isatty():
        return False
    label = f" ({name})" if name else ""
    print(f"Catalog {catalog_id}{label} of {root} and all of its history will be gone.")
    return input(f"Type its id to delete it [{catalog_id}]: ").strip() == catalog_id
