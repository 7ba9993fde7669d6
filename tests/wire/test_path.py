"""The builder: what each call writes, and that what it writes can be read back."""

from datetime import UTC, date, datetime

import pytest

from deriva_ml.wire import path as paths
from deriva_ml.wire.path import any_of, both, cnt, col, either, eq, geq, is_null, negate, not_null, regexp, table
from deriva_ml.wire.syntax import Comparison, Name


def test_a_table_is_its_own_alias():
    assert table("deriva-ml", "Execution").entity() == "/entity/Execution:=deriva-ml:Execution"


def test_an_alias_can_be_given():
    assert table("S", "T", alias="X").entity() == "/entity/X:=S:T"


def test_a_whole_path():
    path = (
        table("deriva-ml", "Execution")
        .where(eq("Workflow", "1-A"))
        .link("deriva-ml", "Dataset_Execution", on=[("RID", "Execution")], alias="DE")
        .context("Execution")
        .sorted("RCT", desc=True)
        .sorted("RID")
        .limited(10)
    )
    route = "Execution:=deriva-ml:Execution/Workflow=1-A/DE:=(RID)=(deriva-ml:Dataset_Execution:Execution)/$Execution"
    assert path.entity() == f"/entity/{route}@sort(RCT::desc::,RID)?limit=10"
    assert path.attributes("RID", ("DE", "Dataset"), out=("DE", "Dataset")) == (
        f"/attribute/{route}/RID,DE:Dataset,out:=DE:Dataset@sort(RCT::desc::,RID)?limit=10"
    )
    assert path.aggregate(n=cnt("*")) == f"/aggregate/{route}/n:=cnt(*)"


def test_groups_have_keys_and_aggregates():
    text = table("S", "T").attributegroup(["a", ("T", "b")], n=cnt("*"), x="c")
    assert text == "/attributegroup/T:=S:T/a,T:b;n:=cnt(*),x:=c"


def test_links_without_columns_follow_the_foreign_keys():
    assert table("S", "A").link("S", "B").entity() == "/entity/A:=S:A/S:B"


def test_links_may_be_outer_and_have_several_columns():
    path = table("S", "A").link("S", "B", on=[("x", "ax"), (("A", "y"), "ay")], how="left")
    assert path.entity() == "/entity/A:=S:A/left(x,A:y)=(S:B:ax,S:B:ay)"


def test_an_outer_link_needs_columns():
    with pytest.raises(ValueError, match="left join of S:B"):
        table("S", "A").link("S", "B", how="left")
    with pytest.raises(ValueError, match="S:B"):
        table("S", "A").link("S", "B", on=[])


def test_page_keys_hold_values_and_nulls():
    path = table("S", "T").sorted("v").sorted("k").after(None, "a/b").before(3, "")
    assert path.entity() == "/entity/T:=S:T@sort(v,k)@after(::null::,a%2Fb)@before(3,)"


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (eq("a", "x y&;/=()é"), "a=x%20y%26%3B%2F%3D%28%29%C3%A9"),
        (eq("a", ""), "a="),
        (eq("a", True), "a=true"),
        (geq("n", 2.5), "n::geq::2.5"),
        (eq("d", date(2020, 1, 2)), "d=2020-01-02"),
        (eq("d", datetime(2020, 1, 2, tzinfo=UTC)), "d=2020-01-02T00%3A00%3A00%2B00%3A00"),
        (is_null(("A", "x")), "A:x::null::"),
        (not_null("x"), "!(x::null::)"),
        (any_of("RID", ["1-A", "2"]), "RID=any(1-A,2)"),
        (paths.all_of_("tags", ["a", ""]), "tags=all(a,)"),
        (regexp("*", "^a.b$"), "*::regexp::%5Ea.b%24"),
        (both(eq("a", 1), either(eq("b", 2), eq("c", 3))), "a=1&(b=2;c=3)"),
        (either(both(eq("a", 1), eq("b", 2)), negate(eq("c", 3))), "a=1&b=2;!(c=3)"),
        (both(both(eq("a", 1), eq("b", 2)), eq("c", 3)), "(a=1&b=2)&c=3"),
        (either(eq("a", 1)), "a=1"),
    ],
)
def test_filters_are_written(tree, text):
    assert table("S", "T").where(tree).entity() == f"/entity/T:=S:T/{text}"


def test_a_list_without_values_cannot_be_written():
    with pytest.raises(ValueError, match="no values"):
        any_of("RID", [])
    with pytest.raises(ValueError, match="no filters"):
        both()


@pytest.mark.parametrize("parts", [(), ("",), ("a", ""), ("a", "b", "c", "d")])
def test_names_have_one_to_three_parts(parts):
    with pytest.raises(ValueError, match="not a column's name"):
        col(*parts)


def test_paths_do_not_change():
    path = table("S", "T")
    path.where(eq("a", 1)).sorted("a").limited(1)
    assert path == table("S", "T")


def test_what_is_built_reads_back():
    path = table("S", "T").where(eq(("T", "a"), "x/y")).sorted("a").after("é").limited(3)
    assert paths.parse_path(path.entity()) == path.data("entity")
    assert paths.parse_path(path.entity()).steps[0].filter == Comparison(Name(("T", "a")), "=", ("x/y",))
