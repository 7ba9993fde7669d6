"""The inputs of a run: recorded, brought, and found again by RID.

1. Nothing of the run is in the catalog before all of its inputs are known to be good (``input_check``).
2. An input dataset is recorded with the version that was consumed, where the catalog has a column for it. The datasets
   that a run made are in the same table, without a version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from deriva_ml.asset.tables import execution_companion
from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLValidationError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.input_check import AssetInput, DatasetInput, Inputs, check_inputs
from deriva_ml.schema.session import Session

if TYPE_CHECKING:
    from deriva_ml.asset.aux_classes import AssetFilePath
    from deriva_ml.dataset.bag import BagProgress
    from deriva_ml.dataset.dataset_bag import DatasetBag
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration

__all__ = [
    "DatasetCollection",
    "InputSource",
    "RunInputs",
    "record_asset_inputs",
    "record_datasets",
    "store_inputs",
]


class DatasetCollection(Sequence["DatasetBag"]):
    """The input datasets of a run, by position and by RID.

    Args:
        bags: The bags, in the order of the configuration.
    """

    def __init__(self, bags: Iterable[DatasetBag] = ()) -> None:
        self._bags = list(bags)

    @overload
    def __getitem__(self, key: int | str) -> DatasetBag: ...
    @overload
    def __getitem__(self, key: slice) -> list[DatasetBag]: ...
    def __getitem__(self, key: int | str | slice) -> DatasetBag | list[DatasetBag]:
        """The bag at a position, or of a dataset's RID."""
        if not isinstance(key, str):
            return self._bags[key]
        for bag in self._bags:
            if bag.dataset_rid == key:
                return bag
        raise KeyError(f"no input dataset has the RID {key}; there are {', '.join(self.keys()) or 'none'}")

    def __len__(self) -> int:
        return len(self._bags)

    def __contains__(self, item: object) -> bool:
        return item in self.keys() if isinstance(item, str) else item in self._bags

    def __repr__(self) -> str:
        return f"DatasetCollection({self._bags!r})"

    def keys(self) -> list[str]:
        """The RIDs."""
        return [bag.dataset_rid for bag in self._bags]

    def values(self) -> list[DatasetBag]:
        """The bags."""
        return list(self._bags)

    def items(self) -> list[tuple[str, DatasetBag]]:
        """Pairs of RID and bag."""
        return [(bag.dataset_rid, bag) for bag in self._bags]

    def append(self, bag: DatasetBag) -> None:
        """Add a bag that was brought later."""
        self._bags.append(bag)


DownloadNotice = Callable[[str, "BagProgress"], None]
"""What is told how far an input is: which one, and how far."""


@dataclass(frozen=True, slots=True)
class InputSource:
    """Where a run takes its inputs from that is recorded elsewhere: in a copy that will be thrown away.

    Attributes:
        session: The catalog that holds the inputs; nothing is written there.
        checked: What of it the run consumes, known to be good.
    """

    session: Session
    checked: Inputs


class RunInputs:
    """The inputs of one run on this machine: what was checked, and what has been brought.

    Args:
        session: The catalog.
        execution_rid: The run.
        run_dir: The run's directory, or what gives it when something is brought.
        checked: What the run consumes.
        notice: Is told how far each dataset is.
        source: Where the inputs are, if they are not in this catalog.

    Attributes:
        checked: What the run consumes.
        datasets: The bags that are here.
        asset_paths: The files that are here, by asset table.
    """

    def __init__(
        self,
        session: Session,
        execution_rid: str,
        run_dir: Path | Callable[[], Path],
        checked: Inputs,
        notice: DownloadNotice | None = None,
        source: InputSource | None = None,
    ) -> None:
        self._session = session
        self._source = source
        self._notice = notice
        self._execution_rid = execution_rid
        self._run_dir = run_dir
        self._are_here = False
        self.checked = checked
        self.datasets = DatasetCollection()
        self.asset_paths: dict[str, list[AssetFilePath]] = {}

    @classmethod
    def brought(
        cls,
        session: Session,
        execution_rid: str,
        run_dir: Path,
        checked: Inputs,
        datasets: DatasetCollection,
        asset_paths: dict[str, list[AssetFilePath]],
    ) -> RunInputs:
        """Inputs that another process has brought."""
        made = cls(session, execution_rid, run_dir, checked)
        made.datasets, made.asset_paths, made._are_here = datasets, asset_paths, True
        return made

    @property
    def _folder(self) -> Path:
        return (self._run_dir if isinstance(self._run_dir, Path) else self._run_dir()) / "inputs"

    def bring(self) -> None:
        """Fetch datasets and assets, from the cache where they are in it; once."""
        if self._are_here:
            return
        for item in self.checked.datasets:
            # A first attempt may have broken off half-way: what it brought is not brought twice.
            self.bring_dataset(item.spec)
        self.asset_paths.clear()
        if self.checked.local:
            from deriva_ml.asset.local_file import bring_local_file
        for session, assets in self._assets_by_place():
            from deriva_ml.asset.download import download_many

            cached = {item.spec.rid: item.spec.cache for item in assets}
            for path in download_many(session, list(cached), self._folder, use_cache=cached):
                self.asset_paths.setdefault(path.asset_table, []).append(path)
        for number, file in enumerate(self.checked.local):
            # in a dry run they are no assets: they are only brought where a run would find its inputs
            path = bring_local_file(file, self._folder / f"local-{number}")
            self.asset_paths.setdefault(path.asset_table, []).append(path)
        self._are_here = True

    def _assets_by_place(self) -> list[tuple[Session, list[AssetInput]]]:
        """The assets with the catalog that each is in: a local file that was stored is in the run's own."""
        if self._source is None:
            return [(self._session, list(self.checked.assets))] if self.checked.assets else []
        there = {item.spec.rid for item in self._source.checked.assets}
        parts = [
            (self._source.session, [item for item in self.checked.assets if item.spec.rid in there]),
            (self._session, [item for item in self.checked.assets if item.spec.rid not in there]),
        ]
        return [(session, assets) for session, assets in parts if assets]

    def bring_dataset(self, spec: DatasetSpec) -> DatasetBag:
        """Fetch another dataset."""
        bag = self._bag(spec)
        if bag.dataset_rid not in self.datasets:
            self.datasets.append(bag)
        return bag

    def bring_asset(self, asset_rid: str, folder: Path | str | None, *, use_cache: bool) -> AssetFilePath:
        """Fetch another asset, to a folder or among the inputs."""
        from deriva_ml.asset.download import download

        return download(self._session, asset_rid, folder or self._folder, use_cache=use_cache)

    def _bag(self, spec: DatasetSpec) -> DatasetBag:
        from deriva_ml.dataset.bag import download_dataset_bag

        # A dry run writes nothing to the catalog, not even what the bag was.
        told = None if self._notice is None else partial(self._notice, f"dataset {spec.rid}")
        record = self._execution_rid != DRY_RUN_RID and self._source is None
        session = self._session if self._source is None else self._source.session
        bag = download_dataset_bag(session, spec, progress=told, record=record)
        bag.execution_rid = self._execution_rid
        return bag


