"""The records of a bag as samples with labels: for PyTorch, which calls that a map-style dataset, and for TensorFlow.

The list of the records and their labels are read when it is made; a file is read when its sample is asked for. Nothing
here needs PyTorch: whatever takes an object with ``__len__`` and ``__getitem__`` can use it. Where PyTorch is
installed, it is a ``torch.utils.data.Dataset`` too.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLTableTypeError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.bag_labels import Label, LabelReader, Labels, Missing, Targets, check_missing
from deriva_ml.dataset.bag_layout import is_stored
from deriva_ml.dataset.bag_walk import belonging
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    from deriva_ml.dataset.dataset_bag import DatasetBag

__all__ = ["BagSamples", "Loading", "as_torch_dataset", "samples_of"]

Row = dict[str, Json]
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Loading:
    """How a sample is made of a record.

    Attributes:
        sample_loader: Given the path of the file (None for records that are no files, or only refer to one elsewhere)
            and the row, gives the sample.
        transform: Applied to the sample.
    """

    sample_loader: Callable[[Path | None, Row], Any] | None = None
    transform: Callable[[Any], Any] | None = None


class BagSamples:
    """Records of one table of a bag, with labels.

    ``samples[i]`` is the sample, or the sample and its label where there are labels.

    Args:
        database: The bag's tables.
        table: The table.
        rids: The records.
        targets: Their labels; None for samples without labels.
        loading: How a sample is made.

    Attributes:
        rids: The records, in the order of the samples.
        targets: Their labels, likewise; None for samples without labels.
    """

    def __init__(
        self,
        database: BagDatabase,
        table: Table,
        rids: Sequence[str],
        targets: Sequence[Any] | None,
        loading: Loading,
    ) -> None:
        self.rids = list(rids)
        self.targets = None if targets is None else list(targets)
        self._database = database
        self._table = table
        self._loading = loading

    def __len__(self) -> int:
        return len(self.rids)

    def __getitem__(self, index: SupportsIndex) -> Any:
        at = operator.index(index)
        if not -len(self) <= at < len(self):
            raise IndexError(f"there are {len(self)} samples, not one of number {at}")
        sample = self._sample(self.rids[at])
        return sample if self.targets is None else (sample, self.targets[at])

    def __iter__(self) -> Iterator[Any]:
        return (self[at] for at in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        # The class may be made at run time, so a worker process is told how to make it.
        return _made, (self._database, self._table, self.rids, self.targets, self._loading)

    def row(self, index: SupportsIndex) -> Row:
        """The record of a sample; ``Filename`` is the path of the file where the bag has it."""
        return self._row(self.rids[operator.index(index)])[0]

    def _row(self, rid: str) -> tuple[Row, Path | None]:
        row = next(self._database.rows(self._table, "WHERE t.RID = ?", [rid]))
        if not is_asset(self._table):
            return row, None
        path = self._database.file_of(self._table, row)
        return (row, None) if path is None else ({**row, "Filename": path}, Path(path))

    def _sample(self, rid: str) -> Any:
        row, path = self._row(rid)
        if path is None and is_asset(self._table) and is_stored(row):
            raise DerivaMLDataError(
                f"The file of asset {rid} ({row['Filename']}) is not in the bag {self._database.bag}.",
                hint="fetch the files with bag.materialize()",
            )
        loading = self._loading
        if loading.sample_loader is not None:
            sample = loading.sample_loader(path, row)
        else:
            sample = row if path is None else path
        return sample if loading.transform is None else loading.transform(sample)


def as_torch_dataset(
    bag: DatasetBag,
    element_type: str | Table,
    *,
    sample_loader: Callable[[Path | None, Row], Any] | None = None,
    transform: Callable[[Any], Any] | None = None,
    targets: Targets | None = None,
    target_transform: Callable[[Any], Any] | None = None,
    missing: Missing = "error",
    reachable: bool = True,
) -> BagSamples:
    """The records of a table as a map-style dataset of PyTorch; without PyTorch, as an object that acts like one.

    Args:
        bag: The bag.
        element_type: The table.
        sample_loader: Given the path of the file (None for records that are no files, or only refer to one
            elsewhere) and the row, gives the sample; by default the path, or the row. It is called when the sample
            is asked for.
        transform: Applied to the sample.
        targets: What a sample's label is: features, ``Feature.column``, or columns, as in ``restructure_assets``.
            For several, a label is a dictionary by name. Without, there are samples only.
        target_transform: Given the feature's record (for several targets, the records by name; None where nothing is
            said), gives the label; by default the value. It is applied once to each record, now.
        missing: What becomes of records without a label: ``error`` refuses, ``skip`` leaves them out, ``unknown``
            has None.
        reachable: All records of the table that belong to the dataset; else members only. Either way with those of
            nested datasets, each once.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLDataError: Records lack a label, or have several.
    """
    loading = Loading(sample_loader, transform)
    return samples_of(bag, element_type, loading, targets, target_transform, missing, reachable=reachable, make=_made)


def samples_of(
    bag: DatasetBag,
    element_type: str | Table,
    loading: Loading,
    targets: Targets | None,
    target_transform: Callable[[Any], Any] | None,
    missing: Missing,
    *,
    reachable: bool,
    make: Callable[..., BagSamples] = BagSamples,
) -> BagSamples:
    """The records of a table as samples; see ``as_torch_dataset``.

    Args:
        bag: The bag.
        element_type: The table.
        loading: How a sample is made.
        targets: What a sample's label is.
        target_transform: Makes labels of what is said.
        missing: What becomes of records without a label.
        reachable: All records of the table that belong to the dataset; else members only.
        make: Makes the samples.
    """
    check_missing(missing)
    database = bag.database
    table = database.table(element_type)
    rids = belonging(database, bag.holders, table) if reachable else _members(bag, table)
    readers = Labels(database, table, terms_only=False).readers(targets or ())
    if not readers:
        return make(database, table, rids, None, loading)
    labels = _labels(database, table, rids, readers, missing)
    return make(database, table, list(labels), [_target(each, target_transform) for each in labels.values()], loading)


def _members(bag: DatasetBag, table: Table) -> list[str]:
    element = next((each for each in bag.elements if each.table.qualified == table.qualified), None)
    if element is None:
        raise DerivaMLTableTypeError(
            "dataset element", table.name, hint="reachable=True gives records that members lead to"
        )
    return bag.member_rids(element)


def _labels(
    database: BagDatabase, table: Table, rids: Sequence[str], readers: Sequence[LabelReader], missing: Missing
) -> dict[str, dict[str, Label]]:
    """The labels of those records that are to have some.

    Raises:
        DerivaMLDataError: Records lack a label, and that is an error.
    """
    wanted = frozenset(rids)
    labels = {
        str(row["RID"]): {reader.name: reader.of(row) for reader in readers}
        for row in database.rows(table)
        if row["RID"] in wanted
    }
    lacking = [rid for rid, found in labels.items() if any(label.value is None for label in found.values())]
    if lacking and missing == "error":
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        raise DerivaMLDataError(
            f"{len(lacking)} records of {table.name} have no value of {', '.join(each.name for each in readers)}: "
            f"{', '.join(lacking[:_NAMED])}{more}.",
            hint="pass missing='skip' to leave them out, or missing='unknown' to have None as their label",
        )
    for rid in lacking if missing == "skip" else ():
        del labels[rid]
    return labels


def _target(labels: Mapping[str, Label], transform: Callable[[Any], Any] | None) -> Any:
    found = {name: label.value if transform is None else label.given for name, label in labels.items()}
    target = next(iter(found.values())) if len(found) == 1 else found
    return target if transform is None else transform(target)


def _made(*arguments: Any) -> BagSamples:
    if find_spec("torch") is None:
        return BagSamples(*arguments)
    base = importlib.import_module("torch.utils.data").Dataset
    made: BagSamples = type("TorchSamples", (BagSamples, base), {"__doc__": BagSamples.__doc__})(*arguments)
    return made
