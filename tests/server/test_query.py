"""Compiled paths, run on a small database: section A3 of the protocol specification."""

import json
import sqlite3
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml.server.errors import ServiceError
from deriva_ml.server.query import compile_rids, compile_select, context_table, register_functions
from deriva_ml.wire.column_types import known_type
from deriva_ml.wire.model import Column, ForeignKey, Key, Model, Schema, Table
from deriva_ml.wire.parse import parse_path
from deriva_ml.wire.values import codec, plain, storage


def make_table(name, columns, *, keys=(), fks=(), rows=()):
    """A table with a RID; its rows are given in plain form, RIDs are made of the table's first letter and a number."""
    made = [Column("c0", "RID", known_type("ermrest_rid"), nullok=False, storage="RID")]
    for number, (column, type_) in enumerate(columns.items(), 1):
        made.append(Column(f"c{number}", column, known_type(type_), column not in keys, storage=f"c_{column}"))
    table = Table(
        name,
        "S",
        name,
        tuple(made),
        tuple(Key("k", ("S", f"{name}_{key}_key"), (key,)) for key in ("RID", *keys)),
        tuple(
            ForeignKey("f", ("S", f"{name}_{near}_fkey"), ("S", name), (near,), ("S", far), (column,))
            for near, far, column in fks
        ),
    )
    return table, [[f"{name[0]}-{number:03}", *row] for number, row in enumerate(rows)]


THINGS = [
    # id, name, size, weight, color, meta, tags, born, ok, span, at
    [1, "thing01", 7, 0.25, "green", {"i": 1}, ["t1", "all"], "2001-01-02", True, "1 day", "2001-01-02T00:00:00Z"],
    [2, "thing02", 4, 0.5, None, None, ["t2", "all"], "2001-01-03", False, "24:00:00", "2001-01-03T00:00:00Z"],
    [3, "thing03", None, "NaN", "red", {"i": 3}, None, "2001-01-04", None, None, None],
    [4, "Thing-04", 7, 1e100, "red", [1], [], None, True, "02:00:00", "1999-12-31T23:59:59.5Z"],
    [5, "a b", 1, None, "green", "x", [None, "t1"], "2001-01-11", False, "1 mon", "2001-01-02T12:00:00Z"],
]
COLORS = [["green", "g"], ["red", None], ["blue", "b"]]
PARTS = [[1, "p0", 5, None], [1, "p1", 3, "ann"], [3, "p2", None, "bob"], [None, "p3", 1, None]]
PAIRS = [[1, 2], [2, 3], [1, 4]]


class Catalog:
    """A view over tables whose rows are in memory."""

    is_snapshot = False

    def __init__(self):
        thing = {
            "id": "int4",
            "name": "text",
            "size": "int4",
            "weight": "float8",
            "color": "text",
            "meta": "jsonb",
            "tags": "text[]",
            "born": "date",
            "ok": "boolean",
            "span": "interval",
            "at": "timestamptz",
        }
        made = [
            make_table("Color", {"Name": "text", "Note": "text"}, keys=["Name"], rows=COLORS),
            make_table("Thing", thing, keys=["id", "name"], fks=[("color", "Color", "Name")], rows=THINGS),
            make_table(
                "Part",
                {"thing": "int4", "label": "text", "qty": "int4", "owner": "text"},
                fks=[("thing", "Thing", "id")],
                rows=PARTS,
            ),
            make_table(
                "Pair", {"a": "int4", "b": "int4"}, fks=[("a", "Thing", "id"), ("b", "Thing", "id")], rows=PAIRS
            ),
            make_table("Island", {"x": "int4"}),
        ]
        self.connection = sqlite3.connect(":memory:")
        register_functions(self.connection)
        for table, rows in made:
            columns = ", ".join(f'"{c.storage}" {codec(c.type).affinity}' for c in table.columns)
            self.connection.execute(f'CREATE TABLE "t_{table.rid}" ({columns})')
            self.connection.execute(f'CREATE INDEX "i_{table.rid}" ON "t_{table.rid}" ("RID")')
            for row in rows:
                values = [
                    None if value is None and column.name != "tags" else storage(column.type, value)
                    for column, value in zip(table.columns, row, strict=True)
                ]
                self.connection.execute(f'INSERT INTO "t_{table.rid}" VALUES ({", ".join("?" * len(values))})', values)
        tables = {table.name: table for table, _ in made}
        other = make_table("Island", {"y": "text"})[0]
        self.model = Model(
            "0", {"S": Schema("s", "S", tables), "Z": Schema("z", "Z", {"Island": other, "Only": other})}
        )

    def source(self, table):
        return f'"t_{table.rid}"'

    def column(self, column):
        return f'"{column.storage}"'

    def rows(self, text):
        """The answer to a path: rows in plain form."""
        statement = compile_select(parse_path(text), self)
        found = self.connection.execute(statement.sql, statement.params)
        assert len(found.description) == len(statement.outputs)
        return [
            {name: plain(type_, value) for (name, type_), value in zip(statement.outputs, row, strict=True)}
            for row in found
        ]

    def values(self, text):
        """The answer to a path of one output: its values."""
        return [next(iter(row.values())) for row in self.rows(text)]

    def plan(self, text):
        statement = compile_select(parse_path(text), self)
        return " / ".join(
            row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.params)
        )

    def refused(self, text):
        with pytest.raises(ServiceError) as caught:
            compile_select(parse_path(text), self)
        return caught.value.status, caught.value.detail


