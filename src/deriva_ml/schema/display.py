"""Annotations of tables and columns, which say how a web interface shows them: staged here, then sent together.

Reading gives what is staged, on top of what the catalog has. Nothing reaches the catalog before ``apply_annotations``.
The names of the annotations and their forms are those of Chaise, the web interface of Deriva catalogs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import nearest
from deriva_ml.schema.annotation_values import (
    COLUMN_DISPLAY,
    DISPLAY,
    TABLE_DISPLAY,
    VISIBLE_COLUMNS,
    VISIBLE_FOREIGN_KEYS,
    Annotation,
    Shown,
    annotation_value,
    plain,
)
from deriva_ml.schema.session import HasSession, Session
from deriva_ml.wire.model import Json, Table

__all__ = [
    "AnnotationDraft",
    "HasDraft",
    "add_visible_column",
    "add_visible_foreign_key",
    "apply_annotations",
    "get_column_annotations",
    "get_table_annotations",
    "remove_visible_column",
    "remove_visible_foreign_key",
    "reorder_visible_columns",
    "reorder_visible_foreign_keys",
    "set_column_display",
    "set_display_annotation",
    "set_table_display",
    "set_visible_columns",
    "set_visible_foreign_keys",
]

Element: TypeAlias = "tuple[str, str, str | None]"
"""Schema, table, and column or None."""


class AnnotationDraft:
    """Changes of annotations that the catalog has not been told of."""

    def __init__(self) -> None:
        self._changes: dict[tuple[Element, str], Json] = {}

    def get(self, session: Session, element: Element, tag: str) -> Json:
        """An annotation as it will be; None if there is none."""
        if (element, tag) in self._changes:
            return self._changes[(element, tag)]
        schema, table, column = element
        found = session.model().schemas[schema].tables[table]
        annotations = found.annotations if column is None else _column_annotations(found, column)
        return annotations.get(tag)

    def put(self, element: Element, tag: str, value: Json) -> None:
        """Stage an annotation; None removes it."""
        self._changes[(element, tag)] = value

    def send(self, session: Session) -> int:
        """Send what is staged, one element after the other; what has been sent is staged no longer.

        Returns:
            How many annotations were changed.
        """
        session.require_writable()
        changed = 0
        for (element, tag), value in list(self._changes.items()):
            schema, table, column = element
            if value is not None or self._is_there(session, element, tag):
                session.catalog.set_annotation(tag, value, schema, table, column)
                changed += 1
            del self._changes[(element, tag)]
        return changed

    def _is_there(self, session: Session, element: Element, tag: str) -> bool:
        schema, table, column = element
        found = session.model().schemas[schema].tables[table]
        return tag in (found.annotations if column is None else _column_annotations(found, column))


class HasDraft(HasSession, Protocol):
    """A ``DerivaML``: it keeps what is staged."""

    @property
    def annotation_draft(self) -> AnnotationDraft:
        """What is staged."""


def _column_annotations(table: Table, column: str) -> Mapping[str, Json]:
    found = table.column(column)
    if found is None:
        raise DerivaMLDataError(
            f"Table {table.name} has no column {column}.", allowed=nearest(column, [c.name for c in table.columns])
        )
    return found.annotations


def _element(ml: HasDraft, table: str | Table, column: str | None = None) -> Element:
    found = ml.session.table(table)
    if column is not None:
        _column_annotations(found, column)
    return (*found.qualified, column)


def _label(element: Element) -> str:
    return element[1] if element[2] is None else f"{element[1]}.{element[2]}"


def _set(ml: HasDraft, element: Element, tag: str, annotation: Annotation) -> str:
    ml.session.require_writable()
    ml.annotation_draft.put(element, tag, annotation_value(tag, annotation))
    return _label(element)


# ---------------------------------------------------------------------------------------------- reading and setting


def get_table_annotations(ml: HasDraft, table: str | Table) -> dict[str, Json]:
    """The annotations of a table that say how it is shown, as they are staged.

    Returns:
        ``table``, ``schema``, ``display``, ``visible_columns``, ``visible_foreign_keys``, ``table_display``; None for
        an annotation that is not there.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    element = _element(ml, table)
    tags = {
        "display": DISPLAY,
        "visible_columns": VISIBLE_COLUMNS,
        "visible_foreign_keys": VISIBLE_FOREIGN_KEYS,
        "table_display": TABLE_DISPLAY,
    }
    found = {name: ml.annotation_draft.get(ml.session, element, tag) for name, tag in tags.items()}
    return {"table": element[1], "schema": element[0], **found}


