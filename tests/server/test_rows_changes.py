"""Rows that change: upserts, updates by keys, deletions, and what foreign keys make of them."""

from __future__ import annotations

import pytest

from deriva_ml.core.codes import encode
from deriva_ml.server import rows
from deriva_ml.server.errors import ServiceError
from deriva_ml.wire.path import parse_path

ACTIONS = ("NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT")


def status(call, *args) -> int:
    """The status of the refusal of a request."""
    with pytest.raises(ServiceError) as caught:
        call(*args)
    return caught.value.status


@pytest.fixture
def pairs(make):
    """A table with two keys and a table of references to it."""
    thing = make.table(
        "Thing",
        [
            make.column("id", "int4", nullok=False),
            make.column("name", "text", nullok=False),
            make.column("size", "int4"),
            make.column("tags", "text[]"),
            make.column("note", "text", nullok=True, default="dd"),
        ],
        [["id"], ["name"]],
    )
    tables = make(thing)
    tables.post("Thing", [{"id": n, "name": f"n{n}", "size": n % 2, "tags": ["t"], "note": "x"} for n in range(1, 6)])
    return tables


def values(tables, *columns):
    return [tuple(row.values()) for row in tables.get(f"/attribute/S:Thing/{','.join(columns)}@sort({columns[0]})")]


class TestUpsert:
    def test_rows_that_agree_in_all_keys_are_rewritten_whole(self, pairs):
        answer = pairs.put("/entity/S:Thing", [{"id": 1, "name": "n1", "size": 9}])
        assert answer == [{"id": 1, "name": "n1", "size": 9, "tags": [], "note": None}]
        assert values(pairs, "id", "size", "note")[0] == (1, 9, None)

    def test_rows_that_agree_in_none_are_inserted_with_system_columns(self, pairs):
        answer = pairs.put("/entity/S:Thing", [{"id": 9, "name": "n9"}, {"id": 2, "name": "n2"}])
        assert [row["id"] for row in answer] == [2, 9]
        assert "RID" not in answer[0]
        assert answer[1]["RCB"] == "tester"

    def test_rows_that_agree_in_some_are_left_out(self, pairs):
        assert pairs.put("/entity/S:Thing", [{"id": 1, "name": "other"}, {"id": 8, "name": "n2"}]) == []
        assert len(values(pairs, "id")) == 5

    def test_repeated_keys_and_missing_ones_are_refused(self, pairs):
        assert status(pairs.put, "/entity/S:Thing", [{"id": 1, "name": "n1"}] * 2) == 400
        assert status(pairs.put, "/entity/S:Thing", [{"id": 1}]) == 409

    def test_a_table_without_a_key_of_its_own_cannot_be_matched(self, make):
        tables = make(make.table("Bare", [make.column("x", "text")]))
        assert status(tables.put, "/entity/S:Bare", [{"x": "1"}]) == 409

    def test_a_null_in_a_key_matches_a_null(self, make):
        columns = [make.column("a", "text"), make.column("b", "text"), make.column("v", "int4")]
        tables = make(make.table("Pair", columns, [["a", "b"]]))
        tables.post("Pair", [{"a": "x", "b": None, "v": 1}])
        assert tables.put("/entity/S:Pair", [{"a": "x", "b": None, "v": 2}]) == [{"a": "x", "b": None, "v": 2}]
        assert len(tables.get("/entity/S:Pair")) == 1


