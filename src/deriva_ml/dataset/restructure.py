"""The assets of a bag as a tree of directories, as many training programs want them.

1. The first directories come from the types of the datasets, from the bag's own down to the deepest that an asset
   belongs to: ``training``, ``testing``... A dataset without types is for testing, unless others are in it.
2. The others come from what is said of the asset: columns, or values of features.
3. Everything is worked out before the first file is placed.
4. Assets that would have one path have their RIDs in their names instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLTableTypeError, DerivaMLValidationError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.bag_labels import Choose, LabelReader, Labels, Missing, Targets, check_missing
from deriva_ml.dataset.bag_walk import belonging
from deriva_ml.dataset.placement import Placement, Transformer, component, kept_apart, place
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    from deriva_ml.dataset.dataset_bag import DatasetBag

__all__ = ["TYPE_DIRECTORIES", "Restructuring", "TargetTransform", "TypeSelector", "restructure_assets"]

logger = logging.getLogger(__name__)

Row = Mapping[str, Json]
TypeSelector: TypeAlias = Callable[[list[str]], str]
TargetTransform: TypeAlias = Callable[[Any], Any]

TYPE_DIRECTORIES: Mapping[str, str] = MappingProxyType(
    {"Training": "training", "Testing": "testing", "Validation": "validation", "Unknown": "unknown"}
)
"""The directory of each type of dataset."""

UNKNOWN = "Unknown"
"""The directory of assets of which nothing is said."""
_NAMED = 5


def restructure_assets(
    bag: DatasetBag,
    output_dir: Path | str,
    asset_table: str | Table | None = None,
    group_by: Sequence[str] | None = None,
    use_symlinks: bool = True,
    type_selector: TypeSelector | None = None,
    type_to_dir_map: Mapping[str, str] | None = None,
    enforce_vocabulary: bool = True,
    value_selector: Choose | None = None,
    file_transformer: Transformer | None = None,
    *,
    targets: Targets | None = None,
    target_transform: TargetTransform | None = None,
    missing: Missing = "unknown",
) -> dict[Path, Path]:
    """Lay the files of assets out as ``<output_dir>/<types of datasets>/<labels>/<name>``.

    Every asset that belongs to the dataset, or to one nested in it, is placed once, for the deepest dataset that
    it belongs to. Assets that would have one path have their RIDs in their names: ``name.RID.suffix``. Files that
    are there from before are replaced. Nothing is placed if a label is in error.

    Args:
        bag: The bag.
        output_dir: The root of the tree.
        asset_table: The assets; by default those of the first asset table with members.
        group_by: What gives the directories below those of types: columns of the asset table, features of it or of
            a table that it refers to, or ``Feature.column``.
        use_symlinks: Link to the files of the bag; else copy them.
        type_selector: Given a dataset's types, gives the one that counts; by default the first with a directory.
        type_to_dir_map: The directory of each type of dataset; other types give none. By default ``training``,
            ``testing``, ``validation`` and ``unknown``. A dataset without types is for testing.
        enforce_vocabulary: A feature must have a term of a vocabulary, and an asset no two different values.
            Otherwise the first value counts.
        value_selector: Given an asset's several values of a feature, gives one, or None.
        file_transformer: Given a file and where to put it, makes the file to be used and gives its path.
        targets: The same as ``group_by``, or a mapping that says with each name which of several values is meant.
        target_transform: Given the feature's record (for several targets, the records by name), gives the
            directory, or several.
        missing: What becomes of assets without a value: ``unknown`` puts them into a directory ``Unknown``,
            ``skip`` leaves them out, ``error`` refuses.

    Returns:
        Where each file was put, by its path in the bag.

    Raises:
        DerivaMLDataError: No asset table was found; an asset has several values; a feature has no term.
        DerivaMLNotFoundError: There is no such column or feature.
    """
    if group_by is not None and targets is not None:
        raise DerivaMLValidationError("group_by and targets say the same.", hint="pass one of them")
    return Restructuring(
        bag,
        targets if targets is not None else group_by or (),
        type_selector,
        TYPE_DIRECTORIES if type_to_dir_map is None else type_to_dir_map,
        enforce_vocabulary,
        value_selector,
        target_transform,
        missing,
    ).run(Path(output_dir), asset_table, use_symlinks=use_symlinks, transformer=file_transformer)


@dataclass(frozen=True)
class Restructuring:
    """How the assets of a bag are to be laid out; ``restructure_assets`` documents it.

    Attributes:
        bag: The bag.
        group_by: What gives the directories.
        type_selector: Gives the type that counts.
        type_to_dir_map: The directory of each type.
        strict: Labels are terms, and unambiguous.
        value_selector: Which of several values is meant.
        target_transform: Makes directories of labels.
        missing: What becomes of assets of which nothing is said.
    """

    bag: DatasetBag
    group_by: Targets
    type_selector: TypeSelector | None
    type_to_dir_map: Mapping[str, str]
    strict: bool
    value_selector: Choose | None
    target_transform: TargetTransform | None
    missing: Missing

    def run(
        self, output_dir: Path, asset_table: str | Table | None, *, use_symlinks: bool, transformer: Transformer | None
    ) -> dict[Path, Path]:
        """Lay the assets out.

        Returns:
            Where the file of each asset was put, by the file's path in the bag.
        """
        check_missing(self.missing)
        root = Path(output_dir).absolute()
        if root.resolve().is_relative_to(self.bag.path.resolve()):
            raise DerivaMLValidationError(
                f"The directory {output_dir} is in the bag itself, which must not change.", hint="choose another"
            )
        table = self._table(asset_table)
        readers = Labels(self.bag.database, table, terms_only=self.strict, unambiguous=self.strict).readers(
            self.group_by, self.value_selector
        )
        placements = kept_apart(self._placements(table, readers), by_stem=transformer is not None)
        root.mkdir(parents=True, exist_ok=True)
        return place(root, placements, use_symlinks=use_symlinks, transformer=transformer)

    def _table(self, asset_table: str | Table | None) -> Table:
        database = self.bag.database
        if asset_table is not None:
            found = database.table(asset_table)
            if not is_asset(found):
                raise DerivaMLTableTypeError("asset table", found.name)
            return found
        members = self.bag.list_dataset_members(recurse=True, limit=1)
        for name, rows in members.items():
            if rows and is_asset(database.table(name)):
                return database.table(name)
        raise DerivaMLDataError(
            "Could not auto-detect asset table. No members of the dataset are assets.",
            allowed=[table.name for table in database.tables() if is_asset(table)],
            hint="name the table: restructure_assets(..., asset_table=...)",
        )

    # ------------------------------------------------------------------------------------------ which, and where

    def _placements(self, table: Table, readers: Sequence[LabelReader]) -> Iterator[Placement]:
        homes = self._homes(table)
        absent: list[str] = []
        unlabelled: list[str] = []
        found: list[Placement] = []
        for row in self.bag.database.rows(table):
            rid = str(row["RID"])
            if rid not in homes:
                continue
            source = self.bag.database.file_of(table, row)
            if source is None:
                absent.append(f"{rid} ({row['Filename']})")
                continue
            groups = self._groups(row, readers)
            if groups is None:
                unlabelled.append(rid)
            else:
                found.append(Placement(rid, Path(source), (*homes[rid], *groups), Path(source).name))
        if unlabelled and self.missing == "error":
            raise DerivaMLDataError(
                f"{len(unlabelled)} assets have no value of {', '.join(each.name for each in readers)}: "
                f"{_few(unlabelled)}.",
                hint="missing='skip' leaves them out, missing='unknown' puts them into a directory of that name",
            )
        if absent:
            logger.warning(
                "The files of %d assets are not in the bag and were left out: %s. %s",
                len(absent),
                _few(absent),
                "They are elsewhere." if self.bag.is_materialized else "Fetch them with bag.materialize().",
            )
        return iter(found)

    def _groups(self, row: Row, readers: Sequence[LabelReader]) -> tuple[str, ...] | None:
        """The directories that labels give; None if the asset lacks one and that is not provided for."""
        labels = {reader.name: reader.of(row) for reader in readers}
        lacking = [name for name, label in labels.items() if label.value is None]
        if lacking and self.missing != "unknown":
            return None
        if self.target_transform is None or not labels:
            return tuple(UNKNOWN if label.value is None else component(label.value) for label in labels.values())
        if lacking:
            return (UNKNOWN,)
        given = {name: label.given for name, label in labels.items()}
        made = self.target_transform(next(iter(given.values())) if len(given) == 1 else given)
        parts = made if isinstance(made, list | tuple) else [made]
        return tuple(component(part) for part in parts)

    def _homes(self, table: Table) -> dict[str, tuple[str, ...]]:
        """The directories of the deepest dataset that each asset belongs to."""
        homes: dict[str, tuple[str, ...]] = {}
        depths: dict[str, int] = {}
        several: dict[str, None] = {}
        for depth, bag, trail in sorted(self._trails(), key=lambda each: -each[0]):
            place_of = (*trail, *self._component(bag, is_last=True))
            for rid in belonging(self.bag.database, [bag.dataset_rid], table):
                if rid not in homes:
                    homes[rid], depths[rid] = place_of, depth
                elif depths[rid] == depth and homes[rid] != place_of:
                    several[rid] = None
        if several:
            logger.warning(
                "%d assets belong to several datasets of one level, and are placed for the first of them only: %s.",
                len(several),
                _few(list(several)),
            )
        return homes

    def _trails(self) -> list[tuple[int, DatasetBag, tuple[str, ...]]]:
        """Each dataset with its depth and the directories of those above it, the nearest first."""
        found: list[tuple[int, DatasetBag, tuple[str, ...]]] = []
        seen = {self.bag.dataset_rid}
        front: list[tuple[DatasetBag, tuple[str, ...]]] = [(self.bag, ())]
        depth = 0
        while front:
            following: list[tuple[DatasetBag, tuple[str, ...]]] = []
            for bag, trail in front:
                found.append((depth, bag, trail))
                below = (*trail, *self._component(bag, is_last=False))
                for child in bag.list_dataset_children():
                    if child.dataset_rid not in seen:
                        seen.add(child.dataset_rid)
                        following.append((child, below))
            front = following
            depth += 1
        return found

    def _component(self, bag: DatasetBag, *, is_last: bool) -> tuple[str, ...]:
        types = bag.dataset_types
        known = self.type_to_dir_map
        if not types:
            return (component(known.get("Testing", "testing")),) if is_last and not self._is_container(bag) else ()
        chosen = self.type_selector(types) if self.type_selector else next((t for t in types if t in known), types[0])
        return (component(known[chosen]),) if chosen in known else ()

    @staticmethod
    def _is_container(bag: DatasetBag) -> bool:
        return bool(bag.list_dataset_children())


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
