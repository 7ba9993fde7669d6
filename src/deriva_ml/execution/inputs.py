"""The inputs of a run: checked before anything is written, recorded, brought, and found again by RID.

1. A check makes one request for each kind of thing, however many there are: datasets, their versions, assets.
2. Nothing of the run is in the catalog before all of its inputs are known to be good.
3. An input dataset is recorded with the version that was consumed, where the catalog has a column for it. The datasets
   that a run made are in the same table, without a version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from deriva_ml.asset.tables import execution_companion
from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import (
    DerivaMLDatasetNotFound,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
    DerivaMLVersionNotFound,
)
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetSpec
from deriva_ml.dataset.clones import require_shown
from deriva_ml.dataset.versions import entries
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset

if TYPE_CHECKING:
    from deriva_ml.asset.aux_classes import AssetFilePath, AssetSpec
    from deriva_ml.asset.local_file import LocalFile
    from deriva_ml.dataset.bag import BagProgress
    from deriva_ml.dataset.dataset_bag import DatasetBag
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration

__all__ = [
    "AssetInput",
    "DatasetCollection",
    "DatasetInput",
    "Inputs",
    "RunInputs",
    "check_inputs",
    "record_asset_inputs",
    "record_datasets",
    "store_inputs",
]


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset that a run consumes, and the entry of its history for the version."""

    spec: DatasetSpec
    version: DatasetHistory