class TestUpdate:
    def test_every_row_that_matches_is_written_and_told(self, pairs):
        answer = pairs.put("/attributegroup/S:Thing/size;note", [{"size": 1, "note": "odd"}])
        assert answer == [{"size": 1, "note": "odd"}] * 3
        assert values(pairs, "id", "note") == [(1, "odd"), (2, "x"), (3, "odd"), (4, "x"), (5, "odd")]

    def test_only_modification_columns_change_beside_the_targets(self, pairs):
        before = pairs.get("/entity/S:Thing/id=1")[0]
        pairs.put("/attributegroup/S:Thing/id;size", [{"id": 1, "size": before["size"]}])
        after = pairs.get("/entity/S:Thing/id=1")[0]
        assert after["RMT"] > before["RMT"]
        assert {k: v for k, v in after.items() if k != "RMT"} == {k: v for k, v in before.items() if k != "RMT"}

    def test_a_key_is_renamed_through_two_names(self, pairs):
        assert pairs.put("/attributegroup/S:Thing/o:=name;n:=name", [{"o": "n1", "n": "m1"}]) == [
            {"o": "n1", "n": "m1"}
        ]
        assert values(pairs, "id", "name")[0] == (1, "m1")

    def test_rows_without_a_match_are_dropped_and_missing_targets_are_null(self, pairs):
        assert pairs.put("/attributegroup/S:Thing/id;size", [{"id": 77, "size": 1}, {"id": 2}]) == [
            {"id": 2, "size": None}
        ]

    def test_several_columns_together_find_rows_nulls_too(self, pairs):
        pairs.put("/attributegroup/S:Thing/id;size", [{"id": 4}])
        answer = pairs.put("/attributegroup/S:Thing/size,name;note", [{"size": None, "name": "n4", "note": "found"}])
        assert answer == [{"size": None, "name": "n4", "note": "found"}]

    @pytest.mark.parametrize(
        ("target", "body", "expected"),
        [
            ("id;RMT", [{"id": 1, "RMT": "2001-01-01"}], 403),
            ("id;id", [{"id": 1}], 409),
            ("id;nosuch", [{"id": 1}], 409),
            ("id;cnt(size)", [{"id": 1}], 400),
            ("id;size", [{"size": 1}], 409),
            ("id;size", [{"id": 1}, {"id": 1}], 400),
            ("id;name", [{"id": 1, "name": "n2"}], 409),
            ("id;name", [{"id": 1}], 409),
            ("id", [{"id": 1}], 400),
        ],
    )
    def test_what_cannot_be_written_is_refused(self, pairs, target, body, expected):
        before = pairs.get("/entity/S:Thing@sort(id)")
        assert status(pairs.put, f"/attributegroup/S:Thing/{target}", body) == expected
        assert pairs.get("/entity/S:Thing@sort(id)") == before

    def test_a_column_is_written_once(self, make):
        tables = make(make.table("T", [make.column("a", "text"), make.column("b", "text")]))
        tables.post("T", [{"a": "x"}])
        with pytest.raises(ServiceError) as error:
            tables.put("/attributegroup/S:T/a;v:=b,w:=b", [{"a": "x", "v": "1", "w": "2"}])
        assert error.value.status == 409
        assert tables.get("/attribute/S:T/b") == [{"b": None}]

    @pytest.mark.parametrize(
        ("typename", "stored", "given"), [("jsonb", {"a": 2.0}, {"a": 2}), ("interval", "24:00:00", "1 day")]
    )
    def test_rows_are_found_by_what_is_level(self, make, typename, stored, given):
        tables = make(make.table("T", [make.column("a", typename), make.column("b", "text")]))
        tables.post("T", [{"a": stored}])
        assert tables.put("/attributegroup/S:T/o:=a;b", [{"o": given, "b": "found"}]) == [{"o": given, "b": "found"}]

    def test_rows_are_found_by_infinities_beside_texts_of_that_name(self, make):
        tables = make(make.table("T", [make.column(n, t) for n, t in (("f", "float8"), ("t", "text"), ("n", "int4"))]))
        rows = [{"f": f, "t": t, "n": 0} for f in ("Infinity", "-Infinity", 1.5) for t in ("Infinity", "9e999")]
        tables.post("T", rows)
        assert len(tables.put("/attributegroup/S:T/f,t;n", [{**row, "n": 1} for row in rows])) == 6
        assert tables.get("/aggregate/S:T/n=1/c:=cnt(*)") == [{"c": 6}]


class TestDelete:
    def test_rows_of_the_path_go(self, pairs):
        pairs.delete("/entity/S:Thing/id::gt::3")
        assert values(pairs, "id") == [(1,), (2,), (3,)]

    def test_nothing_to_delete_is_not_found(self, pairs):
        assert status(pairs.delete, "/entity/S:Thing/id=99") == 404
        assert status(pairs.delete, "/attribute/S:Thing/id=99/size") == 404

    def test_values_become_null_even_where_there_is_a_default(self, pairs):
        pairs.delete("/attribute/S:Thing/id=1/note,x:=size")
        assert values(pairs, "id", "note", "size")[0] == (1, None, None)

    @pytest.mark.parametrize(("column", "expected"), [("id", 409), ("RMT", 403), ("nosuch", 409)])
    def test_values_that_must_stay_stay(self, pairs, column, expected):
        assert status(pairs.delete, f"/attribute/S:Thing/{column}") == expected

    def test_snapshots_keep_what_was_deleted(self, pairs):
        with pairs.store.read() as view:
            moment = view.snaptime
        pairs.delete("/entity/S:Thing/id=1")
        pairs.put("/attributegroup/S:Thing/id;size", [{"id": 2, "size": 70}])
        then = pairs.get("/attribute/S:Thing/id,size@sort(id)", encode(moment))
        assert then[:2] == [{"id": 1, "size": 1}, {"id": 2, "size": 0}]


