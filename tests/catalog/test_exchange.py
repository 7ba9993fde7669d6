"""One request and its errors."""

from __future__ import annotations

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import DerivaMLValidationError


def test_a_text_that_no_catalog_can_hold_is_told_by_the_text(client: CatalogClient) -> None:
    with pytest.raises(DerivaMLValidationError, match=r"No catalog can hold the text .*half .ud800"):
        client.insert("deriva-ml", "Workflow", [{"Name": "half \ud800"}])
