"""What can be reached from one record becomes a catalog of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO, ML, Project, content, make_project
from tests.serving import served

from deriva_ml import DerivaML
from deriva_ml.catalog import (
    AssetCopyMode,
    OrphanStrategy,
    create_ml_workspace,
    get_catalog_provenance,
    localize_assets,
)
from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.copy_mark import mark, mark_of
from deriva_ml.connect import open_connection
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, KeyDef, TableDef
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLOrphansFound,
    DerivaMLRidsNotFound,
    DerivaMLTableNotFound,
)
from deriva_ml.dataset import DatasetSpec, VersionPart
from deriva_ml.dataset.ml_workspace import WorkspaceOptions, plan_ml_workspace
from deriva_ml.dataset.reach import reach
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.path import table

IMAGES = 8


@pytest.fixture
def lab(domain: Session) -> Project:
    return make_project(domain, IMAGES)


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    return str(tmp_path / "elsewhere")


@contextmanager
def copied(place: str, catalog_id: str | None) -> Iterator[CatalogClient]:
    with open_connection(place) as connection:
        yield connection.catalog(str(catalog_id))


def rids(client: CatalogClient, name: str, schema: str = DEMO) -> set[str]:
    return {str(row["RID"]) for row in client.attributes(table(schema, name), "RID")}


def rows(client: CatalogClient, name: str, schema: str = DEMO) -> list[dict[str, Any]]:
    found = client.rows(table(schema, name).sorted("RID"))
    return [{key: value for key, value in row.items() if key not in ("RMT", "RMB")} for row in found]


def test_a_dataset_s_workspace_holds_what_its_bag_holds(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    inner = lab.dataset(lab.images[:2])
    dataset = lab.dataset([*lab.images[1:5], inner.dataset_rid], dataset_types=["Training"])
    lab.dataset(lab.images[5:])
    made = create_ml_workspace(
        str(catalog_root),
        1,
        dataset.dataset_rid,
        dest_hostname=elsewhere,
        asset_mode="full",
        reinitialize_dataset_versions=False,
    )
    assert made.versions == {}
    expected = reach(lab.session, dataset.dataset_rid)
    with copied(elsewhere, made.catalog_id) as copy:
        for name, found in expected.tables.items():
            if found.rows is not None:
                assert set(found.rids()) == rids(copy, name[1], name[0]), name
        assert rids(copy, "Image") == set(lab.images[:5])
        assert rids(copy, "Subject") == set(lab.subjects[:3])
        before = {row["RID"]: row for row in rows(lab.session.catalog, "Image")}
        for row in rows(copy, "Image"):
            here, there = (str(each.pop("URL")).partition(":")[0] for each in (row, before[row["RID"]]))
            assert here == there
            assert row == before[row["RID"]]
        assert rids(copy, "Grade") == rids(lab.session.catalog, "Grade")
    assert (made.objects, made.size) == (5, sum(len(content(n)) for n in range(5)))
    assert made.is_whole
    assert made.tables["demo-schema:Image"] == 5
    assert made.tables["demo-schema:Dataset_Subject"] == 0


def test_a_workspace_is_a_catalog_to_work_in(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    dataset = lab.dataset(lab.images[:4])
    before = dataset.current_version
    made = create_ml_workspace(
        str(catalog_root), 1, dataset.dataset_rid, dest_hostname=elsewhere, asset_mode=AssetCopyMode.FULL, alias="mine"
    )
    with DerivaML(elsewhere, "mine") as ml:
        assert ml.validate_schema().is_valid
        found = ml.lookup_dataset(dataset.dataset_rid)
        assert made.versions == {dataset.dataset_rid: str(found.current_version)}
        assert found.current_version > before
        bag = ml.download_dataset_bag(DatasetSpec(rid=dataset.dataset_rid, version=str(found.current_version)))
        assert {row["RID"] for row in bag.get_table_as_dict("Image")} == set(lab.images[:4])
        for row in bag.get_table_as_dict("Image"):
            assert hashlib.md5(Path(row["Filename"]).read_bytes()).hexdigest() == row["MD5"]
        provenance = get_catalog_provenance(ml)
        assert provenance is not None
        assert provenance.is_clone
        details = provenance.clone_details
        assert details is not None
        assert (details.source_hostname, details.source_catalog_id) == (str(catalog_root), "1")
        assert (details.root_rid, details.rows) == (dataset.dataset_rid, made.rows)
        assert details.source_snapshot == made.source_snapshot
        (feature,) = ml.find_features("Image")
        assert len(list(ml.feature_values("Image", feature.feature_name))) == 4
        found.add_dataset_members([lab.subjects[0]])
        assert [len(found.list_dataset_members()[name]) for name in ("Image", "Subject")] == [4, 1]
    with pytest.raises(DerivaMLConfigurationError, match="mine names a catalog"):
        create_ml_workspace(str(catalog_root), 1, dataset.dataset_rid, dest_hostname=elsewhere, alias="mine")


def test_the_moment_that_is_copied_is_one(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    dataset = lab.dataset(lab.images[:2])
    then = lab.session.catalog.latest_snaptime()
    dataset.add_dataset_members(lab.images[2:4])
    made = create_ml_workspace(str(catalog_root), f"1@{then}", dataset.dataset_rid, dest_hostname=elsewhere)
    assert made.source_snapshot == then
    assert made.tables["demo-schema:Image"] == 2


def test_another_record_brings_what_belongs_to_it_and_nothing_of_its_neighbours(
    lab: Project, catalog_root: Path, elsewhere: str
) -> None:
    lab.dataset(lab.images)
    made = create_ml_workspace(str(catalog_root), 1, lab.subjects[1], dest_hostname=elsewhere)
    with copied(elsewhere, made.catalog_id) as copy:
        assert rids(copy, "Subject") == {lab.subjects[1]}
        assert rids(copy, "Image") == set(lab.images[2:4])
        assert len(rids(copy, "Execution_Image_Quality")) == 2
        assert rids(copy, "Dataset", ML) == set()
        assert rids(copy, "Execution", ML) == {lab.execution}
        urls = {str(row["URL"]) for row in rows(copy, "Image")}
    assert all(url.startswith(f"deriva-ml:{catalog_root}/hatrac/Image/") for url in urls)


def test_a_bag_whose_files_are_elsewhere_is_refused_until_they_are_here(
    lab: Project, catalog_root: Path, elsewhere: str
) -> None:
    rid = lab.dataset(lab.images[:2]).dataset_rid
    made = create_ml_workspace(str(catalog_root), 1, rid, dest_hostname=elsewhere)
    with DerivaML(elsewhere, str(made.catalog_id)) as ml:
        spec = DatasetSpec(rid=rid, version=made.versions[rid])
        with pytest.raises(DerivaMLDataError, match="deriva-ml-catalog localize"):
            ml.download_dataset_bag(spec)
        assert localize_assets(ml, "Image", lab.images[:2]).is_complete
        dataset = ml.lookup_dataset(rid)
        version = dataset.increment_dataset_version(VersionPart.patch)
        bag = ml.download_dataset_bag(DatasetSpec(rid=rid, version=version))
        assert all(Path(row["Filename"]).exists() for row in bag.get_table_as_dict("Image"))


def test_urls_stay_where_the_files_are_in_the_same_store(lab: Project, catalog_root: Path) -> None:
    made = create_ml_workspace(str(catalog_root), 1, lab.subjects[0])
    assert made.catalog_id != "1"
    with copied(str(catalog_root), made.catalog_id) as copy:
        assert {str(row["URL"])[:8] for row in rows(copy, "Image")} == {"/hatrac/"}


def test_without_assets_there_are_neither_rows_nor_files_of_them(
    lab: Project, catalog_root: Path, elsewhere: str
) -> None:
    dataset = lab.dataset([*lab.images[:2], lab.subjects[3]])
    made = create_ml_workspace(str(catalog_root), 1, dataset.dataset_rid, dest_hostname=elsewhere, asset_mode="none")
    with copied(elsewhere, made.catalog_id) as copy:
        assert copy.model().table(DEMO, "Image") is None
        assert rids(copy, "Subject") == {lab.subjects[3]}
        assert rids(copy, "Execution_Metadata", ML) == set()


def test_tables_are_added_and_left_out_by_name(lab: Project, catalog_root: Path) -> None:
    def plan(**more: Any) -> Any:
        return plan_ml_workspace(str(catalog_root), 1, lab.subjects[0], WorkspaceOptions(**more))

    lower = plan_ml_workspace(str(catalog_root), 1, lab.subjects[0].lower())
    assert lower.root_rid == lab.subjects[0]
    assert plan(include_tables=["Subject"]).tables["demo-schema:Subject"] == len(lab.subjects)
    left = plan(exclude_objects=["demo-schema:Image"])
    assert "demo-schema:Image" not in left.tables
    assert "demo-schema:Execution_Image_Quality" not in left.tables
    only = plan(add_ml_schema=False, include_associations=False, include_vocabularies=False)
    assert only.tables["demo-schema:Grade"] == 2
    assert "deriva-ml:Workflow_Type" not in only.tables
    assert "demo-schema:Dataset_Subject" not in only.tables
    without = plan(exclude_schemas=["deriva-ml"], add_ml_schema=False)
    assert {name.partition(":")[0] for name in without.tables} == {DEMO}
    assert without.pruned == []
    with pytest.raises(DerivaMLTableNotFound):
        plan(include_tables=["Sabject"])
    with pytest.raises(DerivaMLConfigurationError, match="no-such"):
        plan(exclude_schemas=["no-such"])
    with pytest.raises(DerivaMLConfigurationError, match="demo-schema:Image cannot be copied whole"):
        plan(include_tables=["Image"], exclude_objects=["Image"])
    with pytest.raises(DerivaMLDataError, match="is excluded"):
        plan(exclude_objects=["Subject"])


def test_a_reference_to_a_table_that_is_not_copied_is_left_out_and_named(lab: Project, catalog_root: Path) -> None:
    plan = plan_ml_workspace(
        str(catalog_root), 1, lab.images[0], WorkspaceOptions(exclude_objects=["Subject"], include_vocabularies=False)
    )
    assert plan.pruned == ["the reference demo-schema:Image.Subject to demo-schema:Subject, which is not copied"]


def test_references_in_a_circle_are_followed_to_the_end(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    catalog = lab.session.catalog
    catalog.create_tables(
        [
            table_document(DEMO, TableDef("Left", [ColumnDef("Right"), ColumnDef("Before")])),
            table_document(
                DEMO, TableDef("Right", [ColumnDef("Left", nullok=False)], (), [ForeignKeyDef(["Left"], DEMO, "Left")])
            ),
        ]
    )
    for column, other in (("Right", "Right"), ("Before", "Left")):
        catalog.create_foreign_key(DEMO, "Left", ForeignKeyDef([column], DEMO, other).to_dict(DEMO, "Left"))
    lefts = [str(row["RID"]) for row in catalog.insert(DEMO, "Left", [{"Right": None, "Before": None}] * 6)]
    rights = [str(row["RID"]) for row in catalog.insert(DEMO, "Right", [{"Left": rid} for rid in lefts])]
    catalog.update(
        DEMO,
        "Left",
        [
            {"RID": rid, "Right": rights[(n + 1) % 4 if n < 4 else 5], "Before": lefts[(n + 3) % 4] if n < 4 else rid}
            for n, rid in enumerate(lefts)
        ],
    )
    made = create_ml_workspace(str(catalog_root), 1, lefts[0], dest_hostname=elsewhere)
    with copied(elsewhere, made.catalog_id) as copy:
        assert rids(copy, "Left") == set(lefts[:4])
        assert rids(copy, "Right") == set(rights[:4])
        assert rows(copy, "Left") == [row for row in rows(catalog, "Left") if row["RID"] in lefts[:4]]
        assert len(copy.model().schemas[DEMO].tables["Left"].foreign_keys) == 2


# ---------------------------------------------------------------------------------------------- orphans


def excluding_executions(strategy: str) -> dict[str, Any]:
    return {"exclude_objects": ["Execution"], "orphan_strategy": strategy}


def test_orphans_stop_the_copy_before_anything_is_written(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    dataset = lab.dataset(lab.images[:2])
    with pytest.raises(DerivaMLOrphansFound) as caught:
        create_ml_workspace(
            str(catalog_root), 1, dataset.dataset_rid, dest_hostname=elsewhere, **excluding_executions("fail")
        )
    assert "2 rows of deriva-ml:Dataset_Version refer by Execution to rows of deriva-ml:Execution" in str(caught.value)
    assert "NULLIFY" in str(caught.value.hint)
    assert not Path(elsewhere).exists()


def test_orphans_are_left_out_with_what_refers_to_them(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    lab.dataset(lab.images[:2])
    plan = plan_ml_workspace(str(catalog_root), 1, lab.execution)
    assert (plan.tables["deriva-ml:Dataset"], plan.tables["deriva-ml:Dataset_Execution"]) == (1, 1)
    made = create_ml_workspace(
        str(catalog_root),
        1,
        lab.execution,
        dest_hostname=elsewhere,
        exclude_objects=["Dataset_Version"],
        orphan_strategy="delete",
    )
    with copied(elsewhere, made.catalog_id) as copy:
        for name in ("Dataset", "Dataset_Execution", "Dataset_Version"):
            assert rids(copy, name, ML) == set()
        assert rids(copy, "Image") == set(lab.images)
    assert made.tables["deriva-ml:Dataset"] == 0
    assert {(orphans.table, orphans.action) for orphans in made.orphans} == {
        ("deriva-ml:Dataset", OrphanStrategy.DELETE),
        ("deriva-ml:Dataset_Execution", OrphanStrategy.DELETE),
        ("demo-schema:Dataset_Image", OrphanStrategy.DELETE),
    }


def test_the_record_itself_is_never_left_out(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    dataset = lab.dataset(lab.images[:2])
    with pytest.raises(DerivaMLOrphansFound, match="the record itself"):
        create_ml_workspace(
            str(catalog_root),
            1,
            dataset.dataset_rid,
            dest_hostname=elsewhere,
            exclude_objects=["Dataset_Version"],
            orphan_strategy="delete",
        )
    assert not Path(elsewhere).exists()


def test_references_of_orphans_are_made_null(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    dataset = lab.dataset(lab.images[:2])
    made = create_ml_workspace(
        str(catalog_root), 1, dataset.dataset_rid, dest_hostname=elsewhere, **excluding_executions("nullify")
    )
    with copied(elsewhere, made.catalog_id) as copy:
        versions = rows(copy, "Dataset_Version", ML)
        assert {row["Execution"] for row in versions} == {None}
        assert len(versions) == 3
        references = copy.model().schemas[ML].tables["Dataset_Version"].foreign_keys
        assert (ML, "Execution") in {fk.referenced_table for fk in references}
    (orphans,) = made.orphans
    assert (orphans.table, orphans.count, orphans.action) == (
        "deriva-ml:Dataset_Version",
        2,
        OrphanStrategy.NULLIFY,
    )
    assert str(orphans) in made.to_text()


def _visits(lab: Project) -> tuple[list[str], list[str]]:
    """Notes that may be without a visit, and findings that may not; each visit is of a subject."""
    catalog = lab.session.catalog
    catalog.create_tables(
        [
            table_document(DEMO, TableDef("Ward", [ColumnDef("Name", nullok=False)], [KeyDef(["Name"])])),
            table_document(
                DEMO,
                TableDef(
                    "Visit",
                    [ColumnDef("Subject"), ColumnDef("Ward", nullok=False)],
                    (),
                    [ForeignKeyDef(["Subject"], DEMO, "Subject"), ForeignKeyDef(["Ward"], DEMO, "Ward", ["Name"])],
                ),
            ),
            table_document(
                DEMO,
                TableDef(
                    "Finding",
                    [ColumnDef("Subject"), ColumnDef("Visit"), ColumnDef("Ward")],
                    (),
                    [
                        ForeignKeyDef(["Subject"], DEMO, "Subject"),
                        ForeignKeyDef(["Visit"], DEMO, "Visit"),
                        ForeignKeyDef(["Ward"], DEMO, "Ward", ["Name"]),
                    ],
                ),
            ),
        ]
    )
    catalog.insert(DEMO, "Ward", [{"Name": "open"}, {"Name": "closed"}])
    wards = ["open", "closed", "closed"]
    visits = [
        str(row["RID"])
        for row in catalog.insert(DEMO, "Visit", [{"Subject": lab.subjects[0], "Ward": ward} for ward in wards])
    ]
    findings = [
        str(row["RID"])
        for row in catalog.insert(
            DEMO,
            "Finding",
            [{"Subject": lab.subjects[0], "Visit": rid, "Ward": ward} for rid, ward in zip(visits, wards, strict=True)],
        )
    ]
    return visits, findings


@pytest.mark.parametrize("strategy", ["fail", "delete", "nullify"])
def test_what_a_user_may_not_see_leaves_orphans(
    lab: Project, catalog_root: Path, elsewhere: str, tmp_path: Path, strategy: str
) -> None:
    visits, findings = _visits(lab)
    token = tmp_path / "token"
    _restrict(lab, catalog_root, token)
    with served(catalog_root) as server:
        arguments: dict[str, Any] = {
            "dest_hostname": elsewhere,
            "source_credential": {"bearer-token": token.read_text().strip()},
            "orphan_strategy": strategy,
        }
        if strategy == "fail":
            with pytest.raises(DerivaMLOrphansFound, match="2 rows of demo-schema:Visit refer by Ward"):
                create_ml_workspace(server.url, 1, lab.subjects[0], **arguments)
            return
        made = create_ml_workspace(server.url, 1, lab.subjects[0], **arguments)
    assert "deriva-ml:File" in made.hidden
    with copied(elsewhere, made.catalog_id) as copy:
        assert [row["Name"] for row in rows(copy, "Ward")] == ["open"]
        # a visit may not be without its ward, so it is left out in any case
        assert rids(copy, "Visit") == {visits[0]}
        found = rows(copy, "Finding")
        if strategy == "delete":
            assert [row["RID"] for row in found] == [findings[0]]
        else:
            assert [(row["RID"], row["Visit"], row["Ward"]) for row in found] == [
                (findings[0], visits[0], "open"),
                *((rid, None, None) for rid in findings[1:]),
            ]
        assert len(copy.model().schemas[DEMO].tables["Finding"].foreign_keys) == 3
        assert {str(row["URL"]).partition("/hatrac/")[0] for row in rows(copy, "Image")} == {server.url}


def test_references_to_tables_seen_in_part_are_pruned_if_asked_for(
    lab: Project, catalog_root: Path, tmp_path: Path
) -> None:
    visits, _ = _visits(lab)
    token = tmp_path / "token"
    _restrict(lab, catalog_root, token)
    with served(catalog_root) as server:
        plan = plan_ml_workspace(
            server.url,
            1,
            lab.subjects[0],
            WorkspaceOptions(prune_hidden_fkeys=True),
            source_credential={"bearer-token": token.read_text().strip()},
        )
    assert plan.tables["demo-schema:Visit"] == len(visits)
    assert "the reference demo-schema:Visit.Ward to demo-schema:Ward, which is not copied whole" in plan.pruned
    assert plan.orphans == []


def _restrict(lab: Project, root: Path, token: Path) -> None:
    """A user who reads the catalog, but not its files' table, and of the wards the open one only."""
    from deriva_ml.catalog.sharing import grant
    from deriva_ml.server.users import users_of

    users = users_of(root)
    try:
        token.write_text(users.add("ann"))
    finally:
        users.close()
    catalog = lab.session.catalog
    grant(catalog.transport, "1", "ann", "reader")
    catalog.send("PUT", f"/schema/{ML}/table/File/acl/select", document=[])
    catalog.send("PUT", f"/schema/{DEMO}/table/Ward/acl/select", document=[])
    catalog.send(
        "PUT",
        f"/schema/{DEMO}/table/Ward/acl_binding/open",
        document={
            "types": ["select"],
            "scope_acl": ["*"],
            "projection": [{"filter": "Name", "operand": "open"}, "RID"],
            "projection_type": "nonnull",
        },
    )


