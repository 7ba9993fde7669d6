"""Fields of the values that configurations describe: a name that is none of them is refused, never ignored."""

from __future__ import annotations

from collections.abc import Iterable

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import nearest

__all__ = ["refuse_unknown"]


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
