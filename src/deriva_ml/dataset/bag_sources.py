"""The catalog folders of this machine that may have the files of a bag.

A bag without its files, made from a folder, names them by URLs that hold the folder's identity and no place:
``deriva-ml://<identity>/hatrac/...``.

1. The folder of that identity comes first, wherever this machine has met it last.
2. Any other folder will do that has the very object: a copy, or one restored from a backup. What arrives is held
   against the bag's own manifest, so it does not matter whose copy it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.connect import open_connection
from deriva_ml.core.config import Settings, folder_identity, resolve_place
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException
from deriva_ml.workspace.places import known_places

__all__ = ["SCHEME", "Folders", "folder_address", "split_address"]

SCHEME = "deriva-ml"
"""The scheme of URLs of a folder's objects, which have no address that others could use."""


def folder_address(identity: str) -> str:
    """What stands before the URLs of a folder's objects in ``fetch.txt``."""
    return f"{SCHEME}://{identity}"


def split_address(url: str) -> tuple[str, str]:
    """A URL in ``fetch.txt`` as an address and the object's path; the address is empty where there is none.

    Bags that were made before folders were named have the scheme alone.
    """
    if url.startswith(f"{SCHEME}:/") and not url.startswith(f"{SCHEME}://"):
        return f"{SCHEME}:", url.removeprefix(f"{SCHEME}:")
    start = url.find("/", url.find("://") + 3) if "://" in url else 0
    return (url[:start], url[start:]) if start >= 0 else (url, "/")


class Folders:
    """Folders of this machine, opened as they are needed.

    Args:
        more: Folders beside those that this machine has worked with.
        settings: Where it has noted them.
    """

    def __init__(self, more: Sequence[Path] = (), settings: Settings | None = None) -> None:
        self._settings = settings or Settings.read()
        self._more = more
        self._open: dict[Path, ObjectClient] = {}
        self._stack = ExitStack()
        self._ordered: dict[str, list[Path]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folders."""
        self._stack.close()
        self._open.clear()

    def candidates(self, identity: str) -> list[Path]:
        """The folders that are there, the one of this identity first."""
        if identity not in self._ordered:
            named = [resolve_place(place.hostname, self._settings).root for place in known_places(self._settings)]
            roots = dict.fromkeys([*self._more, *(root for root in named if root is not None), self._settings.local])
            found = {root: known for root in roots if (known := folder_identity(root)) is not None}
            self._ordered[identity] = sorted(found, key=lambda root: found[root] != identity)
        return self._ordered[identity]

    def holding(self, url: str) -> ObjectClient:
        """The objects of a folder that has one.

        Args:
            url: The object, as ``fetch.txt`` names it.

        Raises:
            DerivaMLConfigurationError: No folder has it; the error tells which were looked into.
        """
        address, path = split_address(url)
        identity = address.partition("://")[2]
        looked = []
        for root in self.candidates(identity):
            try:
                objects = self._objects(root)
                if objects.find(path) is not None:
                    return objects
                looked.append(str(root))
            except DerivaMLException as error:
                looked.append(f"{root} ({error})")
        raise DerivaMLConfigurationError(
            f"No catalog folder that this machine knows has {path}"
            + (f": it was in the folder {identity}." if identity else "."),
            source=f"looked into {', '.join(looked) or 'no folder: none is known'}",
            hint="use that folder once where it is now (download_dataset_bag), or let DERIVA_ML_LOCAL name it; for the "
            "command bdbag, deriva-ml-catalog bdbag --folder names it",
        )

    def _objects(self, root: Path) -> ObjectClient:
        if root not in self._open:
            self._open[root] = self._stack.enter_context(open_connection(str(root))).objects()
        return self._open[root]
