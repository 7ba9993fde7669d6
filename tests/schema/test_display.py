"""Annotations are staged, read back as staged, and sent together."""

from __future__ import annotations

import pytest

from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLReadOnlyError
from deriva_ml.ml import DerivaML
from deriva_ml.schema.display import DISPLAY, VISIBLE_COLUMNS


class Built:
    """A builder of an annotation."""

    def to_dict(self) -> dict[str, object]:
        return {"name": "Built"}


@pytest.fixture
def subject(ml: DerivaML) -> str:
    ml.create_table(TableDefinition("Subject", [ColumnDefinition("Name", "text"), ColumnDefinition("Age", "int4")]))
    return "Subject"


def stored(ml: DerivaML, tag: str) -> object:
    return ml.session.catalog.model(refresh=True).schemas["demo-schema"].tables["Subject"].annotations.get(tag)


def test_nothing_reaches_the_catalog_before_it_is_applied(ml: DerivaML, subject: str) -> None:
    assert ml.set_display_annotation(subject, {"name": "Patients"}) == "Subject"
    assert ml.get_table_annotations(subject)["display"] == {"name": "Patients"}
    assert stored(ml, DISPLAY) is None
    assert ml.apply_annotations() == 1
    assert stored(ml, DISPLAY) == {"name": "Patients"}
    assert ml.apply_annotations() == 0


def test_none_removes_an_annotation(ml: DerivaML, subject: str) -> None:
    ml.set_table_display(subject, {"row_name": {"row_markdown_pattern": "{{{Name}}}"}})
    ml.apply_annotations()
    ml.set_table_display(subject, None)
    assert ml.get_table_annotations(subject)["table_display"] is None
    assert ml.apply_annotations() == 1
    assert ml.get_table_annotations(subject)["table_display"] is None


def test_a_column_is_annotated_by_name_and_a_builder_does(ml: DerivaML, subject: str) -> None:
    assert ml.set_display_annotation(subject, Built(), column_name="Name") == "Subject.Name"
    ml.set_column_display(subject, "Name", {"*": {"markdown_pattern": "x"}})
    ml.apply_annotations()
    found = ml.get_column_annotations(subject, "Name")
    assert found == {
        "table": "Subject",
        "schema": "demo-schema",
        "column": "Name",
        "display": {"name": "Built"},
        "column_display": {"*": {"markdown_pattern": "x"}},
    }


def test_a_column_that_is_not_there_is_named_with_its_neighbours(ml: DerivaML, subject: str) -> None:
    with pytest.raises(DerivaMLDataError, match=r"(?s)no column Nam\b.*Name"):
        ml.set_display_annotation(subject, {"name": "x"}, column_name="Nam")
    with pytest.raises(DerivaMLDataError, match="no column Nam"):
        ml.add_visible_column(subject, "compact", "Nam")


def test_lists_are_added_to_removed_from_and_reordered(ml: DerivaML, subject: str) -> None:
    assert ml.add_visible_column(subject, "compact", "Name") == ["Name"]
    assert ml.add_visible_column(subject, "compact", "Age") == ["Name", "Age"]
    assert ml.add_visible_column(subject, "compact", ("demo-schema", "fk"), position=0) == [
        ["demo-schema", "fk"],
        "Name",
        "Age",
    ]
    assert ml.reorder_visible_columns(subject, "compact", [2, 0, 1]) == ["Age", ["demo-schema", "fk"], "Name"]
    assert ml.remove_visible_column(subject, "compact", ("demo-schema", "fk")) == ["Age", "Name"]
    assert ml.remove_visible_column(subject, "compact", 0) == ["Name"]
    assert ml.reorder_visible_columns(subject, "compact", ["Name"]) == ["Name"]
    ml.apply_annotations()
    assert stored(ml, VISIBLE_COLUMNS) == {"compact": ["Name"]}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ml: ml.remove_visible_column("Subject", "detailed", "Name"), r"(?s)context 'detailed'.*compact"),
        (lambda ml: ml.remove_visible_column("Subject", "compact", "Age"), "'Age' is not in 'compact'"),
        (lambda ml: ml.remove_visible_column("Subject", "compact", 7), "no item 7"),
        (lambda ml: ml.reorder_visible_columns("Subject", "compact", [0, 0]), "each of its items once"),
        (lambda ml: ml.reorder_visible_columns("Subject", "compact", ["Age"]), "each of its items once"),
        (lambda ml: ml.remove_visible_foreign_key("Subject", "*", 0), "lists nothing"),
    ],
)
def test_what_is_not_in_a_list_is_an_error_and_the_list_stays(ml: DerivaML, subject: str, call, message) -> None:
    ml.add_visible_column(subject, "compact", "Name")
    with pytest.raises(DerivaMLDataError, match=message):
        call(ml)
    assert ml.get_table_annotations(subject)["visible_columns"] == {"compact": ["Name"]}


def test_foreign_keys_are_listed_in_both_directions(ml: DerivaML) -> None:
    found = ml.list_foreign_keys("Execution")
    assert [one["to_table"] for one in found["outbound"] if one["from_columns"] == ["Workflow"]] == [
        "deriva-ml:Workflow"
    ]
    assert "deriva-ml:Dataset_Execution" in {one["from_table"] for one in found["inbound"]}
    name = found["outbound"][0]["constraint_name"]
    assert ml.add_visible_foreign_key("Execution", "*", name) == [name]
    assert ml.reorder_visible_foreign_keys("Execution", "*", [0]) == [name]
    assert ml.remove_visible_foreign_key("Execution", "*", name) == []


def test_template_variables_name_columns_and_references(ml: DerivaML) -> None:
    found = ml.get_handlebars_template_variables("Execution")
    assert {"name": "Status", "type": "text", "template": "{{{Status}}}", "raw_template": "{{{_Status}}}"} in found[
        "columns"
    ]
    assert any(one["to_table"] == "deriva-ml:Workflow" for one in found["foreign_keys"])


def test_a_snapshot_takes_no_annotation(ml: DerivaML, subject: str) -> None:
    past = ml.catalog_snapshot(ml.session.catalog.latest_snaptime())
    with past, pytest.raises(DerivaMLReadOnlyError):
        past.set_display_annotation(subject, {"name": "x"})
