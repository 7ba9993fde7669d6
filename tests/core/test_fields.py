"""What callers give and nobody asked for is refused."""

from __future__ import annotations

import pytest

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLValidationError
from deriva_ml.core.fields import refuse_text, refuse_unknown


def test_one_text_is_not_several() -> None:
    with pytest.raises(DerivaMLValidationError, match=r"(?s)members: '1-ABCD' is one text.*write \['1-ABCD'\]"):
        refuse_text("members", "1-ABCD")
    for fine in (["1-ABCD"], ("1-ABCD",), {"Image": []}, None):
        refuse_text("members", fine)


def test_a_name_that_is_no_field_is_refused_with_the_nearest() -> None:
    refuse_unknown("Workflow", ["name"], ["name", "url"])
    with pytest.raises(DerivaMLConfigurationError, match=r"(?s)Workflow has no 'nmae'.*name"):
        refuse_unknown("Workflow", ["nmae"], ["name", "url"])
