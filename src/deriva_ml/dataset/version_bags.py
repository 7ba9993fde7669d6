"""The bags of a dataset's versions: the methods of ``Dataset`` for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLValidationError
from deriva_ml.dataset.aux_classes import DatasetSpec, DatasetVersion
from deriva_ml.dataset.reference import DatasetRef

if TYPE_CHECKING:
    from deriva_ml.dataset.bag import Notice
    from deriva_ml.dataset.dataset_bag import DatasetBag

__all__ = ["bag_info", "cache", "download_dataset_bag", "estimate_bag_size"]


def _spec(
    dataset: DatasetRef, version: DatasetVersion | str, exclude_tables: set[str] | None = None, **more: Any
) -> DatasetSpec:
    number = DatasetVersion.of(version)
    return DatasetSpec(rid=dataset.dataset_rid, version=number, exclude_tables=exclude_tables, **more)


def download_dataset_bag(
    dataset: DatasetRef,
    version: DatasetVersion | str,
    materialize: bool = True,
    use_minid: bool = False,
    exclude_tables: set[str] | None = None,
    timeout: tuple[int, int] | None = None,
    fetch_concurrency: int = 8,
    progress: Notice | None = None,
) -> DatasetBag:
    """Fetch a version of the dataset as a bag, or find it in the cache.

    Args:
        dataset: The dataset.
        version: The version.
        materialize: Fetch the files of assets too.
        use_minid: Take the bag that the version's recorded MINID names; none is made.
        exclude_tables: Tables to leave out.
        timeout: Kept with the specification; here bags are written from rows, with the connection's limits.
        fetch_concurrency: How many files are fetched at a time.
        progress: Told after each group of files.

    Raises:
        DerivaMLConfigurationError: An identifier was asked for, and none is recorded, or tables are to be left out.
        DerivaMLVersionNotFound: The dataset has no such version.
    """
    from deriva_ml.dataset.bag import download_dataset_bag as download

    if use_minid:
        return _recorded(dataset, version, materialize=materialize, without=exclude_tables)
    spec = _spec(
        dataset,
        version,
        exclude_tables,
        materialize=materialize,
        timeout=timeout,
        fetch_concurrency=fetch_concurrency,
    )
    return download(dataset.session, spec, progress=progress)


def _recorded(
    dataset: DatasetRef, version: DatasetVersion | str, *, materialize: bool, without: set[str] | None
) -> DatasetBag:
    """The bag that the MINID of a version names."""
    from deriva_ml.dataset.minid import fetch_minid, open_minid
    from deriva_ml.dataset.versions import find_version
    from deriva_ml.schema.places import cache_of

    session = dataset.session
    entry = find_version(session, dataset.dataset_rid, DatasetVersion.of(version))
    said = f"version {entry.dataset_version} of dataset {dataset.dataset_rid}"
    if not entry.minid:
        raise DerivaMLConfigurationError(
            f"No MINID is recorded for {said}, and none can be made here: that takes a server that exports bags to a "
            "bucket, and the identifier service.",
            hint="leave use_minid out",
        )
    if without:
        raise DerivaMLConfigurationError(
            f"The bag that the MINID of {said} names is as it was exported; no tables can be left out.",
            source=f"exclude_tables={sorted(without)}",
            hint="leave use_minid out, or exclude_tables",
        )
    minid = fetch_minid(entry.minid, entry.dataset_version)
    if minid.version_rid != f"{dataset.dataset_rid}@{entry.snapshot}":
        raise DerivaMLValidationError(
            f"The MINID {entry.minid} stands for {minid.version_rid}, and {said} is "
            f"{dataset.dataset_rid}@{entry.snapshot}.",
            source=f"Dataset_Version {entry.version_rid}",
            hint="correct the row, or leave use_minid out",
        )
    note = {"catalog": f"{session.identity}/{session.catalog_id}"}
    return open_minid(minid, cache_of(session).root, materialize=materialize, note=note)


def estimate_bag_size(
    dataset: DatasetRef, version: DatasetVersion | str, exclude_tables: set[str] | None = None
) -> dict[str, Any]:
    """How large the bag of a version will be; see ``dataset.estimate.estimate_bag_size``."""
    from deriva_ml.dataset import estimate

    return estimate.estimate_bag_size(dataset.session, _spec(dataset, version, exclude_tables))


def bag_info(
    dataset: DatasetRef, version: DatasetVersion | str, exclude_tables: set[str] | None = None
) -> dict[str, Any]:
    """How large the bag of a version is, and whether the cache has it; see ``dataset.estimate.bag_info``."""
    from deriva_ml.dataset import estimate

    return estimate.bag_info(dataset.session, _spec(dataset, version, exclude_tables))


def cache(
    dataset: DatasetRef,
    version: DatasetVersion | str,
    materialize: bool = True,
    exclude_tables: set[str] | None = None,
    timeout: tuple[int, int] | None = None,
    fetch_concurrency: int = 8,
) -> dict[str, Any]:
    """Fetch a version into the cache, without a run; see ``dataset.cached_bags.cache_dataset``."""
    from deriva_ml.dataset.cached_bags import cache_dataset

    spec = _spec(dataset, version, exclude_tables, timeout=timeout, fetch_concurrency=fetch_concurrency)
    return cache_dataset(dataset.session, spec, materialize)
