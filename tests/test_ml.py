from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deriva_ml import DerivaML, DerivaMLConfig
from deriva_ml.core.config import Settings
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLRidsNotFound, DerivaMLValidationError
from deriva_ml.ml import READY_TAG


def test_the_default_catalog_is_made_on_first_use_and_is_whole(settings: Settings) -> None:
    with DerivaML() as ml:
        assert ml.created_default
        assert READY_TAG in ml.session.model().annotations
        assert ml.validate_schema(strict=True).is_valid
    with DerivaML("local") as again:
        assert not again.created_default


def test_another_catalog_that_is_not_there_is_an_error(catalog_root: Path) -> None:
    with pytest.raises(DerivaMLConfigurationError, match=r"(?s)no catalog 2 at .*allowed: 1"):
        DerivaML("local", 2)


def test_a_half_made_default_catalog_is_completed(settings: Settings) -> None:
    from deriva_ml.connect import open_connection

    with open_connection("local") as connection:
        connection.create_catalog(1)
    with DerivaML() as ml:
        assert ml.created_default
        assert ml.validate_schema(strict=True).is_valid


def test_processes_that_use_the_default_catalog_first_at_the_same_moment_make_it_once(settings: Settings) -> None:
    code = (
        "from deriva_ml import DerivaML\n"
        "with DerivaML() as ml: print(ml.created_default, ml.validate_schema().is_valid)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60) for process in running]
    assert sorted(out.strip() for out, _err in answers) == ["False True"] * 3 + ["True True"], answers


def test_a_configuration_opens_the_catalog_it_names_in_the_class_it_is_asked_of(catalog_root: Path) -> None:
    class Project(DerivaML):
        pass

    with Project.instantiate(DerivaMLConfig(hostname=str(catalog_root), catalog_id=1)) as ml:
        assert isinstance(ml, Project)
        assert ml.default_schema == "demo-schema"


def test_the_nearest_context_file_names_the_catalog(catalog_root: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".deriva-context.json").write_text(json.dumps({"hostname": str(catalog_root), "catalog_id": 1}))
    with DerivaML.from_context(tmp_path / "deep" / "er") as ml:
        assert ml.session.catalog_id == "1"
    with pytest.raises(FileNotFoundError):
        DerivaML.from_context(Path("/"))


def test_schemas_that_do_not_exist_are_refused(catalog_root: Path) -> None:
    with pytest.raises(DerivaMLConfigurationError, match=r"(?s)demo-shema.*demo-schema"):
        DerivaML("local", domain_schemas={"demo-shema"})
    with pytest.raises(DerivaMLConfigurationError, match="default schema public"):
        DerivaML("local", default_schema="public")


def test_a_snapshot_keeps_class_and_directories(ml: DerivaML) -> None:
    with ml.catalog_snapshot(ml.session.catalog.latest_snaptime()) as past:
        assert past.is_snapshot()
        assert (past.working_dir, past.default_schema) == (ml.working_dir, ml.default_schema)


def test_a_record_is_cited_as_of_now(ml: DerivaML) -> None:
    rid = ml.lookup_term("Dataset_Type", "Training").rid
    citation = ml.cite(rid)
    assert citation.endswith(f"/id/1/{rid}@{ml.session.catalog.latest_snaptime()}")
    assert ml.session.identity in citation
    assert ml.cite(citation) == citation
    assert ml.cite({"RID": rid}, current=True) == citation.partition("@")[0]
    with pytest.raises(DerivaMLRidsNotFound):
        ml.cite("9-ZZZZ")
    with pytest.raises(DerivaMLValidationError, match="does not have RID column"):
        ml.cite({"Name": "x"})


def test_records_are_looked_for_in_some_tables_however_they_are_named(ml: DerivaML) -> None:
    rid = ml.lookup_term("Dataset_Type", "Training").rid
    theirs = ml.model.name_to_table("Dataset_Type")
    for table in ("Dataset_Type", "deriva-ml:Dataset_Type", theirs, ml.session.table("Dataset_Type")):
        assert ml.resolve_rids([rid], [table])[rid].table_name == "Dataset_Type"
    with pytest.raises(DerivaMLRidsNotFound, match=rid):
        ml.resolve_rids([rid], ["Asset_Type"])


def test_the_users_of_a_catalog_are_listed(ml: DerivaML) -> None:
    assert [user["ID"] for user in ml.user_list()] == [ml.connection.client_id]


def test_a_table_is_read_as_dictionaries_and_as_a_data_frame(ml: DerivaML) -> None:
    rows = list(ml.get_table_as_dict("Dataset_Type"))
    frame = ml.get_table_as_dataframe("Dataset_Type")
    assert list(frame["Name"]) == [row["Name"] for row in rows]


def test_the_public_handles_see_the_same_catalog(ml: DerivaML) -> None:
    rows = list(ml.pathBuilder().schemas["deriva-ml"].tables["Dataset_Type"].entities().fetch())
    assert {row["Name"] for row in rows} == {row["Name"] for row in ml.get_table_as_dict("Dataset_Type")}
    assert "Dataset" in ml.model.schemas["deriva-ml"].tables


def test_an_asset_gives_the_runs_that_used_it(ml: DerivaML) -> None:
    client = ml.session.catalog
    made, read = (row["RID"] for row in client.insert("deriva-ml", "Execution", [{"Status": "Completed"}] * 2))
    file = {"URL": "/hatrac/x:1", "Length": 1, "MD5": "0" * 32, "Filename": "x"}
    rid = client.insert("deriva-ml", "Execution_Asset", [file])[0]["RID"]
    links = [
        {"Execution_Asset": rid, "Execution": made, "Asset_Role": "Output"},
        {"Execution_Asset": rid, "Execution": read, "Asset_Role": "Input"},
    ]
    client.insert("deriva-ml", "Execution_Asset_Execution", links)
    asset = ml.lookup_asset(rid)
    assert {record.execution_rid for record in asset.list_executions()} == {made, read}
    assert [record.execution_rid for record in asset.list_executions("Input")] == [read]
