"""Every mistake in a project's configurations is found with its place, and none hides another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.project.config_catalogs import CatalogName, CatalogSource
from deriva_ml.project.config_report import ConfigProblem, ConfigValidationReport
from deriva_ml.project.config_validation import validate_configs

OFFLINE = CatalogSource(offline=True)


def check(project: Any, source: CatalogSource = OFFLINE, **more: Any) -> ConfigValidationReport:
    return validate_configs([project.folder], source, **more)


def only(report: ConfigValidationReport) -> ConfigProblem:
    assert len(report.problems) == 1, report.to_text()
    return report.problems[0]


def place(problem: ConfigProblem) -> tuple[str, int]:
    return problem.path.name, problem.line


def test_a_new_project_is_right_and_all_of_it_was_composed(project: Any) -> None:
    before = {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}
    report = check(project)
    assert report.problems == ()
    assert set(report.composed) >= {
        "deriva_model",
        "datasets=default_dataset",
        "model_config=wide",
        "+experiment=quick",
        "+multirun=rates",
    }
    assert len(report.files) == 9
    assert {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()} == before


BROKEN_FILES = [
    ("x.py", "a = 1\nb = (\n", "syntax", 2, "was never closed"),
    ("x.py", "\nraise SystemExit(3)\n", "import", 2, "SystemExit: 3"),
    ("x.py", "import os\nos._exit(7)\n", "import", 1, "configs.x ended the process (exit code 7)"),
    ("datasets.py", 'datasets_store([], name="default_dataset")\n', "duplicate", 1, "default_dataset is stored twice"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "text", "kind", "line", "said"), BROKEN_FILES, ids=[m[4] for m in BROKEN_FILES])
def test_a_file_that_cannot_be_loaded_is_found_with_its_line(
    project: Any, file: str, text: str, kind: str, line: int, said: str
) -> None:
    start = project.add(file, text)
    problem = only(check(project))
    assert (problem.kind, *place(problem)) == (kind, file, start + line - 1)
    assert said in problem.message


MISTAKES = [
    ("x.py", "import no_such\n", "import", 1, "No module named 'no_such'"),
    ("dev/y.py", "y = 1\n", "not-loaded", 1, "no __init__.py"),
    ("multiruns.py", 'multirun_config("rates", [])\n', "duplicate", 1, "multirun/rates is stored twice"),
    ("multiruns.py", 'multirun_config("NAME", ["+experiment=quick,slow"])\n', "unknown-name", 1, "'slow'"),
    ("multiruns.py", 'multirun_config("NAME", ["model_config.rat=1,2"])\n', "composition", 1, "'rat'"),
    ("multiruns.py", 'multirun_config("NAME", [\n"a=[",\n])\n', "unknown-name", 2, "'a=['"),
    ("model.py", 'model_store(FitMoons, rate="${model_config.nois}", name="NAME")\n', "interpolation", 1, ".nois"),
    ("model.py", 'model_store(FitMoons, seed="???", name="NAME")\n', "missing-value", 1, "seed has no value"),
    ("model.py", 'def f(): ...\nmodel_store(builds(f, zen_partial=True), name="NAME")\n', "model", 2, "ml_instance"),
    ("model.py", 'GONE = {"_target_": "gone"}\nmodel_store(GONE, name="NAME")\n', "configuration", 2, "'gone'"),
    ("workflow.py", 'workflow_store({"a": 1}, name="NAME")\n', "workflow", 1, "has no workflow"),
    ("assets.py", 'assets_store(["./gone.csv"], name="NAME")\n', "input", 1, "gone.csv"),
    ("assets.py", 'assets_store(["no rid"], name="NAME")\n', "input", 1, "'no rid' is not a RID"),
    ("assets.py", 'assets_store(["1-ABCD", "1-ABCD"], name="NAME")\n', "input", 1, "1-ABCD is named twice"),
    ("deriva.py", 'BAD = {"_target_": "deriva_ml.DerivaMLConfig", "a": 1}\nderiva_store(BAD, name="NAME")\n', "configuration", 2, "'a'"),  # noqa: E501
]  # fmt: skip


def test_all_mistakes_are_found_at_once_each_with_its_file_and_line(project: Any) -> None:
    expected = []
    for number, (file, text, kind, line, said) in enumerate(MISTAKES):
        start = project.add(file, text.replace("NAME", f"name{number}"))
        expected.append((kind, Path(file).name, start + line - 1, said))
    problems = list(check(project).problems)
    for kind, file, line, said in expected:
        found = [each for each in problems if (each.kind, *place(each)) == (kind, file, line) and said in str(each)]
        assert len(found) == 1, (kind, file, line, said, [str(each) for each in problems])
        problems.remove(found[0])
    assert problems == []


EXPERIMENT = """
experiment_store(
    make_config(
        hydra_defaults=["_self_", {"override /model_config": "qiuck"},
                        {"override /dataset": "x"}],
        bases=(DerivaModelConfig,),
    ),
    name="typo",
)
"""


def test_all_wrong_names_of_a_defaults_list_are_found_with_the_nearest(project: Any) -> None:
    start = project.add("experiments.py", EXPERIMENT)
    found = {problem.line: problem for problem in check(project).problems}
    assert sorted(found) == [start + 3, start + 4]
    assert found[start + 3].allowed == ("quick",)
    assert "datasets" in found[start + 4].allowed
    assert {problem.kind for problem in found.values()} == {"unknown-name"}


def test_a_circle_that_cannot_be_loaded_is_one_problem_with_the_way_round(project: Any) -> None:
    project.add("a.py", "\nfrom configs.b import B\nA = 1\n")
    project.add("b.py", "from configs.a import A\nB = 1\n")
    problem = only(check(project))
    assert (problem.kind, *place(problem)) == ("circular-import", "a.py", 2)
    assert problem.severity == "error"
    assert "configs.a -> configs.b -> configs.a (a.py:2, b.py:1)" in problem.message
    project.config("b.py").write_text("import configs.a\nB = 1\n")
    assert only(check(project)).severity == "warning"


def test_a_file_that_is_not_loaded_hides_nothing_and_nothing_follows_from_it(project: Any) -> None:
    """The main configuration is lost: what was chosen is still read from the text of what needs it."""
    project.add("base.py", 'raise ValueError("early")\n')
    project.add("experiments.py", EXPERIMENT)
    project.add("x.py", "import no_such\n")
    start = project.add("model.py", 'model_store(FitMoons, rate="${nowhere}", name="b")\n')
    report = check(project)
    assert {(problem.kind, problem.path.name) for problem in report.problems} == {
        ("import", "base.py"),
        ("import", "x.py"),
        ("unknown-name", "experiments.py"),
        ("interpolation", "model.py"),
    }
    assert start in {problem.line for problem in report.problems if problem.path.name == "model.py"}
    assert "configs.experiments, because configs.base cannot be imported" in report.unchecked


def test_names_of_a_file_with_a_syntax_error_are_not_called_unknown(project: Any) -> None:
    project.add("model.py", "x = (\n")
    report = check(project)
    assert only(report).kind == "syntax"
    assert report.unchecked[0].startswith("compositions")


def test_a_main_configuration_of_another_name_is_asked_for(project: Any) -> None:
    problem = only(check(project, config_name="deriva_modle"))
    assert "no main configuration 'deriva_modle'" in problem.message
    assert problem.allowed == ("deriva_model",)


# -- what is in catalogs ------------------------------------------------------------------------------------------


def test_inputs_that_the_catalog_has_are_right(project: Any, stock: Any) -> None:
    project.add("datasets.py", _dataset(stock.dataset, "0.1.0"))
    project.add("assets.py", f'assets_store(["{stock.asset}"], name="b")\n')
    report = stock.ml.validate_config_directory(project.folder)
    assert report.problems == ()
    assert report.references == 2
    assert len(report.catalogs) == 1


def _dataset(rid: str, version: str, name: str = "b") -> str:
    spec = f'DatasetSpecConfig(rid="{rid}", version="{version}")'
    return f'from deriva_ml.dataset import DatasetSpecConfig\ndatasets_store([{spec}], name="{name}")\n'


@pytest.mark.parametrize(
    ("rid", "version", "said"),
    [
        ("1-ZZZZ", "1.0.0", "There is no dataset 1-ZZZZ"),
        ("dataset", "9.0.0", "has no version 9.0.0"),
        ("asset", "1.0.0", "is not a dataset, but a record of deriva-ml:Execution_Asset"),
    ],
)
def test_a_dataset_that_a_run_could_not_take_is_found(
    project: Any, stock: Any, rid: str, version: str, said: str
) -> None:
    start = project.add("datasets.py", _dataset(getattr(stock, rid, rid), version))
    problem = only(stock.ml.validate_config_directory(project.folder))
    assert (problem.kind, *place(problem)) == ("input", "datasets.py", start + 1)
    assert said in problem.message
    if "version" in said:
        assert problem.allowed == ("0.1.0",)


def test_a_deleted_dataset_and_an_asset_that_is_none_are_found(project: Any, stock: Any) -> None:
    project.add("datasets.py", _dataset(stock.dataset, "0.1.0"))
    project.add("assets.py", f'assets_store(["{stock.dataset}"], name="b")\nassets_store(["1-ZZZZ"], name="c")\n')
    stock.ml.delete_dataset(stock.dataset)
    messages = " ".join(problem.message for problem in stock.ml.validate_config_directory(project.folder).problems)
    assert f"Dataset {stock.dataset} was deleted." in messages
    assert f"{stock.dataset} is not an asset, but a record of deriva-ml:Dataset." in messages
    assert "There is no asset 1-ZZZZ." in messages


def test_inputs_that_code_computes_are_found_too(project: Any, stock: Any) -> None:
    text = 'for n in ["1-ZZZ1", "1-ZZZ2"]:\n    assets_store([n], name=n.lower().replace("-", "_"))\n'
    start = project.add("assets.py", text)
    problems = stock.ml.validate_config_directory(project.folder).problems
    assert [problem.message for problem in problems] == ["There is no asset 1-ZZZ1.", "There is no asset 1-ZZZ2."]
    assert {problem.line for problem in problems} <= {start, start + 1}


def test_inputs_of_a_file_that_cannot_be_loaded_are_looked_up_all_the_same(project: Any, stock: Any) -> None:
    start = project.add("x.py", 'import no_such\nAssetSpecConfig(rid="1-ZZZZ")\nAssetSpecConfig(rid="nonsense")\n')
    report = stock.ml.validate_config_file(project.config("x.py"))
    assert [(problem.kind, problem.line) for problem in report.problems] == [
        ("import", start),
        ("input", start + 1),
        ("input", start + 2),
    ]


def test_kinds_of_work_that_the_catalog_lacks_are_found(project: Any, stock: Any) -> None:
    text = 'workflow_store(builds(Workflow, name="x",\n workflow_type="Trainig"), name="b")\n'
    start = project.add("workflow.py", text)
    problem = only(stock.ml.validate_config_directory(project.folder))
    assert (problem.kind, *place(problem)) == ("workflow", "workflow.py", start + 1)
    assert problem.allowed[0] == "Training"


@pytest.mark.parametrize("count", [5, 200])
def test_the_number_of_requests_does_not_grow_with_what_is_named(project: Any, stock: Any, count: int) -> None:
    specs = "".join(f'assets_store(["1-Z{n:03}"], name="a{n}")\n' for n in range(count))
    project.add("x.py", 'import no_such\nfrom hydra_zen import store\nassets_store = store(group="assets")\n' + specs)
    counting = Counting(stock.ml.session.catalog.transport)
    session = replace(stock.ml.session, catalog=CatalogClient(counting, stock.ml.session.catalog_id))
    report = validate_configs([project.folder], CatalogSource(session))
    assert len(report.errors) == count + 1
    assert counting.count <= 18


def test_an_experiment_is_checked_against_the_catalog_that_it_runs_on(project: Any, stock: Any, tmp_path: Path) -> None:
    """The data is in the default catalog; the experiment names another one, which is empty."""
    from deriva_ml.connect import open_connection
    from deriva_ml.schema.create_schema import create_ml_schema

    root = str(stock.ml.session.place.root)
    with open_connection(root) as connection:
        create_ml_schema(connection.create_catalog("other"), project_name="other")
    project.add("datasets.py", _dataset(stock.dataset, "0.1.0"))
    project.add(
        "deriva.py", 'deriva_store(builds(DerivaMLConfig, hostname="local", catalog_id="other"), name="other")\n'
    )
    chosen = '["_self_", {"override /deriva_ml": "other"}, {"override /datasets": "b"}]'
    text = f'experiment_store(make_config(hydra_defaults={chosen}, bases=(DerivaModelConfig,)), name="elsewhere")\n'
    assert check(project, CatalogSource()).problems == ()
    project.add("experiments.py", text)
    problem = only(check(project, CatalogSource()))
    assert problem.message == f"There is no dataset {stock.dataset}. (catalog other at local)"
    assert only(stock.ml.validate_config_directory(project.folder)) == problem


def test_catalogs_that_are_not_there(project: Any, settings: Any) -> None:
    assert "the first run makes it" in check(project, CatalogSource()).unchecked[0]
    start = project.add("deriva.py", 'deriva_store(builds(DerivaMLConfig, hostname="/no/such"), name="b")\n')
    problem = only(check(project, CatalogSource()))
    assert (problem.kind, problem.severity, *place(problem)) == ("catalog", "warning", "deriva.py", start)
    start = project.add("datasets.py", _dataset("1-ABCD", "1.0.0"))
    problems = check(project, CatalogSource()).errors
    assert [place(problem) for problem in problems] == [("datasets.py", start + 1)]
    assert "no catalog yet" in problems[0].message
    assert not settings.local.exists()


def test_a_catalog_that_does_not_answer_is_no_problem_of_the_configurations(project: Any, settings: Any) -> None:
    report = check(project, CatalogSource(instead=CatalogName("http://127.0.0.1:1", "1")))
    assert report.is_valid
    assert "127.0.0.1:1" in report.unreachable[0]


# -- what is told --------------------------------------------------------------------------------------------------


def test_a_file_or_folder_is_told_of_alone(project: Any) -> None:
    project.add("x.py", "import no_such\n")
    project.add("sub/__init__.py", "")
    project.add("sub/y.py", "import no_such_either\n")
    assert validate_configs([project.config("model.py")], OFFLINE).problems == ()
    assert only(validate_configs([project.config("sub")], OFFLINE)).path.name == "y.py"
    assert only(check(project, recursive=False)).path.name == "x.py"
    assert len(check(project).problems) == 2


def test_a_report_is_text_and_json(project: Any) -> None:
    project.add("x.py", "import no_such\n")
    report = check(project)
    first = report.to_text().splitlines()[0]
    path = project.config("x.py")
    assert first == f"{path}:1: error: ModuleNotFoundError: No module named 'no_such' [import]"
    read = json.loads(report.to_json())
    assert (read["is_valid"], read["problems"][0]["path"], read["problems"][0]["line"]) == (False, str(path), 1)


def test_scripts_of_a_folder_that_is_no_package_are_not_begun(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("from pathlib import Path\nPath('begun').touch()\n")
    for target in (tmp_path, tmp_path / "train.py"):
        with pytest.raises(DerivaMLConfigurationError, match="no configuration modules"):
            validate_configs([target], OFFLINE)
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


@pytest.mark.parametrize("make", [False, True])
def test_what_is_no_project_is_refused(tmp_path: Path, stock: Any, make: bool) -> None:
    folder = tmp_path / "empty"
    if make:
        folder.mkdir()
    with pytest.raises(DerivaMLConfigurationError):
        validate_configs([folder])
    with pytest.raises(DerivaMLConfigurationError):
        stock.ml.validate_config_file(folder)
    with pytest.raises(DerivaMLConfigurationError):
        stock.ml.validate_config_directory(folder / "x")
    with pytest.raises(DerivaMLConfigurationError, match="not a file of Python"):
        validate_configs([_text_file(tmp_path / "configs")])


def _text_file(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "base.py").touch()
    (folder / "notes.txt").touch()
    return folder / "notes.txt"


def test_each_thing_that_is_wrong_with_a_model_is_a_problem_of_its_own(project: Any) -> None:
    project.add("model.py", 'def f(x): ...\nmodel_store(builds(f, zen_partial=True), name="two")\n')
    problems = check(project).problems
    assert [each.kind for each in problems] == ["model", "model"]
    assert "ml_instance" in problems[0].message
    assert "x" in problems[1].message
