"""Uploading by hand, under the documented path."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.asset.upload import upload
from deriva_ml.core.enums import UploadState
from deriva_ml.core.ermrest import ColumnDef, TableDef, UploadProgress
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLNotFoundError,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.dataset.upload import (
    asset_file_path,
    asset_root,
    asset_table_upload_spec,
    asset_type_path,
    bulk_upload_configuration,
    execution_root,
    manifest_path,
    normalize_asset_dir,
    table_path,
    upload_asset,
    upload_directory,
)
from deriva_ml.ml import DerivaML
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.path import table as rows_of
from deriva_ml.workspace.manifest import AssetEntry, Manifest

DEMO = "demo-schema"


@pytest.fixture
def lab(ml: DerivaML) -> DerivaML:
    ml.create_asset("Image", column_defs=[ColumnDef("Width", "int4"), ColumnDef("Color"), ColumnDef("Info", "jsonb")])
    ml.create_asset("Model")
    ml.session.catalog.create_table(DEMO, table_document(DEMO, TableDef("Subject", [ColumnDef("Name")])))
    return ml


@pytest.fixture
def run(lab: DerivaML) -> str:
    (made,) = lab.session.catalog.insert("deriva-ml", "Execution", [{"Description": "a run"}])
    return str(made["RID"])


def rows(ml: DerivaML, table: str) -> list[dict[str, Any]]:
    found = ml.session.catalog.rows(rows_of(DEMO, table))
    return sorted(found, key=lambda row: str(row.get("Filename") or row.get("Name")))


def place(ml: DerivaML, run: str, name: str, **metadata: Any) -> Path:
    """A file for table Image, in the tree of a run."""
    path = asset_file_path(ml.working_dir, run, ml.session.table("Image"), name, metadata)
    path.write_bytes(f"content of {name}".encode(errors="surrogateescape"))
    return path


NAMES = ["a b.txt", "model.tar.gz", "LICENSE", "naïve (1).png", "x%41y", os.fsdecode(b"caf\xe9.txt")]


def test_files_of_any_name_become_outputs_of_the_run_with_their_metadata(lab: DerivaML, run: str) -> None:
    paths = [place(lab, run, name, Width=5, Color="a/b, 50% (c)", Info={"n": [1]}) for name in NAMES]
    states = upload_directory(lab.model, asset_root(lab.working_dir, run))
    assert {path: state.state for path, state in states.items()} == {str(path): UploadState.success for path in paths}
    found = rows(lab, "Image")
    assert {row["RID"] for row in found} == {state.rid for state in states.values()}
    assert {(row["Width"], row["Color"], str(row["Info"])) for row in found} == {(5, "a/b, 50% (c)", "{'n': [1]}")}
    content = b"content of a b.txt"
    (one,) = (row for row in found if row["Filename"] == "a b.txt")
    assert (one["Length"], one["MD5"]) == (len(content), hashlib.md5(content).hexdigest())
    lab.session.objects.fetch(str(one["URL"]), lab.working_dir / "back")
    assert (lab.working_dir / "back").read_bytes() == content
    assert [asset.asset_types for asset in lab.list_assets("Image")] == [["Image"]] * len(NAMES)
    (link, *_rest) = rows(lab, "Image_Execution")
    assert (link["Execution"], link["Asset_Role"]) == (run, "Output")
    assert all(normalize_asset_dir(path) == (f"{DEMO}/Image", Path(path).name) for path in states)


def test_a_second_upload_makes_nothing_twice_and_a_changed_file_is_a_new_output(lab: DerivaML, run: str) -> None:
    path = place(lab, run, "x.txt", Width=1)
    first = upload_directory(lab, path.parent)
    again = upload_directory(lab.session, execution_root(lab.working_dir, run))
    assert first == again
    path.write_text("other content, longer")
    changed = upload_directory(lab, execution_root(lab.working_dir, run))
    assert changed[str(path)].rid != first[str(path)].rid
    assert sorted(row["Length"] for row in rows(lab, "Image")) == [16, 21]
    assert upload_directory(lab, path.parent) == changed


def test_values_that_are_missing_are_null(lab: DerivaML, run: str) -> None:
    place(lab, run, "none.txt", Color="None")
    place(lab, run, "void.txt", Color="")
    bare = asset_root(lab.working_dir, run) / DEMO / "Image" / "bare.txt"
    bare.write_text("x")
    assert {state.state for state in upload_directory(lab, bare.parent).values()} == {UploadState.success}
    found = {row["Filename"]: (row["Color"], row["Width"], row["Info"]) for row in rows(lab, "Image")}
    assert found == {
        "bare.txt": (None, None, None),
        "none.txt": ("None", None, None),
        "void.txt": ("", None, None),
    }


def test_types_are_those_that_were_written_down(lab: DerivaML, run: str) -> None:
    lab.add_term("Asset_Type", "Sharp", "Sharp.")
    path = place(lab, run, "x.txt")
    asset_type_path(lab.working_dir, run, lab.session.table("Image")).write_text(
        json.dumps({"x.txt": ["Sharp"]}) + "\n"
    )
    upload_directory(lab, path.parent)
    assert [asset.asset_types for asset in lab.list_assets("Image")] == [["Sharp"]]
    other = place(lab, run, "y.txt")
    asset_type_path(lab.working_dir, run, f"{DEMO}:Image").write_text('{"y.txt": ["Sharp"]}\nnonsense\n')
    (state,) = (state for name, state in upload_directory(lab, other.parent).items() if name == str(other))
    assert "Line 2 of" in state.status


def test_a_file_that_cannot_be_uploaded_says_why_and_keeps_no_other_back(lab: DerivaML, run: str) -> None:
    good = place(lab, run, "good.txt")
    root = asset_root(lab.working_dir, run)
    wrong = {
        root / DEMO / "Image" / "red" / "x.txt": "1 directories lie between Image and the file.*Color, Info, Width",
        root / DEMO / "Image" / "red" / "None" / "wide" / "x.txt": "The value of Width cannot be read.*integer",
        root / DEMO / "Subject" / "x.txt": "Subject is not of type asset table",
        root / DEMO / "Imgae" / "x.txt": "Imgae",
        root / "x.txt": "does not lie in asset/<schema>/<Table>/",
        root.parent / "table" / DEMO / "Subject" / "Other.csv": "it is not table/<schema>/<Table>/<Table>.csv",
        root.parent / "table" / DEMO / "Image" / "Image.csv": "asset_file_path",
    }
    for path in wrong:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (root / DEMO / "Image" / "dangling.txt").symlink_to("/nowhere")
    states = upload_directory(lab, execution_root(lab.working_dir, run))
    assert states[str(good)].state is UploadState.success
    for path, reason in wrong.items():
        assert states[str(path)].state is UploadState.failed
        assert re.search(reason, states[str(path)].status, re.DOTALL), states[str(path)].status
    assert "does not exist" in states[str(root / DEMO / "Image" / "dangling.txt")].status
    assert [row["Filename"] for row in rows(lab, "Image")] == ["good.txt"]


def test_rows_of_tables_go_the_same_way(lab: DerivaML, run: str) -> None:
    path = execution_root(lab.working_dir, run) / "table" / DEMO / "Subject" / "Subject.csv"
    path.parent.mkdir(parents=True)
    path.write_text("Name\na\nb\n")
    states = upload_directory(lab, execution_root(lab.working_dir, run))
    assert (states[str(path)].state, states[str(path)].status) == (UploadState.success, "2 row(s) stored")
    assert upload_directory(lab, path.parent)[str(path)].status == "0 row(s) stored"
    path.write_text("Name\na\nb\nc,d\n")
    assert "extra data" in upload_directory(lab, path.parent)[str(path)].status
    assert [row["Name"] for row in rows(lab, "Subject")] == ["a", "b"]


def test_what_a_run_has_registered_itself_is_left_to_it(lab: DerivaML, run: str) -> None:
    path = place(lab, run, "x.txt")
    manifest = Manifest(manifest_path(lab.working_dir, run), run)
    manifest.add(AssetEntry("Model", DEMO, key="k", file_name="m.bin", path="assets/Model/k/m.bin"))
    assert list(upload_directory(lab, execution_root(lab.working_dir, run))) == [str(path)]
    manifest.refresh()
    assert [entry.key for entry in manifest.pending_assets()] == ["k"]
    manifest.file_of(manifest.asset("k")).parent.mkdir(parents=True)
    manifest.file_of(manifest.asset("k")).write_text("m")
    assert [entry.key for entry in upload(lab.session, run, manifest).done] == ["k"]


def test_directories_and_runs_that_there_are_not_are_errors(lab: DerivaML, tmp_path: Path) -> None:
    with pytest.raises(DerivaMLException, match="Directory does not exist"):
        upload_directory(lab, tmp_path / "nothing")
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "x.txt").write_text("x")
    (state,) = upload_directory(lab, tmp_path / "stray").values()
    assert (state.state, state.status[:17]) == (UploadState.failed, "it lies in no ...")
    place(lab, "1-ZZZZ", "x.txt")
    with pytest.raises(DerivaMLNotFoundError, match=r"(?s)no execution 1-ZZZZ.*upload_asset"):
        upload_directory(lab, asset_root(lab.working_dir, "1-ZZZZ"))
    assert rows(lab, "Image") == []


def test_bytes_are_counted_and_senseless_settings_are_refused(lab: DerivaML, run: str) -> None:
    told: list[UploadProgress] = []
    path = place(lab, run, "x.txt")
    upload_directory(lab, path.parent, progress_callback=told.append, chunk_size=4)
    assert (told[-1].bytes_completed, told[-1].percent_complete) == (16, 100.0)
    with pytest.raises(DerivaMLException, match="max_retries=-1"):
        upload_directory(lab, path.parent, max_retries=-1)


def test_a_file_becomes_an_asset_without_a_run(lab: DerivaML, tmp_path: Path) -> None:
    file = tmp_path / "a b.txt"
    file.write_text("hello")
    row = upload_asset(lab.model, file, "Image", Width="7", Color="red", Description="By hand.")
    again = upload_asset(lab, str(file), lab.model.name_to_table("Image"))
    assert (row["Width"], row["Color"], row["Description"], row["Filename"]) == (7, "red", "By hand.", "a b.txt")
    assert (again["Width"], again["RID"] != row["RID"]) == (None, True)
    lab.session.objects.fetch(str(row["URL"]), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"hello"
    asset = lab.lookup_asset(str(row["RID"]))
    assert (asset.asset_types, asset.list_executions()) == (["Image"], [])
    with pytest.raises(DerivaMLTableTypeError, match="Subject"):
        upload_asset(lab, file, "Subject")
    with pytest.raises(DerivaMLValidationError, match=r"(?s)no such column.*Width"):
        upload_asset(lab, file, "Image", Witdh=7)
    with pytest.raises(DerivaMLDataError, match="There is no file"):
        upload_asset(lab, tmp_path / "none", "Image")
    assert len(rows(lab, "Image")) == 2


def test_the_rules_for_the_deriva_packages_uploader_fit_the_paths(lab: DerivaML, run: str) -> None:
    table = lab.session.table("Image")
    path = asset_file_path(lab.working_dir, run, table, "x.png", {"Width": 5, "Color": "red"})
    spec: Any = asset_table_upload_spec(lab.model, "Image", chunk_size=1000)
    found = re.match(spec["file_pattern"], str(path))
    assert found is not None
    values = {column: found.group(group[1:-1]) for column, group in spec["column_map"].items() if "value" in group}
    assert values == {"Color": "red", "Info": "None", "Width": "5"}
    assert (spec["hatrac_options"]["chunk_size"], spec["target_table"]) == (1000, [DEMO, "Image"])
    configuration: Any = bulk_upload_configuration(lab)
    mappings = configuration["asset_mappings"]
    assert [each.get("target_table") for each in mappings if each.get("target_table") == [DEMO, "Model"]] == [
        [DEMO, "Model"]
    ]
    matching = [each for each in mappings if re.match(each["file_pattern"], str(path))]
    assert [each["target_table"] for each in matching] == [[DEMO, "Image"]]
    assert re.match(mappings[-1]["file_pattern"], str(table_path(lab.working_dir, DEMO, "Subject")))
    assert str(table_path(lab.working_dir, DEMO, "Subject")) == str(lab.table_path("Subject"))
    with pytest.raises(DerivaMLTableTypeError):
        asset_table_upload_spec(lab, "Subject")