@pytest.fixture(scope="module")
def catalog():
    made = Catalog()
    yield made
    made.connection.close()


def ids(catalog, filters, table="Thing", column="id"):
    return sorted(catalog.values(f"attribute/S:{table}/{filters}/{column}"))


# ---------------------------------------------------------------------------------------------- rows and filters


def test_an_entity_has_all_columns_in_order(catalog):
    (row,) = catalog.rows("entity/S:Thing/id=1")
    assert list(row) == ["RID", "id", "name", "size", "weight", "color", "meta", "tags", "born", "ok", "span", "at"]
    assert row["tags"] == ["t1", "all"]
    assert row["at"] == "2001-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("id=1", [1]),
        ("id::gt::3", [4, 5]),
        ("id::leq::2", [1, 2]),
        ("id::geq::2/id::lt::4", [2, 3]),
        ("name=thing01;name=thing02&size=4", [1, 2]),
        ("(name=thing01;name=thing02)&size=4", [2]),
        ("!(name=thing01;name=thing02)&id::lt::5", [3, 4]),
        ("size::null::", [3]),
        ("!size=7", [2, 5]),
        ("!(size::gt::2)", [5]),
        ("id=any(1,3,9)", [1, 3]),
        ("id=all(1,3)", []),
        ("id=all(1,1)", [1]),
        ("id::gt::all(1,3)", [4, 5]),
        ("id::gt::any(3,1)", [2, 3, 4, 5]),
        ("id::lt::all(4,2)", [1]),
        ("name::regexp::^thing", [1, 2, 3]),
        ("name::ciregexp::THING", [1, 2, 3, 4]),
        ("name::regexp::any(01,02)", [1, 2]),
        ("name::regexp::all(thing,2)", [2]),
        ("id::regexp::[45]", [4, 5]),
        ("born::regexp::-11$", [5]),
        ("ok::regexp::true", [1, 4]),
        ("at::regexp::^1999-12-31 23%3A59%3A59.5[+]00$", [4]),
        ("*::ciregexp::ANN", []),
        ("*::regexp::green", [1, 5]),
        ("!(*::regexp::green)", [2, 3, 4]),
        ("ok=true", [1, 4]),
        ("ok=True", [1, 4]),
        ("ok::lt::true", [2, 5]),
        ("weight=0.25", [1]),
        ("weight::gt::0.5", [3, 4]),
        ("weight=NaN", [3]),
        ("born::lt::2001-01-04", [1, 2]),
        ("at::geq::2001-01-02T13%3A00%3A00%2B01%3A00", [2, 5]),
        ("span=1 day", [1, 2]),
        ("span::gt::2%3A00", [1, 2, 5]),
        ('meta={"i"%3A 1}', [1]),
        ("meta=[1.0]", [4]),
        ("meta::geq::[]", [1, 3, 4, 5]),
        ("name::gt::thing02", [3, 4]),
        ("tags=t1", [1, 5]),
        ("!tags=t1", [2, 4]),
        ("tags=any(t1,t2)", [1, 2, 5]),
        ("tags=all(t1,all)", [1]),
        ("tags::geq::t2", [2]),
        ("tags::regexp::t1.all", [1]),
        ("tags::regexp::^t1", []),
    ],
)
def test_filters(catalog, filters, expected):
    assert ids(catalog, quote(filters, safe=":=&;()!/,*%-_.~")) == expected


