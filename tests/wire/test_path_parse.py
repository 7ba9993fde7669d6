"""The grammar of request targets: A2.1 and A2.2 of the protocol specification."""

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.wire.parse import PathSyntaxError, Segment, parse_path, parse_target
from deriva_ml.wire.syntax import (
    COMPARISONS,
    FUNCTIONS,
    Bin,
    Call,
    Comparison,
    Conjunction,
    ContextStep,
    DataPath,
    Disjunction,
    FilterStep,
    Item,
    LinkStep,
    Name,
    Negation,
    SortKey,
    TableStep,
    encode,
    render,
)

# ---------------------------------------------------------------------------------------------- any tree reads back

WORDS = ["entity", "any", "all", "left", "full", "sort", "null", "bin", "cnt", "*", "::null::", "a b", "é", "100%", "1"]
VALUES = st.one_of(
    st.sampled_from(["", *WORDS]), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
TEXTS = st.one_of(st.sampled_from(WORDS), st.text(string.printable, min_size=1), VALUES.filter(bool))
TABLES = st.builds(Name, st.lists(TEXTS, min_size=1, max_size=2).map(tuple), st.booleans())
COLUMNS = st.builds(Name, st.lists(TEXTS, min_size=1, max_size=3).map(tuple), st.booleans())
NAMES = st.lists(COLUMNS, min_size=1, max_size=3).map(tuple)
ALIASES = st.one_of(st.none(), TEXTS)
SINGLE = st.builds(Comparison, COLUMNS, st.sampled_from(sorted(COMPARISONS)), st.tuples(VALUES), st.none())
LISTED = st.builds(
    Comparison,
    COLUMNS,
    st.sampled_from(sorted(COMPARISONS)),
    st.lists(VALUES, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["any", "all"]),
)
TESTS = st.one_of(SINGLE, LISTED, st.builds(Comparison, COLUMNS, st.just("null")))
FILTERS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.builds(Negation, inner),
        st.builds(Conjunction, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Disjunction, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
HOW = st.sampled_from([None, "left", "right", "full"])
LINKS = st.one_of(
    st.builds(LinkStep, NAMES, st.none(), HOW, ALIASES),
    NAMES.flatmap(lambda left: st.builds(LinkStep, st.just(left), st.tuples(*[COLUMNS] * len(left)), HOW, ALIASES)),
)
ROOTS = st.builds(TableStep, TABLES, ALIASES)
STEPS = st.lists(
    st.one_of(ROOTS, LINKS, st.builds(FilterStep, FILTERS), st.builds(ContextStep, TEXTS)), max_size=4
).map(tuple)
BINS = st.builds(Bin, COLUMNS, VALUES, VALUES, VALUES)
CALLS = st.builds(Call, st.sampled_from([*sorted(FUNCTIONS), "trs", "tcrs"]), COLUMNS)
PLAIN = st.lists(st.builds(Item, st.one_of(COLUMNS, BINS), ALIASES), min_size=1, max_size=3).map(tuple)
AGGREGATES = st.lists(st.builds(Item, st.one_of(COLUMNS, BINS, CALLS), ALIASES), min_size=1, max_size=3).map(tuple)
SORTS = st.lists(st.builds(SortKey, TEXTS, st.booleans()), min_size=1, max_size=3).map(tuple)
LIMITS = st.one_of(st.none(), st.integers(0, 10**9))


@st.composite
def data_paths(draw):
    kind = draw(st.sampled_from(["entity", "attribute", "attributegroup", "aggregate"]))
    projection = {"entity": st.just(()), "aggregate": AGGREGATES}.get(kind, PLAIN)
    grouped = st.one_of(st.just(()), AGGREGATES) if kind == "attributegroup" else st.just(())
    sort = draw(st.one_of(st.just(()), SORTS))
    page = st.none()
    if sort:
        page = st.one_of(st.none(), st.tuples(*[st.one_of(st.none(), VALUES)] * len(sort)))
    return DataPath(
        kind,
        draw(ROOTS),
        draw(STEPS),
        draw(projection),
        draw(grouped),
        sort,
        draw(page),
        draw(page),
        draw(LIMITS),
    )


@given(data_paths())
def test_every_tree_reads_back_from_its_text(path):
    assert parse_path(render(path)) == path


@given(data_paths(), st.text(string.ascii_uppercase + string.digits + "-", min_size=1))
def test_targets_hold_catalog_and_snapshot(path, snaptime):
    target = parse_target(f"/ermrest/catalog/a%20b@{snaptime}{render(path)}")
    assert (target.catalog, target.snaptime, target.resource) == ("a b", snaptime, path)


@given(st.text())
def test_any_text_is_read_or_refused(raw):
    with suppress(PathSyntaxError):
        parse_target(raw)


@given(st.text("%:/=&;,()@?!$=any1-*+ é", max_size=30))
def test_any_punctuation_is_read_or_refused(raw):
    with suppress(PathSyntaxError):
        parse_target(f"catalog/1/entity/T/{raw}")


@given(TEXTS)
def test_an_escaped_text_is_one_word(text):
    assert parse_target(f"catalog/1/schema/{encode(text)}/x").resource[1].word == text


# ---------------------------------------------------------------------------------------------- the lexical layer


def only_filter(raw: str):
    return parse_path(f"entity/T/{raw}").steps[0].filter


@pytest.mark.parametrize("raw", ["a+b", "a b", "a'b", 'a"b', "a#b", "a[b]", "é", "a%2", "a%zz", "a\\b", "a|b"])
def test_other_characters_are_refused_without_detail(raw):
    with pytest.raises(PathSyntaxError) as caught:
        parse_path(f"entity/T/x={raw}")
    assert str(caught.value) == ""


def test_invalid_utf8_and_the_null_character_are_refused():
    for raw in ("%FF", "%C3", "%00", "a%C3b"):
        with pytest.raises(PathSyntaxError):
            only_filter(f"x={raw}")


def test_escaped_characters_are_data_and_never_punctuation():
    assert only_filter("a%2Fb%3Ac=x%26y%3Dz%2C%28%29").column == Name(("a/b:c",))
    assert only_filter("a=x%26y%3Dz%2C%28%29").values == ("x&y=z,()",)


def test_escapes_of_plain_letters_change_nothing():
    assert only_filter("i%64=1") == only_filter("id=1")
    assert only_filter("%2541=x").column == Name(("%41",))


@pytest.mark.parametrize("word", ["entity", "any", "left", "sort", "max", "null", "catalog", "attribute", "bin"])
def test_keywords_are_ordinary_names(word):
    path = parse_path(f"attribute/{word}/{word}={word}/{word},x:={word}@sort({word})@after({word})")
    assert path.root == TableStep(Name((word,)))
    assert path.steps == (FilterStep(Comparison(Name((word,)), "=", (word,))),)
    assert path.projection == (Item(Name((word,))), Item(Name((word,)), "x"))


def test_quantifiers_have_no_case_and_operators_have():
    assert only_filter("a=ANY(1,2)").quantifier == "any"
    with pytest.raises(PathSyntaxError):
        only_filter("a::GT::1")


# ---------------------------------------------------------------------------------------------- rules of ambiguity


def test_the_last_segment_of_a_projecting_path_is_its_projection():
    path = parse_path("attribute/S:T/id=1/id:=1/id")
    assert path.steps[1] == TableStep(Name(("1",)), "id")
    assert path.projection == (Item(Name(("id",))),)


@pytest.mark.parametrize("kind", ["attribute", "attributegroup", "aggregate"])
def test_a_projecting_path_needs_a_projection(kind):
    for rest in ("T", "T/", "T/x,", "T/,"):
        with pytest.raises(PathSyntaxError):
            parse_path(f"{kind}/{rest}")


def test_parentheses_are_links_or_filters():
    assert parse_path("entity/T/(a)").steps == (LinkStep((Name(("a",)),)),)
    assert parse_path("entity/T/(a,b)/c").steps[0] == LinkStep((Name(("a",)), Name(("b",))))
    assert parse_path("entity/T/(a)=(S:U:b)").steps == (LinkStep((Name(("a",)),), (Name(("S", "U", "b")),)),)
    assert only_filter("(a=1)") == Comparison(Name(("a",)), "=", ("1",))
    assert isinstance(only_filter("(a=1)&(b=2)"), Conjunction)
    assert isinstance(only_filter("((a=1))&b=2"), Conjunction)


def test_or_binds_loosest():
    tree = only_filter("a=1;b=2&c=3")
    assert isinstance(tree, Disjunction)
    assert isinstance(tree.operands[1], Conjunction)


def test_a_negation_takes_one_predicate():
    assert only_filter("!a=1&b=2").operands[0] == Negation(Comparison(Name(("a",)), "=", ("1",)))
    assert only_filter("!(!(a=1))") == Negation(Negation(Comparison(Name(("a",)), "=", ("1",))))
    with pytest.raises(PathSyntaxError):
        only_filter("!!a=1")


def test_outer_joins_take_either_form_of_columns():
    assert parse_path("entity/T/x:=left(a)=(U:b)").steps[0].how == "left"
    assert parse_path("entity/T/full(a,b)").steps[0] == LinkStep((Name(("a",)), Name(("b",))), None, "full")


def test_empty_values_are_values():
    assert only_filter("a=").values == ("",)
    assert only_filter("a=any(,one)").values == ("", "one")
    assert parse_path("entity/T@sort(a,b)@after(,::null::)").after == ("", None)


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        ("id=(1,2)", "Value list requires quantifier prefix"),
        ("id=none(1,2)", 'quantifier must be "all" or "any", not \'none\''),
        ("S:T:x", "Name S:T:x is not a valid syntax for a table name"),
        ("(a,b)=(U:c)", "must be equal length"),
        ("=", "URL parse error at token: '='"),
        ("id=1&", "URL parse error at token: None"),
        ("id::null", "URL parse error at token: None"),
        ("id=1/", "URL parse error at token: None"),
        ("", "URL parse error at token: None"),
        ("id=1@sort()", r"URL parse error at token: '\)'"),
        ("id=1@before(3)", "URL parse error at token: 'before'"),
        ("id=1@sort(a)@after(1,2)", 'The "after" page key of length 2 does not match the "sort" key of length 1'),
        ("id=1@sort(A:a)", "URL parse error"),
        ("id=1?limit=1&limit=2", '"limit" query-parameter requires an integer'),
        ("id=1?limit=x", '"limit" query-parameter requires an integer'),
        ("id=1?limit=-1", "LIMIT must not be negative"),
        ("id=1?accept=text/csv", "URL parse error"),
        ("id=1?", "URL parse error"),
        ("(" * 300 + "a=1" + ")" * 300, "nested 200 deep"),
    ],
)
def test_what_is_malformed_is_named(raw, detail):
    with pytest.raises(PathSyntaxError, match=detail):
        parse_target(f"catalog/1/entity/S:T/{raw}")


