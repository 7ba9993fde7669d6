"""Rows through data paths: reading in each form, inserting, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deriva_ml.server import rows
from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.errors import ServiceError
from deriva_ml.wire.http import Client
from deriva_ml.wire.path import parse_path

OWNER = Client("tester", roles=frozenset({LOCAL_ROLE}))
SYSTEM = {"RID", "RCT", "RMT", "RCB", "RMB"}


def own(answer: list[dict]) -> list[dict]:
    """Rows without their system columns."""
    return [{name: value for name, value in row.items() if name not in SYSTEM} for row in answer]


def refused(call, *args, **kwargs) -> ServiceError:
    """The refusal of a request, which must have left nothing."""
    with pytest.raises(ServiceError) as caught:
        call(*args, **kwargs)
    return caught.value


@pytest.fixture
def pairs(make):
    """A table of pairs, two vocabulary tables around it."""
    things = make.table(
        "Thing",
        [
            make.column("id", "int4", nullok=False),
            make.column("name", "text", nullok=False),
            make.column("tags", "text[]"),
            make.column("meta", "jsonb"),
            make.column("dflt", "text", default="dd"),
        ],
        [["id"], ["name"]],
    )
    return make(things)


def test_inserted_rows_come_back_in_input_order_with_all_columns(pairs):
    answer = pairs.post("Thing", [{"id": 3, "name": "c"}, {"id": 1, "name": "a", "zzz": 1}])
    assert own(answer) == [
        {"id": 3, "name": "c", "tags": [], "meta": None, "dflt": None},
        {"id": 1, "name": "a", "tags": [], "meta": None, "dflt": None},
    ]
    assert {row["RCB"] for row in answer} == {"tester"}
    assert len({row["RCT"] for row in answer} | {row["RMT"] for row in answer}) == 1
    assert pairs.get("/entity/S:Thing@sort(RID)") == answer


def test_a_null_list_is_null_and_a_missing_one_is_empty(pairs):
    assert pairs.post("Thing", [{"id": 1, "name": "a", "tags": None}])[0]["tags"] is None


def test_a_json_null_is_a_value_and_a_missing_member_is_not(pairs):
    pairs.post("Thing", [{"id": 1, "name": "a", "meta": None}, {"id": 2, "name": "b"}])
    assert [row["id"] for row in pairs.get("/entity/S:Thing/meta::null::")] == [2]
    assert pairs.csv("/attribute/S:Thing/id,meta@sort(id)") == "id,meta\n1,null\n2,\n"


@pytest.mark.parametrize(
    ("name", "meta"), [("2.50", "null"), ('"a"', '{"x":1.10}'), ('"a"', "1.10"), ("2.50", "[1.10]")]
)
def test_fractions_keep_their_digits_wherever_a_row_holds_them(pairs, name, meta):
    pairs.post("Thing", f'[{{"id": 1, "name": "b"}}, {{"id": 2, "name": {name}, "meta": {meta}}}]')
    sent = pairs.csv("/attribute/S:Thing/id=2/name,meta").splitlines()[1].replace('"', "").replace(" ", "")
    assert sent == f"{name},{meta}".replace('"', "")


def test_defaults_apply_only_where_they_are_asked_for(pairs):
    assert pairs.post("Thing", [{"id": 1, "name": "a", "dflt": "x"}], defaults=["dflt"])[0]["dflt"] == "dd"
    assert pairs.post("Thing", [{"id": 2, "name": "b", "dflt": "x"}])[0]["dflt"] == "x"


def test_system_columns_in_the_input_are_ignored(pairs):
    row = pairs.post("Thing", [{"id": 1, "name": "a", "RID": "mine", "RCB": "me", "RCT": "2001-01-01"}])[0]
    assert row["RID"] != "mine"
    assert row["RCB"] == "tester"
    assert row["RCT"] == row["RMT"]


def test_nondefaults_take_system_columns_from_the_input_and_move_the_sequence(pairs):
    given = {"id": 1, "name": "a", "RID": "9-ZZZZ", "RCB": "me", "RCT": "2001-01-01T00:00:00+00:00", "RMB": "me"}
    row = pairs.post("Thing", [given], nondefaults=["RID", "RCT", "RCB"])[0]
    assert (row["RID"], row["RCB"], row["RCT"]) == ("9-ZZZZ", "me", "2001-01-01T00:00:00+00:00")
    assert row["RMB"] == "tester"
    assert pairs.post("Thing", [{"id": 2, "name": "b"}])[0]["RID"] == "A-0000"


@pytest.mark.parametrize("name", ["RMT", "RMB"])
def test_modification_columns_are_never_taken_from_the_input(pairs, name):
    assert refused(pairs.post, "Thing", [{"id": 1, "name": "a"}], nondefaults=[name]).status == 403


def test_a_lease_is_spent_by_the_row_that_takes_its_rid(pairs):
    lease = "public:ERMrest_RID_Lease"
    path = parse_path(f"/entity/{lease}")
    with pairs.store.write(pairs.client) as tx:
        written = rows.insert(tx, path, b"[{}, {}]")
        leased = [row["RID"] for row in json.loads(b"".join(rows.send(written)))]
    pairs.post("Thing", [{"id": 1, "name": "a", "RID": leased[0]}], nondefaults=["RID"])
    assert [row["RID"] for row in pairs.get(f"/entity/{lease}")] == [leased[1]]


@pytest.fixture
def guest(make):
    """A table into which a client that owns nothing may insert, as that client."""
    document = make.table("Open", [make.column("x", "text")])
    tables = make({**document, "acls": {"insert": ["guest"], "select": ["guest"]}})
    with tables.store.write(OWNER) as tx:
        tx.put(replace(tx.model, acls={**tx.model.acls, "enumerate": ["*"]}))
    tables.client = Client("guest")
    return tables


def test_a_stranger_cannot_choose_a_rid_or_its_origin(guest):
    assert guest.post("Open", [{"x": "a"}])[0]["RCB"] == "guest"
    refusal = refused(guest.post, "Open", [{"x": "a", "RID": "1-X0AA"}], nondefaults=["RID"])
    assert (refusal.status, "non-leased value '1-X0AA'" in refusal.detail) == (403, True)
    for name in ("RCT", "RCB"):
        assert refused(guest.post, "Open", [{"x": "a"}], nondefaults=[name]).status == 403


def test_only_who_leased_a_rid_may_use_it(guest):
    lease = parse_path("/entity/public:ERMrest_RID_Lease")
    with guest.store.write(OWNER) as tx:
        (foreign,) = json.loads(b"".join(rows.send(rows.insert(tx, lease, b"[{}]"))))
    row = {"x": "a", "RID": foreign["RID"]}
    assert refused(guest.post, "Open", [row], nondefaults=["RID"]).status == 403
    guest.client = OWNER
    assert guest.post("Open", [row], nondefaults=["RID"])[0]["RID"] == foreign["RID"]


@pytest.mark.parametrize(
    ("body", "status", "phrase"),
    [
        ("", 400, "invalid input syntax for type json"),
        ("{}", 400, "cannot call json_array_elements on a non-array"),
        ("5", 400, "cannot call json_array_elements on a scalar"),
        ("[{", 400, "Bad JSON array input."),
        ('[{"id": NaN}]', 400, "Bad JSON array input."),
        ('[{"id": "x", "name": "n"}]', 400, 'invalid input syntax for type integer: "x"'),
        ('[{"id": 1.5, "name": "n"}]', 400, 'invalid input syntax for type integer: "1.5"'),
        ('[{"id": 3000000000, "name": "n"}]', 400, 'value "3000000000" is out of range for type integer'),
        ('[{"id": true, "name": "n"}]', 400, 'invalid input syntax for type integer: "true"'),
        ('[{"id": 1, "name": "\\u0000"}]', 400, "cannot be converted to text"),
        ('[{"id": 1, "name": "\\ud800"}]', 400, "surrogate"),
        ('[{"id": 1, "name": "n", "tags": "{a}"}]', 400, "on a scalar"),
        ('[{"id": 1}]', 409, 'null value in column "name"'),
        ('[{"id": 1, "name": null}]', 409, "violates not-null constraint"),
        ('[{"id": 1, "name": "n"}, {"id": 1, "name": "n"}]', 400, "share the same unique key information"),
        (
            '[{"id": 1, "name": "n"}, {"id": 2, "name": "n"}]',
            409,
            'constraint "Thing_name_key"\nDETAIL:  Key (name)=(n)',
        ),
        ("[1]", 409, "violates not-null constraint"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(pairs, body, status, phrase):
    refusal = refused(pairs.post, "Thing", body)
    assert (refusal.status, phrase in refusal.detail) == (status, True), refusal.detail
    assert pairs.get("/entity/S:Thing") == []


def test_a_taken_key_is_refused_with_its_constraint_and_value(pairs):
    pairs.post("Thing", [{"id": 1, "name": "a"}])
    refusal = refused(pairs.post, "Thing", [{"id": 2, "name": "b"}, {"id": 1, "name": "c"}])
    assert refusal.status == 409
    assert 'duplicate key value violates unique constraint "Thing_id_key"' in refusal.detail
    assert "Key (id)=(1) already exists." in refusal.detail
    assert [row["id"] for row in pairs.get("/entity/S:Thing")] == [1]


def test_skip_leaves_out_rows_that_clash_on_any_key(pairs):
    pairs.post("Thing", [{"id": 1, "name": "a"}])
    clashing = [{"id": 1, "name": "x"}, {"id": 2, "name": "b"}, {"id": 3, "name": "a"}, {"id": 4, "name": "d"}]
    answer = pairs.post("Thing", clashing, on_conflict="skip")
    assert [row["id"] for row in answer] == [2, 4]
    assert [row["id"] for row in pairs.get("/entity/S:Thing@sort(id)")] == [1, 2, 4]
    assert pairs.post("Thing", clashing, on_conflict="skip") == []


def test_another_action_on_conflict_is_refused(pairs):
    assert refused(pairs.post, "Thing", [], on_conflict="bogus").status == 400


def test_insertion_wants_a_table_alone(pairs):
    for target in ("/entity/S:Thing/id=1", "/entity/S:Thing/S:Thing"):
        with pairs.store.write(pairs.client) as tx:
            assert refused(rows.insert, tx, parse_path(target), b"[]").status == 400


def test_unknown_defaults_conflict_and_unknown_nondefaults_are_ignored(pairs):
    assert refused(pairs.post, "Thing", [], defaults=["nope"]).status == 409
    assert pairs.post("Thing", [], nondefaults=["nope"]) == []


def test_something_must_not_be_defaulted(make):
    tables = make(make.table("Bare", []))
    refusal = refused(tables.post, "Bare", [{}])
    assert "at least one non-defaulting column" in refusal.detail


def test_templates_take_the_row_rid(make):
    vocabulary = make.table(
        "Word",
        [
            make.column("ID", "ermrest_curie", nullok=False, default="TEST:{RID}"),
            make.column("URI", "ermrest_uri", nullok=False, default="/id/{RID}"),
            make.column("Name", "text"),
        ],
        [["ID"], ["URI"]],
    )
    tables = make(vocabulary)
    row = tables.post("Word", [{"Name": "{RID}", "ID": "ignored"}], defaults=["ID", "URI"])[0]
    assert (row["ID"], row["URI"], row["Name"]) == (f"TEST:{row['RID']}", f"/id/{row['RID']}", "{RID}")
    row = tables.post("Word", [{"ID": "a{RID}{RID}", "URI": "u"}])[0]
    assert (row["ID"], row["URI"]) == (f"a{row['RID']}{{RID}}", "u")


def test_serial_columns_count_where_they_are_defaulted(make):
    tables = make(make.table("Serial", [make.column("k", "text", nullok=False), make.column("n", "serial4")]))
    assert refused(tables.post, "Serial", [{"k": "a"}]).status == 409
    assert [row["n"] for row in tables.post("Serial", [{"k": "a"}, {"k": "b"}], defaults=["n"])] == [1, 2]
    assert [row["n"] for row in tables.post("Serial", [{"k": "c", "n": 10}])] == [10]
    assert [row["n"] for row in tables.post("Serial", [{"k": "d", "n": 99}], defaults=["n"])] == [3]


def test_csv_is_read_by_its_header_and_its_quotes(pairs):
    answer = pairs.post(
        "Thing",
        'meta,name,id,tags,RID\n"{""x"": 1}",a,1,"{a,""b c"",NULL}",ignored\n,"",2,,\n,"two\nlines",3,"[""j""]",\n',
        content_type="text/csv; charset=UTF-8",
        defaults=["dflt"],
    )
    assert own(answer) == [
        {"id": 1, "name": "a", "meta": {"x": 1}, "tags": ["a", "b c", None], "dflt": "dd"},
        {"id": 2, "name": "", "meta": None, "tags": None, "dflt": "dd"},
        {"id": 3, "name": "two\nlines", "meta": None, "tags": ["j"], "dflt": "dd"},
    ]
    assert pairs.csv("/attribute/S:Thing/id,name,meta,tags@sort(id)") == (
        'id,name,meta,tags\n1,a,"{""x"": 1}","{a,""b c"",NULL}"\n2,"",,\n3,"two\nlines",,{j}\n'
    )
    assert pairs.csv("/attribute/S:Thing/id,tags@sort(id)?limit=1", arrays_as_json=True) == (
        'id,tags\n1,"[""a"",""b c"",null]"\n'
    )


@pytest.mark.parametrize(
    ("body", "status", "phrase"),
    [
        ("", 400, 'Missing expected CSV columns: "id", "name"'),
        ("id,name,tags,meta,x\n", 409, "CSV column x not recognized."),
        ("id,name,tags,meta,id\n", 400, 'CSV column "id" appears more than once.'),
        ("id,name,tags,meta\n1,a,,,\n", 400, "extra data after last expected column"),
        ("id,name,tags,meta\n1,a\n", 400, 'missing data for column "tags"'),
        ("id,name,tags,meta\n1.5,a,,\n", 400, 'invalid input syntax for type integer: "1.5"'),
        ('id,name,tags,meta\n1,"a,,\n', 400, "unterminated CSV quoted field"),
        ("id,name,tags,meta\n,a,,\n", 409, "violates not-null constraint"),
        ("id,name,tags,meta\n1,a,{,\n", 400, "malformed array literal"),
    ],
)
def test_bad_csv_is_refused(pairs, body, status, phrase):
    refusal = refused(pairs.post, "Thing", body, content_type="text/csv", defaults=["dflt"])
    assert (refusal.status, phrase in refusal.detail) == (status, True), refusal.detail


def test_other_media_types_are_refused(pairs):
    assert refused(pairs.post, "Thing", "<x/>", content_type="text/xml").status == 415


def test_a_json_stream_is_an_object_a_line_both_ways(pairs):
    with pairs.store.write(pairs.client) as tx:
        body = b'{"id": 1, "name": "a"}\n\n{"id": 2, "name": "b"}\n'
        written = rows.insert(tx, parse_path("/entity/S:Thing"), body, "application/x-json-stream")
        lines = b"".join(rows.send(written)).decode().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2]


def test_empty_answers_have_their_exact_forms(pairs):
    path = parse_path("/attribute/S:Thing/id,name")
    with pairs.store.read() as view:
        forms = [
            b"".join(rows.read(view, path, media))
            for media in ("application/json", "application/x-json-stream", "text/csv")
        ]
    assert forms == [b"[]\n", b"", b"id,name\n"]


def test_json_rows_are_parted_by_a_comma_and_a_new_line(pairs):
    pairs.post("Thing", [{"id": 1, "name": "a%"}, {"id": 2, "name": 'q"'}])
    with pairs.store.read() as view:
        text = b"".join(rows.read(view, parse_path("/attribute/S:Thing/a%25:=id,name@sort(a%25)"))).decode()
    assert text == '[{"a%":1,"name":"a%"},\n {"a%":2,"name":"q\\""}]\n'


def test_many_rows_are_sent_in_parts(pairs):
    pairs.post("Thing", [{"id": number, "name": str(number)} for number in range(5000)])
    with pairs.store.read() as view:
        parts = list(rows.read(view, parse_path("/attribute/S:Thing/id@sort(id)")))
    assert len(parts) > 2
    assert [row["id"] for row in json.loads(b"".join(parts))] == list(range(5000))


def test_an_empty_list_is_accepted(pairs):
    assert pairs.post("Thing", []) == []
    assert pairs.put("/entity/S:Thing", []) == []
    assert pairs.put("/attributegroup/S:Thing/id;name", []) == []
