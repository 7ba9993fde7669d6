"""The order in which tables can be filled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLCycleError, DerivaMLTableNotFound
from deriva_ml.ml import DerivaML
from deriva_ml.model import ForeignKeyOrderer
from deriva_ml.wire.model import ForeignKey, Model, Schema, Table


def _model(references: dict[int, set[int]]) -> Model:
    def table(at: int) -> Table:
        keys = [
            ForeignKey(f"F{at}-{to}", ("s", f"f{at}_{to}"), ("s", f"T{at}"), ("x",), ("s", f"T{to}"), ("RID",))
            for to in sorted(references[at])
        ]
        return Table(f"R{at}", "s", f"T{at}", (), (), tuple(keys))

    return Model("now", {"s": Schema("S", "s", {f"T{at}": table(at) for at in references})})


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, set[int]]:
    number = draw(st.integers(1, 7))
    return {at: draw(st.sets(st.integers(0, number - 1), max_size=3)) for at in range(number)}


def _reached(graph: dict[int, set[int]], start: int) -> set[int]:
    found: set[int] = set()
    front = list(graph[start])
    while front:
        at = front.pop()
        if at not in found:
            found.add(at)
            front += graph[at]
    return found


@given(graphs())
def test_each_table_comes_after_those_that_it_needs_unless_they_need_each_other(graph: dict[int, set[int]]) -> None:
    orderer = ForeignKeyOrderer(_model(graph), ["s"])
    order = [int(table.name[1:]) for table in orderer.get_insertion_order()]
    assert sorted(order) == sorted(graph)
    for at, needs in graph.items():
        for needed in needs - {at}:
            mutual = at in _reached(graph, needed)
            assert mutual or order.index(needed) < order.index(at)
    groups = [{int(table.name[1:]) for table in group} for group in orderer.find_cycles()]
    for at in graph:
        others = {other for other in _reached(graph, at) - {at} if at in _reached(graph, other)}
        assert next((group - {at} for group in groups if at in group), set()) == others
    wrong = orderer.validate_insertion_order(orderer.get_insertion_order())
    assert bool(wrong) <= bool(groups)
    if groups:
        with pytest.raises(DerivaMLCycleError):
            orderer.get_insertion_order(handle_cycles=False)
    else:
        assert orderer.get_deletion_order(handle_cycles=False) == orderer.get_insertion_order()[::-1]


def test_the_ml_schema_is_ordered_in_our_model_and_in_that_of_deriva(ml: DerivaML) -> None:
    ours = ForeignKeyOrderer(ml.session.model(), ["deriva-ml", "demo-schema"])
    theirs = ForeignKeyOrderer(ml.model, ["deriva-ml", "demo-schema"])
    names = [table.name for table in ours.get_insertion_order()]
    assert names == [table.name for table in theirs.get_insertion_order()]
    assert names.index("Workflow") < names.index("Execution")
    assert [[table.name for table in group] for group in ours.find_cycles()] == [["Dataset", "Dataset_Version"]]
    assert "Workflow" in {table.name for table in ours.get_dependencies("Execution")}
    assert "Execution" in {table.name for table in theirs.get_dependents("deriva-ml:Workflow")}
    some = ours.get_insertion_order(["Execution", "Workflow"])
    assert [table.name for table in some] == ["Workflow", "Execution"]
    assert [tuple(t.name for t in pair) for pair in ours.validate_insertion_order(some[::-1])] == [
        ("Execution", "Workflow")
    ]
    assert ours.validate_insertion_order(some) == []
    with pytest.raises(DerivaMLTableNotFound, match="Workflow"):
        ours.get_dependencies("Workflw")