def test_long_lists_of_values(catalog):
    many = ",".join(str(number) for number in range(2, 3000))
    assert ids(catalog, f"id=any({many})") == [2, 3, 4, 5]
    assert ids(catalog, f"weight=any(0.5,{many})") == [2]
    names = ",".join(f"thing{number:02}" for number in range(2, 3000))
    assert ids(catalog, f"name=any({names})") == [2, 3]
    assert ids(catalog, f"name::regexp::any({names})") == [2, 3]
    assert ids(catalog, "&".join(["id::gt::4"] * 2000)) == [5]


LONG = 33_000
"""More values than SQLite takes parameters."""


@pytest.mark.parametrize("column", ["id", "weight", "name", "span", "born"])
@pytest.mark.parametrize("operator", ["=", "::gt::"])
@pytest.mark.parametrize("quantifier", ["any", "all"])
def test_lists_of_any_length_and_type_are_answered(catalog, column, operator, quantifier):
    values = {
        "id": [str(n) for n in range(LONG)],
        "weight": [f"{n}.25" for n in range(LONG)],
        "span": [f"{n}%20hours" for n in range(LONG)],
        "born": ["2001-01-02", "2001-01-03"] * LONG,
    }.get(column, [str(n) for n in range(LONG)])
    found = ids(catalog, f"{column}{operator}{quantifier}({','.join(values)})")
    expected = {
        "id=any": [1, 2, 3, 4, 5],
        "id::gt::any": [1, 2, 3, 4, 5],
        "weight=any": [1],
        "weight::gt::any": [2, 3, 4],
        "weight::gt::all": [3, 4],
        "span=any": [1, 2, 4, 5],
        "span::gt::any": [1, 2, 4, 5],
        "born=any": [1, 2],
        "born::gt::any": [2, 3, 5],
        "born::gt::all": [3, 5],
    }
    known = expected.get(f"{column}{operator}{quantifier}", [] if operator == "=" and quantifier == "all" else None)
    assert known is None or found == known


def test_long_lists_are_compared_with_the_elements_of_arrays(catalog):
    values = ",".join([*(f"x{n}" for n in range(LONG)), "t1"])
    assert ids(catalog, f"tags=any({values})") == [1, 5]
    assert ids(catalog, f"tags::lt::any({values})") == ids(catalog, "tags::lt::x9999")
    assert ids(catalog, "tags=all(all,t2,all)") == [2]
    assert ids(catalog, f"!(tags=any({values}))") == [2, 4]
    catalog.refused(f"/entity/Thing/tags=all({values})")


def test_a_list_with_all_is_met_by_what_is_equal_to_each_and_unknown_for_nulls(catalog):
    assert ids(catalog, "size=all(7,7)") == [1, 4]
    assert ids(catalog, "size=all(7,4)") == []
    assert ids(catalog, "!(size=all(7,4))") == [1, 2, 4, 5]
    assert ids(catalog, "span=all(24%3A00%3A00,1%20day)") == [1, 2]


def test_filters_of_one_kind_may_be_nested_deeply(catalog):
    assert ids(catalog, "(" * 190 + "id=1" + ";id=2)" * 190) == [1, 2]
    assert ids(catalog, "(" * 190 + "id=1" + "&size=7)" * 190) == [1]


def test_rids_match_in_any_form(catalog):
    assert catalog.values("attribute/S:Thing/RID=T-001/id") == [2]
    catalog.connection.execute("UPDATE t_Pair SET RID = '1-X0AA' WHERE c_a = 2")
    for form in ("1-X0AA", "1x0aa", "1-x0aa", "lxoaa"):
        assert ids(catalog, f"RID={form}", "Pair", "a") == [2]
    assert ids(catalog, "RID=any(9,1x0aa)", "Pair", "a") == [2]
    assert ids(catalog, "RID=un-decodable", "Pair", "a") == []
    catalog.connection.execute("UPDATE t_Pair SET RID = 'P-001' WHERE c_a = 2")


@pytest.mark.parametrize(
    ("filters", "status", "detail"),
    [
        ("nosuch=1", 409, "Requested column nosuch does not exist in table Thing."),
        ("id=x", 400, 'Invalid int4: "x"'),
        ("id=", 400, 'Invalid int4: ""'),
        ("weight=x", 400, 'Invalid float8: "x"'),
        ("meta=zzz", 400, 'Invalid jsonb: "zzz"'),
        ("ok=zzz", 409, 'invalid input syntax for type boolean: "zzz"'),
        ("born=zzz", 409, 'invalid input syntax for type date: "zzz"'),
        ("name::ts::x", 400, "The text search operator ::ts:: is not supported."),
        ("name::regexp::%28", 409, "invalid regular expression"),
        ("*=x", 400, 'does not support text-search psuedo-column "*"'),
        ("*::null::", 400, 'does not support text-search psuedo-column "*"'),
        ("S:Part:label=x", 409, "Referenced column S:Part:label not bound in entity path."),
        ("Part:label=x", 409, "Referenced column Part:label not bound in entity path."),
    ],
)
def test_bad_filters_are_refused(catalog, filters, status, detail):
    found = catalog.refused(f"entity/S:Thing/{filters}")
    assert found[0] == status
    assert detail in found[1]


