"""A folder laid over another one: it shows a catalog as it is at this moment, and keeps every change to itself.

The databases are copied, each as of one moment; the content of objects is not: it never changes, so it is read where it
is. Such a folder is for a while only, as long as the one below stays as it is: an object that is removed there is gone
from both.
"""

from __future__ import annotations

from pathlib import Path

from deriva_ml.server.app import create_folder
from deriva_ml.server.backup import copy_database
from deriva_ml.server.catalogs import database_path
from deriva_ml.server.restore import log_mode

__all__ = ["lay_over"]


def lay_over(root: Path, catalog_id: str, target: Path) -> None:
    """Lay a new folder over one.

    Args:
        root: The folder below; nothing is written there.
        catalog_id: The catalog that is shown; others of the folder are not.
        target: The new folder.

    Raises:
        FolderError: Something is at the target, or the folder below is damaged.
    """
    create_folder(target, below=root.resolve() / "objects")
    # In the order of references, as a backup takes them: what is copied first may refer to what comes later.
    catalog = database_path(root, catalog_id)
    for source, copy in (
        (root / "service.db", target / "service.db"),
        (catalog, target / "catalogs" / catalog.name),
        (root / "hatrac.db", target / "hatrac.db"),
    ):
        if source.exists():
            copy_database(source, copy)
            log_mode(copy)
