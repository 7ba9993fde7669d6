"""Columns and facets that an annotation defines: what is shown of rows that a table's rows lead to.

The builders check what they are given when they are made; ``to_dict`` gives the form that Chaise reads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any, NoReturn, TypeAlias

from deriva_ml.core.exceptions import DerivaMLValidationError
from deriva_ml.core.files import nearest
from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.schema.annotation_values import plain

__all__ = [
    "Aggregate",
    "ArrayUxMode",
    "Facet",
    "FacetRange",
    "FacetUxMode",
    "InboundFK",
    "OutboundFK",
    "PseudoColumn",
    "PseudoColumnDisplay",
    "SortKey",
    "TemplateEngine",
    "fk_constraint",
]


class TemplateEngine(StrEnum):
    """What fills in a pattern."""

    HANDLEBARS = "handlebars"
    MUSTACHE = "mustache"


class Aggregate(StrEnum):
    """What is made of several values."""

    MIN = "min"
    MAX = "max"
    CNT = "cnt"
    CNT_D = "cnt_d"
    ARRAY = "array"
    ARRAY_D = "array_d"


class ArrayUxMode(StrEnum):
    """How several values are shown."""

    RAW = "raw"
    CSV = "csv"
    OLIST = "olist"
    ULIST = "ulist"


class FacetUxMode(StrEnum):
    """How a facet is chosen from."""

    CHOICES = "choices"
    RANGES = "ranges"
    CHECK_PRESENCE = "check_presence"


# ---------------------------------------------------------------------------------------------- checks


def refuse(owner: object, what: str, *, allowed: Collection[str] = (), hint: str | None = None) -> NoReturn:
    """Raise the error of a builder.

    Raises:
        DerivaMLValidationError: Always.
    """
    raise DerivaMLValidationError(f"{type(owner).__name__}: {what}", allowed=list(allowed), hint=hint)


def check_one_of(owner: object, name: str, kind: type[StrEnum]) -> None:
    """Refuse a value that an enumeration lacks."""
    value = getattr(owner, name)
    known = [member.value for member in kind]
    if value is not None and str(value) not in known:
        refuse(owner, f"{name} is {value!r}.", allowed=nearest(str(value), known))


def check_types(owner: object, **kinds: type | tuple[type, ...]) -> None:
    """Refuse values of the wrong type; those that are None are not given. A truth value is no number."""
    for name, kind in kinds.items():
        value = getattr(owner, name)
        wanted = kind if isinstance(kind, tuple) else (kind,)
        if value is None or (isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))):
            continue
        names = " or ".join(
            {"str": "text", "bool": "true or false"}.get(each.__name__, each.__name__) for each in wanted
        )
        refuse(owner, f"{name} is {value!r}, not {names}.")


def check_engine(owner: object, pattern: str) -> None:
    """Refuse an unknown template engine, and one without a pattern."""
    check_one_of(owner, "template_engine", TemplateEngine)
    if getattr(owner, "template_engine", None) is not None and getattr(owner, pattern) is None:
        refuse(owner, f"template_engine says how {pattern} is filled in, which is not given.")


def given(owner: Any, *left_out: str) -> dict[str, Json]:
    """The fields of a builder that are given, in the form of the annotation."""
    values = {field.name: getattr(owner, field.name) for field in fields(owner) if field.name not in left_out}
    return {name: plain(value) for name, value in values.items() if value is not None}


# ---------------------------------------------------------------------------------------------- references


def fk_constraint(schema: str, constraint: str) -> list[Json]:
    """A foreign key as annotations name it: by its schema and its constraint's name."""
    for what, name in (("schema", schema), ("constraint", constraint)):
        if not isinstance(name, str) or not name:
            raise DerivaMLValidationError(
                f"A foreign key is named by the texts of its schema and its constraint; the {what} is {name!r}.",
                hint="ml.list_foreign_keys(table) lists them",
            )
    return [schema, constraint]


@dataclass(frozen=True, slots=True)
class _Step:
    schema: str
    constraint: str

    def __post_init__(self) -> None:
        fk_constraint(self.schema, self.constraint)


@dataclass(frozen=True, slots=True)
class InboundFK(_Step):
    """A step to the rows that refer to a row.

    Args:
        schema: The schema of the foreign key.
        constraint: The name of its constraint.
    """

    def to_dict(self) -> dict[str, Json]:
        """The step in the form of a path."""
        return {"inbound": fk_constraint(self.schema, self.constraint)}