@pytest.mark.parametrize(
    ("table", "detail"),
    [
        ("Nosuch", "Table Nosuch not found in model."),
        ("Island", "Table name Island is ambiguous."),
        ("Q:Thing", "Schema Q does not exist."),
        ("S:Nosuch", "Table Nosuch does not exist in schema S."),
    ],
)
def test_unknown_tables_are_refused(catalog, table, detail):
    assert catalog.refused(f"entity/{table}") == (409, detail)


def test_a_table_may_be_named_without_its_schema(catalog):
    assert len(catalog.rows("entity/Thing")) == 5


# ---------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Color/Thing/id", [1, 3, 4, 5]),
        ("Thing/Color/Name", ["green", "red"]),
        ("Thing/(color)/Name", ["green", "red"]),
        ("Thing/(S:Part:thing)/label", ["p0", "p1", "p2"]),
        ("Thing/(Part:thing)/label", ["p0", "p1", "p2"]),
        ("Thing/(id)=(S:Part:thing)/label", ["p0", "p1", "p2"]),
        ("Thing/(id,name)=(S:Part:thing,owner)/label", []),
        ("Thing/Pair/a", [1, 1, 2]),
        ("Thing/id=1/(Pair:a)/B:=(b)/id", [2, 4]),
        ("T:=Thing/(id)=(S:Thing:size)/id", [2, 5]),
        ("T:=Thing/id=1/P:=Part/$T/T:id", [1]),
        ("T:=Thing/P:=Part/P:qty=3/$T/id", [1]),
        ("T:=Thing/P:=left(id)=(S:Part:thing)/P:RID::null::/$T/id", [2, 4, 5]),
        ("T:=Thing/P:=left(id)=(S:Part:thing)/P:RID::null::/T:id", None),
        ("T:=Thing/C:=right(color)=(S:Color:Name)/C:Name", ["blue", "green", "red"]),
        ("Thing/left(color)/Name", ["green", "red", None]),
        ("T:=Thing/(T:color)=(Color:Name)/$T/C:=(color)/C:Name", ["green", "red"]),
    ],
)
def test_links(catalog, path, expected):
    found = catalog.values(f"attribute/{path}")
    if expected is None:  # all rows without a partner are one group
        assert len(found) == 1
    else:
        assert sorted(found, key=lambda value: (value is None, value)) == expected


def test_each_row_of_the_context_comes_once(catalog):
    assert sorted(catalog.values("attribute/T:=Thing/P:=Part/$T/id")) == [1, 3]
    assert sorted(row["label"] for row in catalog.rows("attribute/T:=Thing/P:=Part/T:id,label")) == ["p0", "p1", "p2"]


def test_full_joins_have_both_sides(catalog):
    rows = catalog.rows("attribute/T:=Thing/C:=full(color)=(S:Color:Name)/T:id,C:Name")
    assert sorted(str(row["Name"]) for row in rows) == ["None", "blue", "green", "red"]


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("S:Thing/Island", 409, "Table name Island is ambiguous."),
        ("S:Thing/S:Island", 409, "No link found between tables :S:Thing and :S:Island"),
        ("S:Thing/S:Thing", 409, "Ambiguous self-link for table :S:Thing"),
        ("S:Thing/(nosuch)", 409, "Requested column nosuch does not exist in table Thing."),
        ("S:Thing/(size)", 409, "No link found involving columns [size]"),
        ("S:Thing/(id)", 409, "Ambiguous links found involving columns [id]"),
        ("S:Thing/(id)=(S:Part:label)", 409, "operator does not exist: int4 = text"),
        ("S:Thing/(S:Part:thing)=(S:Part:thing)", 409, "must resolve to columns in entity path"),
        ("T:=S:Thing/(id)=(T:id)", 409, "must resolve to columns of a new table instance"),
        ("S:Thing/(id,size)=(S:Part:thing,S:Pair:a)", 409, "Linking columns must belong to the same table."),
        ("T:=S:Thing/$X", 400, "Context name X is not a bound alias in entity path."),
        ("T:=S:Thing/T:=S:Part", 400, "Alias T bound more than once."),
        ("T:=S:Thing/P:=S:Part/T:nosuch=1", 409, "Requested column nosuch does not exist in table Thing."),
    ],
)
def test_bad_links_are_refused(catalog, path, status, detail):
    found = catalog.refused(f"entity/{path}")
    assert found[0] == status
    assert detail in found[1]