# ---------------------------------------------------------------------------------------------- broken off


def test_a_copy_that_broke_off_does_not_look_whole_and_is_begun_anew(
    lab: Project, catalog_root: Path, elsewhere: str
) -> None:
    dataset = lab.dataset(lab.images)

    def stop(what: str, done: int, _all: int) -> None:
        if what == "references":
            raise DerivaMLException("the power went out")

    for _ in range(2):
        with pytest.raises(DerivaMLException, match="the power went out") as caught:
            create_ml_workspace(
                str(catalog_root), 1, dataset.dataset_rid, dest_hostname=elsewhere, progress_callback=stop
            )
        assert "dest_catalog_id='1'" in str(caught.value)
    with pytest.raises(DerivaMLConfigurationError, match="not finished"):
        DerivaML(elsewhere, 1)
    other = lab.dataset(lab.images[:1])
    with pytest.raises(DerivaMLConfigurationError, match="unfinished copy of another"):
        create_ml_workspace(str(catalog_root), 1, other.dataset_rid, dest_hostname=elsewhere, dest_catalog_id=1)
    made = create_ml_workspace(str(catalog_root), 1, dataset.dataset_rid, dest_hostname=elsewhere)
    assert made.catalog_id == "1"
    with copied(elsewhere, "1") as copy:
        assert mark_of(dict(copy.model().annotations)) is None
        assert rids(copy, "Image") == set(lab.images)
        first = str(copy.get("/history/,")["snaprange"][0])
        assert rids(copy.snapshot(first), "Image") == set(lab.images)


