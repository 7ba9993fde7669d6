"""What of a bag belongs to a dataset: the same as a bag of that dataset alone would hold."""

from __future__ import annotations

from typing import Any

from tests.dataset.project import Project

from deriva_ml.dataset import Dataset, DatasetSpec, download_dataset_bag
from deriva_ml.dataset.bag_walk import belonging
from deriva_ml.schema.tables import is_vocabulary


def _bag(dataset: Dataset) -> Any:
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version, materialize=False)
    return download_dataset_bag(dataset._session, spec)


def test_a_nested_dataset_has_in_the_outer_bag_what_a_bag_of_its_own_would_hold(small: Project) -> None:
    inner = small.dataset([small.subjects[0], *small.images[4:6]])
    outer = small.dataset([inner.dataset_rid, *small.images[5:8]])
    beside = small.dataset(small.images[8:])
    outer.add_dataset_members([beside.dataset_rid])
    whole = _bag(outer)
    for dataset in (inner, beside):
        alone = _bag(dataset)
        for table in alone.database.tables():
            if not is_vocabulary(table) and table.name not in {"Dataset_Dataset", "Dataset_Version"}:
                expected = [row["RID"] for row in alone.database.rows(table)]
                assert belonging(whole.database, [dataset.dataset_rid], table) == expected, table.name


def test_all_datasets_of_a_bag_together_have_all_of_it(small: Project) -> None:
    inner = small.dataset(small.subjects[:2])
    bag = _bag(small.dataset([inner.dataset_rid, *small.images[5:8]]))
    for table in bag.database.tables():
        if not is_vocabulary(table) and table.name != "Dataset_Dataset":
            expected = [row["RID"] for row in bag.database.rows(table)]
            assert belonging(bag.database, bag.holders, table) == expected, table.name
