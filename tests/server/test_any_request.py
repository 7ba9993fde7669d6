"""Whatever is asked, in whatever form: the service answers, nothing leaves the folder, and the folder stays whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.check import check_folder
from deriva_ml.wire.http import Client, Request, Response

HOSTILE = [
    '"; drop table "t_1',
    "'; --",
    "a/b",
    "a:b",
    "..",
    ".",
    "é",
    "\U0001f600",
    "a b",
    "%",
    "%2F",
    "\x00",
    "\\",
    "*",
]
SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
USUAL = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
STRANGER = Client("stranger", roles=frozenset({"stranger"}))


def send(
    service: Service, method: str, target: str, body: object = None, headers: dict[str, str] | None = None
) -> Response:
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return service(Request(method, target, headers or {}, content), local_client())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("any") / "folder"
    create_folder(root)
    opened = open_service(root, time_limit=5)
    send(opened, "POST", "/ermrest/catalog", {"id": "1"})
    send(opened, "POST", "/ermrest/catalog/1/schema/s")
    for name in ("T", '"; drop table "t_1'):
        types = {"a": "text", "n": "int4", "j": "jsonb", "d": "date", "f": "float8", "b": "boolean", "é:/": "text"}
        document = {
            "table_name": name,
            "column_definitions": [
                *SYSTEM,
                *({"name": column, "type": {"typename": kind}} for column, kind in types.items()),
            ],
            "keys": [{"unique_columns": ["RID"]}],
        }
        assert send(opened, "POST", "/ermrest/catalog/1/schema/s/table", document).status == 201
    reference = {
        "foreign_key_columns": [{"column_name": "n"}],
        "referenced_columns": [{"schema_name": "s", "table_name": "T", "column_name": "n"}],
    }
    assert send(opened, "POST", "/ermrest/catalog/1/schema/s/table/T/key", {"unique_columns": ["n"]}).status == 201
    assert send(opened, "POST", "/ermrest/catalog/1/schema/s/table/T/foreignkey", reference).status == 201
    assert (
        send(opened, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": "x'y", "n": 1}, {"a": None, "n": 2}]).status == 200
    )
    yield opened
    opened.close()
    assert check_folder(root).findings == []
    assert [path.name for path in root.parent.iterdir()] == ["folder"]


# ---------------------------------------------------------------------------------------------- ERMrest's grammar


def encoded(text: str) -> str:
    return quote(text, safe="")


NAME = st.sampled_from(["a", "n", "j", "d", "f", "b", "RID", "RCT", "é:/", "T", "A", "B", "*", *HOSTILE]).map(encoded)
VALUE = st.one_of(
    st.sampled_from(["1", "x", "", "2020-01-01", "true", "NaN", "1e999", "-9223372036854775809", "null"]),
    st.text(max_size=6),
).map(lambda text: quote(text, safe="", errors="replace"))
TABLE = st.one_of(st.just("s:T"), NAME, st.tuples(NAME, NAME).map(":".join))
COLUMN = st.one_of(NAME, st.tuples(st.sampled_from(["A", "B", "T"]), NAME).map(":".join))
OPERATOR = st.sampled_from(
    ["=", "::lt::", "::leq::", "::gt::", "::geq::", "::regexp::", "::ciregexp::", "::ts::", "::null::", "::GT::"]
)
PREDICATE = st.one_of(
    st.tuples(COLUMN, OPERATOR, VALUE).map("".join),
    st.tuples(COLUMN, st.just("=any("), st.lists(VALUE, max_size=3).map(",".join), st.just(")")).map("".join),
    st.tuples(COLUMN, st.just("::gt::all("), st.lists(VALUE, max_size=3).map(",".join), st.just(")")).map("".join),
)
FILTER = st.recursive(
    PREDICATE,
    lambda inner: st.one_of(
        inner.map(lambda text: f"!({text})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]};{pair[1]})"),
        st.tuples(inner, inner).map("&".join),
    ),
    max_leaves=4,
)
STEP = st.one_of(
    FILTER,
    TABLE,
    st.tuples(st.sampled_from(["B:=", ""]), TABLE).map("".join),
    st.tuples(st.sampled_from(["", "left", "right", "full"]), COLUMN, COLUMN).map(
        lambda t: f"B:={t[0]}({t[1]})=(s:T:{t[2]})"
    ),
    st.sampled_from(["$A", "$B", "(n)", "(s:T:n)"]),
)
AGGREGATE = st.tuples(
    st.sampled_from(["cnt", "cnt_d", "min", "max", "avg", "sum", "array", "array_d", "trs", "nonsense"]), COLUMN
).map(lambda pair: f"{pair[0]}({pair[1]})")
BIN = st.tuples(COLUMN, VALUE, VALUE, VALUE).map(lambda t: f"bin({';'.join(t)})")
ITEM = st.tuples(st.sampled_from(["", "o:=", "%C3%A9:="]), st.one_of(COLUMN, AGGREGATE, BIN)).map("".join)
ITEMS = st.lists(ITEM, min_size=1, max_size=3).map(",".join)
TAIL = st.one_of(
    st.just(""),
    st.tuples(NAME, VALUE).map(lambda pair: f"@sort({pair[0]})@after({pair[1]})"),
    NAME.map(lambda name: f"@sort({name}::desc::,RID)"),
    st.tuples(NAME, VALUE).map(lambda pair: f"@sort({pair[0]})@before({pair[1]})?limit=2"),
)
QUERY = st.sampled_from(
    ["", "?limit=1", "?limit=-1", "?limit=x", "?accept=csv", "?defaults=a", "?onconflict=skip", "?download=é", "?a=b=c"]
)


@st.composite
def data_targets(draw: st.DrawFn) -> str:
    """A target of the grammar; half of them with a few characters changed."""
    path = "/".join(["A:=s:T", *draw(st.lists(STEP, max_size=3))])
    kind = draw(st.sampled_from(["entity", "attribute", "attributegroup", "aggregate"]))
    if kind == "attributegroup":
        path += f"/{draw(ITEMS)};{draw(ITEMS)}"
    elif kind != "entity":
        path += f"/{draw(ITEMS)}"
    moment = draw(st.sampled_from(["", "", "@2PM-DGYP-56Z4", "@0", "@ZZZZ-ZZZZ-ZZZZ"]))
    target = f"/ermrest/catalog/1{moment}/{kind}/{path}{draw(TAIL)}{draw(QUERY)}"
    if draw(st.booleans()):
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(20, len(target)))
            kind_of = draw(st.sampled_from(["cut", "add", "double"]))
            char = draw(st.sampled_from(list("/:;,=()&!@?$%*'\"\\ é+#[]0aZ")))
            target = {
                "cut": target[:at] + target[at + 1 :],
                "add": target[:at] + char + target[at:],
                "double": target[:at] + target[at - 5 :],
            }[kind_of]
    return target


@USUAL
@given(
    target=data_targets(), method=st.sampled_from(["GET", "GET", "HEAD", "PUT", "POST", "DELETE"]), client=st.booleans()
)
def test_no_data_path_makes_the_service_fail(service: Service, target: str, method: str, client: bool) -> None:
    body = b'[{"a": "z", "n": 7}]' if method in ("PUT", "POST") else None
    answer = service(Request(method, target, {}, body), local_client() if client else STRANGER)
    text = answer.read()
    assert answer.status < 500, (answer.status, text)
    if not client:
        assert answer.status in (400, 403, 404, 405, 409)
    known = json.loads(send(service, "GET", "/ermrest/catalog/1/schema/s/table").read())
    assert len(known) == 2


@USUAL
@given(
    name=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=70)),
    column=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=70)),
)
def test_a_name_is_a_name_or_is_refused(service: Service, name: str, column: str) -> None:
    document = {
        "table_name": name,
        "column_definitions": [*SYSTEM, {"name": column, "type": {"typename": "text"}}],
        "keys": [{"unique_columns": ["RID"]}],
    }
    answer = send(service, "POST", "/ermrest/catalog/1/schema/public/table", document)
    assert answer.status in (201, 400, 409), answer.read()
    if answer.status != 201:
        return
    where = f"/ermrest/catalog/1/entity/public:{quote(name, safe='')}"
    value = "\"'; drop table commits; --"
    assert send(service, "POST", where, [{column: value}]).status == 200
    found = json.loads(send(service, "GET", f"{where}/{quote(column, safe='')}={quote(value, safe='')}").read())
    assert [row[column] for row in found] == [value]
    assert send(service, "DELETE", f"/ermrest/catalog/1/schema/public/table/{quote(name, safe='')}").status == 204


@pytest.mark.parametrize(
    "steps",
    [
        ";".join(["n=1"] * 20_000),
        "&".join(["a::null::"] * 20_000),
        "/".join(["n=1"] * 20_000),
        f"a::regexp::any({','.join(map(str, range(20_000)))})",
        "/".join(["(n)=(s:T:n)"] * 70),
        "/".join(["(n)=(s:T:n)"] * 300),
        "!(" * 150 + "n=1" + ")" * 150,
        "!(" * 5000 + "n=1" + ")" * 5000,
    ],
    ids=["or", "and", "filters", "patterns", "tables", "many tables", "depth", "great depth"],
)
def test_a_query_that_is_too_large_is_refused_at_once(service: Service, steps: str) -> None:
    for path in (f"entity/s:T/{steps}", f"aggregate/s:T/{steps}/c:=cnt(*)"):
        assert send(service, "GET", f"/ermrest/catalog/1/{path}").status == 400


def test_so_is_one_of_too_many_columns_or_keys_to_sort_by(service: Service) -> None:
    many = ",".join(f"c{at}:=n" for at in range(2500))
    keys, values = ",".join(["n"] * 1500), ",".join(["1"] * 1500)
    for path in (f"attribute/s:T/{many}", f"attribute/s:T/n@sort({keys})@after({values})"):
        assert send(service, "GET", f"/ermrest/catalog/1/{path}").status == 400


def test_a_target_of_a_million_characters_is_answered(service: Service) -> None:
    assert send(service, "GET", f"/ermrest/catalog/1/entity/s:T/a={'x' * 1_000_000}").read() == b"[]\n"
    assert send(service, "GET", f"/ermrest/catalog/1/entity/s:T/{'x' * 1_000_000}").status == 409


# ---------------------------------------------------------------------------------------------- contents and fields

ODD_TEXTS = [
    "",
    "x",
    "\U0001f600",
    "NaN",
    "1e400",
    "{}",
    "{a}",
    "[",
    "null",
    "2001-01-01",
    "9" * 5000,
    "\ud800",
    "\x00",
]
ODD_VALUE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**63, -(2**63) - 1, 10**4299]),
        st.floats(),
        st.sampled_from(ODD_TEXTS),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", ""]), inner)),
    max_leaves=3,
)
ODD_ROW = st.one_of(
    st.dictionaries(st.sampled_from(["a", "n", "j", "d", "f", "b", "é:/", "RID", "RMT", "x", ""]), ODD_VALUE), ODD_VALUE
)
JSON_ROWS = st.lists(ODD_ROW, max_size=3).map(lambda rows: json.dumps(rows).encode())
JSON_LINES = st.lists(ODD_ROW, max_size=3).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())
NUMBERS = st.tuples(
    st.sampled_from(["1e9999999999999999999", "1e131071", "-0", "01", "1.", "9" * 5000, "NaN", "-1e-400"]),
    st.sampled_from(['"j": {0}', '"j": [{0}], "f": {0}', '"a": {0}, "f": {0}', '"b": {0}', '"n": {0}']),
).map(lambda pair: f'[{{"n": 3, {pair[1].format(pair[0])}}}]'.encode())
CSV_CELL = st.one_of(st.sampled_from(ODD_TEXTS[:-2]), st.text(alphabet='ab",\r\n{}\\\x00', max_size=4))
CSV_ROWS = st.tuples(
    st.sampled_from(
        ["a,n,j,d,f,b,é:/", "n,a,j,d,f,b,é:/,RID", "a,n", "", "a,n,j,d,f,b,é:/,x", "\ufeffa,n,j,d,f,b,é:/"]
    ),
    st.lists(st.lists(CSV_CELL, min_size=6, max_size=8).map(",".join), max_size=3),
).map(lambda parts: "\n".join([parts[0], *parts[1]]).encode())
CONTENT = st.one_of(
    JSON_ROWS,
    JSON_LINES,
    NUMBERS,
    CSV_ROWS,
    st.binary(max_size=20),
    st.sampled_from([b"", b"[" * 100_000, b"[]", b"{}", b"\xff", b"\xef\xbb\xbf[]", b'[{"a": "\\ud800"}]']),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            ["text/csv", "application/json", "application/x-json-stream", "TEXT/CSV; charset=latin-1", ";", "", "x/y"]
        ),
        "accept": st.sampled_from(["text/csv", "*/*", "x;q=é", "application/json;q=2, text/csv;q=nan", ",;,", "\x00"]),
        "if-match": st.sampled_from(["*", '"', '"x"', "é"]),
        "if-none-match": st.sampled_from(["*", 'W/"x-gzip"', ""]),
    },
)
CHANGES = st.sampled_from(
    [
        ("POST", "entity/s:T"),
        ("POST", "entity/s:T?defaults=n,a&nondefaults=RID,RCT"),
        ("POST", "entity/s:T?onconflict=skip"),
        ("POST", "entity/s:T?nondefaults=RID"),
        ("PUT", "entity/s:T"),
        ("PUT", "attributegroup/s:T/n;a,j,f"),
        ("PUT", "attributegroup/s:T/o:=n,p:=a;n,b:=a"),
        ("PUT", "attributegroup/s:T/j,f,d;a"),
        ("DELETE", "attribute/s:T/n=3/a,j"),
        ("DELETE", "entity/s:T/n=3"),
    ]
)


def everything(service: Service) -> list[dict[str, object]]:
    return found(service, "entity/s:T@sort(RID)")


def found(service: Service, path: str) -> list[dict[str, object]]:
    """The rows of a path; an integer may have more digits than Python reads."""
    rows: list[dict[str, object]] = json.loads(send(service, "GET", f"/ermrest/catalog/1/{path}").read(), parse_int=str)
    return rows


@settings(USUAL, max_examples=600)
@given(change=CHANGES, content=CONTENT, fields=FIELDS)
def test_content_is_written_whole_or_refused_and_leaves_nothing(
    service: Service, change: tuple[str, str], content: bytes, fields: dict[str, str]
) -> None:
    method, path = change
    before = everything(service)
    answer = service(Request(method, f"/ermrest/catalog/1/{path}", fields, content), local_client())
    text = answer.read()
    assert answer.status in (200, 204, 400, 403, 404, 409, 412, 415), (answer.status, text)
    after = everything(service)
    if answer.status >= 400:
        assert after == before
    # whatever was stored can be found, sorted and given in every form
    for name in ("a", "n", "j", "d", "f", "b"):
        assert len(found(service, f"attribute/s:T/{name},RID@sort({name},RID)")) == len(after)
        assert send(service, "GET", f"/ermrest/catalog/1/attribute/s:T/{name}::regexp::x/RID?accept=csv").status == 200
    assert send(service, "GET", "/ermrest/catalog/1/attribute/s:T/j=1/RID").status == 200
    send(service, "DELETE", "/ermrest/catalog/1/entity/s:T/!(n=any(1,2))")
    send(service, "DELETE", "/ermrest/catalog/1/entity/s:T/n::null::")


# ---------------------------------------------------------------------------------------------- Hatrac's names

PART = st.one_of(
    st.sampled_from(
        [
            "..",
            ".",
            "%2E%2E",
            "%2e%2e",
            "..%2F..",
            "%2F",
            "%00",
            "a",
            "b",
            "%C3%A9",
            "é",
            "'",
            '"',
            "%22%3B",
            "%FF",
            "~",
            "\\",
            "%5C..",
            " ",
            "objects",
            "incoming",
        ]
    ),
    st.text(max_size=5).map(lambda text: quote(text, safe="", errors="replace")),
)
OBJECT = st.lists(PART, min_size=1, max_size=5).map("/".join)
SUFFIX = st.sampled_from(
    [
        "",
        "",
        "",
        "?parents=true",
        ";versions",
        ";metadata",
        ";metadata/content-type",
        ";acl",
        ";acl/read",
        ";acl/owner/x",
        ";upload",
        ";upload/x/1",
        ":ABC",
        ":",
        ";x",
        "?x",
    ]
)


@USUAL
@given(
    name=OBJECT,
    suffix=SUFFIX,
    method=st.sampled_from(["PUT", "PUT", "GET", "HEAD", "POST", "DELETE", "OPTIONS"]),
    kind=st.sampled_from(
        ["text/plain", "application/x-hatrac-namespace", "application/json", "a;b=c,d", "application/json; charset=x"]
    ),
    extra=st.sampled_from(
        [
            {},
            {"range": "bytes=0-"},
            {"range": "bytes=9-1,x"},
            {"content-md5": "x"},
            {"content-sha256": "é"},
            {"if-match": '"x'},
            {"content-disposition": "filename*=UTF-8''../x"},
        ]
    ),
    body=st.sampled_from(
        [b"", b"content", b"[]", b'{"chunk-length": 0}', b'{"chunk-length": 1, "content-length": 1}', b"\xff"]
    ),
)
def test_no_object_s_name_leads_out_of_the_folder(
    service: Service, name: str, suffix: str, method: str, kind: str, extra: dict[str, str], body: bytes
) -> None:
    headers = {"content-type": kind, **extra}
    answer = send(service, method, f"/hatrac/{name}{suffix}", body if method in ("PUT", "POST") else None, headers)
    text = answer.read()
    assert answer.status < 500 or answer.status == 501, (answer.status, text)
    root: Path = service.root
    for path in (root / "objects").rglob("*"):
        place = str(path.relative_to(root / "objects"))
        assert re.fullmatch(r"incoming|jobs(/\w+)?|[0-9a-f]{2}(/[0-9a-f]{64})?", place), place
    if method == "PUT" and answer.status == 201 and kind == "text/plain" and not suffix.startswith(";"):
        assert send(service, "GET", text.decode().strip()).read() == body
