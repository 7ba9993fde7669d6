"""Values of features for the members of a dataset."""

from __future__ import annotations

import pytest
from tests.dataset.project import Project

from deriva_ml.core.exceptions import (
    DerivaMLMaterializeLimitExceeded,
    DerivaMLNotFoundError,
    DerivaMLTableTypeError,
)
from deriva_ml.feature.feature import lookup_feature
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


def test_a_table_whose_records_are_no_members_is_refused(small: Project) -> None:
    with pytest.raises(DerivaMLTableTypeError, match=r"(?s)Grade is not of type dataset element type.*Image"):
        small.dataset(small.images[:1]).feature_values("Grade", "Quality")


def test_records_that_are_too_many_to_be_listed_are_chosen_here(small: Project) -> None:
    many = [small.images[0], *(f"1-{number:04d}" for number in range(MANY_TARGETS))]
    (value,) = feature_values(small.session, "Image", "Quality", targets=many, materialize_limit=1)
    assert value.target_rid == small.images[0]
