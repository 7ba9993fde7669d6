"""Every mistake in a configuration or on the command line is told in a few lines: what, from where, what is allowed.

The command is called in this process, on a project of each test's own.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig

from deriva_ml.cli.run import main
from deriva_ml.core.config import Settings

GOOD = """
from typing import Literal
from hydra_zen import builds, make_config, store
from deriva_ml import DerivaMLConfig
from deriva_ml.execution import Workflow, create_model_config, multirun_config

def train(lr: float = 0.1, n: int = 1, mode: Literal["fast", "slow"] = "fast", names: list[str] | None = None,
          *, ml_instance=None, execution=None):
    pass

Main = create_model_config(description="d")
store(Main, name="deriva_model")
store(builds(DerivaMLConfig, populate_full_signature=True), group="deriva_ml", name="default_deriva")
store([], group="datasets", name="default_dataset")
store([], group="assets", name="default_asset")
store(builds(Workflow, name="T", workflow_type="Training"), group="workflow", name="default_workflow")
store(builds(train, populate_full_signature=True, zen_partial=True), group="model_config", name="default_model")
store(builds(train, zen_partial=True), group="model_config", name="bare")
"""

NOTHING = "$" + "{nothing.here}"  # not in one piece, or it would be found here
HEAD = "from hydra_zen import MISSING, builds, make_config, store\nfrom PKG.all import Main, train\n"
EXPERIMENT = HEAD + "store(make_config(hydra_defaults=['_self_', ITEM], bases=(Main,)), group='experiment',\n"
EXPERIMENT += "      package='_global_', name='e')\n"
SWEEPS = "from deriva_ml.execution import multirun_config\nmultirun_config('a', ['ITEM'])\nmultirun_config('b', [])\n"


def experiment(item: str) -> str:
    return EXPERIMENT.replace("ITEM", item)


MODULES = [
    ("x = (\n", [], "SyntaxError: '(' was never closed", "more.py:1"),
    ("\nimport no_such_thing\n", [], "No module named 'no_such_thing'", "more.py:2"),
    ("\nimport no_such_thing\n", [], "install the distribution that holds no_such_thing", "more.py:2"),
    ("from PKG.al import Main\n", [], "No module named 'PKG.al'", "allowed: PKG.all"),
    ("from PKG.all import Mian\n", [], "cannot import name 'Mian'", "allowed: Main"),
    ("from PKG.other import y\nx = 1\n", [], "import each other in a circle", "other.py:1"),
    ("import sys\nprint('x')\nsys.exit(3)\n", [], "it called sys.exit(3)", "more.py:3"),
    ("def f():\n    return 1 / 0\nf()\n", [], "ZeroDivisionError: division by zero", "more.py:2"),
    (
        HEAD + "store({}, group='assets', name='default_asset')\n",
        [],
        "assets=default_asset is stored twice",
        "all.py:15",
    ),
    (
        HEAD + "store({}, group='assets', name='default_asset')\n",
        [],
        "assets=default_asset is stored twice",
        "more.py:3",
    ),
    (
        HEAD + "store({'a': object()}, group='g', name='s')\n",
        [],
        "A configuration of group g cannot be made: The configured value",
        "more.py:3",
    ),
]
DEFAULTS = [
    (experiment("{'override /nogroup': 'x'}"), ["+experiment=e"], "overrides group 'nogroup'", "more.py:3"),
    (experiment("{'override /model_config': 'defalt'}"), ["+experiment=e"], "ask for 'defalt'", "default_model"),
    (
        experiment("{'override /model_config': 'defalt'}"),
        ["+experiment=e"],
        "the defaults of experiment/e",
        "more.py:3",
    ),
    (
        experiment("{'modl_config': 'x'}"),
        ["+experiment=e"],
        "no configuration is stored in it",
        "allowed: model_config",
    ),
    (
        HEAD
        + "store(make_config(hydra_defaults=['_self_', {'/model_config': 'r'}]), group='model_config', name='r')\n",
        ["model_config=r"],
        "in a circle: model_config/r -> model_config/r",
        "more.py:3",
    ),
    (
        HEAD + "store(make_config(hydra_defaults=['_self_', {'/b': 'r'}]), group='model_config', name='r')\n"
        "store(make_config(hydra_defaults=['_self_', {'/model_config': 'r'}]), group='b', name='r')\n",
        ["model_config=r"],
        "in a circle: model_config/r -> b/r -> model_config/r",
        "more.py:3",
    ),
]
VALUES = [
    (
        HEAD + "store(builds(train, lr='" + NOTHING + "', zen_partial=True), group='model_config', name='i')\n",
        ["model_config=i"],
        NOTHING + " in model_config.lr names no key",
        "more.py:3",
    ),
    (
        "",
        ["model_config.lr=" + NOTHING],
        NOTHING + " in model_config.lr names no key",
        "override model_config",
    ),
    ("", ["model_config.lr=${model_config.nn}"], "names no key", "allowed: model_config.n"),
    (
        HEAD + "store(builds(train, lr=MISSING, zen_partial=True), group='model_config', name='m')\n",
        ["model_config=m"],
        "No value was given for model_config.lr",
        "model_config.lr=VALUE",
    ),
    (
        (
            "from deriva_ml.execution import create_model_config\nfrom hydra_zen import store\n"
            "store(create_model_config(hydra_defaults=['_self_']), name='other')\n"
        ),
        ["--config-name", "other"],
        "No value was given for deriva_ml, model_config, workflow",
        "deriva_ml=VALUE",
    ),
    (
        "",
        ["model_config.lr=abc"],
        "model_config.lr takes a number, and 'abc' is not that",
        "override model_config.lr=abc",
    ),
    ("", ["model_config.n=1.5"], "model_config.n takes a whole number, and 1.5 is not that", "override model_config.n"),
    ("", ["dry_run=maybe"], "dry_run takes true, false or full, and 'maybe' is not that", "allowed: true, false"),
    ("", ["upload_timeout=soon"], "upload_timeout takes a number", "override upload_timeout=soon"),
    ("", ["model_config.mode=fats"], "takes Literal['fast', 'slow'], and 'fats' is not that", "allowed: fast"),
    ("", ["model_config.names=one"], "takes list[str] | None, and 'one' is not that", "override model_config.names"),
    (
        "",
        ["model_config=bare", "+model_config.lr=abc"],
        "model_config.lr takes a number",
        "override +model_config.lr=abc",
    ),
    ("", ["deriva_ml.logging_level=loud"], "'loud'", "override deriva_ml.logging_level=loud"),
    ("", ["model_config.lr.x=1"], "model_config.lr is a single value", "model_config.lr=VALUE"),
]
NAMES = [
    ("", ["model_config=default"], "model_config has no configuration 'default'", "allowed: default_model"),
    ("", ["modl_config=bare"], "has no 'modl_config'", "allowed: model_config"),
    ("", ["model_config.lrr=1"], "model_config has no 'lrr'", "allowed: lr"),
    ("", ["deriva_ml.hostnam=x"], "deriva_ml has no 'hostnam'", "hostname"),
    ("", ["workflow.nam=x"], "workflow has no 'nam'", "allowed: name"),
    ("", ["model_config=bare", "model_config.lr=1"], "so it is added, not changed", "write +model_config.lr=1"),
    ("", ["model_config=bare", "model_config.lrr=1"], "model_config has no 'lrr'", "allowed: lr"),
    ("", ["+model_config.lr=1"], "is there already", "write model_config.lr=1"),
    ("", ["hydra/launcher=nope"], "'nope'", "override hydra/launcher=nope"),
    ("", ["hydra.run.dirr=x"], "hydra.run has no 'dirr'", "allowed: dir"),
    ("", ["--config-name", "deriva_modl"], "no main configuration 'deriva_modl'", "allowed: deriva_model"),
]
WORDS = [
    ("", ["model_config.lr=1,2"], "several values", "--multirun"),
    ("", ["lr"], "it holds no '='", "key=value"),
    ("", ["\tmodel_config.lr=1"], "a tab outside quotes", "quote"),
    ("", ["model_config.lr=1\n2"], "a line break outside quotes", "quote"),
    ("", ["model_config.lr=[1"], "Cannot read the override", "model_config.lr=[1"),
    ("", ["--multirn"], "no flag --multirn", "allowed: --multirun"),
    ("", ["--cfg", "jop"], "--cfg does not take 'jop'", "job"),
    ("", ["--cfg", "job", "-m", "model_config.lr=1,2"], "this is a sweep", "one value"),
    ("", ["--cfg", "job", "model_config.lrr=1"], "model_config has no 'lrr'", "allowed: lr"),
    ("", ["--info", "defalts"], "--info does not take 'defalts'", "defaults"),
    (SWEEPS, ["+multirun=c"], "no named sweep 'c'", "a, b"),
    (SWEEPS, ["+multirun=a", "+multirun=b"], "Two named sweeps", "a and b"),
    (SWEEPS, ["+multirun=a,b"], "Two named sweeps", "a,b"),
    (
        SWEEPS.replace("ITEM", "model_config.lrr=1,2"),
        ["+multirun=a"],
        "no 'lrr'",
        "the named sweep a (FOLDER/more.py:2)",
    ),
    (SWEEPS.replace("ITEM", "mod.lr=1,2"), ["+multirun=a"], "no 'mod'", "the named sweep a (FOLDER/more.py:2)"),
    ("", ["-m", "model_config.lr=1,two"], "takes a number, and 'two' is not that", "override model_config.lr=two"),
    ("", ["-m", "dry_run=true,false"], "A sweep is dry or it is not", "dry_run=true"),
]
CASES = [*MODULES, *DEFAULTS, *VALUES, *NAMES, *WORDS]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Writes the modules and calls the command; its exit code, output and messages."""
    # The places of mistakes are looked for in what is imported; the process of a command has no modules of tests.
    tests = str(Path(__file__).parents[1])
    for name, module in tuple(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(tests):
            monkeypatch.delitem(sys.modules, name)

    def call(files: dict[str, str], *words: str) -> tuple[int, str, str]:
        for name, content in files.items():
            (folder / f"{name}.py").write_text(content.replace("PKG", folder.name))
        code = main(["--config-dir", folder.name, *words])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.mark.parametrize(
    ("more", "words", "said", "also"), CASES, ids=[f"{' '.join(words)} {said}".strip() for _, words, said, _ in CASES]
)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(
    run: Run, folder: Path, settings: Settings, more: str, words: list[str], said: str, also: str
) -> None:
    other = {"other": "from PKG.more import x\ny = 1\n"} if "PKG.other" in more else {}
    code, _out, err = run({"all": GOOD, **other, **({"more": more} if more else {})}, *words)
    assert code == 2, err
    assert said.replace("PKG", folder.name) in err
    assert also.replace("PKG", folder.name).replace("FOLDER", str(folder)) in err
    assert "Traceback" not in err
    assert "Error executing job" not in err
    assert len(err.splitlines()) <= 10, err
    assert not settings.local.exists()
    assert not list(settings.home.glob("hydra*/*"))


@pytest.mark.usefixtures("empty_store")
@pytest.mark.parametrize(
    ("files", "said"), [({}, "no configuration modules"), ({"__init__": ""}, "no configuration modules")]
)
def test_an_empty_package_is_told(run: Run, files: dict[str, str], said: str) -> None:
    code, _out, err = run(files)
    assert (code, said in err) == (2, True)


def test_a_directory_that_is_a_file_is_told(run: Run, folder: Path) -> None:
    (folder.parent / "configs").touch()
    assert main([]) == 2
    assert main(["--config-dir", "configs"]) == 2


def test_a_module_that_prints_does_not_disturb_what_is_printed(run: Run) -> None:
    code, out, err = run({"all": GOOD, "more": "print('hello')\n"}, "--list-configs", "--json")
    assert (code, out[0], "hello" in err) == (0, "{", True)


def test_nothing_of_the_caller_is_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERIVA_ML_ALLOW_DIRTY", "false")
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)

    def state() -> list[Any]:
        hydra = logging.getLogger("hydra")
        python = [dict(os.environ), sys.argv[:], sys.path[:], Path.cwd(), signal.getsignal(signal.SIGTERM)]
        return [*python, root.handlers[:], root.level, hydra.handlers[:], HydraConfig.initialized()]

    before = state()
    try:
        for words in (
            ["--cfg", "job"],
            ["--info", "defaults"],
            ["--list-configs"],
            ["--hydra-help"],
            ["dry_run=true", "--allow-dirty"],
            ["-m", "model_config.n=1,2", "dry_run=true"],
            ["no=thing"],
        ):
            run({"all": GOOD}, *words)
            assert state() == before, words
    finally:
        root.removeHandler(handler)


def test_what_hydra_is_asked_it_answers(run: Run) -> None:
    code, out, _err = run({"all": GOOD}, "--cfg", "job", "--package", "model_config", "model_config.lr=7")
    assert (code, "lr: 7.0" in out) == (0, True)
    code, out, _err = run({"all": GOOD}, "--info", "defaults-tree", "model_config=bare")
    assert (code, "model_config: bare" in out) == (0, True)
    code, out, _err = run({"all": GOOD}, "--cfg", "job", "--resolve", "description=a ${x}", "-p", "description")
    assert (code, out.splitlines()[-1]) == (0, "a ${x}")


def test_a_folder_with_yaml_adds_configurations(run: Run, folder: Path) -> None:
    extra = folder.parent / "extra" / "model_config"
    extra.mkdir(parents=True)
    (extra / "slow.yaml").write_text("defaults: [default_model]\nlr: 0.001\n")
    words = ["-cd", "extra", "model_config=slow", "--cfg", "job", "-p", "model_config.lr"]
    code, out, err = run({"all": GOOD}, *words)
    assert (code, out.strip()) == (0, "0.001"), err
    code, _out, err = run({"all": GOOD}, "-cd", "extra", "model_config=slo")
    assert (code, "allowed: slow" in err) == (2, True)
