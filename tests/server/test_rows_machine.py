"""Rows against a model of them: a dict under inserts, upserts, updates and deletions with two keys and references."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from deriva_ml.core.codes import encode
from deriva_ml.server.errors import ServiceError

ids = st.integers(0, 5)
names = st.sampled_from(["", "a", "b", "é", "x y"])
sizes = st.none() | st.integers(-3, 3)
things = st.fixed_dictionaries({"id": ids, "name": names, "size": sizes})
batches = st.lists(things, max_size=4)


def repeated(rows: list[dict], keys: tuple[str, ...]) -> bool:
    return len({tuple(row[key] for key in keys) for row in rows}) < len(rows)


class Rows(RuleBasedStateMachine):
    """Things, named uniquely, and parts that belong to them: deleted with them, renumbered with them."""

    make: Callable[..., object]

    def __init__(self) -> None:
        super().__init__()
        make = self.make
        thing = make.table(
            "Thing",
            [
                make.column("id", "int4", nullok=False),
                make.column("name", "text", nullok=False),
                make.column("size", "int4"),
            ],
            [["id"], ["name"]],
        )
        part = make.table(
            "Part",
            [make.column("thing", "int4")],
            [],
            [make.reference(["thing"], "Thing", ["id"], on_delete="CASCADE", on_update="CASCADE")],
        )
        self.tables = make(thing, part)
        self.things: dict[int, dict] = {}
        self.parts: list[int | None] = []
        self.past: list[tuple[str, list[dict], list[int | None]]] = []

    def outcome(self, call, *args, **kwargs) -> tuple[int, list]:
        """The status and the rows of an answer."""
        try:
            answer = call(*args, **kwargs)
        except ServiceError as error:
            return error.status, []
        return 200, answer or []

    def clash(self, row: dict, stored: dict[int, dict]) -> bool:
        return row["id"] in stored or any(row["name"] == other["name"] for other in stored.values())

    @rule(rows=batches, skip=st.booleans())
    def insert(self, rows, skip):
        after, added, expected = dict(self.things), [], 200
        for row in rows:
            if not self.clash(row, after):
                after[row["id"]] = row
                added.append(row)
            elif not skip:
                expected = 409
        if repeated(rows, ("id", "name")):
            expected = 400
        status, answer = self.outcome(self.tables.post, "Thing", rows, on_conflict="skip" if skip else "abort")
        assert status == expected
        if expected == 200:
            assert [{key: row[key] for key in ("id", "name", "size")} for row in answer] == added
            self.things = after

    @rule(rows=batches)
    def upsert(self, rows):
        status, _ = self.outcome(self.tables.put, "/entity/S:Thing", rows)
        if repeated(rows, ("id", "name")):
            assert status == 400
            return
        assert status == 200
        matched = [row for row in rows if self.things.get(row["id"], {}).get("name") == row["name"]]
        for row in matched:
            self.things[row["id"]] = row
        for row in rows:
            if row not in matched and not self.clash(row, self.things):
                self.things[row["id"]] = row

    @rule(pairs=st.dictionaries(ids, sizes, max_size=4))
    def resize(self, pairs):
        rows = [{"id": key, "size": size} for key, size in pairs.items()]
        status, answer = self.outcome(self.tables.put, "/attributegroup/S:Thing/id;size", rows)
        assert status == 200
        assert answer == [row for row in rows if row["id"] in self.things]
        for row in answer:
            self.things[row["id"]] = {**self.things[row["id"]], "size": row["size"]}

    @rule(old=ids, new=ids)
    def renumber(self, old, new):
        status, _ = self.outcome(self.tables.put, "/attributegroup/S:Thing/o:=id;n:=id", [{"o": old, "n": new}])
        assert status == (409 if old in self.things and new != old and new in self.things else 200)
        if status == 200 and old in self.things:
            self.things[new] = {**self.things.pop(old), "id": new}
            self.parts = [new if part == old else part for part in self.parts]

    @rule(owners=st.lists(st.none() | ids, max_size=3))
    def add_parts(self, owners):
        status, _ = self.outcome(self.tables.post, "Part", [{"thing": owner} for owner in owners])
        assert status == (200 if {*owners} <= {None, *self.things} else 409)
        if status == 200:
            self.parts += owners

    @rule(limit=ids)
    def delete(self, limit):
        gone = {key for key in self.things if key >= limit}
        status, _ = self.outcome(self.tables.delete, f"/entity/S:Thing/id::geq::{limit}")
        assert status == (200 if gone else 404)
        self.things = {key: row for key, row in self.things.items() if key not in gone}
        self.parts = [part for part in self.parts if part not in gone]

    @rule()
    def forget_sizes(self):
        status, _ = self.outcome(self.tables.delete, "/attribute/S:Thing/size")
        assert status == (200 if self.things else 404)
        self.things = {key: {**row, "size": None} for key, row in self.things.items()}

    @rule()
    def remember(self):
        with self.tables.store.read() as view:
            moment = encode(view.snaptime)
        self.past.append((moment, self.sorted_things(), sorted(self.parts, key=str)))

    def sorted_things(self) -> list[dict]:
        return [self.things[key] for key in sorted(self.things)]

    def stored(self, moment: str | None = None) -> tuple[list[dict], list[int | None]]:
        found = self.tables.get("/attribute/S:Thing/id,name,size@sort(id)", moment)
        parts = [row["thing"] for row in self.tables.get("/attribute/S:Part/thing", moment)]
        return found, sorted(parts, key=str)

    @invariant()
    def the_tables_hold_what_the_model_holds(self):
        assert self.stored() == (self.sorted_things(), sorted(self.parts, key=str))

    def teardown(self):
        for moment, then, parts in self.past:
            assert self.stored(moment) == (then, parts)
        self.tables.store.close()


def test_rows_behave_as_a_dict_with_keys_and_keep_their_past(make):
    machine = type("Bound", (Rows,), {"make": make})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
