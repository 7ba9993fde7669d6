"""How the command ``bdbag`` gets the files of a catalog folder: it imports this module, where it was told to.

``deriva-ml-catalog bdbag`` tells it (``bdbag_settings``). A file is what the bag's manifest says, or is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bdbag.fetch.transports.base_transport import BaseFetchTransport

from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.dataset.bag_layout import read_manifest
from deriva_ml.dataset.bag_sources import Folders, split_address

__all__ = ["FolderTransport"]

_MANIFEST = "manifest-md5.txt"


class FolderTransport(BaseFetchTransport):  # type: ignore[misc]  # bdbag has no type information
    """Brings files of the folders of this machine.

    Args:
        config: The entry of this scheme in bdbag's configuration; ``folders`` names folders to look into too.
        keychain: Secrets, of which none is needed.
        kwargs: What else bdbag passes.
    """

    def __init__(self, config: Mapping[str, Any], keychain: object, **kwargs: Any) -> None:
        super().__init__(config, keychain, **kwargs)
        self._folders = Folders([Path(each).expanduser() for each in config.get("folders", ())])
        self._checksums: dict[Path, dict[str, str]] = {}

    def fetch(self, url: str, output_path: str, **kwargs: Any) -> str | None:
        """Bring a file to its place in the bag.

        Args:
            url: The object, as ``fetch.txt`` names it.
            output_path: The file.
            kwargs: ``size``, the file's size, if ``fetch.txt`` tells it.

        Returns:
            The file; None, and why in the log, if it could not be brought.
        """
        target = Path(output_path)
        log = logging.getLogger(__name__)
        try:
            self._folders.holding(url).fetch(
                split_address(url)[1], target, md5=self._md5(target), length=kwargs.get("size"), durable=False
            )
        except DerivaMLException as error:
            log.error("%s could not be fetched: %s", target, error)  # noqa: TRY400  # where is of no use to who fetches
            return None
        log.info("Fetched %s from %s.", target, url)
        return output_path

    def cleanup(self) -> None:
        """Close the folders."""
        self._folders.close()

    def _md5(self, target: Path) -> str | None:
        """What the manifest of the bag says of a file; None where there is no bag, or none that lists it."""
        for bag in target.parents:
            manifest = bag / _MANIFEST
            if bag not in self._checksums and manifest.is_file():
                self._checksums[bag] = read_manifest(manifest.read_text("utf-8"))
            if bag in self._checksums:
                return self._checksums[bag].get(target.relative_to(bag).as_posix())
        return None
