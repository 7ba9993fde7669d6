"""Files that assets refer to on another server come into the catalog's own store, verified."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO, Project, content, make_project
from tests.fakes import Failing
from tests.serving import served

from deriva_ml.catalog import create_ml_workspace, localize_assets
from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLRidsNotFound,
    DerivaMLTableNotFound,
    DerivaMLTableTypeError,
    DerivaMLUnreachable,
)
from deriva_ml.ml import DerivaML
from deriva_ml.schema.session import Session
from deriva_ml.wire.http import Request
from deriva_ml.wire.path import table

IMAGES = 6


@pytest.fixture
def lab(session: Session) -> Project:
    return make_project(replace(session, domain_schemas=frozenset({DEMO}), default_schema=DEMO), IMAGES)


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    return str(tmp_path / "elsewhere")


@pytest.fixture
def workspace(lab: Project, catalog_root: Path, elsewhere: str) -> Iterator[DerivaML]:
    """A catalog whose images refer to files in the lab's folder."""
    made = create_ml_workspace(str(catalog_root), 1, lab.execution, dest_hostname=elsewhere)
    with DerivaML(elsewhere, str(made.catalog_id)) as ml:
        yield ml


def urls(ml: DerivaML) -> dict[str, str]:
    rows = ml.session.catalog.attributes(table(DEMO, "Image"), "RID", "URL")
    return {str(row["RID"]): str(row["URL"]) for row in rows}


def check(ml: DerivaML, lab: Project, folder: Path) -> None:
    """All images are in the catalog's own store, with their bytes."""
    for number, rid in enumerate(lab.images):
        url = urls(ml)[rid]
        assert url.startswith("/hatrac/Image/")
        assert f".{rid}." in url
        ml.session.objects.fetch(url, folder / rid)
        assert (folder / rid).read_bytes() == content(number)


def test_files_of_another_folder_are_brought_once(lab: Project, workspace: DerivaML, tmp_path: Path) -> None:
    before = urls(workspace)
    result = localize_assets(workspace, "Image", lab.images)
    assert result.is_complete
    assert {one.rid: one.before for one in result.localized} == before
    assert {one.rid: one.after for one in result.localized} == urls(workspace)
    assert result.size == sum(len(content(n)) for n in range(IMAGES))
    check(workspace, lab, tmp_path)
    again = localize_assets(workspace, "Image", lab.images)
    assert (again.localized, sorted(again.skipped), again.failed) == ([], sorted(lab.images), {})
    asset = workspace.lookup_asset(lab.images[0])
    assert asset.download(tmp_path / "down").read_bytes() == content(0)


def test_an_asset_that_is_elsewhere_cannot_be_downloaded_and_the_error_says_what_helps(
    lab: Project, workspace: DerivaML, tmp_path: Path
) -> None:
    with pytest.raises(DerivaMLDataError, match="localize_assets"):
        workspace.lookup_asset(lab.images[0]).download(tmp_path / "down")


def test_a_dry_run_says_what_would_come_and_writes_nothing(lab: Project, workspace: DerivaML) -> None:
    before = urls(workspace)
    result = localize_assets(workspace.catalog, "Image", lab.images, dry_run=True)
    assert {one.rid for one in result.localized} == set(lab.images)
    assert {one.after for one in result.localized} == {None}
    assert urls(workspace) == before


def test_what_did_not_arrive_is_named_and_keeps_its_url(lab: Project, workspace: DerivaML) -> None:
    before = urls(workspace)
    gone, other, unknown = lab.images[:3]
    url = str(lab.session.catalog.rows_by(DEMO, "Image", "RID", [gone])[0]["URL"])
    lab.session.objects.delete(url)
    changes: list[dict[str, Any]] = [{"RID": other, "MD5": "0" * 32}, {"RID": unknown, "URL": "s3://bucket/key"}]
    workspace.session.catalog.update(DEMO, "Image", changes)
    result = localize_assets(workspace, "Image", lab.images)
    assert set(result.failed) == {gone, other, unknown}
    assert "MD5" in result.failed[other]
    assert "s3://bucket/key" in result.failed[unknown]
    assert {one.rid for one in result.localized} == set(lab.images[3:])
    after = urls(workspace)
    assert after[gone] == before[gone]
    assert after[other] == before[other]
    assert all(after[rid].startswith("/hatrac/") for rid in lab.images[3:])


def test_a_place_that_is_not_there_fails_its_own_assets_only(lab: Project, workspace: DerivaML, tmp_path: Path) -> None:
    rid = lab.images[0]
    nowhere = f"deriva-ml:{tmp_path}/no%20such/hatrac/Image/0.png"
    workspace.session.catalog.update(DEMO, "Image", [{"RID": rid, "URL": nowhere}])
    result = localize_assets(workspace, "Image", lab.images)
    assert list(result.failed) == [rid]
    assert "There is no catalog folder at" in result.failed[rid]
    assert "no such" in result.failed[rid]
    assert len(result.localized) == IMAGES - 1