# ------------------------------------------------------------------------------------------ parameters, resources


def test_parameters_are_joined_sets():
    query = parse_target("catalog/1/entity/T?defaults=a,b%2C&x&limit=;defaults=c,a&accept=text%2Fcsv").query
    assert query == {"defaults": ("a", "b,", "c"), "x": (), "limit": (), "accept": ("text/csv",)}


@pytest.mark.parametrize(("query", "limit"), [("", None), ("?limit=", None), ("?limit=none", None), ("?limit=0", 0)])
def test_limits(query, limit):
    assert parse_target(f"catalog/1/entity/T{query}").resource.limit == limit


def test_resources_that_are_no_data_paths_are_segments():
    target = parse_target("catalog/1@2PM-1234/schema/S/table/T/foreignkey/a,b/reference/S2:T2/c,d/")
    assert (target.catalog, target.snaptime, target.trailing_slash) == ("1", "2PM-1234", True)
    assert [segment.word for segment in target.resource][:6] == ["schema", "S", "table", "T", "foreignkey", None]
    assert target.resource[5] == Segment((("a",), ("b",)))
    assert target.resource[7] == Segment((("S2", "T2"),))


@pytest.mark.parametrize(
    ("raw", "words", "slash"),
    [
        ("", [], False),
        ("catalog", ["catalog"], False),
        ("catalog/", ["catalog"], True),
        ("alias/x", ["alias", "x"], False),
    ],
)
def test_targets_above_the_catalogs(raw, words, slash):
    target = parse_target(raw)
    assert (target.catalog, target.trailing_slash) == (None, slash)
    assert [segment.word for segment in target.resource] == words