def test_joins_that_cannot_repeat_rows_are_not_grouped(catalog):
    grouped = {
        "entity/S:Thing/S:Part": False,
        "entity/S:Part/S:Thing": True,
        "entity/P:=S:Part/S:Thing/S:Color/$P": False,
        "entity/T:=S:Thing/S:Part/$T": True,
        "entity/S:Thing/S:Pair": True,
        "entity/S:Thing/(S:Pair:a)": False,
        "entity/T:=S:Thing/left(color)=(S:Color:Name)/$T": False,
        "entity/T:=S:Thing/left(color)=(S:Color:Name)": True,
    }
    for path, expected in grouped.items():
        assert ("GROUP BY" in compile_select(parse_path(path), catalog).sql) is expected, path


# ---------------------------------------------------------------------------------------------- projections


def test_projections_name_their_outputs(catalog):
    (row,) = catalog.rows("attribute/T:=Thing/id=1/P:=Part/P:label=p1/x:=T:name,label,T:id")
    assert row == {"x": "thing01", "label": "p1", "id": 1}


def test_stars_stand_for_all_columns(catalog):
    assert list(catalog.rows("attribute/Part/label=p1/*")[0]) == ["RID", "thing", "label", "qty", "owner"]
    (row,) = catalog.rows("attribute/P:=Part/label=p1/T:=Thing/P:*,id")
    assert list(row) == ["P:RID", "P:thing", "P:label", "P:qty", "P:owner", "id"]


def test_bins(catalog):
    rows = catalog.rows("attribute/Thing/id,b:=bin(weight;4;0.3;1)@sort(id)")
    assert [row["b"] for row in rows] == [
        [0, None, 0.3],
        [2, pytest.approx(0.475), pytest.approx(0.65)],
        [5, 1, None],
        [5, 1, None],
        [None, None, None],
    ]
    rows = catalog.rows("attributegroup/Thing/b:=bin(born;3;2001-01-02;2001-01-11);n:=cnt(id)@sort(b)")
    assert [(row["b"], row["n"]) for row in rows] == [
        ([None, None, None], 1),
        ([1, "2001-01-02T00:00:00", "2001-01-05T00:00:00"], 3),
        ([4, "2001-01-11", None], 1),
    ]
    rows = catalog.rows("attribute/Thing/id=1/b:=bin(at;2;2001-01-01;2001-01-03)")
    assert rows[0]["b"] == [2, "2001-01-02T00:00:00+00:00", "2001-01-03T00:00:00+00:00"]


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("attribute/Thing/id,id", 400, 'Output column name "id" appears more than once.'),
        ("attribute/Thing/*,id", 400, 'Output column name "id" appears more than once.'),
        ("attribute/Thing/x:=*", 400, "Wildcard column * cannot be given an alias."),
        ("attribute/Thing/S:Thing:id", 400, "Column name S:Thing:id, qualified by schema and table names"),
        ("attribute/Thing/nosuch", 409, "Requested column nosuch does not exist in table Thing."),
        ("attribute/Thing/id@sort(name)", 400, 'Sort key "name" not among output columns.'),
        ("entity/Thing@sort(nosuch)", 409, "Requested column nosuch does not exist in table Thing."),
        ("attribute/Thing/b:=bin(name;3;a;z)", 409, "Binning not supported on column type text."),
        ("attribute/Thing/b:=bin(weight;x;0;4)", 409, 'invalid input syntax for type integer: "x"'),
        ("attribute/Thing/b:=bin(weight;2;4;4)", 409, "lower bound"),
        ("attribute/Thing/bin(weight;2;0;4)", 400, "must be given an alias"),
        ("aggregate/Thing/cnt(id)", 400, "Aggregated column cnt(id) must be given an alias."),
        ("aggregate/Thing/x:=id", 400, "Attribute id lacks an aggregate function."),
        ("aggregate/Thing/x:=bin(weight;4;0;4)", 400, "Attribute bin(weight;4;0;4) lacks an aggregate function."),
        ("aggregate/Thing/x:=cnt_d(*)", 400, "not allowed on star column"),
        ("aggregate/Thing/x:=avg(name)", 409, 'Aggregate function "avg" not allowed on column name with type text.'),
        ("aggregate/Thing/x:=min(ok)", 409, 'Aggregate function "min" not allowed on column ok with type boolean.'),
        ("aggregate/Thing/x:=max(span)", 409, "not allowed on column span with type interval"),
        ("aggregate/Thing/n:=cnt(*)@sort(n)", 400, "Sort is meaningless for aggregates returning one row."),
        ("attributegroup/Thing/color;r:=trs(name)", 409, 'Rights summary not supported on column "name".'),
    ],
)
def test_bad_projections_are_refused(catalog, path, status, detail):
    found = catalog.refused(path)
    assert found[0] == status
    assert detail in found[1]