def test_a_copy_that_broke_off_is_no_source(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    with open_connection(elsewhere, create=True) as connection:
        mark(connection.create_catalog(1), {"source": "x"})
    with pytest.raises(DerivaMLConfigurationError, match="not finished"):
        create_ml_workspace(elsewhere, 1, "1", dest_hostname=str(catalog_root))


def test_what_is_not_there_is_said_before_anything_is_made(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    with pytest.raises(DerivaMLRidsNotFound, match="9-ZZZZ"):
        create_ml_workspace(str(catalog_root), 1, "9-ZZZZ", dest_hostname=elsewhere)
    with pytest.raises(DerivaMLConfigurationError, match="no catalog 7"):
        create_ml_workspace(str(catalog_root), 7, lab.subjects[0], dest_hostname=elsewhere)
    with pytest.raises(DerivaMLConfigurationError, match=r"allowed: none, refs, full"):
        create_ml_workspace(str(catalog_root), 1, lab.subjects[0], dest_hostname=elsewhere, asset_mode="some")
    assert not Path(elsewhere).exists()


# ---------------------------------------------------------------------------------------------- beyond one machine


def test_a_workspace_in_a_served_folder_is_the_same(lab: Project, catalog_root: Path, tmp_path: Path) -> None:
    dataset = lab.dataset(lab.images[:3])
    other = tmp_path / "served"
    with open_connection(str(other), create=True):
        pass
    with served(other) as server:
        made = create_ml_workspace(
            str(catalog_root),
            1,
            dataset.dataset_rid,
            dest_hostname=server.url,
            dest_credential={"bearer-token": server.token},
            asset_mode="full",
            table_concurrency=4,
        )
    assert made.hostname == server.url
    assert made.objects == 3
    with DerivaML(str(other), made.catalog_id or "") as ml:
        version = made.versions[dataset.dataset_rid]
        bag = ml.download_dataset_bag(DatasetSpec(rid=dataset.dataset_rid, version=version))
        assert {row["RID"] for row in bag.get_table_as_dict("Image")} == set(lab.images[:3])


def test_a_source_without_the_ml_schema_gets_one(lab: Project, settings: Any, tmp_path: Path, elsewhere: str) -> None:
    bare = tmp_path / "bare"
    with open_connection(str(bare), create=True) as connection:
        client = connection.create_catalog(1)
        client.create_schema("lab")
        client.create_table("lab", table_document("lab", TableDef("Note", [ColumnDef("Text")])))
        (row,) = client.insert("lab", "Note", [{"Text": "x"}])
    made = create_ml_workspace(str(bare), 1, str(row["RID"]), dest_hostname=elsewhere)
    assert made.ml_schema_added
    with DerivaML(elsewhere, 1) as ml:
        assert ml.validate_schema().is_valid
        assert [each["Text"] for each in ml.get_table_as_dict("Note")] == ["x"]
    plain = create_ml_workspace(str(bare), 1, str(row["RID"]), dest_hostname=elsewhere, add_ml_schema=False)
    with copied(elsewhere, plain.catalog_id) as copy:
        assert set(copy.model().schemas) == {"public", "lab"}


def test_annotations_and_rules_are_left_out_if_asked_for(lab: Project, catalog_root: Path, elsewhere: str) -> None:
    catalog = lab.session.catalog
    catalog.set_annotation("tag:example.org,2026:note", {"a": 1}, DEMO, "Subject")
    catalog.send("PUT", f"/schema/{DEMO}/table/Subject/acl/select", document=["someone"])
    for keep in (True, False):
        made = create_ml_workspace(
            str(catalog_root), 1, lab.subjects[0], dest_hostname=elsewhere, copy_annotations=keep, copy_policy=keep
        )
        with copied(elsewhere, made.catalog_id) as copy:
            subject = copy.model().schemas[DEMO].tables["Subject"]
            assert ("tag:example.org,2026:note" in subject.annotations) is keep
            assert (subject.acls.get("select") == ["someone"]) is keep
        with DerivaML(elsewhere, str(made.catalog_id)) as ml:
            assert "Image" in {each.name for each in ml.model.find_assets()}


def test_the_number_of_requests_does_not_depend_on_the_number_of_rows(lab: Project, catalog_root: Path) -> None:
    """The plan of a dataset with all images takes as many requests as that of one with two."""
    from tests.fakes import Counting

    from deriva_ml.dataset.part import select_part, start_of
    from deriva_ml.dataset.part_rules import PartRules, tables_without_rows

    counts = []
    for members in (lab.images[:2], lab.images):
        dataset = lab.dataset(members)
        counting = Counting(lab.session.catalog.transport)
        session = replace(lab.session, catalog=CatalogClient(counting, "1"))
        root, _ = start_of(session, dataset.dataset_rid)
        rules = PartRules(session.model(), ML, root, tables_without_rows(session.model(), set()))
        select_part(session, rules, dataset.dataset_rid)
        counts.append(counting.count)
    assert counts[0] == counts[1]
