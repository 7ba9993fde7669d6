"""Builders of annotations: what they make is what the deriva package's own schemas of annotations allow."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deriva_ml.model
import deriva_ml.model.annotations as builders
from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition
from deriva_ml.core.exceptions import DerivaMLValidationError
from deriva_ml.ml import DerivaML
from deriva_ml.model.annotations import (
    CONTEXT_COMPACT_BRIEF,
    CONTEXT_DETAILED,
    CONTEXT_ENTRY_EDIT,
    Aggregate,
    ArrayUxMode,
    ColumnDisplay,
    ColumnDisplayOptions,
    Display,
    Facet,
    FacetRange,
    FacetUxMode,
    InboundFK,
    NameStyle,
    OutboundFK,
    PreFormat,
    PseudoColumn,
    PseudoColumnDisplay,
    SortKey,
    TableDisplay,
    TableDisplayOptions,
    TemplateEngine,
    VisibleColumns,
    VisibleForeignKeys,
    fk_constraint,
)


def schema(name: str) -> dict[str, Any]:
    content = pkgutil.get_data("deriva.core", f"schemas/{name}.schema.json")
    assert content is not None
    return json.loads(content)


SCHEMAS = {
    Display.tag: schema("display"),
    VisibleColumns.tag: schema("visible_columns"),
    VisibleForeignKeys.tag: schema("visible_foreign_keys"),
    TableDisplay.tag: schema("table_display"),
    ColumnDisplay.tag: schema("column_display"),
}


def valid(annotation: Any) -> dict[str, Any]:
    """The value of an annotation, which its schema allows and JSON keeps as it is."""
    value = annotation.to_dict()
    sources = schema("source_definitions")
    with pytest.warns(DeprecationWarning):
        resolver = jsonschema.RefResolver.from_schema(SCHEMAS[annotation.tag], store={sources["$id"]: sources})
    jsonschema.Draft7Validator(SCHEMAS[annotation.tag], resolver=resolver).validate(value)
    assert json.loads(json.dumps(value)) == value
    return value


def test_a_display_has_what_is_given_and_no_more() -> None:
    assert valid(Display(name="Patients")) == {"name": "Patients"}
    style = NameStyle(underline_space=True, title_case=False)
    full = Display(
        markdown_name="*P*",
        name_style=style,
        comment="Who.",
        show_null={"*": False, "compact": "none", "detailed": '"quoted"'},
        show_foreign_key_link={"compact": False},
    )
    assert valid(full) == {
        "markdown_name": "*P*",
        "name_style": {"underline_space": True, "title_case": False},
        "comment": "Who.",
        "show_null": {"*": False, "compact": '"none"', "detailed": '"quoted"'},
        "show_foreign_key_link": {"compact": False},
    }


def test_columns_are_listed_by_context() -> None:
    column = PseudoColumn(
        source=[OutboundFK("s", "fk"), {"inbound": ["s", "other"]}, "Name"],
        markdown_name="N",
        comment=False,
        entity=True,
        aggregate=Aggregate.ARRAY_D,
        display=PseudoColumnDisplay(
            markdown_pattern="{{x}}",
            template_engine=TemplateEngine.HANDLEBARS,
            wait_for=["a"],
            column_order=[SortKey("Name", descending=True), "RID"],
            show_foreign_key_link=False,
            array_ux_mode=ArrayUxMode.CSV,
        ),
        array_options={"order": [SortKey("Name")], "max_length": 3},
    )
    built = (
        VisibleColumns({CONTEXT_COMPACT_BRIEF: ["RID"]})
        .compact(["RID", fk_constraint("s", "fk"), ("s", "fk2"), column])
        .default("compact")
        .detailed(name for name in ("RID", "Name"))
        .entry(["Name"])
        .export([])
        .set_context(CONTEXT_ENTRY_EDIT, [{"sourcekey": "x"}])
        .facets([Facet(source="Name", open=True), {"source": "Age"}])
    )
    value = valid(built)
    assert value["*"] == "compact"
    assert value["compact"][:3] == ["RID", ["s", "fk"], ["s", "fk2"]]
    assert value["compact"][3] == {
        "source": [{"outbound": ["s", "fk"]}, {"inbound": ["s", "other"]}, "Name"],
        "markdown_name": "N",
        "comment": False,
        "entity": True,
        "aggregate": "array_d",
        "display": {
            "markdown_pattern": "{{x}}",
            "template_engine": "handlebars",
            "wait_for": ["a"],
            "column_order": [{"column": "Name", "descending": True}, "RID"],
            "show_foreign_key_link": False,
            "array_ux_mode": "csv",
        },
        "array_options": {"order": [{"column": "Name"}], "max_length": 3},
    }
    assert value["filter"] == {"and": [{"source": "Name", "open": True}, {"source": "Age"}]}
    assert (value["detailed"], value["export"], value["compact/brief"]) == (["RID", "Name"], [], ["RID"])


def test_facets_and_related_tables_have_the_form_of_annotations() -> None:
    facet = Facet(
        source=[InboundFK("s", "fk"), "Age"],
        markdown_name="Age",
        comment="c",
        entity=False,
        open=False,
        ux_mode=FacetUxMode.RANGES,
        bar_plot=True,
        choices=["a", 1, None],
        ranges=[FacetRange(min=0, max=1.5, max_exclusive=True), FacetRange(max=3)],
        not_null=True,
        hide_null_choice=True,
        hide_not_null_choice=False,
        n_bins=10,
    )
    value = valid(VisibleColumns().facets([facet, Facet(sourcekey="x", not_null=False)]))
    assert value["filter"]["and"][0]["ranges"] == [{"min": 0, "max": 1.5, "max_exclusive": True}, {"max": 3}]
    assert value["filter"]["and"][1] == {"sourcekey": "x"}
    related = PseudoColumn(source=[InboundFK("s", "fk"), "RID"], markdown_name="Images")
    assert valid(VisibleForeignKeys().default([("s", "fk"), related]).detailed("*")) == {
        "*": [["s", "fk"], {"source": [{"inbound": ["s", "fk"]}, "RID"], "markdown_name": "Images"}],
        "detailed": "*",
    }


def test_rows_and_values_are_shown_by_context() -> None:
    options = TableDisplayOptions(
        row_order=[SortKey("Name"), "RID"], page_size=50, row_markdown_pattern="x", template_engine="mustache"
    )
    table = TableDisplay().row_name("{{{Name}}}").compact(options).detailed({"collapse_toc_panel": True})
    assert valid(table.set_context("row_name/compact", {"row_markdown_pattern": "y"}).default(None)) == {
        "row_name": {"row_markdown_pattern": "{{{Name}}}"},
        "compact": {
            "row_order": [{"column": "Name"}, "RID"],
            "page_size": 50,
            "row_markdown_pattern": "x",
            "template_engine": "mustache",
        },
        "detailed": {"collapse_toc_panel": True},
        "row_name/compact": {"row_markdown_pattern": "y"},
        "*": None,
    }
    column = ColumnDisplay().default(ColumnDisplayOptions(pre_format=PreFormat("%.2f"), column_order=False))
    column.compact({"markdown_pattern": "**{{{Name}}}**"}).entry("compact")
    assert valid(column) == {
        "*": {"pre_format": {"format": "%.2f"}, "column_order": False},
        "compact": {"markdown_pattern": "**{{{Name}}}**"},
        "entry": "compact",
    }


WRONG: dict[str, Callable[[], Any]] = {
    "name and markdown_name exclude": lambda: Display(name="a", markdown_name="b"),
    "no context 'compakt'(?s:.*)allowed: compact": lambda: Display(show_null={"compakt": True}),
    "show_null is 3 for": lambda: Display(show_null={"*": 3}),  # type: ignore[dict-item]
    "show_foreign_key_link is 'no'": lambda: Display(show_foreign_key_link={"*": "no"}),  # type: ignore[dict-item]
    "name is 5, not text": lambda: Display(name=5),  # type: ignore[arg-type]
    "title_case is 'yes', not true or false": lambda: NameStyle(title_case="yes"),  # type: ignore[arg-type]
    "the schema is ''": lambda: fk_constraint("", "fk"),
    "the constraint is None": lambda: InboundFK("s", None),  # type: ignore[arg-type]
    "source and sourcekey exclude": lambda: PseudoColumn(source="a", sourcekey="b"),
    "needs a source or a sourcekey; or": lambda: PseudoColumn(markdown_name="a"),
    "aggregate is 'count'(?s:.*)allowed: cnt": lambda: PseudoColumn(source="a", aggregate="count"),
    "entity is said where 'k'": lambda: PseudoColumn(sourcekey="k", entity=True),
    "comment is true": lambda: PseudoColumn(source="a", comment=True),
    "path that ends in one": lambda: PseudoColumn(source=[OutboundFK("s", "fk")]),
    "no step of a path": lambda: PseudoColumn(source=["a", "b"]),
    "source is 3": lambda: Facet(source=3),  # type: ignore[arg-type]
    "Facet: it needs a source": lambda: Facet(markdown_name="a"),
    "ux_mode is 'slider'(?s:.*)choices": lambda: Facet(source="a", ux_mode="slider"),
    "n_bins is 0": lambda: Facet(source="a", n_bins=0),
    "n_bins is True": lambda: Facet(source="a", n_bins=True),
    "it needs min, max": lambda: FacetRange(),
    "min_exclusive says": lambda: FacetRange(max=1, min_exclusive=True),
    "greater than max": lambda: FacetRange(min=2, max=1),
    "SortKey: column is empty": lambda: SortKey(""),
    "row_order is 'Name'": lambda: TableDisplayOptions(row_order="Name"),
    "3 in row_order": lambda: TableDisplayOptions(row_order=[3]),  # type: ignore[list-item]
    "page_size is 0": lambda: TableDisplayOptions(page_size=0),
    "template_engine says how": lambda: ColumnDisplayOptions(template_engine="mustache"),
    "template_engine is 'jinja'(?s:.*)handlebars": lambda: TableDisplay().row_name("x", "jinja"),
    "no option 'page_sice'(?s:.*)page_size": lambda: TableDisplay().compact({"page_sice": 5}),
    "'compact' is 3(?s:.*)TableDisplayOptions": lambda: TableDisplay().compact(3),
    "no context 'entri'(?s:.*)entry": lambda: ColumnDisplay({"entri": {}}),
    "as 'copmact'": lambda: VisibleColumns().default("copmact"),
    "as 'compact', which": lambda: VisibleColumns().compact("compact"),
    "3 cannot be listed(?s:.*)name of a column": lambda: VisibleColumns().compact(["RID", 3]),
    "'' cannot be listed": lambda: VisibleColumns().compact([""]),
    "is {'RID': 1}, not a list": lambda: VisibleColumns().compact({"RID": 1}),
    "not a list of Facets": lambda: VisibleColumns().facets(["Name"]),  # type: ignore[list-item]
    "'Name' cannot be listed": lambda: VisibleForeignKeys().detailed(["Name"]),
    "no context 'compact'": lambda: VisibleForeignKeys().set_context("compact", []),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_makes_no_sense_is_refused_when_it_is_made(message: str) -> None:
    with pytest.raises(DerivaMLValidationError, match=message):
        WRONG[message]()


@given(st.lists(st.one_of(st.text(min_size=1), st.tuples(st.text(min_size=1), st.text(min_size=1)))))
def test_any_names_make_a_valid_list(items: list[Any]) -> None:
    assert valid(VisibleColumns().compact(items))["compact"] == [
        list(item) if isinstance(item, tuple) else item for item in items
    ]


def test_the_catalog_takes_builders_as_well_as_dictionaries(ml: DerivaML) -> None:
    ml.create_table(TableDefinition("Subject", [ColumnDefinition("Name", "text"), ColumnDefinition("Age", "int4")]))
    columns = VisibleColumns().compact(["RID", "Name"])
    assert ml.set_visible_columns("Subject", columns) == "Subject"
    ml.set_display_annotation("Subject", Display(name="Patients"))
    ml.set_display_annotation("Subject", Display(name="Full name"), column_name="Name")
    ml.set_table_display("Subject", TableDisplay().row_name("{{{Name}}}"))
    ml.set_column_display("Subject", "Age", ColumnDisplay().default(ColumnDisplayOptions(pre_format=PreFormat("%d"))))
    ml.set_visible_foreign_keys("Subject", {CONTEXT_DETAILED: [PseudoColumn(sourcekey="k")]})  # type: ignore[dict-item]
    ml.add_visible_column("Subject", "compact", PseudoColumn(source="Age", markdown_name="Years"))
    assert ml.apply_annotations() == 6
    found = ml.session.catalog.model(refresh=True).schemas["demo-schema"].tables["Subject"]
    assert found.annotations == {
        VisibleColumns.tag: {"compact": ["RID", "Name", {"source": "Age", "markdown_name": "Years"}]},
        Display.tag: {"name": "Patients"},
        TableDisplay.tag: {"row_name": {"row_markdown_pattern": "{{{Name}}}"}},
        VisibleForeignKeys.tag: {"detailed": [{"sourcekey": "k"}]},
    }
    named, aged = found.columns_by_name["Name"], found.columns_by_name["Age"]
    assert named.annotations == {Display.tag: {"name": "Full name"}}
    assert aged.annotations == {ColumnDisplay.tag: {"*": {"pre_format": {"format": "%d"}}}}
    assert ml.remove_visible_column("Subject", "compact", PseudoColumn(source="Age", markdown_name="Years")) == [
        "RID",
        "Name",
    ]


def test_a_builder_of_another_annotation_is_refused(ml: DerivaML) -> None:
    with pytest.raises(DerivaMLValidationError, match=r"A Display makes the annotation .*:display, not .*columns"):
        ml.set_visible_columns("Dataset", Display(name="x"))
    with pytest.raises(DerivaMLValidationError, match=r"(?s)Not the value of an annotation: 'x'.*dictionary"):
        ml.set_visible_columns("Dataset", "x")  # type: ignore[arg-type]
    assert ml.apply_annotations() == 0


def test_what_a_builder_gave_does_not_change_with_it() -> None:
    built = VisibleColumns().compact(["RID"])
    first = built.to_dict()
    built.compact(["Name"])
    assert (first, built.to_dict()) == ({"compact": ["RID"]}, {"compact": ["Name"]})
    assert built == VisibleColumns().compact(["Name"])
    assert built != TableDisplay()


def test_the_names_of_the_builders_are_there_in_the_room_too() -> None:
    for name in builders.__all__:
        if not name.startswith("CONTEXT_"):
            assert getattr(deriva_ml.model, name) is getattr(builders, name)


def test_handles_of_the_deriva_package_are_said_to_be_missing_where_they_are() -> None:
    code = "try:\n import deriva.core.model_handles\nexcept ImportError:\n print('none')"
    has_none = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    if has_none:
        with pytest.raises(ImportError, match=r"TableHandle is a class of the deriva package, and deriva \d+\.\d+"):
            from deriva_ml.model import TableHandle
    else:
        from deriva_ml.model import TableHandle

        assert TableHandle.__module__.startswith("deriva.")