# ---------------------------------------------------------------------------------------------- aggregates


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("cnt(*)", 5),
        ("cnt(size)", 4),
        ("cnt_d(size)", 3),
        ("cnt_d(span)", 3),
        ("min(size)", 1),
        ("max(name)", "Thing-04"),
        ("min(name)", "a b"),
        ("max(weight)", "NaN"),
        ("min(weight)", 0.25),
        ("min(born)", "2001-01-02"),
        ("max(at)", "2001-01-03T00:00:00+00:00"),
        ("max(tags)", [None, "t1"]),
        ("min(tags)", []),
        ("sum(size)", 19),
        ("avg(size)", 4.75),
        ("sum(weight)", "NaN"),
        ("array(size)", [7, 4, None, 7, 1]),
        ("array_d(size)", [1, 4, 7, None]),
        ("array_d(name)", ["a b", "thing01", "thing02", "thing03", "Thing-04"]),
        ("array(at)", None),
        ("array_d(tags)", [[], ["t1", "all"], ["t2", "all"], [None, "t1"], None]),
    ],
)
def test_aggregates(catalog, aggregate, expected):
    (found,) = catalog.values(f"aggregate/Thing/x:={aggregate}")
    if expected is None:
        assert found[0] == "2001-01-02T00:00:00+00:00"
    else:
        assert found == expected


def test_aggregates_of_no_rows(catalog):
    (row,) = catalog.rows(
        "aggregate/Thing/id=99/n:=cnt(*),s:=sum(size),f:=sum(weight),a:=array(id),r:=array(*),m:=avg(id)"
    )
    assert row == {"n": 0, "s": None, "f": None, "a": None, "r": None, "m": None}


def test_a_mean_of_integers_has_sixteen_digits(catalog):
    statement = compile_select(parse_path("aggregate/Thing/id=any(1,2,5)/m:=avg(size),n:=avg(id)"), catalog)
    found = catalog.connection.execute(statement.sql, statement.params).fetchone()
    assert found == ("4.0000000000000000", "2.6666666666666667")


def test_arrays_of_rows_are_objects(catalog):
    (found,) = catalog.values("aggregate/Part/label=p1/x:=array(*)")
    assert found == [{"RID": "P-001", "qty": 3, "label": "p1", "owner": "ann", "thing": 1}]
    assert list(found[0]) == ["RID", "qty", "label", "owner", "thing"]
    assert catalog.values("aggregate/T:=Thing/id=1/Part/x:=array_d(T:*)")[0][0]["tags"] == ["t1", "all"]


def test_aggregates_see_every_joined_row(catalog):
    assert catalog.values("aggregate/T:=Thing/P:=Part/$T/n:=cnt(*)") == [3]
    assert catalog.values("aggregate/T:=Thing/P:=left(id)=(S:Part:thing)/n:=cnt(P:*)") == [3]


def test_groups(catalog):
    assert catalog.rows("attributegroup/Thing/color;n:=cnt(*),s:=sum(size)@sort(color)") == [
        {"color": "green", "n": 2, "s": 8},
        {"color": "red", "n": 2, "s": 7},
        {"color": None, "n": 1, "s": 4},
    ]
    assert catalog.values("attributegroup/Thing/color@sort(color::desc::)") == [None, "red", "green"]
    assert catalog.rows("attributegroup/Thing/color;n:=cnt(id)@sort(n::desc::,color)?limit=2")[1]["color"] == "red"
    assert catalog.rows("attributegroup/Thing/color;n:=cnt(id)@sort(color)@after(green)")[0] == {"color": "red", "n": 2}


def test_plain_columns_of_groups_are_examples_that_are_not_null(catalog):
    rows = catalog.rows("attributegroup/Thing/color;size,b:=born@sort(color)")
    assert [(row["size"], row["b"]) for row in rows] == [(7, "2001-01-02"), (7, "2001-01-04"), (4, "2001-01-03")]


