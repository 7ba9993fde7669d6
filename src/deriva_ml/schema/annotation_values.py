"""What annotations of tables and columns are called, and how what a user gives becomes their value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias, cast

from deriva_ml.core.exceptions import DerivaMLValidationError
from deriva_ml.core.json_types import Json

__all__ = [
    "COLUMN_DISPLAY",
    "DISPLAY",
    "TABLE_DISPLAY",
    "VISIBLE_COLUMNS",
    "VISIBLE_FOREIGN_KEYS",
    "Annotation",
    "Shown",
    "ToDict",
    "annotation_value",
    "plain",
]

DISPLAY = "tag:misd.isi.edu,2015:display"
VISIBLE_COLUMNS = "tag:isrd.isi.edu,2016:visible-columns"
VISIBLE_FOREIGN_KEYS = "tag:isrd.isi.edu,2016:visible-foreign-keys"
TABLE_DISPLAY = "tag:isrd.isi.edu,2016:table-display"
COLUMN_DISPLAY = "tag:isrd.isi.edu,2016:column-display"


class ToDict(Protocol):
    """What the builders of ``deriva_ml.model.annotations`` make."""

    def to_dict(self) -> dict[str, Json]:
        """The annotation's value."""


Annotation: TypeAlias = "Mapping[str, Json] | ToDict | None"


Shown: TypeAlias = "Json | tuple[str, ...] | ToDict"
"""A column or a foreign key as an annotation lists it."""


def plain(value: object) -> Json:
    """A value as JSON knows it; builders may stand anywhere in it."""
    if isinstance(value, Mapping):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    build = getattr(value, "to_dict", None)
    return cast("Json", build() if callable(build) else value)


def annotation_value(tag: str, annotation: Annotation) -> Json:
    """The value of an annotation; None removes it.

    Args:
        tag: The annotation.
        annotation: Its value, or a builder of it.

    Raises:
        DerivaMLValidationError: It is neither, or the builder is of another annotation.
    """
    if annotation is None or isinstance(annotation, Mapping):
        return plain(annotation)
    kind = type(annotation).__name__
    if not callable(getattr(annotation, "to_dict", None)):
        raise DerivaMLValidationError(
            f"Not the value of an annotation: {annotation!r}.",
            allowed=["a dictionary", "a builder of deriva_ml.model.annotations", "None, which removes it"],
        )
    if getattr(annotation, "tag", tag) != tag:
        raise DerivaMLValidationError(
            f"A {kind} makes the annotation {getattr(annotation, 'tag', '')}, not {tag}.",
            hint="give it to the method that sets that annotation",
        )
    return plain(annotation)
