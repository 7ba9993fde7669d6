"""The checksum of a version's bag: recorded at the first export, compared at every later one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO, ML, Project

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.codes import encode
from deriva_ml.core.exceptions import DerivaMLAuthenticationError, DerivaMLValidationError
from deriva_ml.dataset import Dataset, DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.schema.session import Session
from deriva_ml.wire.http import Request, Response


def _bag(session: Session, dataset: Dataset, **more: Any) -> DatasetBag:
    spec = DatasetSpec(rid=dataset.dataset_rid, version="0.2.0", **{"materialize": False, **more})  # type: ignore[arg-type]
    return download_dataset_bag(session, spec)


def _recorded(session: Session, dataset: Dataset) -> Any:
    rows = session.catalog.rows_by(ML, "Dataset_Version", "Dataset", [dataset.dataset_rid])
    return {str(row["Version"]): row["Bag_Checksum"] for row in rows}["0.2.0"]


def _forget(session: Session) -> None:
    shutil.rmtree(session.cache_dir)


def test_the_first_export_is_recorded_with_the_version_and_later_ones_agree(small: Project) -> None:
    dataset = small.dataset(small.images)
    assert _recorded(small.session, dataset) is None
    _bag(small.session, dataset)
    recorded = _recorded(small.session, dataset)
    ((scope, checksums),) = recorded.items()
    assert "data/demo-schema/Image.csv" in checksums["files"]
    assert not any(name.startswith("data/asset/") or name == "fetch.txt" for name in checksums["files"])
    _forget(small.session)
    _bag(small.session, dataset, materialize=True)
    assert _recorded(small.session, dataset) == {scope: checksums}


def test_another_way_to_export_is_recorded_beside(small: Project) -> None:
    dataset = small.dataset(small.images)
    _bag(small.session, dataset)
    _bag(small.session, dataset, exclude_tables={"Subject"})
    recorded = _recorded(small.session, dataset)
    assert len(recorded) == 2
    assert len({each["sha256"] for each in recorded.values()}) == 2


@pytest.mark.parametrize("cached", [False, True])
def test_a_bag_that_differs_is_refused_and_the_file_is_named(small: Project, cached: bool) -> None:
    dataset = small.dataset(small.images)
    _bag(small.session, dataset)
    recorded = _recorded(small.session, dataset)
    ((scope, checksums),) = recorded.items()
    other = {
        "sha256": "0" * 64,
        "files": {**checksums["files"], "data/demo-schema/Subject.csv": "0" * 12, "manifest-md5.txt": "0" * 12},
    }
    rows = small.session.catalog.rows_by(ML, "Dataset_Version", "Dataset", [dataset.dataset_rid])
    (rid,) = (row["RID"] for row in rows if row["Version"] == "0.2.0")
    small.session.catalog.update(ML, "Dataset_Version", [{"RID": rid, "Bag_Checksum": {scope: other}}])
    if not cached:
        _forget(small.session)
    with pytest.raises(DerivaMLValidationError, match=r"data/demo-schema/Subject\.csv differs") as refused:
        _bag(small.session, dataset)
    assert "manifest" not in str(refused.value).partition("Bag_Checksum")[0]
    assert cached or list(small.session.cache_dir.rglob("Dataset_*")) == []
    small.session.catalog.update(ML, "Dataset_Version", [{"RID": rid, "Bag_Checksum": recorded}])
    assert _bag(small.session, dataset).dataset_rid == dataset.dataset_rid


def test_an_amended_past_is_noticed_by_the_file(small: Project) -> None:
    dataset = small.dataset(small.subjects)
    _bag(small.session, dataset)
    _forget(small.session)
    table = small.session.table("Subject")
    column = next(each for each in table.columns if each.name == "Name")
    small.session.catalog.update(DEMO, "Subject", [{"RID": small.subjects[0], "Name": "another"}])
    since = encode(1)  # long before the catalog
    until = small.session.catalog.latest_snaptime()
    target = f"/history/{since},{until}/attribute/{column.rid}"
    small.session.catalog.send("DELETE", target)
    with pytest.raises(DerivaMLValidationError, match=r"data/demo-schema/Subject\.csv"):
        _bag(replace(small.session, catalog=CatalogClient(small.session.catalog.transport, "1")), dataset)


class ReadOnly:
    """Lets nobody write rows."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.body_limit = inner.body_limit
        self.batch = None
        self.refused = 0

    def send(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            self.refused += 1
            return Response(403, {}, b"You may not.")
        return self._inner.send(request)  # type: ignore[no-any-return]

    def local_path(self, target: str) -> Path | None:
        return self._inner.local_path(target)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._inner.close()


def test_who_may_not_write_gets_the_bag_and_it_is_recorded_here(small: Project) -> None:
    dataset = small.dataset(small.images)
    guarded = ReadOnly(small.session.catalog.transport)
    reader = replace(small.session, catalog=CatalogClient(guarded, small.session.catalog_id))
    with pytest.raises(DerivaMLAuthenticationError):
        reader.catalog.update(ML, "Dataset", [{"RID": dataset.dataset_rid, "Description": "mine"}])
    for _ in range(2):
        _bag(reader, dataset)
    assert guarded.refused == 2  # that one, and one attempt to record
    assert _recorded(small.session, dataset) is None
    (kept,) = (reader.cache_dir / ".checksums").iterdir()
    kept.write_text(kept.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(DerivaMLValidationError, match="not the one that was exported before"):
        _bag(reader, dataset)


def test_what_was_kept_here_for_a_dry_run_is_recorded_by_the_next_export(small: Project) -> None:
    dataset = small.dataset(small.images)
    spec = DatasetSpec(rid=dataset.dataset_rid, version="0.2.0", materialize=False)  # type: ignore[arg-type]
    download_dataset_bag(small.session, spec, record=False)
    assert _recorded(small.session, dataset) is None
    download_dataset_bag(small.session, spec)
    assert len(_recorded(small.session, dataset)) == 1


def test_a_snapshot_and_a_catalog_without_the_column_give_bags(small: Project) -> None:
    dataset = small.dataset(small.images)
    past = small.session.snapshot(small.session.catalog.latest_snaptime())
    first = _bag(past, dataset)
    assert _recorded(small.session, dataset) is None
    _forget(small.session)
    small.session.catalog.drop_column(ML, "Dataset_Version", "Bag_Checksum")
    assert _bag(small.session, dataset).path == first.path
    assert len(list((small.session.cache_dir / ".checksums").iterdir())) == 1


def test_a_version_without_a_recorded_snapshot_is_of_the_moment_in_which_it_was_made(small: Project) -> None:
    dataset = small.dataset(small.images)
    rows = small.session.catalog.rows_by(ML, "Dataset_Version", "Dataset", [dataset.dataset_rid])
    (rid,) = (row["RID"] for row in rows if row["Version"] == "0.2.0")
    small.session.catalog.update(ML, "Dataset_Version", [{"RID": rid, "Snapshot": None}])
    small.session.catalog.update(DEMO, "Subject", [{"RID": small.subjects[0], "Name": "later"}])
    names = {row["Name"] for row in _bag(small.session, dataset).get_table_as_dict("Subject")}
    assert "subject 0" in names
    assert "later" not in names