def test_summaries_of_rights(catalog):
    (row,) = catalog.rows("attributegroup/Part/label=p1/label;r:=trs(RID),c:=tcrs(RID)")
    assert row["r"] == {"update": True, "delete": True}
    assert row["c"]["column_update"] == {"RID": False, "thing": True, "label": True, "qty": True, "owner": True}


# ---------------------------------------------------------------------------------------------- sorting and paging


@pytest.mark.parametrize(
    ("modifiers", "expected"),
    [
        ("@sort(size,id)", [5, 2, 1, 4, 3]),
        ("@sort(size::desc::,id)", [3, 1, 4, 2, 5]),
        ("@sort(name)", [5, 1, 2, 3, 4]),
        ("@sort(weight)", [1, 2, 4, 3, 5]),
        ("@sort(span::desc::,id)", [3, 5, 1, 2, 4]),
        ("@sort(meta,id)", [5, 4, 1, 3, 2]),
        ("@sort(tags)", [4, 1, 2, 5, 3]),
        ("@sort(id)@after(3)", [4, 5]),
        ("@sort(id)?limit=2", [1, 2]),
        ("@sort(id)@before(4)?limit=2", [2, 3]),
        ("@sort(id::desc::)@before(2)?limit=2", [4, 3]),
        ("@sort(id)@after(1)@before(5)?limit=2", [2, 3]),
        ("@sort(size,id)@after(7,1)", [4, 3]),
        ("@sort(size,id)@after(::null::,0)", [3]),
        ("@sort(size,id)@after(::null::,3)", []),
        ("@sort(size,id)@before(::null::,3)?limit=2", [1, 4]),
        ("@sort(size::desc::,id)@after(::null::,3)", [1, 4, 2, 5]),
        ("@sort(size::desc::,id)@before(7,4)?limit=9", [3, 1]),
        ("@sort(name)@after(thing02)", [3, 4]),
        ("@sort(tags)@after(%5B%22t1%22%2C%22all%22%5D)", [2, 5, 3]),
        ("?limit=0", []),
    ],
)
def test_sorting_and_paging(catalog, modifiers, expected):
    assert catalog.values(f"attribute/Thing/id,name,size,weight,span,meta,tags{modifiers}") == expected
    assert [row["id"] for row in catalog.rows(f"entity/Thing{modifiers}")] == expected


def test_grouped_rows_are_paged_after_grouping(catalog):
    path = "attribute/T:=Thing/P:=Part/T:id,label@sort(label,id)"
    assert [row["id"] for row in catalog.rows(path)] == [1, 1, 3]
    assert [row["id"] for row in catalog.rows(f"{path}@after(p0,9)")] == [1, 3]
    path = "attributegroup/Thing/size;n:=cnt(*)@sort(n,size)@before(2,7)?limit=2"
    assert [row["size"] for row in catalog.rows(path)] == [4, None]


def test_paging_backwards_needs_a_limit(catalog):
    assert catalog.refused("entity/Thing@sort(id)@before(3)") == (
        400,
        "Page @before(...) modifier not allowed without limit parameter.",
    )


def test_page_keys_are_of_the_column_type(catalog):
    assert catalog.refused("entity/Thing@sort(id)@after(abc)") == (400, 'Invalid int4: "abc"')
    assert catalog.refused("entity/Thing@sort(tags)@after(abc)")[0] == 409


def test_pages_by_rid_walk_along_its_index(catalog):
    plan = catalog.plan("entity/Thing@sort(RID)@after(T-001)?limit=2")
    assert plan == "SEARCH t0 USING INDEX i_Thing (RID>?)"
    plan = catalog.plan("entity/Thing@sort(RID::desc::)?limit=1")
    assert plan == "SCAN t0 USING INDEX i_Thing"


def test_lists_of_rids_use_its_index(catalog):
    many = ",".join(f"T-{number:03}" for number in range(500))
    assert "SEARCH t0 USING INDEX i_Thing (RID=?)" in catalog.plan(f"entity/Thing/RID=any({many})")


# ---------------------------------------------------------------------------------------------- deletion


def test_rids_of_the_context(catalog):
    def rids(path):
        statement = compile_rids(parse_path(path), catalog)
        return sorted(row[0] for row in catalog.connection.execute(statement.sql, statement.params))

    assert rids("entity/S:Thing/id::lt::3") == ["T-000", "T-001"]
    assert rids("entity/T:=S:Thing/S:Part/$T") == ["T-000", "T-002"]
    assert rids("entity/S:Thing/left(id)=(S:Part:thing)") == ["P-000", "P-001", "P-002"]
    assert context_table(parse_path("entity/S:Thing/S:Part"), catalog).name == "Part"