def test_urls_without_a_place_are_found_where_the_user_says(
    lab: Project, workspace: DerivaML, catalog_root: Path, tmp_path: Path
) -> None:
    rows = lab.session.catalog.rows(table(DEMO, "Image"))
    changes = [{"RID": row["RID"], "URL": row["URL"]} for row in rows]
    changes[0]["URL"] = f"deriva-ml:{changes[0]['URL']}"
    workspace.session.catalog.update(DEMO, "Image", changes)
    lost = localize_assets(workspace, "Image", lab.images)
    assert set(lost.failed) == set(lab.images)
    assert all("source_hostname" in reason for reason in lost.failed.values())
    assert localize_assets(workspace, "Image", lab.images, source_hostname=str(catalog_root)).is_complete
    check(workspace, lab, tmp_path)


def test_what_is_in_the_same_store_gets_its_plain_url_and_no_copy(lab: Project, catalog_root: Path) -> None:
    catalog = lab.session.catalog
    (row,) = catalog.rows_by(DEMO, "Image", "RID", lab.images[:1])
    catalog.update(DEMO, "Image", [{"RID": row["RID"], "URL": f"deriva-ml:{catalog_root}{row['URL']}"}])
    result = localize_assets(lab.session, "Image", lab.images[:1])
    assert [one.after for one in result.localized] == [row["URL"]]


@pytest.mark.parametrize("namespace", [None, "/hatrac/files of mine", "files/deep"])
def test_a_served_source_and_a_served_target(
    lab: Project, catalog_root: Path, tmp_path: Path, elsewhere: str, namespace: str | None, monkeypatch: Any
) -> None:
    with open_connection(elsewhere, create=True):
        pass
    with served(catalog_root) as source, served(Path(elsewhere)) as target:
        made = create_ml_workspace(
            source.url,
            1,
            lab.execution,
            dest_hostname=target.url,
            source_credential={"bearer-token": source.token},
            dest_credential={"bearer-token": target.token},
        )
        with open_connection(target.url, credential={"bearer-token": target.token}) as connection:
            client = connection.catalog(str(made.catalog_id))
            monkeypatch.setenv("DERIVA_ML_TOKEN", source.token)
            # a token is shown to no host that only rows name
            refused = localize_assets(client, "Image", lab.images)
            assert set(refused.failed) == set(lab.images)
            assert all("401" in reason for reason in refused.failed.values())
            namespaced = namespace.replace(" ", "%20") if namespace else None
            result = localize_assets(
                client,
                f"{DEMO}:Image",
                lab.images,
                hatrac_namespace=namespaced,
                chunk_size=50,
                source_hostname=source.url,
            )
        assert result.is_complete, result.failed
        base = "/hatrac/Image/" if namespaced is None else f"/hatrac/{namespaced.removeprefix('/hatrac/')}/"
        assert all(str(one.after).startswith(base) for one in result.localized)
    with DerivaML(elsewhere, str(made.catalog_id)) as ml:
        for number, rid in enumerate(lab.images):
            ml.session.objects.fetch(urls(ml)[rid], tmp_path / rid)
            assert (tmp_path / rid).read_bytes() == content(number)


def test_what_broke_off_is_taken_up_where_it_stopped(lab: Project, workspace: DerivaML, tmp_path: Path) -> None:
    before = urls(workspace)

    def lost(request: Request, _number: int) -> bool:
        return request.method == "PUT" and "attributegroup" in request.target

    failing = Failing(workspace.session.catalog.transport, lose=lost)
    with pytest.raises(DerivaMLUnreachable):
        localize_assets(CatalogClient(failing, workspace.catalog_id), "Image", lab.images)
    assert urls(workspace) == before
    counting = Failing(workspace.session.catalog.transport)
    result = localize_assets(CatalogClient(counting, workspace.catalog_id), "Image", lab.images)
    assert result.is_complete
    # the objects had arrived: none is sent again
    assert not [target for method, target in counting.requests if method == "PUT" and "/hatrac/" in target]
    check(workspace, lab, tmp_path)


def test_what_is_wrong_with_the_request_is_said(lab: Project) -> None:
    with pytest.raises(DerivaMLTableNotFound, match="Image"):
        localize_assets(lab.session, "Imag", lab.images)
    with pytest.raises(DerivaMLTableNotFound):
        localize_assets(lab.session, "Image", lab.images, schema_name="deriva-ml")
    with pytest.raises(DerivaMLTableTypeError):
        localize_assets(lab.session, "Subject", lab.subjects)
    with pytest.raises(DerivaMLRidsNotFound, match="9-ZZZZ"):
        localize_assets(lab.session, "Image", [*lab.images, "9-ZZZZ"])


def test_the_command_brings_all_of_a_table(lab: Project, workspace: DerivaML, elsewhere: str) -> None:
    base = [sys.executable, "-m", "deriva_ml.cli.catalog", "localize", "--host", elsewhere, "Image"]
    dry = subprocess.run([*base, "--dry-run"], capture_output=True, text=True, check=True)
    assert f"{IMAGES} files would be brought" in dry.stdout
    one = subprocess.run([*base, lab.images[0], "--json"], capture_output=True, text=True, check=True)
    assert json.loads(one.stdout)["localized"][0]["rid"] == lab.images[0]
    lab.session.objects.delete(str(lab.session.catalog.rows_by(DEMO, "Image", "RID", [lab.images[1]])[0]["URL"]))
    rest = subprocess.run(base, capture_output=True, text=True)
    assert rest.returncode == 1
    assert f"{IMAGES - 2} files brought" in rest.stdout
    assert "1 were here before" in rest.stdout
    assert f"Failed: {lab.images[1]}" in rest.stderr
