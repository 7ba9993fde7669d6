"""The classes have what the protocols say, as catalog and as bag."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from deriva_ml.asset.asset import Asset
from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition
from deriva_ml.dataset import Dataset, DatasetBag, DatasetSpec
from deriva_ml.interfaces import (
    AssetLike,
    DatasetLike,
    DerivaMLCatalog,
    DerivaMLCatalogReader,
    WritableAsset,
    WritableDataset,
)
from deriva_ml.ml import DerivaML
from deriva_ml.model import DerivaMLDatabase


def test_datasets_and_bags_are_what_the_protocols_say(ml: DerivaML) -> None:
    ml.create_table(TableDefinition("Subject", [ColumnDefinition("Name", "text")]))
    ml.add_dataset_element_type("Subject")
    dataset = Dataset.create_dataset(ml, None)
    bag = ml.download_dataset_bag(DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version))
    database = DerivaMLDatabase(bag.database)
    assert isinstance(dataset, DatasetLike)
    assert isinstance(dataset, WritableDataset)
    assert isinstance(bag, DatasetLike)
    assert not isinstance(bag, WritableDataset)
    assert isinstance(ml, DerivaMLCatalog)
    assert isinstance(database, DerivaMLCatalogReader)
    assert not isinstance(object(), DerivaMLCatalogReader)


def test_assets_are_what_the_protocols_say(ml: DerivaML) -> None:
    asset = Asset(ml, "1-ABC", "Image", asset_types=["Image"], execution_rid="1-ABD")
    assert isinstance(asset, AssetLike)
    assert isinstance(asset, WritableAsset)


@pytest.mark.parametrize(
    ("protocol", "cls"),
    [
        (DatasetLike, Dataset), (DatasetLike, DatasetBag), (WritableDataset, Dataset), (AssetLike, Asset),
        (WritableAsset, Asset), (DerivaMLCatalogReader, DerivaMLDatabase), (DerivaMLCatalogReader, DerivaML),
        (DerivaMLCatalog, DerivaML),
    ],
    ids=lambda value: value.__name__,
)  # fmt: skip
def test_what_the_protocol_allows_to_pass_can_be_passed(protocol: Any, cls: Any) -> None:
    for name, member in inspect.getmembers(protocol, inspect.isfunction):
        if name.startswith("_"):
            continue
        bound = len(inspect.signature(member).parameters) - 1
        taken = inspect.signature(getattr(cls, name)).parameters.values()
        # The first parameter is the object; DerivaML's methods are functions over what it carries.
        positional = [each for each in taken if each.kind in (each.POSITIONAL_OR_KEYWORD, each.POSITIONAL_ONLY)][1:]
        needed = [each for each in positional if each.default is each.empty]
        assert len(needed) <= bound <= len(positional), f"{cls.__name__}.{name}"
