"""The rules of the walk, over a model alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dataset.project import DEMO, ML, documents

from deriva_ml.dataset.elements import elements
from deriva_ml.dataset.reach import Route, Walk
from deriva_ml.schema.create_schema import ml_schema_documents
from deriva_ml.wire.model import Model
from deriva_ml.wire.model_documents import model_from_document


@pytest.fixture(scope="module")
def model() -> Model:
    schemas: dict[str, Any] = {name: {"schema_name": name, "tables": {}} for name in (ML, DEMO)}
    for document in [*ml_schema_documents(), *documents()]:
        if "table_name" in document:
            schemas[str(document["schema_name"])]["tables"][document["table_name"]] = document
    return model_from_document({"snaptime": "2", "schemas": schemas})


def _routes(walk: Walk) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    front = [Route(walk.dataset)]
    while front:
        route = front.pop()
        found.append(tuple(edge.table.name for edge in route.edges))
        front.extend(walk.onward(route))
    return sorted(found)


def test_the_walk_follows_references_both_ways_and_ends_at_executions(model: Model) -> None:
    routes = _routes(Walk(model, ML, {DEMO}))
    assert ("Dataset_Image", "Image", "Subject") in routes
    assert ("Dataset_Subject", "Subject", "Image", "Execution_Image_Quality", "Execution") in routes
    assert ("Dataset_Image", "Image", "Image_Asset_Type") in routes
    assert ("Dataset_Execution", "Execution") in routes
    ends = [route for route in routes if "Execution" in route]
    assert all(route.index("Execution") == len(route) - 1 for route in ends)


def test_no_route_passes_a_table_twice_nesting_or_a_vocabulary_or_returns_to_datasets(model: Model) -> None:
    for route in _routes(Walk(model, ML, {DEMO})):
        assert len(set(route)) == len(route)
        assert not {"Dataset", "Dataset_Dataset", "Grade", "Asset_Type", "Feature_Name", "Workflow"} & set(route)
        assert not {"Dataset_Image", "Dataset_Subject", "Dataset_Version", "Dataset_File"} & set(route[1:])


@given(st.sets(st.sampled_from(["Image", "Subject", "Execution", "Dataset_Image", "Execution_Image_Quality"])))
def test_an_excluded_table_is_neither_entered_nor_passed(model: Model, excluded: set[str]) -> None:
    names = {(ML if name == "Execution" else DEMO, name) for name in excluded}
    everything = _routes(Walk(model, ML, {DEMO}))
    assert _routes(Walk(model, ML, {DEMO}, names)) == [route for route in everything if not excluded & set(route)]


def test_vocabularies_are_those_of_both_schemas(model: Model) -> None:
    names = {table.name for table in Walk(model, ML, {DEMO}, {(ML, "Asset_Role")}).vocabularies()}
    assert names == {"Feature_Name", "Asset_Type", "Workflow_Type", "Dataset_Type", "Grade"}


def test_elements_are_the_project_s_tables_datasets_and_files(model: Model) -> None:
    found = elements(model, ML, {DEMO})
    assert list(found) == [(DEMO, "Image"), (DEMO, "Subject"), (ML, "Dataset"), (ML, "File")]
    nested = found[(ML, "Dataset")]
    assert (nested.association.name, nested.holder, nested.member) == ("Dataset_Dataset", "Dataset", "Nested_Dataset")
    image = found[(DEMO, "Image")]
    assert (image.association.name, image.holder, image.member, image.key) == (
        "Dataset_Image",
        "Dataset",
        "Image",
        "RID",
    )