def get_column_annotations(ml: HasDraft, table: str | Table, column_name: str) -> dict[str, Json]:
    """The annotations of a column that say how it is shown, as they are staged.

    Returns:
        ``table``, ``schema``, ``column``, ``display``, ``column_display``; None for an annotation that is not there.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLDataError: The table has no such column.
    """
    element = _element(ml, table, column_name)
    tags = {"display": DISPLAY, "column_display": COLUMN_DISPLAY}
    found = {name: ml.annotation_draft.get(ml.session, element, tag) for name, tag in tags.items()}
    return {"table": element[1], "schema": element[0], "column": column_name, **found}


def set_display_annotation(
    ml: HasDraft, table: str | Table, annotation: Annotation, column_name: str | None = None
) -> str:
    """Stage the name and the look of a table, or of one of its columns.

    Args:
        ml: The catalog.
        table: The table.
        annotation: The annotation's value; None removes it.
        column_name: The column; by default the table itself.

    Returns:
        ``Table`` or ``Table.Column``.
    """
    return _set(ml, _element(ml, table, column_name), DISPLAY, annotation)


def set_visible_columns(ml: HasDraft, table: str | Table, annotation: Annotation) -> str:
    """Stage which columns are shown, by context; None removes the annotation."""
    return _set(ml, _element(ml, table), VISIBLE_COLUMNS, annotation)


def set_visible_foreign_keys(ml: HasDraft, table: str | Table, annotation: Annotation) -> str:
    """Stage which related tables are shown, by context; None removes the annotation."""
    return _set(ml, _element(ml, table), VISIBLE_FOREIGN_KEYS, annotation)


def set_table_display(ml: HasDraft, table: str | Table, annotation: Annotation) -> str:
    """Stage how a table's rows are named and shown; None removes the annotation."""
    return _set(ml, _element(ml, table), TABLE_DISPLAY, annotation)


def set_column_display(ml: HasDraft, table: str | Table, column: str, annotation: Annotation) -> str:
    """Stage how a column's values are shown; None removes the annotation."""
    return _set(ml, _element(ml, table, column), COLUMN_DISPLAY, annotation)


def apply_annotations(ml: HasDraft) -> int:
    """Send every staged annotation to the catalog.

    Returns:
        How many annotations were changed.

    Raises:
        DerivaMLReadOnlyError: This is a snapshot.
    """
    return ml.annotation_draft.send(ml.session)


# ---------------------------------------------------------------------------------------------- lists by context


def _lists(ml: HasDraft, element: Element, tag: str) -> dict[str, Json]:
    value = ml.annotation_draft.get(ml.session, element, tag)
    return dict(value) if isinstance(value, dict) else {}


def _context(ml: HasDraft, element: Element, tag: str, context: str) -> list[Json]:
    lists = _lists(ml, element, tag)
    found = lists.get(context)
    if not isinstance(found, list):
        listed = [name for name, value in lists.items() if isinstance(value, list)]
        raise DerivaMLDataError(
            f"{_label(element)} lists nothing for context {context!r}.",
            allowed=listed,
            hint="add to it first, or set the whole annotation",
        )
    return list(found)


def _store(ml: HasDraft, element: Element, tag: str, context: str, items: list[Json]) -> list[Json]:
    ml.session.require_writable()
    ml.annotation_draft.put(element, tag, {**_lists(ml, element, tag), context: items})
    return items


def _added(ml: HasDraft, table: str | Table, tag: str, context: str, item: Shown, position: int | None) -> list[Json]:
    element = _element(ml, table)
    known = _lists(ml, element, tag).get(context)
    items = list(known) if isinstance(known, list) else []
    items.insert(len(items) if position is None else position, plain(item))
    return _store(ml, element, tag, context, items)


