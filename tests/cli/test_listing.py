"""What ``--list-configs`` shows: groups, names, descriptions, what experiments and sweeps change."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hydra_zen import ZenStore, builds, make_config
from rich.console import Console

from deriva_ml.cli.listing import Choice, _tree, description_of, read_listing, show_configs
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution import create_model_config, multirun_config, with_description


def train(lr: float = 0.1) -> None:
    """Train it.

    In many steps.
    """


def undocumented(lr: float = 0.1) -> None: ...


@pytest.fixture
def store() -> ZenStore:
    out = ZenStore()
    main = create_model_config(description="Main")
    out(main, name="deriva_model")
    out([], group="datasets", name="default_dataset")
    out(with_description(["1-ABCD"], "one ${ dataset"), group="datasets", name="small")
    noted = builds(train, populate_full_signature=True, zen_partial=True, zen_meta={"description": "# Noted\nmore"})
    out(noted, group="model_config", name="default_model")
    out(builds(train, zen_partial=True), group="model_config", name="plain")
    out(builds(undocumented, zen_partial=True), group="model_config", name="nothing")
    quick = make_config(
        hydra_defaults=["_self_", {"override /model_config": "plain"}, {"override /datasets": "small"}],
        description="Quick",
        upload_timeout=5.0,
        bases=(main,),
    )
    out(quick, group="experiment", name="quick", package="_global_")
    multirun_config("rates", ["+experiment=quick", "model_config.lr=1,2"], "# Rates\nmore", registry=out)
    return out


def test_everything_is_read_with_what_it_says_of_itself(store: ZenStore) -> None:
    found = read_listing(store, "deriva_model")
    assert found.main == (Choice("deriva_model", "Main", is_default=True),)
    assert found.groups["datasets"] == (
        Choice("default_dataset", is_default=True),
        Choice("small", "one ${ dataset"),
    )
    assert found.groups["model_config"] == (
        Choice("default_model", "Noted", is_default=True),
        Choice("nothing"),
        Choice("plain", "Train it."),
    )
    changes = ("model_config=plain", "datasets=small", "upload_timeout=5.0")
    assert found.experiments == (Choice("quick", "Quick", overrides=changes),)
    assert found.multiruns == (Choice("rates", "Rates", overrides=("+experiment=quick", "model_config.lr=1,2")),)


def test_a_secret_that_an_experiment_holds_is_not_shown(store: ZenStore) -> None:
    held = make_config(hydra_defaults=["_self_"], deriva_ml={"credential": {"password": "hunter2hunter2"}})
    store(held, group="experiment", name="held", package="_global_")
    (experiment, _quick) = read_listing(store, "deriva_model").experiments
    assert "hunter2" not in str(experiment)


@pytest.mark.parametrize(
    ("node", "said"), [({"description": "# A"}, "A"), ({}, ""), ([], ""), ({"description": 5}, "")]
)
def test_the_description_of_what_is_no_dataclass(node: Any, said: str) -> None:
    assert description_of(node) == said


def test_json_is_for_machines(store: ZenStore, capsys: pytest.CaptureFixture[str]) -> None:
    show_configs(store, "deriva_model", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["experiments"][0]["overrides"][0] == "model_config=plain"
    assert found["groups"]["model_config"][2] == {
        "name": "plain",
        "description": "Train it.",
        "is_default": False,
        "overrides": [],
    }


def test_a_pipe_gets_each_name_on_one_line(store: ZenStore, capsys: pytest.CaptureFixture[str]) -> None:
    show_configs(store, "deriva_model")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("default_model (default)  Noted")]
    assert [line for line in lines if line.endswith("model_config.lr=1,2")]
    assert lines[-1] == "Try one: deriva-ml-run +experiment=quick dry_run=true"


def test_a_narrow_terminal_cuts_nothing_off(store: ZenStore) -> None:
    out = io.StringIO()
    Console(file=out, width=24).print(_tree(read_listing(store, "deriva_model")))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 24
    words = "".join(letter for letter in text if letter not in " │├└─\n")
    assert "default_model(default)Noted" in words
    assert "model_config.lr=1,2" in words
    assert "…" not in text


def test_an_empty_store_is_refused() -> None:
    with pytest.raises(DerivaMLConfigurationError, match="registered nothing"):
        read_listing(ZenStore(), "deriva_model")
