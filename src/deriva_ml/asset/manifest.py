"""The manifest of a run's outputs under the names of the public interface; the journal itself is in ``workspace``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deriva_ml.workspace.manifest import AssetEntry, FeatureEntry, Manifest, Uploaded

__all__ = ["AssetEntry", "AssetManifest", "FeatureEntry"]


class AssetManifest(Manifest):
    """The manifest of one execution, begun if there is none.

    Args:
        path: The file.
        execution_rid: The execution.
    """

    def add_asset(self, key: str, entry: AssetEntry) -> None:
        """Register an output, or replace the entry with this key.

        Args:
            key: The key; where the entry names no file, ``<asset table>/<file name>`` names it, in ``assets``.
            entry: The output.
        """
        name = entry.file_name or key.rpartition("/")[2]
        types, path = tuple(entry.asset_types), entry.path or f"assets/{key}"
        entry = replace(entry, key=key, file_name=name, path=path, asset_types=types)
        if key not in self.assets:
            self.add(entry)
            return
        values = entry.to_dict()
        del values["key"]
        self.update(key, **values)

    def update_asset_metadata(self, key: str, metadata: Mapping[str, Any]) -> None:
        """Replace an entry's metadata."""
        self.update(key, metadata=dict(metadata))

    def update_asset_types(self, key: str, asset_types: Iterable[str]) -> None:
        """Replace an entry's types."""
        self.update(key, asset_types=list(asset_types))

    def mark_uploaded(self, items: Iterable[Uploaded] | str, rid: str | None = None) -> None:
        """Note that outputs are in the catalog; a key and a RID stand for one of them."""
        super().mark_uploaded([Uploaded(items, str(rid))] if isinstance(items, str) else items)

    def mark_failed(self, errors: Mapping[str, str] | str, error: str = "") -> None:
        """Note why outputs did not reach the catalog, by key; a key and an error stand for one of them."""
        super().mark_failed({errors: error} if isinstance(errors, str) else errors)

    def add_feature(self, entry: FeatureEntry | str, feature: FeatureEntry | None = None) -> None:
        """Register the file that holds a feature's values; a name may stand before the entry."""
        if isinstance(entry, str):
            if feature is None:
                raise TypeError("add_feature(name, entry) needs the entry")
            entry = replace(feature, key=entry)
        super().add_feature(entry)