def _removed(ml: HasDraft, table: str | Table, tag: str, context: str, item: Shown | int) -> list[Json]:
    element = _element(ml, table)
    items = _context(ml, element, tag, context)
    if isinstance(item, int) and not isinstance(item, bool):
        if not -len(items) <= item < len(items):
            raise DerivaMLDataError(
                f"There is no item {item} in {context!r} of {_label(element)}: it has {len(items)} item(s)."
            )
        del items[item]
    else:
        wanted = plain(item)
        if wanted not in items:
            raise DerivaMLDataError(
                f"{wanted!r} is not in {context!r} of {_label(element)}.", allowed=[str(each) for each in items]
            )
        items.remove(wanted)
    return _store(ml, element, tag, context, items)


def _reordered(
    ml: HasDraft, table: str | Table, tag: str, context: str, new_order: Sequence[int] | Sequence[Json]
) -> list[Json]:
    element = _element(ml, table)
    items = _context(ml, element, tag, context)
    wanted = list(new_order)
    if all(isinstance(each, int) and not isinstance(each, bool) for each in wanted):
        if sorted(int(str(each)) for each in wanted) != list(range(len(items))):
            raise DerivaMLDataError(
                f"The new order of {context!r} of {_label(element)} must name each of its items once: "
                f"0 to {len(items) - 1}."
            )
        return _store(ml, element, tag, context, [items[int(str(each))] for each in wanted])
    given = [plain(each) for each in wanted]
    if sorted(map(repr, given)) != sorted(map(repr, items)):
        raise DerivaMLDataError(
            f"The new order of {context!r} of {_label(element)} must name each of its items once.",
            allowed=[str(each) for each in items],
        )
    return _store(ml, element, tag, context, given)


def add_visible_column(
    ml: HasDraft,
    table: str | Table,
    context: str,
    column: Shown,
    position: int | None = None,
) -> list[Json]:
    """Stage one more visible column.

    Args:
        ml: The catalog.
        table: The table.
        context: Where it is shown, such as ``compact``, ``detailed``, ``entry`` or ``*``.
        column: The column's name, a foreign key as ``(schema, constraint)``, or a pseudo-column.
        position: Before which of the columns; by default after all.

    Returns:
        The new list.
    """
    if isinstance(column, str):
        _element(ml, table, column)
    return _added(ml, table, VISIBLE_COLUMNS, context, column, position)


def remove_visible_column(ml: HasDraft, table: str | Table, context: str, column: Shown | int) -> list[Json]:
    """Stage that a column, named or counted from 0, is not shown; the new list.

    Raises:
        DerivaMLDataError: The context, or the column in it, is not there.
    """
    return _removed(ml, table, VISIBLE_COLUMNS, context, column)


def reorder_visible_columns(
    ml: HasDraft, table: str | Table, context: str, new_order: Sequence[int] | Sequence[Json]
) -> list[Json]:
    """Stage another order of the visible columns, given as their present places or as the columns; the new list.

    Raises:
        DerivaMLDataError: The context is not there, or the order does not name each column once.
    """
    return _reordered(ml, table, VISIBLE_COLUMNS, context, new_order)


def add_visible_foreign_key(
    ml: HasDraft,
    table: str | Table,
    context: str,
    foreign_key: Shown,
    position: int | None = None,
) -> list[Json]:
    """Stage one more related table.

    Args:
        ml: The catalog.
        table: The table.
        context: Where it is shown.
        foreign_key: The foreign key as ``(schema, constraint)``, or a pseudo-column.
        position: Before which of the foreign keys; by default after all.

    Returns:
        The new list.
    """
    return _added(ml, table, VISIBLE_FOREIGN_KEYS, context, foreign_key, position)


def remove_visible_foreign_key(ml: HasDraft, table: str | Table, context: str, foreign_key: Shown | int) -> list[Json]:
    """Stage that a related table, named or counted from 0, is not shown; the new list.

    Raises:
        DerivaMLDataError: The context, or the foreign key in it, is not there.
    """
    return _removed(ml, table, VISIBLE_FOREIGN_KEYS, context, foreign_key)


def reorder_visible_foreign_keys(
    ml: HasDraft, table: str | Table, context: str, new_order: Sequence[int] | Sequence[Json]
) -> list[Json]:
    """Stage another order of the related tables, given as their present places or as the foreign keys; the new list.

    Raises:
        DerivaMLDataError: The context is not there, or the order does not name each foreign key once.
    """
    return _reordered(ml, table, VISIBLE_FOREIGN_KEYS, context, new_order)
