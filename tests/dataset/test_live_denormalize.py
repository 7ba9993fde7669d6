"""Joining the tables of a dataset in the catalog: the same rows as in a bag of it, in few requests."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.dataset.project import DEMO, Project, make_project
from tests.fakes import Counting

from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, TableDef
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLTableNotFound
from deriva_ml.dataset import Dataset, DatasetSpec, download_dataset_bag
from deriva_ml.dataset.bag_walk import belonging
from deriva_ml.dataset.live_denormalize import denormalize_info
from deriva_ml.dataset.members import add_dataset_element_type
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import Associate, association_document, is_vocabulary, table_document

WIDE = ["Image", "Subject", "Execution_Image_Quality"]


def _bag(dataset: Dataset, version: str) -> Any:
    spec = DatasetSpec(rid=dataset.dataset_rid, version=version, materialize=False)  # type: ignore[arg-type]
    return download_dataset_bag(dataset._session, spec)


@pytest.mark.parametrize(
    "include",
    [WIDE, ["Image"], ["Subject"], ["Subject", "Image"], ["Image", "Asset_Type"], ["Image", "Dataset"],
     ["Dataset", "Image"], ["Image", "Execution_Image_Quality", "Execution", "Grade"]],
    ids=" ".join,
)  # fmt: skip
def test_catalog_and_bag_give_the_same_rows_in_the_same_order(small: Project, include: list[str]) -> None:
    inner = small.dataset(small.images[:3])
    whole = small.dataset([inner.dataset_rid, *small.images[2:6], small.subjects[4]])
    other = small.dataset(small.images)
    small.session.catalog.insert(
        DEMO, "Image_Asset_Type", [{"Image": rid, "Asset_Type": "Input_File"} for rid in small.images[:4]]
    )
    small.session.catalog.update(DEMO, "Image", [{"RID": small.images[0], "Subject": None}])
    whole.increment_dataset_version("patch")
    version = str(whole.current_version)
    live = list(whole.denormalize_as_dict(include, version))
    bag = _bag(whole, version)
    assert live
    assert live == list(bag.denormalize_as_dict(include))
    assert whole.denormalize_columns(include) == bag.denormalize_columns(include)
    assert list(live[0]) == [name for name, _type in bag.denormalize_columns(include)]
    assert other.dataset_rid not in {row.get("Dataset.RID") for row in live}
    assert whole.denormalize_as_dataframe(include, version).equals(bag.denormalize_as_dataframe(include))


def test_a_version_is_joined_as_it_was(small: Project) -> None:
    dataset = small.dataset(small.images[:4])
    before = list(dataset.denormalize_as_dict(WIDE, "0.2.0"))
    dataset.add_dataset_members(small.images[4:6])
    small.session.catalog.update(DEMO, "Subject", [{"RID": small.subjects[0], "Name": "renamed"}])
    assert list(dataset.denormalize_as_dict(WIDE, "0.2.0")) == before
    now = list(dataset.denormalize_as_dict(WIDE))
    assert len(now) == 6
    assert "renamed" in {row["Subject.Name"] for row in now}


@pytest.mark.parametrize("images", [10, 200])
def test_the_number_of_requests_is_that_of_tables_not_of_rows(domain: Session, images: int) -> None:
    project = make_project(domain, images)
    dataset = project.dataset(project.images[:5])
    transport = Counting(domain.catalog.transport)
    catalog = type(domain.catalog)(transport, domain.catalog_id)
    dataset = Dataset(replace(domain, catalog=catalog), dataset.dataset_rid)
    catalog.model()
    transport.reset()
    assert len(list(dataset.denormalize_as_dict(WIDE))) == 5
    # the nesting, each of the three tables, and for images and subjects as members which rows belong together
    assert transport.count == 6
    transport.reset()
    assert len(list(dataset.denormalize_as_dict(["Image"]))) == 5
    assert transport.count == 2


def test_rows_of_other_datasets_are_not_fetched(domain: Session) -> None:
    project = make_project(domain, 100)
    dataset = project.dataset(project.images[:2])

    class Sized(Counting):
        received = 0

        def send(self, request: Any) -> Any:
            answer = super().send(request)
            content = answer.read()
            self.received += len(content) if "/schema" not in request.target else 0
            answer.body = content
            return answer

    transport = Sized(domain.catalog.transport)
    catalog = type(domain.catalog)(transport, domain.catalog_id)
    rows = list(Dataset(replace(domain, catalog=catalog), dataset.dataset_rid).denormalize_as_dict(WIDE))
    assert len(rows) == 2
    assert transport.received < 6000


def test_info_tells_what_would_be_read(small: Project) -> None:
    dataset = small.dataset(small.images[:4])
    info = dataset.denormalize_info(WIDE, "0.2.0")
    assert info["columns"] == dataset.denormalize_columns(WIDE)
    assert info["join_path"] == WIDE
    size = sum(int(str(row["Length"])) for row in dataset.list_dataset_members()["Image"]) / 4 * 10
    assert info["tables"]["Image"] == {"row_count": 10, "is_asset": True, "asset_bytes": info["total_asset_bytes"]}
    assert info["total_asset_bytes"] == pytest.approx(size, rel=0.01)
    assert info["tables"]["Subject"] == {"row_count": 5, "is_asset": False, "asset_bytes": 0}
    assert info["total_rows"] == 25
    assert info["total_asset_size"].endswith("KB")
    assert denormalize_info(small.session, WIDE) == info
    of_bag = _bag(dataset, "0.2.0").denormalize_info(WIDE)
    assert (of_bag["columns"], of_bag["join_path"]) == (info["columns"], info["join_path"])
    assert of_bag["tables"]["Subject"]["row_count"] == 2


def test_what_was_joined_can_be_kept(small: Project) -> None:
    dataset = small.dataset(small.images[:4])
    first = dataset.cache_denormalized(WIDE, "0.2.0")
    assert len(first) == 4
    transport = Counting(small.session.catalog.transport)
    again = Dataset(
        replace(small.session, catalog=type(small.session.catalog)(transport, small.session.catalog_id)),
        dataset.dataset_rid,
    ).cache_denormalized(WIDE, "0.2.0")
    assert again.equals(first)
    assert not any("attributegroup" in target for _method, target in transport.requests)
    by_image = dataset.cache_denormalized(["Subject"], "0.2.0", via=["Image"])
    assert len(dataset.cache_denormalized(["Subject"], "0.2.0")) == 0
    assert len(by_image) == len(dataset.cache_denormalized(["Subject"], "0.2.0", via=["Image"])) == 2
    assert len(dataset.cache_denormalized(["Image", "Subject"], "0.2.0", row_per="Image")) == 4


def test_errors_are_those_of_the_bag(small: Project) -> None:
    dataset = small.dataset(small.images[:1])
    with pytest.raises(DerivaMLTableNotFound, match="Image"):
        dataset.denormalize_as_dict(["Imagge"])
    with pytest.raises(DerivaMLDataError, match="No FK relationship found between Image and Workflow_Type"):
        dataset.denormalize_as_dict(["Image", "Workflow_Type"])


# ---------------------------------------------------------------------------------------------- any schema

NAMES = ("A", "B", "C", "D")


@dataclass
class Drawn:
    """A project: tables with references to earlier ones, associations, rows and datasets."""

    schemas: list[int]
    references: list[dict[int, bool]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    elements: list[int] = field(default_factory=list)
    rows: list[list[dict[int, int | None]]] = field(default_factory=list)
    linked: list[list[tuple[int, int]]] = field(default_factory=list)
    members: list[list[tuple[int, int]]] = field(default_factory=list)
    lists: list[list[int]] = field(default_factory=list)


@st.composite
def projects(draw: st.DrawFn) -> Drawn:
    number = draw(st.integers(2, 4))
    each = range(number)
    made = Drawn([draw(st.integers(0, 1)) for _ in each])
    made.references = [
        draw(st.dictionaries(st.integers(0, at - 1), st.booleans(), max_size=2)) if at else {} for at in each
    ]
    all_pairs = list(itertools.combinations(each, 2))
    made.pairs = draw(st.lists(st.sampled_from(all_pairs), unique=True, max_size=2))
    made.elements = draw(st.lists(st.sampled_from(list(each)), unique=True, min_size=1))
    for at in each:
        rows: list[dict[int, int | None]] = []
        for _row in range(draw(st.integers(1, 3))):
            refs: dict[int, int | None] = {}
            for target, nullok in made.references[at].items():
                some = st.integers(0, len(made.rows[target]) - 1)
                refs[target] = draw(st.none() | some if nullok else some)
            rows.append(refs)
        made.rows.append(rows)
    for left, right in made.pairs:
        pair = st.tuples(st.integers(0, len(made.rows[left]) - 1), st.integers(0, len(made.rows[right]) - 1))
        made.linked.append(draw(st.lists(pair, unique=True, max_size=4)))
    candidates = [(at, row) for at in made.elements for row in range(len(made.rows[at]))]
    made.members = (
        [draw(st.lists(st.sampled_from(candidates), unique=True, min_size=2 * n, max_size=5)) for n in (0, 1, 0)]
        if len(candidates) > 1
        else [candidates] * 3
    )
    start = draw(st.sampled_from(candidates))[0]
    chosen = st.lists(st.sampled_from([*each, -1]), max_size=3)
    made.lists = [list(dict.fromkeys([start, *draw(chosen)])) for _ in range(4)]
    return made


class Built:
    """The project in a catalog, in two schemas of its own; a dataset, one nested in it, and one beside it."""

    def __init__(self, session: Session, drawn: Drawn, number: int) -> None:
        schemas = [f"s{number}x", f"s{number}y"]
        for schema in schemas:
            session.catalog.create_schema(schema)
        self.session = replace(session, domain_schemas=frozenset(schemas), default_schema=schemas[0])
        # Tables of two schemas may have one name.
        counts: Counter[int] = Counter()
        self.tables: list[tuple[str, str]] = []
        for at in drawn.schemas:
            self.tables.append((schemas[at], NAMES[counts[at]]))
            counts[at] += 1
        self.rids: list[list[str]] = []
        self._make_tables(drawn)
        self._make_rows(drawn)
        inner, self.dataset, beside = (Dataset.create_dataset(self.session, None) for _ in range(3))
        for dataset, members in zip((inner, self.dataset, beside), drawn.members, strict=True):
            dataset.add_dataset_members([self.rids[at][row] for at, row in members])
        self.dataset.add_dataset_members([inner.dataset_rid])
        self.version = str(self.dataset.current_version)

    def _make_tables(self, drawn: Drawn) -> None:
        catalog = self.session.catalog
        for at, (schema, name) in enumerate(self.tables):
            refs = drawn.references[at]
            columns = [ColumnDef("Label"), *(ColumnDef(f"R{t}", nullok=nullok) for t, nullok in refs.items())]
            fkeys = [ForeignKeyDef([f"R{t}"], *self.tables[t]) for t in refs]
            catalog.create_table(schema, table_document(schema, TableDef(name, columns, (), fkeys)))
        for number, (left, right) in enumerate(drawn.pairs):
            sides = [Associate(*self.tables[at], column=f"C{at}") for at in (left, right)]
            schema = self.tables[left][0]
            catalog.create_table(schema, association_document(schema, f"Pair{number}", sides))
        for at in drawn.elements:
            add_dataset_element_type(self.session, ":".join(self.tables[at]))

    def _make_rows(self, drawn: Drawn) -> None:
        catalog = self.session.catalog
        for at, (schema, name) in enumerate(self.tables):
            rows: list[Any] = [
                {"Label": f"{at}/{n}", **{f"R{t}": None if i is None else self.rids[t][i] for t, i in refs.items()}}
                for n, refs in enumerate(drawn.rows[at])
            ]
            self.rids.append([str(row["RID"]) for row in catalog.insert(schema, name, rows)])
        for number, ((left, right), links) in enumerate(zip(drawn.pairs, drawn.linked, strict=True)):
            if links:
                rows = [{f"C{left}": self.rids[left][a], f"C{right}": self.rids[right][b]} for a, b in links]
                catalog.insert(self.tables[left][0], f"Pair{number}", rows)


NUMBERS = itertools.count()


def _outcome(read: Any) -> Any:
    try:
        return list(read())
    except DerivaMLDataError as error:
        return str(error)


def _hows(include: list[str]) -> list[dict[str, Any]]:
    """Ways to ask for the same tables: as they are, a row for each of the last, and by the last of three."""
    by_last = {"row_per": include[-1]}
    return [{}, by_last] if len(include) < 3 else [{}, by_last, {"via": [include[-1]], "row_per": include[1]}]


def _require_rows(bag: Any, row_per: str, rows: list[dict[str, Any]]) -> None:
    """Each row stands for one of the table's rows that belong to the dataset, each of which has one row at most."""
    table = bag.database.table(row_per)
    column = f"{table.schema}.{table.name}.RID" if rows and f"{table.name}.RID" not in rows[0] else f"{table.name}.RID"
    found = [row[column] for row in rows]
    assert len(found) == len(set(found))
    assert set(found) <= set(belonging(bag.database, bag.holders, table))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=projects())
@pytest.mark.slow
def test_any_project_is_joined_the_same_in_the_catalog_and_in_a_bag(session: Session, drawn: Drawn) -> None:
    built = Built(session, drawn, next(NUMBERS))
    bag = _bag(built.dataset, built.version)
    for chosen in drawn.lists:
        include = ["Dataset" if at < 0 else ":".join(built.tables[at]) for at in chosen]
        for how in _hows(include):
            live = _outcome(lambda i=include, h=how: built.dataset.denormalize_as_dict(i, built.version, **h))
            assert live == _outcome(lambda i=include, h=how: bag.denormalize_as_dict(i, **h))
            if how.get("row_per") and not isinstance(live, str):
                _require_rows(bag, how["row_per"], live)
    whole = bag.database.tables()
    for table in whole:
        if not is_vocabulary(table) and table.name != "Dataset_Dataset":
            rids = [row["RID"] for row in bag.database.rows(table)]
            assert belonging(bag.database, bag.holders, table) == rids
