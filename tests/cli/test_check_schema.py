"""``deriva-ml-check-catalog-schema`` tells whether a catalog's ML schema fits."""

from __future__ import annotations

import json

from deriva_ml.cli.check_schema import main


def test_a_fresh_catalog_fits_strictly(catalog_root, capsys):
    assert main(["--host", str(catalog_root), "--strict"]) == 0
    assert "No issues found." in capsys.readouterr().out


def test_a_missing_column_is_an_error(ml, catalog_root, capsys):
    ml.session.catalog.drop_column("deriva-ml", "Workflow", "Checksum")
    assert main(["--host", str(catalog_root)]) == 2
    assert "ERROR: [Workflow.Checksum] Column Checksum is missing." in capsys.readouterr().out


def test_optional_columns_may_be_missing(ml, catalog_root, capsys):
    ml.session.catalog.drop_column("deriva-ml", "Execution", "Upload_State")
    assert main(["--host", str(catalog_root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["is_valid"]
    assert [issue["column"] for issue in report["issues"]] == ["Upload_State"]


def test_additions_are_errors_in_strict_mode_only(ml, catalog_root, capsys):
    ml.session.catalog.create_column("deriva-ml", "Workflow", {"name": "Extra", "type": {"typename": "text"}})
    assert main(["--host", str(catalog_root)]) == 0
    assert main(["--host", str(catalog_root), "--strict"]) == 2
    assert "Extra is not expected" in capsys.readouterr().out


def test_the_schema_can_be_printed(catalog_root, capsys):
    assert main(["--host", str(catalog_root), "--dump"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert "Dataset_Version" in read["deriva-ml"]["tables"]


def test_a_catalog_that_does_not_exist_is_not_made(settings, capsys):
    assert main(["--host", "local"]) == 2
    assert "no catalog" in capsys.readouterr().err.lower()
    assert not settings.local.exists()