@dataclass(frozen=True, slots=True)
class OutboundFK(_Step):
    """A step to the row that a row refers to.

    Args:
        schema: The schema of the foreign key.
        constraint: The name of its constraint.
    """

    def to_dict(self) -> dict[str, Json]:
        """The step in the form of a path."""
        return {"outbound": fk_constraint(self.schema, self.constraint)}


Source: TypeAlias = "str | Sequence[str | InboundFK | OutboundFK | Mapping[str, Json]]"
"""A column, or a path: steps, and then a column of the table that they lead to."""


def check_source(owner: Any) -> None:
    """Refuse a builder that has neither a source nor a key of one, or both, and a path that is none."""
    source, key = owner.source, owner.sourcekey
    if source is not None and key is not None:
        refuse(owner, "source and sourcekey exclude each other: give where values come from once.")
    if isinstance(source, str) or source is None:
        if source == "" or key == "":
            refuse(owner, "source or sourcekey is empty text.")
        return
    if not isinstance(source, Sequence) or not source or not isinstance(source[-1], str) or not source[-1]:
        refuse(
            owner,
            f"source is {source!r}.",
            hint='give a column, or a path that ends in one: [OutboundFK("schema", "constraint"), "Name"]',
        )
    for step in source[:-1]:
        if not (isinstance(step, _Step) or _is_raw_step(step)):
            refuse(owner, f"{step!r} in source is no step of a path.", allowed=["InboundFK", "OutboundFK"])


def _is_raw_step(step: object) -> bool:
    return isinstance(step, Mapping) and len(step) == 1 and next(iter(step)) in ("inbound", "outbound")


# ---------------------------------------------------------------------------------------------- order


@dataclass(frozen=True, slots=True)
class SortKey:
    """A column that rows are put in order by.

    Args:
        column: The column.
        descending: The greatest value first.
    """

    column: str
    descending: bool = False

    def __post_init__(self) -> None:
        check_types(self, column=str, descending=bool)
        if not self.column:
            refuse(self, "column is empty.")

    def to_dict(self) -> dict[str, Json]:
        """The key in the form of an annotation."""
        return {"column": self.column, "descending": True} if self.descending else {"column": self.column}


Order: TypeAlias = "Sequence[SortKey | str | Mapping[str, Json]]"


def check_order(owner: object, name: str, *, may_be_off: bool = False) -> None:
    """Refuse what is no order of rows."""
    order = getattr(owner, name)
    if order is None or (may_be_off and order is False):
        return
    if isinstance(order, str | Mapping) or not isinstance(order, Sequence) or not order:
        refuse(owner, f"{name} is {order!r}, not a list of columns or of SortKeys.")
    for key in order:
        if not isinstance(key, SortKey | str) and not (isinstance(key, Mapping) and "column" in key):
            refuse(owner, f"{key!r} in {name} is no column and no SortKey.")


# ---------------------------------------------------------------------------------------------- columns and facets


@dataclass(frozen=True, slots=True)
class PseudoColumnDisplay:
    """How a pseudo-column's values are shown.

    Args:
        markdown_pattern: A pattern in Markdown that the values are filled into.
        template_engine: What fills it in.
        wait_for: Sources that must be there first.
        column_order: What rows are sorted by when the column is chosen; False: it cannot be chosen.
        show_foreign_key_link: Link to the row that is referred to.
        array_ux_mode: How several values are shown.
    """

    markdown_pattern: str | None = None
    template_engine: TemplateEngine | str | None = None
    wait_for: Sequence[str] | None = None
    column_order: Order | bool | None = None
    show_foreign_key_link: bool | None = None
    array_ux_mode: ArrayUxMode | str | None = None

    def __post_init__(self) -> None:
        check_types(self, markdown_pattern=str, wait_for=(list, tuple), show_foreign_key_link=bool)
        check_engine(self, "markdown_pattern")
        check_one_of(self, "array_ux_mode", ArrayUxMode)
        check_order(self, "column_order", may_be_off=True)

    def to_dict(self) -> dict[str, Json]:
        """It in the form of an annotation."""
        return given(self)