@pytest.fixture
def family(make):
    """Makes a parent and a child whose foreign key has the given actions; three parents, two children of each."""

    def build(on_delete: str = "NO ACTION", on_update: str = "NO ACTION"):
        parent = make.table("Parent", [make.column("k", "text", nullok=False)], [["k"]])
        child = make.table(
            "Child",
            [make.column("n", "int4"), make.column("p", "text", default="p0")],
            [["n"]],
            [make.reference(["p"], "Parent", ["k"], on_delete=on_delete, on_update=on_update)],
        )
        tables = make(parent, child)
        tables.post("Parent", [{"k": f"p{n}"} for n in range(3)])
        tables.post("Child", [{"n": n, "p": f"p{n % 3}"} for n in range(6)])
        return tables

    return build


def children(tables):
    return [(row["n"], row["p"]) for row in tables.get("/attribute/S:Child/n,p@sort(n)")]


class TestReferences:
    def test_a_reference_to_nothing_is_refused(self, family):
        tables = family()
        with pytest.raises(ServiceError) as caught:
            tables.post("Child", [{"n": 9, "p": "p1"}, {"n": 10, "p": "none"}])
        assert 'violates foreign key constraint "Child_p_fkey"' in caught.value.detail
        assert 'Key (p)=(none) is not present in table "Parent".' in caught.value.detail
        assert status(tables.put, "/attributegroup/S:Child/n;p", [{"n": 1, "p": "none"}]) == 409
        assert len(children(tables)) == 6

    def test_null_refers_to_nothing(self, family):
        assert family().post("Child", [{"n": 9, "p": None}])[0]["p"] is None

    @pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT"])
    def test_a_row_that_is_referred_to_stays(self, family, action):
        tables = family(on_delete=action, on_update=action)
        with pytest.raises(ServiceError) as caught:
            tables.delete("/entity/S:Parent/k=p1")
        assert 'Key (k)=(p1) is still referenced from table "Child".' in caught.value.detail
        assert status(tables.put, "/attributegroup/S:Parent/o:=k;n:=k", [{"o": "p1", "n": "q"}]) == 409
        tables.delete("/entity/S:Child/p=p1")
        tables.delete("/entity/S:Parent/k=p1")

    def test_cascade_takes_the_rows_along(self, family):
        tables = family(on_delete="CASCADE", on_update="CASCADE")
        tables.delete("/entity/S:Parent/k=p1")
        assert [n for n, _ in children(tables)] == [0, 2, 3, 5]
        tables.put("/attributegroup/S:Parent/o:=k;n:=k", [{"o": "p2", "n": "q2"}, {"o": "p0", "n": "q0"}])
        assert children(tables) == [(0, "q0"), (2, "q2"), (3, "q0"), (5, "q2")]

    @pytest.mark.parametrize(("action", "left"), [("SET NULL", None), ("SET DEFAULT", "p0")])
    def test_the_reference_is_reset_and_the_row_counts_as_modified(self, family, action, left):
        tables = family(on_delete=action, on_update=action)
        before = {row["n"]: row for row in tables.get("/entity/S:Child")}
        tables.delete("/entity/S:Parent/k=p1")
        tables.put("/attributegroup/S:Parent/o:=k;n:=k", [{"o": "p2", "n": "q2"}])
        after = {row["n"]: row for row in tables.get("/entity/S:Child")}
        assert {n for n, row in after.items() if row["RMT"] > before[n]["RMT"]} == {1, 2, 4, 5}
        assert [after[n]["p"] for n in (1, 2, 4, 5)] == [left] * 4
        assert after[0] == before[0]

    def test_a_default_that_refers_to_nothing_is_refused(self, family):
        tables = family(on_delete="SET DEFAULT")
        assert status(tables.delete, "/entity/S:Parent/k=p0") == 409

    def test_rows_of_one_request_may_refer_to_each_other(self, make):
        node = make.table(
            "Node",
            [make.column("k", "text", nullok=False), make.column("up", "text")],
            [["k"]],
            [make.reference(["up"], "Node", ["k"], on_delete="CASCADE")],
        )
        tables = make(node)
        tables.post(
            "Node", [{"k": "a", "up": "b"}, {"k": "b", "up": "c"}, {"k": "c", "up": "a"}, {"k": "d", "up": None}]
        )
        tables.delete("/entity/S:Node/k=b")
        assert [row["k"] for row in tables.get("/entity/S:Node")] == ["d"]

    def test_rows_that_refer_to_each_other_go_together(self, make):
        node = make.table(
            "Node",
            [make.column("k", "text", nullok=False), make.column("up", "text")],
            [["k"]],
            [make.reference(["up"], "Node", ["k"])],
        )
        tables = make(node)
        tables.post("Node", [{"k": "a", "up": "b"}, {"k": "b", "up": "a"}])
        assert status(tables.delete, "/entity/S:Node/k=a") == 409
        tables.delete("/entity/S:Node")
        assert tables.get("/entity/S:Node") == []

    def test_cascades_go_through_several_tables_and_end_in_a_refusal(self, make):
        a = make.table("A", [make.column("k", "int4", nullok=False)], [["k"]])
        b = make.table(
            "B",
            [make.column("k", "int4", nullok=False), make.column("a", "int4")],
            [["k"]],
            [make.reference(["a"], "A", ["k"], on_delete="CASCADE")],
        )
        c = make.table("C", [make.column("b", "int4")], [], [make.reference(["b"], "B", ["k"])])
        tables = make(a, b, c)
        tables.post("A", [{"k": 1}])
        tables.post("B", [{"k": 1, "a": 1}, {"k": 2, "a": 1}])
        tables.post("C", [{"b": 2}])
        assert status(tables.delete, "/entity/S:A") == 409
        assert [len(tables.get(f"/entity/S:{name}")) for name in "ABC"] == [1, 2, 1]
        tables.delete("/entity/S:C")
        tables.delete("/entity/S:A")
        assert tables.get("/entity/S:B") == []

    def test_references_of_two_columns_are_checked_and_followed_together(self, make):
        parent = make.table("Parent", [make.column("x", "int4"), make.column("y", "text")], [["x", "y"]])
        child = make.table(
            "Child",
            [make.column("n", "int4"), make.column("cx", "int4"), make.column("cy", "text")],
            [],
            [make.reference(["cy", "cx"], "Parent", ["y", "x"], on_update="CASCADE")],
        )
        tables = make(parent, child)
        tables.post("Parent", [{"x": 1, "y": "a"}, {"x": 2, "y": "a"}])
        tables.post("Child", [{"n": 1, "cx": 1, "cy": "a"}, {"n": 2, "cx": 7, "cy": None}])
        assert status(tables.post, "Child", [{"n": 3, "cx": 1, "cy": "b"}]) == 409
        assert status(tables.put, "/attributegroup/S:Child/n;cx", [{"n": 1, "cx": 3}]) == 409
        tables.put("/attributegroup/S:Parent/x;y", [{"x": 1, "y": "z"}])
        assert tables.get("/attribute/S:Child/n,cx,cy@sort(n)")[0] == {"n": 1, "cx": 1, "cy": "z"}

    def test_the_number_of_statements_does_not_grow_with_the_rows(self, family):
        counts = []
        for parents in (10, 200):
            tables = family(on_delete="CASCADE")
            tables.post("Parent", [{"k": f"m{n}"} for n in range(parents)])
            tables.post("Child", [{"n": 100 + n, "p": f"m{n}"} for n in range(parents)])
            # A trigger's steps are traced as the statement that set them off, so each statement counts once.
            seen: set[str] = set()
            with tables.store.write(tables.client) as tx:
                tx.connection.set_trace_callback(seen.add)
                rows.delete(tx, parse_path("/entity/S:Parent/k::gt::m"))
                tx.connection.set_trace_callback(None)
            counts.append(len(seen))
        assert counts[0] == counts[1]
