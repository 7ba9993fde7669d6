"""Values of features for the members of a dataset."""

from __future__ import annotations

import pytest
from tests.dataset.project import DEMO, Project

from deriva_ml.core.ermrest import ColumnDef
from deriva_ml.core.exceptions import (
    DerivaMLMaterializeLimitExceeded,
    DerivaMLNotFoundError,
    DerivaMLTableTypeError,
)
from deriva_ml.dataset import DatasetSpec, download_dataset_bag
from deriva_ml.feature.feature import create_feature, lookup_feature
from deriva_ml.feature.values import MANY_TARGETS, feature_values
from deriva_ml.wire.path import eq, table


def test_values_are_those_of_the_members_and_of_nested_ones_at_a_version(small: Project) -> None:
    inner = small.dataset(small.images[:1])
    outer = small.dataset([*small.images[1:3], inner.dataset_rid])
    version = outer.current_version

    def targets(**options: object) -> list[str]:
        values = outer.feature_values("Image", "Quality", **options)  # type: ignore[arg-type]
        return sorted(value.target_rid for value in values)

    assert targets() == sorted(small.images[:3])
    assert targets(execution_rids=[small.execution]) == sorted(small.images[:3])
    assert targets(execution_rids=["1-0000"]) == []
    outer.add_dataset_members([small.images[3]])
    assert targets() == sorted(small.images[:4])
    feature = lookup_feature(small.session, "Image", "Quality")
    small.session.catalog.delete(table(*feature.feature_table.qualified).where(eq("Image", small.images[0])))
    assert targets() == sorted(small.images[1:4])
    assert targets(version=version) == sorted(small.images[:3])
    with pytest.raises(DerivaMLMaterializeLimitExceeded):
        targets(materialize_limit=2)
    with pytest.raises(DerivaMLNotFoundError, match="Feature 'Qality' not found"):
        outer.feature_values("Image", "Qality")


def test_values_are_those_of_the_bag_for_what_members_lead_to(small: Project) -> None:
    inner = small.dataset([small.subjects[1]])
    dataset = small.dataset([small.subjects[0], small.images[5], inner.dataset_rid])
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version, materialize=False)
    found = dataset.feature_values("Image", "Quality")
    assert {value.target_rid for value in found} == {*small.images[:4], small.images[5]}
    of_bag = download_dataset_bag(small.session, spec).feature_values("Image", "Quality")
    assert {value.target_rid: value.Grade for value in of_bag} == {value.target_rid: value.Grade for value in found}
    members = dataset.feature_values("Image", "Quality", reachable=False)
    assert [value.target_rid for value in members] == [small.images[5]]
    assert small.dataset([]).feature_values("Image", "Quality") == []


def test_members_of_a_table_whose_records_are_none_are_refused(small: Project) -> None:
    create_feature(small.session, "Grade", "Weight", metadata=[ColumnDef("Value", "int4")])
    dataset = small.dataset(small.images[:1])
    with pytest.raises(DerivaMLTableTypeError, match=r"(?s)Grade is not of type dataset element type.*Image"):
        dataset.feature_values("Grade", "Weight", reachable=False)
    record = small.session.catalog.rows(table(DEMO, "Grade"))[0]
    value = {"Grade": record["RID"], "Execution": small.execution, "Value": 3}
    small.session.catalog.insert(DEMO, "Execution_Grade_Weight", [value], defaults=["Feature_Name"])
    assert [each.Value for each in dataset.feature_values("Grade", "Weight")] == [3]


def test_records_that_are_too_many_to_be_listed_are_chosen_here(small: Project) -> None:
    many = [small.images[0], *(f"1-{number:04d}" for number in range(MANY_TARGETS))]
    (value,) = feature_values(small.session, "Image", "Quality", targets=many, materialize_limit=1)
    assert value.target_rid == small.images[0]
