"""What a model may do to a run: leave by sys.exit, raise what cannot be printed, take the catalog away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLModelError,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.ml_config import DerivaMLConfig
from deriva_ml.execution.base_config import load_configs
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.request import RunRequest
from deriva_ml.execution.runner import perform
from deriva_ml.execution.running import finish
from deriva_ml.execution.workflow import Workflow
from deriva_ml.ml import DerivaML

NO_JOB = JobContext({}, None)


def request(root: Path, model: Any) -> RunRequest:
    code = Workflow(name="w", workflow_type="Analysis", url="https://example.org/w", checksum="0" * 40)
    return RunRequest(DerivaMLConfig(hostname=str(root), catalog_id=1), [], [], "a run", code, model)


def runs(ml: DerivaML) -> list[Any]:
    return list(ml.find_executions())


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Odd(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize("code", [0, None])
def test_a_model_that_exits_well_has_completed(catalog_root: Path, ml: DerivaML, code: int | None) -> None:
    def leave(*, ml_instance: Any = None, execution: Any = None) -> None:
        sys.exit(code)

    outcome = perform(request(catalog_root, leave), NO_JOB)
    assert outcome.error is None
    assert [record.status for record in runs(ml)] == ["Completed"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (SystemExit("stop now"), "SystemExit: stop now"),
        (GeneratorExit(), "GeneratorExit"),
        (Odd("base"), "Odd: base"),
        (Unprintable(), "Unprintable: (its text cannot be made: RuntimeError)"),
        (ValueError("\udcff weird \x00 nul"), "ValueError: \\udcff weird \\x00 nul"),
        (ValueError("x" * 1_000_000), "ValueError: xxx"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_model_raises_fails_its_run_with_type_and_place(
    catalog_root: Path, ml: DerivaML, error: BaseException, said: str
) -> None:
    def fail(*, ml_instance: Any = None, execution: Any = None) -> None:
        raise error

    outcome = perform(request(catalog_root, fail), NO_JOB)
    assert isinstance(outcome.error, DerivaMLModelError)
    assert said in str(outcome.error)
    assert str(outcome.error.source).startswith(__file__)
    assert outcome.report is not None
    [record] = runs(ml)
    assert record.status == "Failed"
    assert said in record.status_detail
    assert f"(at {__file__}:" in record.status_detail
    assert "traceback.txt" in [use.file_name for use in outcome.report.output_assets + outcome.report.metadata]


def test_a_text_is_made_of_any_error() -> None:
    assert error_text(Unprintable()) == "(its text cannot be made: RuntimeError)"
    assert error_text(ValueError("y" * 5000)).endswith("(5000 characters)")
    error_text(ValueError("\udcff")).encode()


def test_a_configuration_module_that_exits_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "exiting_configs"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "leaves.py").write_text("import sys\n\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DerivaMLConfigurationError, match=r"called sys\.exit\(0\)") as caught:
        load_configs("exiting_configs")
    assert caught.value.source == f"{folder / 'leaves.py'}:3"


class Lost:
    """A run whose catalog is gone."""

    execution_rid = "1-ABCD"

    def upload_execution_outputs(self) -> None:
        raise DerivaMLUnreachable("Connection refused.\nat length")

    def describe(self) -> None:
        raise DerivaMLUnreachable("Connection refused.")


def test_a_catalog_lost_in_a_run_is_told_with_the_rid_and_how_to_finish() -> None:
    report, error = finish(Lost(), None, " --host h")
    assert report is None
    assert getattr(error, "exit_code", None) == 4  # it need not be done again, but finished
    assert "1-ABCD" in str(error)
    assert "deriva-ml-upload --execution 1-ABCD --host h" in str(error)


def test_the_commands_in_a_hint_name_the_catalog() -> None:
    class Incomplete(Lost):
        def upload_execution_outputs(self) -> None:
            raise DerivaMLUploadError("Not all.", hint="deriva-ml-upload --execution 1-ABCD; or else")

        def describe(self) -> None:
            return None

    _report, error = finish(Incomplete(), None, " --host h")
    assert "--execution 1-ABCD --host h; or else" in str(error)


def test_a_models_error_is_told_even_if_the_catalog_is_lost() -> None:
    raised = DerivaMLModelError("The model m raised ValueError", source="m.py:3")
    report, error = finish(Lost(), raised)
    assert (report, error) == (None, raised)
    assert "deriva-ml-upload --execution 1-ABCD" in str(error)
    assert "m.py:3" in str(error)
