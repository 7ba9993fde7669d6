"""Options of annotations that say how names, rows and values are shown; checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping

from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.model.pseudo_columns import Order, TemplateEngine, check_engine, check_order, check_types, given, refuse

__all__ = ["ColumnDisplayOptions", "NameStyle", "PreFormat", "TableDisplayOptions"]


@dataclass(frozen=True, slots=True)
class NameStyle:
    """How the names of tables and columns are shown.

    Args:
        underline_space: Underscores are shown as blanks.
        title_case: Words begin with a capital.
        markdown: Names are Markdown.
    """

    underline_space: bool | None = None
    title_case: bool | None = None
    markdown: bool | None = None

    def __post_init__(self) -> None:
        check_types(self, underline_space=bool, title_case=bool, markdown=bool)

    def to_dict(self) -> dict[str, Json]:
        """It in the form of an annotation."""
        return given(self)


@dataclass(frozen=True, slots=True)
class TableDisplayOptions:
    """How the rows of a table are shown.

    Args:
        row_order: What they are sorted by.
        page_size: How many are on a page.
        row_markdown_pattern: A row in Markdown.
        page_markdown_pattern: All rows of a page in Markdown.
        separator_markdown: What is between rows.
        prefix_markdown: What is before them.
        suffix_markdown: What is after them.
        template_engine: What fills in the patterns.
        collapse_toc_panel: The table of contents is closed.
        hide_column_headers: Columns have no headers.
    """

    row_order: Order | None = None
    page_size: int | None = None
    row_markdown_pattern: str | None = None
    page_markdown_pattern: str | None = None
    separator_markdown: str | None = None
    prefix_markdown: str | None = None
    suffix_markdown: str | None = None
    template_engine: TemplateEngine | str | None = None
    collapse_toc_panel: bool | None = None
    hide_column_headers: bool | None = None

    def __post_init__(self) -> None:
        texts = ("row_markdown_pattern", "page_markdown_pattern", "separator_markdown")
        check_types(self, **dict.fromkeys((*texts, "prefix_markdown", "suffix_markdown"), str))
        check_types(self, page_size=int, collapse_toc_panel=bool, hide_column_headers=bool)
        check_order(self, "row_order")
        check_engine(self, "row_markdown_pattern" if self.page_markdown_pattern is None else "page_markdown_pattern")
        if self.page_size is not None and self.page_size < 1:
            refuse(self, f"page_size is {self.page_size}; a page has one row or more.")

    def to_dict(self) -> dict[str, Json]:
        """It in the form of an annotation."""
        return given(self)


@dataclass(frozen=True, slots=True)
class PreFormat:
    """How a value becomes text.

    Args:
        format: A pattern as of ``printf``.
        bool_true_value: What stands for true.
        bool_false_value: What stands for false.
    """

    format: str | None = None
    bool_true_value: str | None = None
    bool_false_value: str | None = None

    def __post_init__(self) -> None:
        check_types(self, format=str, bool_true_value=str, bool_false_value=str)

    def to_dict(self) -> dict[str, Json]:
        """It in the form of an annotation."""
        return given(self)


@dataclass(frozen=True, slots=True)
class ColumnDisplayOptions:
    """How the values of a column are shown.

    Args:
        pre_format: How a value becomes text.
        markdown_pattern: A pattern in Markdown that the values of the row are filled into.
        template_engine: What fills it in.
        column_order: What rows are sorted by when the column is chosen; False: it cannot be chosen.
    """

    pre_format: PreFormat | Mapping[str, Json] | None = None
    markdown_pattern: str | None = None
    template_engine: TemplateEngine | str | None = None
    column_order: Order | bool | None = None

    def __post_init__(self) -> None:
        check_types(self, pre_format=(PreFormat, Mapping), markdown_pattern=str)
        check_engine(self, "markdown_pattern")
        check_order(self, "column_order", may_be_off=True)

    def to_dict(self) -> dict[str, Json]:
        """It in the form of an annotation."""
        return given(self)
