"""Model documents and values: what is written is what was read."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.wire.column_types import known_type
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, ForeignKey, Key, Model, Schema, Table
from deriva_ml.wire.model_documents import model_from_document, schema_document, table_document, table_from_document

NAMES = st.text(min_size=1, max_size=12)
TYPES = st.sampled_from(["text", "int4", "ermrest_curie", "text[]", "timestamptz", "jsonb", "color_rgb_hex[]"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SETS = st.dictionaries(NAMES, VALUES, max_size=2)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    columns = tuple(
        Column(
            rid=f"C{at}",
            name=name,
            type=known_type(draw(TYPES)),
            nullok=draw(st.booleans()),
            default=draw(VALUES),
            comment=draw(st.none() | st.text()),
            annotations=draw(SETS),
            acls=draw(SETS),
        )
        for at, name in enumerate(names)
    )
    schema, name = draw(NAMES), draw(NAMES)
    key = Key("K1", (schema, draw(NAMES)), (names[0],), draw(st.none() | st.text()), draw(SETS))
    fk = ForeignKey("F1", (schema, draw(NAMES)), (schema, name), (names[-1],), (draw(NAMES), draw(NAMES)), ("x",))
    return Table("T1", schema, name, columns, (key,), (fk,), comment=draw(st.none() | st.text()))


@given(tables())
def test_a_table_written_and_read_again_is_the_same(table: Table) -> None:
    document = json.loads(json.dumps(table_document(table)))
    assert table_from_document(document) == table


@given(tables())
def test_a_model_written_and_read_again_is_the_same(table: Table) -> None:
    schema = Schema("S1", table.schema, {table.name: table}, comment="c", annotations={"a": None}, acls={})
    document = {"snaptime": "2", "schemas": {schema.name: schema_document(schema)}, "annotations": {}, "acls": {}}
    assert model_from_document(json.loads(json.dumps(document))) == Model("2", {schema.name: schema})


def test_a_document_without_optional_members_is_read() -> None:
    model = model_from_document({"schemas": {"s": {"schema_name": "s", "tables": {"t": {"table_name": "t"}}}}})
    assert model.schemas["s"].tables["t"].columns == ()


def _table(name: str, columns: str, keys: list[str], references: dict[str, str]) -> Table:
    text = known_type("text")
    return Table(
        name,
        "s",
        name,
        tuple(Column(f"{name}.{one}", one, text) for one in [*SYSTEM_COLUMNS, *columns.split()]),
        tuple(Key(f"{name}.k{at}", ("s", f"k{at}"), tuple(key.split())) for at, key in enumerate(keys)),
        tuple(
            ForeignKey(f"{name}.{one}", ("s", one), ("s", name), (one,), ("s", far), ("RID",))
            for one, far in references.items()
        ),
    )


def test_an_association_is_told_by_a_key_that_its_references_make_up() -> None:
    plain = _table("A_B", "A B", ["RID", "A B"], {"A": "A", "B": "B"})
    assert plain.is_association
    assert [fk.columns for fk in plain.association_keys()] == [("A",), ("B",)]
    with_more = _table("A_B", "A B Execution", ["RID", "A B"], {"A": "A", "B": "B", "Execution": "E"})
    assert with_more.is_association
    assert not _table("A", "B", ["RID", "B"], {"B": "B"}).is_association
    assert not _table("A", "B C", ["RID"], {"B": "B", "C": "C"}).is_association


def test_vocabularies_and_assets_are_told_by_their_columns() -> None:
    words = _table("V", "ID URI Name Description Synonyms", ["RID"], {})
    assert not words.is_vocabulary
    columns = tuple(
        replace(one, type=known_type("ermrest_curie")) if one.name == "ID" else one for one in words.columns
    )
    assert replace(words, columns=columns).is_vocabulary
    assert _table("F", "URL Filename Length MD5 Description", ["RID"], {}).is_asset
    assert not _table("F", "URL Filename", ["RID"], {}).is_asset


def test_a_model_finds_tables_by_name_and_by_what_refers_to_them() -> None:
    a, b = _table("A", "", ["RID"], {}), _table("B", "A", ["RID"], {"A": "A"})
    model = Model("2", {"s": Schema("1", "s", {"A": a, "B": b}), "t": Schema("2", "t", {"A": a})})
    assert model.table("s", "B") is b
    assert model.table("s", "C") is None
    assert model.table("x", "A") is None
    assert len(model.tables_named("A")) == 2
    assert [fk.table for fk in model.referenced_by(a)] == [("s", "B")]
    assert b.references(a) == b.foreign_keys
    assert a.key(["RID"]) is a.keys[0]
    assert a.key(["RCT"]) is None
    assert b.foreign_keys[0].mapping == {"A": "RID"}