@dataclass(frozen=True, slots=True)
class PseudoColumn:
    """A column that is shown and that the table need not have.

    Args:
        source: Where its values come from: a column, or a path that ends in one.
        sourcekey: In its place, the name of a source that the table's source definitions have.
        markdown_name: What it is called.
        comment: What it says; False: nothing is shown.
        entity: The rows that the path leads to are shown, not the values of their column.
        aggregate: What is made of several values.
        self_link: Link to the row itself.
        display: How the values are shown.
        array_options: Order and number of values of an aggregate: ``{"order": [...], "max_length": 10}``.
    """

    source: Source | None = None
    sourcekey: str | None = None
    markdown_name: str | None = None
    comment: str | bool | None = None
    entity: bool | None = None
    aggregate: Aggregate | str | None = None
    self_link: bool | None = None
    display: PseudoColumnDisplay | Mapping[str, Json] | None = None
    array_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_types(self, sourcekey=str, markdown_name=str, comment=(str, bool), entity=bool, self_link=bool)
        check_types(self, display=(PseudoColumnDisplay, Mapping), array_options=Mapping)
        check_source(self)
        check_one_of(self, "aggregate", Aggregate)
        if self.comment is True:
            refuse(self, "comment is true; give its text, or False to show none.")
        if self.sourcekey is not None:
            own = [name for name in ("entity", "aggregate", "self_link") if getattr(self, name) is not None]
            if own:
                refuse(self, f"{', '.join(own)} is said where {self.sourcekey!r} is defined, not beside sourcekey.")
        elif self.source is None and (self.markdown_name is None or self.display is None):
            refuse(self, "it needs a source or a sourcekey; or, if it only shows a pattern, markdown_name and display.")

    def to_dict(self) -> dict[str, Json]:
        """It in the form of an annotation."""
        return given(self)


@dataclass(frozen=True, slots=True)
class FacetRange:
    """A range that a facet begins with; one end may be open.

    Args:
        min: Its least value.
        max: Its greatest value.
        min_exclusive: The least value itself is not in it.
        max_exclusive: The greatest value itself is not in it.
    """

    min: float | None = None
    max: float | None = None
    min_exclusive: bool | None = None
    max_exclusive: bool | None = None

    def __post_init__(self) -> None:
        check_types(self, min=(int, float), max=(int, float), min_exclusive=bool, max_exclusive=bool)
        if self.min is None and self.max is None:
            refuse(self, "it needs min, max, or both.")
        for end in ("min", "max"):
            if getattr(self, f"{end}_exclusive") is not None and getattr(self, end) is None:
                refuse(self, f"{end}_exclusive says whether {end} is in it, which is not given.")
        if self.min is not None and self.max is not None and self.min > self.max:
            refuse(self, f"min {self.min} is greater than max {self.max}.")

    def to_dict(self) -> dict[str, Json]:
        """It in the form of an annotation."""
        return given(self)


@dataclass(frozen=True, slots=True)
class Facet:
    """What rows can be chosen by.

    Args:
        source: A column, or a path that ends in one.
        sourcekey: In its place, the name of a source that the table's source definitions have.
        markdown_name: What it is called.
        comment: What it says.
        entity: Rows are chosen, not values.
        open: It is open from the beginning.
        ux_mode: How it is chosen from.
        bar_plot: Show a histogram of a range.
        choices: Values that are chosen from the beginning.
        ranges: Ranges that are chosen from the beginning.
        not_null: From the beginning, only rows that have a value.
        hide_null_choice: Do not offer "no value".
        hide_not_null_choice: Do not offer "any value".
        n_bins: The number of bars of the histogram.
    """

    source: Source | None = None
    sourcekey: str | None = None
    markdown_name: str | None = None
    comment: str | None = None
    entity: bool | None = None
    open: bool | None = None
    ux_mode: FacetUxMode | str | None = None
    bar_plot: bool | None = None
    choices: Sequence[str | float | bool | None] | None = None
    ranges: Sequence[FacetRange | Mapping[str, Json]] | None = None
    not_null: bool | None = None
    hide_null_choice: bool | None = None
    hide_not_null_choice: bool | None = None
    n_bins: int | None = None

    def __post_init__(self) -> None:
        check_types(self, sourcekey=str, markdown_name=str, comment=str, choices=(list, tuple), ranges=(list, tuple))
        truths = ("entity", "open", "bar_plot", "not_null", "hide_null_choice", "hide_not_null_choice")
        check_types(self, n_bins=int, **dict.fromkeys(truths, bool))
        check_source(self)
        check_one_of(self, "ux_mode", FacetUxMode)
        if self.source is None and self.sourcekey is None:
            refuse(self, "it needs a source or a sourcekey.")
        if self.sourcekey is not None and self.entity is not None:
            refuse(self, f"entity is said where {self.sourcekey!r} is defined, not beside sourcekey.")
        if self.n_bins is not None and self.n_bins < 1:
            refuse(self, f"n_bins is {self.n_bins}; a histogram has one bar or more.")

    def to_dict(self) -> dict[str, Json]:
        """It in the form of an annotation; ``not_null`` is there only if it is true."""
        return given(self, *(["not_null"] if not self.not_null else []))
