"""What callers give: a name that is no field is refused, never ignored; so is one text where several are asked for."""

from __future__ import annotations

from collections.abc import Iterable

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLValidationError
from deriva_ml.core.files import nearest

__all__ = ["refuse_text", "refuse_unknown"]


def refuse_text(what: str, given: object) -> None:
    """Refuse one text where several are asked for: its letters would be taken for them.

    Args:
        what: What was asked for.
        given: What was given.

    Raises:
        DerivaMLValidationError: It is one text.
    """
    if isinstance(given, str):
        raise DerivaMLValidationError(f"{what}: {given!r} is one text, not several.", hint=f"write [{given!r}]")


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that is no field.

    Args:
        what: What has the fields.
        given: The names that were given.
        known: The fields.

    Raises:
        DerivaMLConfigurationError: A name is no field; the nearest fields are in the error.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise DerivaMLConfigurationError(
                f"{what} has no {name!r}.", allowed=nearest(name, known), hint="correct the name, or leave it out"
            )
