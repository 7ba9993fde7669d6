"""Joining the tables of a bag."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO, Project

from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, KeyDef, TableDef
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLDenormalizeAmbiguousPath,
    DerivaMLDenormalizeDownstreamLeaf,
    DerivaMLDenormalizeError,
    DerivaMLTableNotFound,
)
from deriva_ml.dataset import DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.dataset.members import add_dataset_element_type
from deriva_ml.schema.tables import Associate, association_document, table_document
from deriva_ml.wire.path import eq
from deriva_ml.wire.path import table as path_table


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
    with pytest.raises(DerivaMLDataError, match="'Image' is one text, not several"):
        bag.denormalize_as_dict("Image")
    with pytest.raises(DerivaMLDataError, match="'Image' is one text, not several"):
        small.dataset(small.images[:1]).denormalize_as_dict("Image")


def _both(project: Project, members: list[str], include: list[str], **how: Any) -> list[dict[str, Any]]:
    """The rows of a bag, which are those of the catalog."""
    dataset = project.dataset(members)
    spec = DatasetSpec(rid=dataset.dataset_rid, version="0.2.0", materialize=False)  # type: ignore[arg-type]
    rows = list(download_dataset_bag(project.session, spec).denormalize_as_dict(include, **how))
    assert rows == list(dataset.denormalize_as_dict(include, "0.2.0", **how))
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


def _observations(project: Project) -> list[str]:
    """Two observations of each subject; each image is of one, which need not be of the image's subject."""
    catalog = project.session.catalog
    _add(project, "Observation", "Subject")
    made = catalog.insert(DEMO, "Observation", [{"Subject": rid} for rid in project.subjects for _ in range(2)])
    return [str(row["RID"]) for row in made]


def test_a_row_stands_for_a_row_of_the_table_that_is_named(small: Project) -> None:
    observations = _observations(small)
    members = [*small.images[:4], small.subjects[0]]
    include = ["Subject", "Image", "Observation"]
    product = _both(small, members, include)
    assert len({(row["Image.RID"], row["Observation.RID"]) for row in product}) == len(product) == 8
    rows = _both(small, members, ["Subject", "Observation"], row_per="Observation")
    assert [row["Observation.RID"] for row in rows] == sorted(observations[:2])
    assert {row["Subject.RID"] for row in rows} == {small.subjects[0]}
    rows = _both(small, members, ["Subject", "Image"], row_per="Image")
    assert [row["Image.RID"] for row in rows] == sorted(small.images[:4])


def test_a_table_with_several_rows_for_one_is_refused_where_a_row_stands_for_that_one(small: Project) -> None:
    _observations(small)
    dataset = small.dataset(small.images[:4])
    with pytest.raises(
        DerivaMLDenormalizeDownstreamLeaf, match="Image may have several rows for one of Subject"
    ) as bad:
        dataset.denormalize_as_dict(["Image", "Subject"], row_per="Subject")
    assert (bad.value.table, bad.value.row_per) == ("Image", "Subject")
    assert "via=['Image']" in str(bad.value)
    rows = _both(small, small.images[:4], ["Subject"], row_per="Subject", via=["Image"])
    assert [row["Subject.RID"] for row in rows] == sorted(small.subjects[:2])
    with pytest.raises(DerivaMLDenormalizeError, match="row_per=Subject is not among"):
        dataset.denormalize_as_dict(["Image"], row_per="Subject")


def test_with_a_table_that_a_row_stands_for_rows_without_one_are_left_out(small: Project) -> None:
    catalog = small.session.catalog
    (lonely,) = catalog.insert(DEMO, "Subject", [{"Name": "lonely"}])
    members = [small.subjects[0], str(lonely["RID"])]
    assert None in {row["Image.RID"] for row in _both(small, members, ["Subject", "Image"])}
    rows = _both(small, members, ["Subject", "Image"], row_per="Image")
    assert {row["Image.RID"] for row in rows} == set(small.images[:2])


def test_ways_go_by_the_tables_that_are_named_without_their_columns(small: Project) -> None:
    _observations(small)
    catalog = small.session.catalog
    fkeys = [ForeignKeyDef(["Observation"], DEMO, "Observation"), ForeignKeyDef(["Subject"], DEMO, "Subject")]
    scan = TableDef("Scan", [ColumnDef("Observation"), ColumnDef("Subject")], (), fkeys)
    catalog.create_table(DEMO, table_document(DEMO, scan))
    add_dataset_element_type(small.session, "Scan")
    observation = next(iter(catalog.rows(path_table(DEMO, "Observation").where(eq("Subject", small.subjects[0])))))
    (made,) = catalog.insert(DEMO, "Scan", [{"Observation": observation["RID"], "Subject": small.subjects[1]}])
    members = [str(made["RID"])]
    (direct,) = _both(small, members, ["Scan", "Subject"])
    (by,) = _both(small, members, ["Scan", "Subject"], via=["Observation"])
    assert (direct["Subject.RID"], by["Subject.RID"]) == (small.subjects[1], small.subjects[0])
    assert list(direct) == list(by)
    with pytest.raises(DerivaMLDenormalizeError, match="No way between the tables to join goes by Grade"):
        small.dataset(members).denormalize_as_dict(["Scan", "Subject"], via=["Grade"])


def test_a_start_without_columns_leaves_no_empty_row(small: Project) -> None:
    small.session.catalog.update(DEMO, "Image", [{"RID": small.images[0], "Subject": None}])
    rows = _both(small, [small.images[0], small.images[2]], ["Subject"], via=["Image"])
    assert [row["Subject.RID"] for row in rows] == [small.subjects[1]]


def test_a_feature_leads_to_its_terms_without_mention(small: Project) -> None:
    rows = _both(small, small.images[:2], ["Image", "Grade"])
    assert {row["Image.RID"]: row["Grade.Name"] for row in rows} == {small.images[0]: "bad", small.images[1]: "good"}
    assert not any(name.startswith("Execution_Image_Quality.") for name in rows[0])


def test_two_features_with_one_vocabulary_are_ambiguous_until_one_is_named(small: Project) -> None:
    catalog = small.session.catalog
    associates = [
        Associate("deriva-ml", "Execution"),
        Associate(DEMO, "Image"),
        Associate("deriva-ml", "Feature_Name", "Name"),
    ]
    second = association_document(
        DEMO, "Execution_Image_Second", associates, [ColumnDef("Grade", nullok=False)],
        [ForeignKeyDef(["Grade"], DEMO, "Grade", ["Name"])],
    )  # fmt: skip
    columns: Any = second["column_definitions"]
    next(column for column in columns if column["name"] == "Feature_Name")["default"] = "Second"
    catalog.create_table(DEMO, second)
    dataset = small.dataset(small.images[:2])
    with pytest.raises(DerivaMLDenormalizeAmbiguousPath, match="2 FK paths") as caught:
        dataset.denormalize_as_dict(["Image", "Grade"])
    assert {path[1] for path in caught.value.paths} == {"Execution_Image_Quality", "Execution_Image_Second"}
    rows = _both(small, small.images[:2], ["Image", "Grade"], via=["Execution_Image_Quality"])
    assert {row["Grade.Name"] for row in rows} == {"good", "bad"}


def test_a_feature_leads_to_nothing_but_what_its_values_refer_to(small: Project) -> None:
    dataset = small.dataset(small.images[:1])
    with pytest.raises(DerivaMLDenormalizeAmbiguousPath, match="between Image and Execution"):
        dataset.denormalize_as_dict(["Image", "Execution"])


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
