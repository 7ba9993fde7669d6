"""What is documented under ``deriva_ml.core.validation`` is there."""

from __future__ import annotations

import pytest
from pydantic import ValidationError, validate_call

from deriva_ml.core import validation


def test_configurations_of_pydantic_are_there():
    class Own:
        pass

    @validate_call(config=validation.VALIDATION_CONFIG)
    def take(value: Own, number: int) -> int:
        return number

    assert take(Own(), "5") == 5
    with pytest.raises(ValidationError):
        take(5, 5)
    assert validation.STRICT_VALIDATION_CONFIG["extra"] == "forbid"


def test_what_is_named_is_found_and_nothing_else():
    assert all(getattr(validation, name) for name in dir(validation))
    with pytest.raises(AttributeError):
        validation.no_such_name  # noqa: B018
