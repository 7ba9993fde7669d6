"""Files by reference: rows, types, links, and a dataset for each directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLInvalidTerm,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.core.filespec import FileSpec
from deriva_ml.dataset.files import add_files, list_files
from deriva_ml.ml import DerivaML
from deriva_ml.wire.path import table


@pytest.fixture
def execution(ml: DerivaML) -> str:
    catalog = ml.session.catalog
    workflow = catalog.insert("deriva-ml", "Workflow", [{"Name": "w"}])[0]["RID"]
    return str(catalog.insert("deriva-ml", "Execution", [{"Workflow": workflow}])[0]["RID"])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("top.txt", "a/one.txt", "a/deep/er/two.txt", "a-b/three.txt", "b/top.txt"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "tree"


def count(ml: DerivaML, name: str) -> int:
    return len(ml.session.catalog.rows(table("deriva-ml", name)))


def test_each_directory_becomes_a_dataset_in_the_one_above_it(ml: DerivaML, execution: str, tree: Path) -> None:
    ml.add_term("Asset_Type", "Text", "Text.")
    top = ml.add_files(FileSpec.create_filespecs(tree, "a tree", ["Text"]), execution, "Training", "my files")
    names = {file["RID"]: str(file["URL"]).rpartition("/tree/")[2] for file in ml.list_files()}

    def shape(dataset):  # type: ignore[no-untyped-def]
        members = sorted(names[row["RID"]] for row in dataset.list_dataset_members()["File"])
        return members, sorted(shape(child) for child in dataset.list_dataset_children())

    deep = (["a/deep/er/two.txt"], [])
    assert shape(top) == (
        ["top.txt"],
        [(["a-b/three.txt"], []), (["a/one.txt"], [deep]), (["b/top.txt"], [])],
    )
    assert set(top.dataset_types) == {"File", "Training"}
    below = {dataset.description for dataset in top.list_dataset_children(recurse=True)}
    assert (top.description, below) == (
        "my files",
        {"my files: a-b", "my files: a", "my files: a/deep/er", "my files: b"},
    )
    assert [(use.execution_rid, use.dataset_role) for use in top.list_execution_uses()] == [(execution, "output")]
    assert [str(entry.dataset_version) for entry in top.dataset_history()] == ["0.1.0"]
    assert {tuple(file["File_Types"]) for file in ml.list_files()} == {("File", "Text")}
    links = ml.session.catalog.rows(table("deriva-ml", "File_Execution"))
    assert {(row["Execution"], row["Asset_Role"]) for row in links} == {(execution, "Output")}
    assert len(links) == 5


def test_directories_side_by_side_get_a_common_dataset(ml: DerivaML, execution: str, tree: Path) -> None:
    specs = [*FileSpec.create_filespecs(tree / "a-b", ""), *FileSpec.create_filespecs(tree / "b", "")]
    top = ml.add_files(specs, execution)
    assert top.list_dataset_members()["File"] == []
    assert len(top.list_dataset_children()) == 2


def test_files_that_the_catalog_knows_are_not_entered_twice(ml: DerivaML, execution: str, tree: Path) -> None:
    ml.add_files(FileSpec.create_filespecs(tree, ""), execution)
    ml.add_files(FileSpec.create_filespecs(tree, ""), execution)
    assert count(ml, "File") == 5
    (tree / "top.txt").write_text("changed")
    with pytest.raises(DerivaMLDataError, match=r"another content of .*/tree/top\.txt"):
        ml.add_files(FileSpec.create_filespecs(tree / "top.txt", ""), execution)
    (spec,) = FileSpec.create_filespecs(tree / "top.txt", "")
    later = spec.model_copy(update={"url": spec.url.replace(spec.url[spec.url.index(",") :][:11], ",2099-01-01")})
    ml.add_files([later], execution)
    assert count(ml, "File") == 6


def test_two_files_of_equal_content_are_two_files(ml: DerivaML, execution: str, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / "d" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "d" / name).write_text("same")
    ml.add_files(FileSpec.create_filespecs(tmp_path / "d", ""), execution)
    assert len({file["RID"] for file in ml.list_files()}) == 2


def test_what_is_wrong_is_said_before_anything_is_written(ml: DerivaML, execution: str, tree: Path) -> None:
    specs = list(FileSpec.create_filespecs(tree, "", ["Imge"]))
    with pytest.raises(DerivaMLInvalidTerm, match="Imge"):
        ml.add_files(specs, execution)
    specs = list(FileSpec.create_filespecs(tree, ""))
    with pytest.raises(DerivaMLInvalidTerm, match="Trainin"):
        ml.add_files(specs, execution, "Trainin")
    workflow = ml.session.catalog.rows(table("deriva-ml", "Workflow"))[0]["RID"]
    with pytest.raises(DerivaMLTableTypeError, match=r"(?s)Workflow.*Execution"):
        ml.add_files(specs, str(workflow))
    with pytest.raises(DerivaMLValidationError, match="no files"):
        ml.add_files([], execution)
    with pytest.raises(DerivaMLValidationError, match="Two different files"):
        ml.add_files([specs[0], specs[0].model_copy(update={"md5": "0" * 32})], execution)
    assert count(ml, "File") == count(ml, "Dataset") == 0


def test_files_are_listed_by_type_in_a_constant_number_of_requests(ml: DerivaML, execution: str, tree: Path) -> None:
    ml.add_term("Asset_Type", "Text", "Text.", synonyms=["Words"])
    add_files(ml.session, FileSpec.create_filespecs(tree / "a", "", ["Text"]), execution)
    add_files(ml.session, FileSpec.create_filespecs(tree / "b", ""), execution)
    transport = Counting(ml.session.catalog.transport)
    session = replace(ml.session, catalog=CatalogClient(transport, "1"))
    session.model()
    transport.reset()
    assert len(list_files(session)) == 3
    assert transport.count == 2
    assert len(ml.list_files(["Words"])) == 2
    assert len(ml.list_files("File")) == 3
    assert set(ml.list_files()[0]) == {"RID", "URL", "MD5", "Length", "Description", "File_Types"}
    with pytest.raises(DerivaMLInvalidTerm, match="Wrods"):
        ml.list_files(["Wrods"])
