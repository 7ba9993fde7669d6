"""Builders of the annotations that say how a web interface shows a table: checked when they are made.

    ml.set_display_annotation("Subject", Display(name="Patients"))
    ml.set_visible_columns("Subject", VisibleColumns().compact(["RID", "Name"]).detailed(["RID", "Name", "Age"]))
    ml.apply_annotations()

``tag`` names the annotation that a builder makes, ``to_dict`` gives its value. Contexts say where it holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from deriva_ml.core.files import nearest
from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.model.display_options import ColumnDisplayOptions, NameStyle, PreFormat, TableDisplayOptions
from deriva_ml.model.pseudo_columns import (
    Aggregate,
    ArrayUxMode,
    Facet,
    FacetRange,
    FacetUxMode,
    InboundFK,
    OutboundFK,
    PseudoColumn,
    PseudoColumnDisplay,
    SortKey,
    TemplateEngine,
    check_types,
    fk_constraint,
    given,
    refuse,
)
from deriva_ml.schema.annotation_values import (
    COLUMN_DISPLAY,
    DISPLAY,
    TABLE_DISPLAY,
    VISIBLE_COLUMNS,
    VISIBLE_FOREIGN_KEYS,
    plain,
)

__all__ = [
    "CONTEXT_COMPACT",
    "CONTEXT_COMPACT_BRIEF",
    "CONTEXT_COMPACT_BRIEF_INLINE",
    "CONTEXT_COMPACT_SELECT",
    "CONTEXT_DEFAULT",
    "CONTEXT_DETAILED",
    "CONTEXT_ENTRY",
    "CONTEXT_ENTRY_CREATE",
    "CONTEXT_ENTRY_EDIT",
    "CONTEXT_EXPORT",
    "CONTEXT_FILTER",
    "CONTEXT_ROW_NAME",
    "Aggregate",
    "ArrayUxMode",
    "ColumnDisplay",
    "ColumnDisplayOptions",
    "Display",
    "Facet",
    "FacetRange",
    "FacetUxMode",
    "InboundFK",
    "NameStyle",
    "OutboundFK",
    "PreFormat",
    "PseudoColumn",
    "PseudoColumnDisplay",
    "SortKey",
    "TableDisplay",
    "TableDisplayOptions",
    "TemplateEngine",
    "VisibleColumns",
    "VisibleForeignKeys",
    "fk_constraint",
]

CONTEXT_DEFAULT = "*"
CONTEXT_COMPACT = "compact"
CONTEXT_COMPACT_BRIEF = "compact/brief"
CONTEXT_COMPACT_BRIEF_INLINE = "compact/brief/inline"
CONTEXT_COMPACT_SELECT = "compact/select"
CONTEXT_DETAILED = "detailed"
CONTEXT_ENTRY = "entry"
CONTEXT_ENTRY_CREATE = "entry/create"
CONTEXT_ENTRY_EDIT = "entry/edit"
CONTEXT_EXPORT = "export"
CONTEXT_FILTER = "filter"
CONTEXT_ROW_NAME = "row_name"

_COMPACT = (CONTEXT_COMPACT, CONTEXT_COMPACT_BRIEF, CONTEXT_COMPACT_BRIEF_INLINE, CONTEXT_COMPACT_SELECT)
_SHOWN = (CONTEXT_DEFAULT, *_COMPACT, CONTEXT_DETAILED)
_ENTRY = (CONTEXT_ENTRY, CONTEXT_ENTRY_CREATE, CONTEXT_ENTRY_EDIT)


# ---------------------------------------------------------------------------------------------- names


@dataclass(frozen=True, slots=True)
class Display:
    """The name and the look of a table or a column.

    Args:
        name: What it is called.
        markdown_name: In its place, the name in Markdown.
        name_style: How the names in it are shown.
        comment: What it holds.
        show_null: What is shown for "no value", by context: True, False (nothing), or a text.
        show_foreign_key_link: Whether values of references are links, by context.
    """

    tag: ClassVar[str] = DISPLAY

    name: str | None = None
    markdown_name: str | None = None
    name_style: NameStyle | Mapping[str, Json] | None = None
    comment: str | None = None
    show_null: Mapping[str, bool | str] | None = None
    show_foreign_key_link: Mapping[str, bool] | None = None

    def __post_init__(self) -> None:
        check_types(self, name=str, markdown_name=str, comment=str, name_style=(NameStyle, Mapping))
        check_types(self, show_null=Mapping, show_foreign_key_link=Mapping)
        if self.name is not None and self.markdown_name is not None:
            refuse(self, "name and markdown_name exclude each other.")
        for what, kinds in (("show_null", (bool, str)), ("show_foreign_key_link", (bool,))):
            for context, value in (getattr(self, what) or {}).items():
                if context not in _SHOWN:
                    refuse(self, f"{what} has no context {context!r}.", allowed=nearest(str(context), _SHOWN))
                if not isinstance(value, kinds):
                    refuse(self, f"{what} is {value!r} for {context!r}.")

    def to_dict(self) -> dict[str, Json]:
        """The value of the annotation; texts of ``show_null`` stand in quotes there."""
        found = given(self)
        if self.show_null is not None:
            found["show_null"] = {context: _in_quotes(value) for context, value in self.show_null.items()}
        return found


def _in_quotes(value: bool | str) -> Json:
    return f'"{value}"' if isinstance(value, str) and not (len(value) > 1 and value[0] == value[-1] == '"') else value


# ---------------------------------------------------------------------------------------------- by context


class _ByContext(ABC):
    """An annotation that says something for each of several contexts.

    Args:
        contexts: What it says, by context.
    """

    tag: ClassVar[str]
    contexts: ClassVar[tuple[str, ...]]

    def __init__(self, contexts: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Json] = {}
        for context, value in (contexts or {}).items():
            self.set_context(context, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, _ByContext) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]  # it can change

    def set_context(self, context: str, value: Any) -> Self:
        """Say something for a context.

        Args:
            context: The context.
            value: What holds there; or the name of another context, of which the same holds.

        Raises:
            DerivaMLValidationError: There is no such context, or the value is none for it.
        """
        if not self._has(context):
            refuse(self, f"it has no context {context!r}.", allowed=nearest(str(context), self.contexts))
        if isinstance(value, str):
            if not self._has(value) or value == context:
                refuse(self, f"{context!r} is to be as {value!r}, which is no other context.", allowed=self.contexts)
            self._values[context] = value
        else:
            self._values[context] = self._checked(context, value)
        return self

    def _has(self, context: object) -> bool:
        return context in self.contexts

    @abstractmethod
    def _checked(self, context: str, value: Any) -> Json:
        """What is said, as the annotation holds it; refused if it is nothing for that context."""

    def default(self, value: Any) -> Self:
        """Say something for every context that nothing else is said for."""
        return self.set_context(CONTEXT_DEFAULT, value)

    def detailed(self, value: Any) -> Self:
        """Say something for the page of one row."""
        return self.set_context(CONTEXT_DETAILED, value)

    def to_dict(self) -> dict[str, Json]:
        """The value of the annotation."""
        return dict(self._values)


class _Lists(_ByContext):
    """An annotation that lists something for each context."""

    @abstractmethod
    def _item_is_good(self, item: object) -> bool:
        """Whether something may stand in the list."""

    def _checked(self, context: str, value: Any) -> Json:
        if isinstance(value, Mapping) or not isinstance(value, Iterable):
            refuse(self, f"{context!r} is {value!r}, not a list.")
        items = list(value)
        for item in items:
            if not self._item_is_good(item):
                refuse(self, f"{item!r} cannot be listed in {context!r}.", allowed=self._forms())
        return [plain(item) for item in items]

    def _forms(self) -> list[str]:
        return ["fk_constraint(schema, constraint)", "a PseudoColumn"]


class VisibleColumns(_Lists):
    """Which columns are shown: in lists of rows, on the page of one row, in forms; and which facets there are.

    A column is its name, a key or foreign key (:func:`fk_constraint`), or a :class:`PseudoColumn`.

    Args:
        contexts: The lists, by context.
    """

    tag = VISIBLE_COLUMNS
    contexts = (*_SHOWN, *_ENTRY, CONTEXT_EXPORT, CONTEXT_FILTER)

    def _item_is_good(self, item: object) -> bool:
        return (isinstance(item, str) and bool(item)) or _is_listed(item)

    def _forms(self) -> list[str]:
        return ["the name of a column", *super()._forms()]

    def _checked(self, context: str, value: Any) -> Json:
        if context != CONTEXT_FILTER:
            return super()._checked(context, value)
        items = value.get("and") if isinstance(value, Mapping) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, Facet | Mapping) for item in items):
            refuse(self, f"{context!r} is {value!r}, not a list of Facets.")
        return {"and": plain(items)}

    def compact(self, columns: Iterable[Any] | str) -> Self:
        """The columns in lists of rows."""
        return self.set_context(CONTEXT_COMPACT, columns)

    def entry(self, columns: Iterable[Any] | str) -> Self:
        """The columns in forms, for new rows and changed ones."""
        return self.set_context(CONTEXT_ENTRY, columns)

    def export(self, columns: Iterable[Any] | str) -> Self:
        """The columns of a file that is exported."""
        return self.set_context(CONTEXT_EXPORT, columns)

    def facets(self, facets: Sequence[Facet | Mapping[str, Json]]) -> Self:
        """What rows can be chosen by."""
        return self.set_context(CONTEXT_FILTER, list(facets))


class VisibleForeignKeys(_Lists):
    """Which related tables are shown on the page of a row.

    A related table is the foreign key that refers to this one (:func:`fk_constraint`), or a :class:`PseudoColumn`.

    Args:
        contexts: The lists, by context.
    """

    tag = VISIBLE_FOREIGN_KEYS
    contexts = (CONTEXT_DEFAULT, CONTEXT_DETAILED)

    def _item_is_good(self, item: object) -> bool:
        return _is_listed(item)


def _is_listed(item: object) -> bool:
    if isinstance(item, PseudoColumn | Mapping):
        return True
    return isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(name, str) and name for name in item)


# ---------------------------------------------------------------------------------------------- looks


class TableDisplay(_ByContext):
    """How the rows of a table are named and shown, by context: :class:`TableDisplayOptions`, or a dictionary of them.

    Args:
        contexts: The options, by context.
    """

    tag = TABLE_DISPLAY
    contexts = (*_SHOWN, CONTEXT_ROW_NAME)

    def _has(self, context: object) -> bool:
        return context in self.contexts or str(context).startswith(f"{CONTEXT_ROW_NAME}/")

    def _checked(self, context: str, value: Any) -> Json:
        return None if value is None else _options(self, TableDisplayOptions, context, value)

    def row_name(self, pattern: str, template_engine: TemplateEngine | str | None = None) -> Self:
        """The name of a row, as a pattern such as ``{{{Name}}}``."""
        options = TableDisplayOptions(row_markdown_pattern=pattern, template_engine=template_engine)
        return self.set_context(CONTEXT_ROW_NAME, options)

    def compact(self, options: Any) -> Self:
        """How lists of rows are shown."""
        return self.set_context(CONTEXT_COMPACT, options)


class ColumnDisplay(_ByContext):
    """How the values of a column are shown, by context: :class:`ColumnDisplayOptions`, or a dictionary of them.

    Args:
        contexts: The options, by context.
    """

    tag = COLUMN_DISPLAY
    contexts = (*_SHOWN, *_ENTRY)

    def _checked(self, context: str, value: Any) -> Json:
        return _options(self, ColumnDisplayOptions, context, value)

    def compact(self, options: Any) -> Self:
        """How values are shown in lists of rows."""
        return self.set_context(CONTEXT_COMPACT, options)

    def entry(self, options: Any) -> Self:
        """How values are shown in forms."""
        return self.set_context(CONTEXT_ENTRY, options)


def _options(owner: object, cls: Any, context: str, value: Any) -> Json:
    """Options in the form of an annotation; those of a dictionary are checked as those of their class."""
    if isinstance(value, Mapping):
        known = list(cls.__dataclass_fields__)
        unknown = [name for name in value if name not in known]
        if unknown:
            refuse(owner, f"{context!r} has no option {unknown[0]!r}.", allowed=nearest(str(unknown[0]), known))
        value = cls(**value)
    if not isinstance(value, cls):
        refuse(owner, f"{context!r} is {value!r}.", allowed=[cls.__name__, "a dictionary of its options"])
    return plain(value)
