"""How a catalog came to be is kept with the catalog."""

from __future__ import annotations

import pytest

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.ml import DerivaML
from deriva_ml.schema.provenance import (
    CatalogCreationMethod,
    CatalogProvenance,
    CloneDetails,
    get_catalog_provenance,
    set_catalog_provenance,
)


def test_nothing_is_noted_of_a_catalog_of_others(ml: DerivaML) -> None:
    assert ml.catalog_provenance is None


def test_what_is_noted_is_read_back(ml: DerivaML) -> None:
    details = CloneDetails(source_hostname="lab", source_catalog_id="7", source_snapshot="2-AB", rows=3)
    set_catalog_provenance(ml, creation_method="clone", clone_details=details, description="A copy")
    found = ml.catalog_provenance
    assert found is not None
    assert found.is_clone
    assert found.clone_details == details
    assert found.catalog_id == "1"
    assert get_catalog_provenance(ml.session) == found


def test_a_whole_value_can_be_given(ml: DerivaML) -> None:
    given = CatalogProvenance(creation_method=CatalogCreationMethod.create, name="mine", hostname="here")
    made = set_catalog_provenance(ml, given)
    assert made.name == "mine"
    assert ml.catalog_provenance == made


def test_a_value_that_does_not_fit_is_refused_with_what_is_allowed(ml: DerivaML) -> None:
    with pytest.raises(DerivaMLDataError, match=r"(?s)creation_method.*clone, create, schema, unknown"):
        set_catalog_provenance(ml, creation_method="magic")
    assert ml.catalog_provenance is None
