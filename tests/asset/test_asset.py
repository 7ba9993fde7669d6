"""Assets of a catalog."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.asset.sessions import Run, new_execution, over
from tests.fakes import Counting

from deriva_ml.asset.asset import (
    Asset,
    asset_executions,
    create_asset,
    find_assets,
    list_asset_tables,
    list_assets,
    lookup_asset,
)
from deriva_ml.asset.transfer import link_inputs, upload
from deriva_ml.core.ermrest import ColumnDef, TableDef
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLInvalidTerm,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.feature.feature import create_feature
from deriva_ml.feature.values import add_features
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset, table_document
from deriva_ml.schema.vocabulary import create_vocabulary, lookup_term


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    create_asset(session, "Image", [ColumnDef("Width", "int4")], comment="A picture.")
    return Run(session, tmp_path / "runs")


def add(run: Run, *names: str, types: list[str] | None = None) -> list[str]:
    paths = [run.stage.register("Image", name, types, description=f"d {name}") for name in names]
    for path in paths:
        path.write_bytes(path.name.encode())
    upload(run.session, run.rid, run.manifest).require_complete()
    return [str(path.asset_rid) for path in paths]


def test_an_asset_table_has_its_companions_and_its_type(session: Session) -> None:
    session.catalog.create_table("demo-schema", table_document("demo-schema", TableDef("Subject")))
    create_vocabulary(session, "Colour")
    made = create_asset(session, "Image", [ColumnDef("Width", "int4")], referenced_tables=["Subject", "Colour"])
    assert is_asset(made)
    assert lookup_term(session, "Asset_Type", "Image").name == "Image"
    references = {fkey.columns: (fkey.referenced_table, fkey.referenced_columns) for fkey in made.foreign_keys}
    assert references[("Subject",)] == (("demo-schema", "Subject"), ("RID",))
    assert references[("Colour",)] == (("demo-schema", "Colour"), ("Name",))
    role = session.table("Image_Execution").column("Asset_Role")
    assert role is not None
    assert not role.nullok
    assert session.table("Image_Asset_Type").key(("Image", "Asset_Type")) is not None


def test_a_table_is_made_once_and_its_columns_have_names_of_their_own(session: Session) -> None:
    create_asset(session, "Image")
    with pytest.raises(DerivaMLDataError, match="Table Image exists already"):
        create_asset(session, "Image")
    with pytest.raises(DerivaMLDataError, match="two columns called URL"):
        create_asset(session, "Other", [ColumnDef("URL")])
    with pytest.raises(DerivaMLInvalidTerm):
        lookup_term(session, "Asset_Type", "Other")


def test_asset_tables_are_listed(run: Run) -> None:
    names = [table.name for table in list_asset_tables(run.session)]
    assert names == ["Image", "Execution_Metadata", "Execution_Asset", "File"]


def test_an_asset_is_looked_up_with_all_that_is_known_of_it(run: Run) -> None:
    (rid,) = add(run, "a.png", types=["Image", "Model_File"])
    asset = lookup_asset(run.session, rid)
    assert (asset.asset_rid, asset.asset_table, asset.filename) == (rid, "Image", "a.png")
    assert (asset.length, asset.description, asset.asset_types) == (5, "d a.png", ["Image", "Model_File"])
    assert asset.url.startswith("/hatrac/Image/")
    assert asset.execution_rid == run.rid
    assert asset.get_metadata()["Width"] is None
    assert asset.get_chaise_url().endswith(f"/chaise/record/#1/demo-schema:Image/RID={rid}")
    assert asset == Asset(run.session, rid, "Image")
    assert Asset(run.session, rid, "Image").asset_types == ["Image", "Model_File"]


def test_what_is_no_asset_is_refused(run: Run) -> None:
    with pytest.raises(DerivaMLTableTypeError, match=rf"RID {run.rid} is not an asset \(table: Execution\)"):
        lookup_asset(run.session, run.rid)
    with pytest.raises(DerivaMLTableTypeError, match="Dataset is not of type asset table"):
        list_assets(run.session, "Dataset")


@pytest.mark.parametrize("count", [10, 200])
def test_assets_are_listed_with_their_types_in_two_requests(run: Run, count: int) -> None:
    rids = add(run, *(f"{number}.png" for number in range(count)))
    transport = Counting(run.session.catalog.transport)
    session = over(run.session, transport)
    transport.reset()
    found = list_assets(session, "Image")
    assert {asset.asset_rid for asset in found} == set(rids)
    assert all(asset.asset_types == ["Image"] for asset in found)
    assert transport.count == 2


def test_assets_are_found_by_type_and_table(run: Run) -> None:
    (one,) = add(run, "a.png", types=["Model_File"])
    (two,) = add(run, "b.png")
    assert {asset.asset_rid for asset in find_assets(run.session)} == {one, two}
    assert [asset.asset_rid for asset in find_assets(run.session, asset_type="Model_File")] == [one]
    assert list(find_assets(run.session, "Execution_Asset")) == []
    with pytest.raises(DerivaMLInvalidTerm):
        list(find_assets(run.session, asset_type="Nonsense"))


def test_assets_are_listed_newest_first_or_as_the_caller_says(run: Run) -> None:
    rids = [add(run, name)[0] for name in ("b.png", "c.png", "a.png")]
    assert [asset.asset_rid for asset in list_assets(run.session, "Image", sort=True)] == rids[::-1]
    assert [asset.asset_rid for asset in find_assets(run.session, sort=True)] == rids[::-1]
    for found in (
        list_assets(run.session, "Image", sort=lambda asset: asset.filename),
        find_assets(run.session, sort=lambda asset: asset.filename),
    ):
        assert [asset.filename for asset in found] == ["a.png", "b.png", "c.png"]


def test_types_are_added_and_taken_away(run: Run) -> None:
    (rid,) = add(run, "a.png")
    asset = lookup_asset(run.session, rid)
    for _ in range(2):
        asset.add_asset_type("Model_File")
    assert asset.asset_types == lookup_asset(run.session, rid).asset_types == ["Image", "Model_File"]
    for _ in range(2):
        asset.remove_asset_type("Image")
    assert asset.asset_types == ["Model_File"]
    with pytest.raises(DerivaMLInvalidTerm):
        asset.add_asset_type("Nonsense")


def test_executions_of_an_asset_by_role(run: Run) -> None:
    (rid,) = add(run, "a.png")
    reader = new_execution(run.session)
    link_inputs(run.session, reader, [rid])
    assert asset_executions(run.session, rid) == [(run.rid, "Output"), (reader, "Input")]
    assert asset_executions(run.session, rid, "Input") == [(reader, "Input")]
    assert lookup_asset(run.session, rid).execution_rid == run.rid
    with pytest.raises(DerivaMLConfigurationError, match="got from a DerivaML"):
        lookup_asset(run.session, rid).list_executions()


def test_the_values_of_a_feature_are_those_of_this_asset(run: Run) -> None:
    one, two = add(run, "a.png", "b.png")
    record = create_feature(run.session, "Image", "Score", metadata=[ColumnDef("Value", "float8")])
    values = [record(Image=rid, Execution=run.rid, Value=number) for number, rid in enumerate((one, two))]
    add_features(run.session, values)
    asset = lookup_asset(run.session, two)
    assert [feature.feature_name for feature in asset.find_features()] == ["Score"]
    assert [value.column_value("Value") for value in asset.list_feature_values("Score")] == [1.0]


def test_an_asset_is_downloaded(run: Run, tmp_path: Path) -> None:
    (rid,) = add(run, "a.png")
    assert lookup_asset(run.session, rid).download(tmp_path / "here").read_bytes() == b"a.png"
    with pytest.raises(DerivaMLValidationError, match="input of an execution only"):
        lookup_asset(run.session, rid).download(tmp_path, update_catalog=True)