def store_inputs(
    session: Session, configuration: ExecutionConfiguration, inputs: Inputs
) -> tuple[ExecutionConfiguration, Inputs]:
    """Make the local files among the inputs into assets; give configuration and inputs that name them by RID.

    Args:
        session: The catalog.
        configuration: What the run is given.
        inputs: The same, checked.

    Raises:
        DerivaMLValidationError: Two inputs are the same asset.
    """
    if not inputs.local:
        return configuration, inputs
    from deriva_ml.asset.local_file import LocalFile, store_local_files

    stored = iter(store_local_files(session, inputs.local))
    assets = [next(stored) if isinstance(item, LocalFile) else item for item in configuration.assets]
    configuration = configuration.model_copy(update={"assets": assets})
    named = check_inputs(session, configuration.model_copy(update={"datasets": []}))
    return configuration, Inputs(inputs.datasets, named.assets)


def _has_column(session: Session, table: str, column: str) -> bool:
    return any(item.name == column for item in session.model().schemas[session.ml_schema].tables[table].columns)


def record_datasets(session: Session, execution_rid: str, inputs: Iterable[DatasetInput]) -> None:
    """Note in the catalog which versions of which datasets a run consumes; may be repeated.

    A dataset that the run has made itself is linked with it already, without a version: the link gets the version.

    Raises:
        DerivaMLValidationError: The run consumes another version of the dataset already.
    """
    table = str(MLTable.dataset_execution)
    with_version = _has_column(session, table, "Dataset_Version")
    wanted = {item.spec.rid: item.version.version_rid for item in inputs}
    rows: list[dict[str, Any]] = [
        {"Dataset": rid, "Execution": execution_rid} | ({"Dataset_Version": version} if with_version else {})
        for rid, version in wanted.items()
    ]
    if not rows:
        return
    made = session.catalog.insert(session.ml_schema, table, rows, on_conflict_skip=True)
    if with_version and len(made) < len(rows):
        _complete_links(session, execution_rid, wanted)


def _complete_links(session: Session, execution_rid: str, wanted: Mapping[str, str]) -> None:
    """Give links that were there before the version that is consumed."""
    table = str(MLTable.dataset_execution)
    links = session.catalog.rows_by(session.ml_schema, table, "Execution", [execution_rid])
    ours = {str(link["Dataset"]): link for link in links if link["Dataset"] in wanted}
    for rid, link in ours.items():
        if link["Dataset_Version"] not in (None, wanted[rid]):
            raise DerivaMLValidationError(
                f"Execution {execution_rid} consumes dataset {rid} in another version already.",
                hint="a run consumes a dataset in one version",
            )
    empty = [
        {"RID": link["RID"], "Dataset_Version": wanted[rid]}
        for rid, link in ours.items()
        if link["Dataset_Version"] is None
    ]
    session.catalog.update(session.ml_schema, table, empty, columns=("Dataset_Version",))


def record_asset_inputs(session: Session, execution_rid: str, inputs: Iterable[AssetInput]) -> None:
    """Note in the catalog which assets a run consumes, in one request for each asset table; may be repeated."""
    by_table: dict[str, list[AssetInput]] = {}
    for item in inputs:
        by_table.setdefault(f"{item.schema}:{item.table}", []).append(item)
    for name, items in by_table.items():
        link = execution_companion(session, session.table(name))
        rows = [{link.asset: i.spec.rid, link.other: execution_rid, "Asset_Role": i.spec.asset_role} for i in items]
        session.catalog.insert(link.table.schema, link.table.name, rows, on_conflict_skip=True)