@dataclass(frozen=True, slots=True)
class AssetInput:
    """An asset that a run consumes, and where its row is."""

    spec: AssetSpec
    schema: str
    table: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a run consumes, known to exist.

    Attributes:
        datasets: Datasets.
        assets: Assets of the catalog.
        local: Files of this machine; they become assets when the run is opened (:func:`store_inputs`).
    """

    datasets: tuple[DatasetInput, ...] = ()
    assets: tuple[AssetInput, ...] = ()
    local: tuple[LocalFile, ...] = ()


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


class RunInputs:
    """The inputs of one run on this machine: what was checked, and what has been brought.

    Args:
        session: The catalog.
        execution_rid: The run.
        run_dir: The run's directory.
        checked: What the run consumes.
        notice: Is told how far each dataset is.

    Attributes:
        checked: What the run consumes.
        datasets: The bags that are here.
        asset_paths: The files that are here, by asset table.
    """

    def __init__(
        self,
        session: Session,
        execution_rid: str,
        run_dir: Path,
        checked: Inputs,
        notice: DownloadNotice | None = None,
    ) -> None:
        self._session = session
        self._notice = notice
        self._execution_rid = execution_rid
        self._folder = run_dir / "inputs"
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
        if self.checked.assets:
            from deriva_ml.asset.download import download_many

            cached = {item.spec.rid: item.spec.cache for item in self.checked.assets}
            for path in download_many(self._session, list(cached), self._folder, use_cache=cached):
                self.asset_paths.setdefault(path.asset_table, []).append(path)
        for number, file in enumerate(self.checked.local):
            # in a dry run they are no assets: they are only brought where a run would find its inputs
            path = bring_local_file(file, self._folder / f"local-{number}")
            self.asset_paths.setdefault(path.asset_table, []).append(path)
        self._are_here = True

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
        record = self._execution_rid != DRY_RUN_RID
        bag = download_dataset_bag(self._session, spec, progress=told, record=record)
        bag.execution_rid = self._execution_rid
        return bag


def _source(configuration: ExecutionConfiguration, kind: str, at: int) -> str:
    """Where the configuration names an input, in words."""
    choice = configuration.config_choices.get(kind)
    return f"{kind}[{at}]" + (f" of the configuration {kind}={choice}" if choice else "")


def _refuse_repeated(rids: Sequence[str], configuration: ExecutionConfiguration, kind: str) -> None:
    for at, rid in enumerate(rids):
        if rid in rids[:at]:
            raise DerivaMLValidationError(
                f"The RID {rid} is named twice among the {kind} of the run.",
                source=_source(configuration, kind, at),
                hint="name each input once; a run consumes a dataset in one version",
            )


def check_inputs(session: Session, configuration: ExecutionConfiguration) -> Inputs:
    """Find out whether everything that a run consumes exists, and is what it is taken for.

    Raises:
        DerivaMLDatasetNotFound: A dataset's RID names something else, or a dataset that was deleted.
        DerivaMLRidsNotFound: Some RIDs name nothing; all such are in the error.
        DerivaMLVersionNotFound: A dataset has no such version.
        DerivaMLNotFoundError: A version's moment is not in the catalog's past.
        DerivaMLTableTypeError: An asset's RID names something else.
        DerivaMLValidationError: An input is named twice.
    """
    local = _check_local_files(configuration)
    return Inputs(_check_datasets(session, configuration), _check_assets(session, configuration), local)


def _check_local_files(configuration: ExecutionConfiguration) -> tuple[LocalFile, ...]:
    from deriva_ml.asset.local_file import LocalFile, check_local_file

    found: list[LocalFile] = []
    for at, item in enumerate(configuration.assets):
        if isinstance(item, LocalFile):
            source = _source(configuration, "assets", at)
            check_local_file(item, source)
            if item.path in [other.path for other in found]:
                raise DerivaMLValidationError(
                    f"The local file {item.path} is named twice.", source=source, hint="name each input once"
                )
            found.append(item)
    return tuple(found)


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
    return configuration, Inputs(inputs.datasets, _check_assets(session, configuration))


def _check_datasets(session: Session, configuration: ExecutionConfiguration) -> tuple[DatasetInput, ...]:
    specs = configuration.datasets
    rids = [spec.rid for spec in specs]
    if not rids:
        return ()
    _refuse_repeated(rids, configuration, "datasets")
    found = session.catalog.rows_by(session.ml_schema, str(MLTable.dataset), "RID", rids)
    known = {str(row["RID"]): row for row in found}
    _refuse_other_records(session, [rid for rid in rids if rid not in known], configuration)
    history: dict[str, list[DatasetHistory]] = {rid: [] for rid in rids}
    for entry in entries(session.catalog.rows_by(session.ml_schema, str(MLTable.dataset_version), "Dataset", rids)):
        history[entry.dataset_rid].append(entry)
    checked = []
    for at, spec in enumerate(specs):
        source = _source(configuration, "datasets", at)
        if known[spec.rid].get("Deleted"):
            raise DerivaMLDatasetNotFound(spec.rid, "Dataset was deleted", hint=f"named by {source}")
        version = next((entry for entry in history[spec.rid] if entry.dataset_version == spec.version), None)
        if version is None:
            numbers = [str(entry.dataset_version) for entry in reversed(history[spec.rid])]
            raise DerivaMLVersionNotFound(spec.rid, str(spec.version), numbers, source=source)
        checked.append(DatasetInput(spec, version))
    require_shown(session, {_source(configuration, "datasets", at): one.version for at, one in enumerate(checked)})
    return tuple(checked)


def _refuse_other_records(session: Session, rids: Sequence[str], configuration: ExecutionConfiguration) -> None:
    """Say of RIDs that are no datasets what they are."""
    if not rids:
        return
    places = session.catalog.resolve_rids(rids)
    order = [spec.rid for spec in configuration.datasets]
    _refuse_missing(session, [rid for rid in rids if rid not in places], order, configuration, "datasets")
    rid = rids[0]
    schema, name = places[rid]
    raise DerivaMLDatasetNotFound(
        rid,
        f"Dataset specified in execution configuration is not a dataset, but a record of {schema}:{name}",
        hint=f"named by {_source(configuration, 'datasets', order.index(rid))}; single files belong into assets",
    )


def _refuse_missing(
    session: Session, missing: Sequence[str], order: Sequence[str], configuration: ExecutionConfiguration, kind: str
) -> None:
    if missing:
        places = ", ".join(_source(configuration, kind, order.index(rid)) for rid in missing)
        raise DerivaMLRidsNotFound(
            missing, source=places, hint=f"check the RIDs against catalog {session.catalog_id} at {session.place}"
        )


def _check_assets(session: Session, configuration: ExecutionConfiguration) -> tuple[AssetInput, ...]:
    from deriva_ml.asset.aux_classes import AssetSpec

    specs = [(at, spec) for at, spec in enumerate(configuration.assets) if isinstance(spec, AssetSpec)]
    if not specs:
        return ()
    _refuse_repeated([spec.rid for _at, spec in specs], configuration, "assets")
    rids = [spec.rid if isinstance(spec, AssetSpec) else "" for spec in configuration.assets]
    places = session.catalog.resolve_rids([spec.rid for _at, spec in specs])
    missing = [spec.rid for _at, spec in specs if spec.rid not in places]
    _refuse_missing(session, missing, rids, configuration, "assets")
    model = session.model()
    checked = []
    for at, spec in specs:
        schema, name = places[spec.rid]
        if not is_asset(model.schemas[schema].tables[name]):
            hint = "a dataset belongs into datasets, with a version" if name == str(MLTable.dataset) else None
            raise DerivaMLTableTypeError(
                "asset",
                f"{schema}:{name}, which holds {spec.rid},",
                source=f"{_source(configuration, 'assets', at)}: asset specified in execution configuration",
                hint=hint or "name a record of an asset table",
            )
        checked.append(AssetInput(spec, schema, name))
    return tuple(checked)


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
