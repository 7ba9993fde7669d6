"""Joining the tables of a bag."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.dataset.project import DEMO, Project

from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, KeyDef, TableDef
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLTableNotFound
from deriva_ml.dataset import DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.dataset.members import add_dataset_element_type
from deriva_ml.schema.tables import table_document


def _bag(project: Project, members: list[str], **more: object) -> DatasetBag:
    dataset = project.dataset(members)
    return download_dataset_bag(
        project.session,
        DatasetSpec(rid=dataset.dataset_rid, version="0.2.0", **more),  # type: ignore[arg-type]
    )


def test_a_member_is_joined_with_what_it_refers_to_and_with_its_features(project: Project) -> None:
    bag = _bag(project, project.images, materialize=False)
    rows = list(bag.denormalize_as_dict(["Image", "Subject", "Execution_Image_Quality"]))
    assert [row["Image.RID"] for row in rows] == sorted(project.images)
    assert {row["Execution_Image_Quality.Grade"] for row in rows} <= {"good", "bad"}
    row = next(row for row in rows if row["Image.RID"] == project.images[0])
    assert (row["Subject.Name"], row["Subject.Tags"], row["Image.Usable"]) == ("subject 0", [], False)
    assert row["Image.Info"] == {"n": [0, None, 'a "quote",\n']}
    assert not any(name.endswith((".RCT", ".RMT", ".RCB", ".RMB")) for name in row)
    assert list(row) == [
        name for name, _type in bag.denormalize_columns(["Image", "Subject", "Execution_Image_Quality"])
    ]


def test_a_reference_that_may_be_empty_keeps_the_row(small: Project) -> None:
    small.session.catalog.update(DEMO, "Image", [{"RID": small.images[0], "Subject": None}])
    rows = list(_bag(small, small.images[:2]).denormalize_as_dict(["Image", "Subject"]))
    assert {row["Image.RID"]: row["Subject.Name"] for row in rows} == {
        small.images[0]: None,
        small.images[1]: "subject 0",
    }


def test_only_members_start_a_join_and_nested_ones_count(small: Project) -> None:
    inner = small.dataset(small.images[:2])
    bag = _bag(small, [inner.dataset_rid, small.images[2]])
    assert [row["Image.RID"] for row in bag.denormalize_as_dict(["Image"])] == sorted(small.images[:3])
    assert list(bag.denormalize_as_dict(["Subject"])) == []
    both = list(_bag(small, [small.subjects[0]]).denormalize_as_dict(["Subject", "Image"]))
    assert {row["Image.RID"] for row in both} == set(small.images[:2])


def test_the_name_of_a_file_is_its_path_where_it_is_there(small: Project) -> None:
    frame = _bag(small, small.images).denormalize_as_dataframe(["Image"])
    assert len(frame) == 10
    assert all(Path(name).is_file() for name in frame["Image.Filename"])


def test_a_way_through_an_association_needs_no_mention(small: Project) -> None:
    links = [{"Image": rid, "Asset_Type": "Input_File"} for rid in small.images[:3]]
    small.session.catalog.insert(DEMO, "Image_Asset_Type", links)
    rows = list(_bag(small, small.images).denormalize_as_dict(["Image", "Asset_Type"]))
    assert [row["Asset_Type.Name"] for row in rows] == ["Input_File"] * 3


def _add(project: Project, name: str, *others: str, columns: tuple[str, ...] = ()) -> None:
    named = columns or others
    references = [ForeignKeyDef([column], DEMO, other) for column, other in zip(named, others, strict=True)]
    definition = TableDef(name, [ColumnDef(column) for column in named], (), references)
    project.session.catalog.create_table(DEMO, table_document(DEMO, definition))


def test_what_is_ambiguous_is_an_error_that_says_what_to_include(small: Project) -> None:
    _add(small, "Visit", "Subject")
    _add(small, "Scan", "Visit", "Image")
    _add(small, "Report", "Visit")
    _add(small, "Pair", "Image", "Image", columns=("Left", "Right"))
    bag = _bag(small, small.images, materialize=False)
    with pytest.raises(DerivaMLDataError, match=r"Ambiguous path between Image and Visit: found 2 FK paths") as caught:
        list(bag.denormalize_as_dict(["Image", "Visit"]))
    assert "add Scan to include_tables" in str(caught.value)
    assert {row["Visit.RID"] for row in bag.denormalize_as_dict(["Image", "Scan", "Visit"])} == {None}
    with pytest.raises(DerivaMLDataError, match="Ambiguous linkage between Image and Pair: found 2 FK relationships"):
        list(bag.denormalize_as_dict(["Image", "Pair"]))
    with pytest.raises(DerivaMLDataError, match="No FK relationship found between Image and Workflow_Type"):
        list(bag.denormalize_as_dict(["Image", "Workflow_Type"]))


def test_a_list_without_members_or_with_an_unknown_table_is_refused(small: Project) -> None:
    bag = _bag(small, small.images[:1], materialize=False)
    with pytest.raises(DerivaMLDataError, match="element type"):
        list(bag.denormalize_as_dict(["Grade"]))
    with pytest.raises(DerivaMLTableNotFound, match="Image"):
        list(bag.denormalize_as_dict(["Imagge"]))


def _both(project: Project, members: list[str], include: list[str]) -> list[dict[str, object]]:
    """The rows of a bag, which are those of the catalog."""
    dataset = project.dataset(members)
    spec = DatasetSpec(rid=dataset.dataset_rid, version="0.2.0", materialize=False)  # type: ignore[arg-type]
    rows = list(download_dataset_bag(project.session, spec).denormalize_as_dict(include))
    assert rows == list(dataset.denormalize_as_dict(include, "0.2.0"))
    return rows


def test_a_reference_of_several_columns_joins_on_all_of_them(small: Project) -> None:
    catalog = small.session.catalog
    site = TableDef("Site", [ColumnDef("Town"), ColumnDef("Number", "int4")], [KeyDef(["Town", "Number"])])
    visit = TableDef(
        "Visit",
        [ColumnDef("Image"), ColumnDef("Town"), ColumnDef("Number", "int4")],
        (),
        [ForeignKeyDef(["Image"], DEMO, "Image"), ForeignKeyDef(["Town", "Number"], DEMO, "Site", ["Town", "Number"])],
    )
    catalog.create_tables([table_document(DEMO, site), table_document(DEMO, visit)])
    catalog.insert(DEMO, "Site", [{"Town": town, "Number": n} for town in ("A", "B") for n in (1, 2)])
    visits = [{"Image": rid, "Town": "B", "Number": n} for n, rid in enumerate(small.images[:2], start=1)]
    catalog.insert(DEMO, "Visit", [*visits, {"Image": small.images[0], "Town": "A", "Number": None}])
    rows = _both(small, small.images[:2], ["Image", "Visit", "Site"])
    found = {(row["Image.RID"], row["Site.Town"], row["Site.Number"]) for row in rows}
    assert found == {
        (small.images[0], None, None),
        (small.images[0], "B", 1),
        (small.images[1], "B", 2),
    }


def test_what_is_joined_to_an_absent_partner_is_not_missed(small: Project) -> None:
    catalog = small.session.catalog
    site = TableDef("Site", [ColumnDef("Town")])
    trip = TableDef("Trip", [ColumnDef("Site", nullok=False)], (), [ForeignKeyDef(["Site"], DEMO, "Site")])
    shot = TableDef(
        "Shot",
        [ColumnDef("Image"), ColumnDef("Trip")],
        (),
        [ForeignKeyDef(["Image"], DEMO, "Image"), ForeignKeyDef(["Trip"], DEMO, "Trip")],
    )
    catalog.create_tables([table_document(DEMO, each) for each in (site, trip, shot)])
    (place,) = catalog.insert(DEMO, "Site", [{"Town": "A"}])
    (made,) = catalog.insert(DEMO, "Trip", [{"Site": place["RID"]}])
    catalog.insert(DEMO, "Shot", [{"Image": small.images[0], "Trip": made["RID"]}, {"Image": small.images[1]}])
    rows = _both(small, small.images[:3], ["Image", "Shot", "Trip", "Site"])
    assert {row["Image.RID"]: row["Site.Town"] for row in rows} == {
        small.images[0]: "A",
        small.images[1]: None,
        small.images[2]: None,
    }


def test_references_go_before_ways_that_turn_round_and_listed_tables_before_none(small: Project) -> None:
    catalog = small.session.catalog
    _add(small, "Observation", "Subject")
    fkey = ForeignKeyDef(["Observation"], DEMO, "Observation")
    catalog.create_table(
        DEMO,
        table_document(
            DEMO,
            TableDef(
                "Scan",
                [ColumnDef("Observation"), ColumnDef("Subject")],
                (),
                [fkey, ForeignKeyDef(["Subject"], DEMO, "Subject")],
            ),
        ),
    )
    add_dataset_element_type(small.session, "Scan")
    one, two = catalog.insert(DEMO, "Observation", [{"Subject": small.subjects[0]}, {"Subject": small.subjects[1]}])
    scans = [{"Observation": one["RID"], "Subject": small.subjects[1]}]
    (scan,) = catalog.insert(DEMO, "Scan", scans)
    members = [str(scan["RID"])]
    scanned = [row for row in _both(small, members, ["Scan", "Subject"]) if row["Scan.RID"] == scan["RID"]]
    assert [row["Subject.RID"] for row in scanned] == [small.subjects[1]]
    (through,) = _both(small, members, ["Scan", "Observation", "Subject"])
    assert (through["Observation.RID"], through["Subject.RID"]) == (one["RID"], small.subjects[0])
    assert two["RID"] not in through.values()


def test_tables_of_one_name_in_two_schemas_do_not_mix(small: Project) -> None:
    other = "second-schema"
    catalog = small.session.catalog
    catalog.create_schema(other)
    session = replace(small.session, domain_schemas=frozenset({DEMO, other}))
    subject = TableDef(
        "Subject", [ColumnDef("Image"), ColumnDef("Code")], (), [ForeignKeyDef(["Image"], DEMO, "Image")]
    )
    catalog.create_table(other, table_document(other, subject))
    catalog.insert(other, "Subject", [{"Image": small.images[0], "Code": "x"}])
    project = replace(small, session=session)
    rows = _both(project, small.images[:1], ["Image", f"{DEMO}:Subject", f"{other}:Subject"])
    assert [(row[f"{DEMO}.Subject.Name"], row[f"{other}.Subject.Code"]) for row in rows] == [("subject 0", "x")]
    assert rows[0][f"{DEMO}.Image.RID"] == small.images[0]


def test_tables_of_the_ml_schema_do_not_change_the_names_of_columns(small: Project) -> None:
    (row,) = _both(small, small.images[:1], ["Image", "Execution_Image_Quality", "Execution"])
    assert (row["Image.RID"], row["Execution.RID"]) == (small.images[0], small.execution)


def test_ways_end_at_runs_and_at_datasets(small: Project) -> None:
    bag = _bag(small, small.images[:1], materialize=False)
    include = ["Image", "Execution_Image_Quality", "Execution", "Workflow"]
    with pytest.raises(DerivaMLDataError, match="No FK relationship found between Image and Workflow"):
        bag.denormalize_as_dict(include)