def test_names_and_values_cannot_break_out_of_the_statement(catalog):
    evil = "x%27%22%3B%20DROP%20TABLE%20t_Thing%3B--"
    assert catalog.values(f"attribute/Thing/name={evil}/x%22y:=id") == []
    rows = catalog.rows("attribute/Thing/id=1/x%22%27y:=id")
    assert rows == [{"x\"'y": 1}]
    statement = compile_select(parse_path(f"entity/Thing/name={evil}"), catalog)
    assert "DROP" not in statement.sql
    assert json.dumps(statement.params)


# ---------------------------------------------------------------------------------------------- any path

COLUMNS = ["RID", "id", "name", "size", "weight", "color", "meta", "tags", "born", "ok", "span", "at"]
OWN = st.sampled_from(COLUMNS).map("A:{}".format)
NAMES = st.one_of(OWN, OWN, OWN, st.sampled_from(["RID", "B:RID", "B:label", "id", "nosuch"]))
LITERALS = st.sampled_from(["1", "1", "7", "x", "", "0.5", "true", "2001-01-02", "thing01", "null", "1%20day"])
OPERATORS = st.sampled_from(["=", "::lt::", "::leq::", "::gt::", "::geq::", "::regexp::", "::ciregexp::"])
LISTED = st.lists(LITERALS, min_size=1, max_size=3).map(lambda values: f"({','.join(values)})")
COMPARED = st.one_of(LITERALS, st.tuples(st.sampled_from(["any", "all"]), LISTED).map("".join))
TESTS = st.one_of(st.tuples(NAMES, OPERATORS, COMPARED).map("".join), NAMES.map(lambda name: f"{name}::null::"))
FILTERS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        inner.map(lambda text: f"!({text})"),
        st.tuples(inner, st.sampled_from("&;"), inner).map(lambda parts: f"({parts[0]}){parts[1]}({parts[2]})"),
    ),
    max_leaves=3,
)
LINKS = st.sampled_from(
    [
        *("Color", "Thing", "Part", "Pair", "(color)", "(S:Part:thing)", "(Pair:a)", "(b)", "left(color)"),
        *("(id)=(S:Part:thing)", "left(id)=(S:Part:thing)", "right(color)=(S:Color:Name)", "full(id)=(Pair:b)"),
        *("(size)=(S:Thing:id)", "(A:id)=(S:Part:thing)", "left(B:thing)=(S:Thing:id)"),
    ]
)
STEPS = st.one_of(FILTERS, LINKS, LINKS.map("B:={}".format), st.just("$A"))
FUNCTIONS = st.sampled_from(["min", "max", "avg", "sum", "cnt", "cnt_d", "array", "array_d"])
AGGREGATES = st.tuples(FUNCTIONS, st.one_of(NAMES, st.just("*"))).map(lambda parts: f"x:={parts[0]}({parts[1]})")
GROUPED = st.one_of(AGGREGATES, NAMES.map(lambda name: f"x:={name}"))
SORTS = st.tuples(st.one_of(st.just("x"), st.sampled_from(COLUMNS)), st.sampled_from(["", "::desc::"])).map("".join)
PAGES = st.sampled_from(["", "@after({})", "@before({})?limit=2", "?limit=2", "@after({})@before({})"])


@st.composite
def any_paths(draw):
    """The text of a path that may or may not fit the model."""
    kind = draw(st.sampled_from(["entity", "attribute", "attributegroup", "aggregate"]))
    steps = ["A:=Thing", *draw(st.lists(STEPS, max_size=3))]
    projection = {
        "entity": st.none(),
        "attribute": st.one_of(NAMES, NAMES.map(lambda name: f"x:={name}"), st.just("*")),
        "attributegroup": st.tuples(NAMES, GROUPED).map(";".join),
        "aggregate": AGGREGATES,
    }[kind]
    text = "/".join([kind, *steps, *filter(None, [draw(projection)])])
    if draw(st.booleans()):
        text += f"@sort({draw(SORTS)})" + draw(PAGES).replace("{}", draw(st.one_of(LITERALS, st.just("::null::"))))
    return text


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_paths())
def test_any_path_is_answered_or_refused(catalog, text):
    try:
        rows = catalog.rows(text)
    except ServiceError as error:
        assert error.status in (400, 409)
        assert error.detail
        return
    assert json.dumps(rows)
    if text.startswith("entity"):
        rids = [row["RID"] for row in rows]
        assert len(set(rids)) == len(rids)