@pytest.mark.parametrize(("raw", "slash"), [("catalog/1", False), ("catalog/1/", True), ("catalog/1@2/", True)])
def test_the_catalog_itself(raw, slash):
    target = parse_target(raw)
    assert (target.catalog, target.resource, target.trailing_slash) == ("1", (), slash)


def test_history_ranges_may_be_open():
    assert parse_target("catalog/1/history/,2PM").resource[1] == Segment((("",), ("2PM",)))
    assert parse_target("catalog/1/history/a,b/attribute/C/R=%7B%7D").resource[4] == Segment((("R",),), "{}")


@pytest.mark.parametrize("raw", ["catalog/1@", "catalog/1@a!", "catalog/1/entity", "catalog/1@2x:y"])
def test_malformed_catalog_parts(raw):
    with pytest.raises(PathSyntaxError):
        parse_target(raw)


# ------------------------------------------------------------------------------------------ what real clients send


@pytest.mark.parametrize(
    "raw",
    [
        "entity/A:=S1:A?limit=1",
        "entity/A:=S1:A/B:=(x)=(S1:B:ax)/q::geq::1.0",
        "attribute/A:=S1:A/B:=S1:B/A:x,qq:=B:q@sort(x::desc::)?limit=3",
        "attribute/A:=S1:A/B:=left(A:x)=(S1:B:ax)/A:x",
        "entity/A:=S1:A/A2:=(A:x,A:n2)=(S1:A:x,S1:A:n2)",
        "entity/A:=S1:A/((x=r)&(n2::gt::1));(!(x::regexp::a.b))@sort(RID)",
        "entity/A:=S1:A/x=any(r,g%2F%20%2B)",
        "entity/A:=S1:A/n2::null::",
        "aggregate/A:=S1:A/c:=cnt(x),a:=array_d(x)",
        "attributegroup/A:=S1:A/x,b:=bin(n2;3;2;5);s:=sum(n2)",
        "attribute/A:=S1:A/B:=S1:B/$A/*",
        "entity/S1:A?onconflict=skip&defaults=RCT,RMB,RMT,RID,RCB,extra&nondefaults=RID",
        "attributegroup/S1:A/o0:=c0,o1:=c1;n0:=c0,n1:=c1",
        "entity/S:T@sort(RID)@after(1-X0AA)?limit=1000",
        "entity/S:T/MD5=0cc175b9c0f1b6a831c399e269772661&Filename=a%20b.txt",
    ],
)
def test_paths_of_the_deriva_client_read_and_write_back(raw):
    path = parse_path(raw)
    assert parse_path(render(path)) == path
    if "((" not in raw:  # needless parentheses are not written again
        assert render(path).partition("?")[0] == "/" + raw.partition("?")[0]
