"""The configuration of a notebook: stored, composed, instantiated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra_zen import ZenStore, builds
from omegaconf import OmegaConf

from deriva_ml.core.config import Settings
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.ml_config import DerivaMLConfig
from deriva_ml.execution import (
    BaseConfig,
    DerivaBaseConfig,
    get_notebook_configuration,
    notebook_config,
    reset_multirun_state,
)
from deriva_ml.execution.composition import JobContext


@dataclass
class Curve(BaseConfig):
    """The parameters of a notebook."""

    threshold: float = 0.5
    extra: object = None


@pytest.fixture
def store(settings: Settings) -> ZenStore:
    out = ZenStore()
    out(builds(DerivaMLConfig, populate_full_signature=True), group="deriva_ml", name="default_deriva")
    out([], group="datasets", name="default_dataset")
    out(["1-ABCD"], group="datasets", name="other")
    out([], group="assets", name="default_asset")
    out({"a": 1}, group="extra", name="one")
    return out


def test_a_notebook_gets_its_parameters_and_what_was_chosen(store: ZenStore) -> None:
    made = notebook_config(
        "curve", Curve, {"datasets": "other", "extra": "one"}, registry=store, description="${x} {", threshold=0.7
    )
    assert store[None, "curve"] is made
    found = get_notebook_configuration(made, "curve", ["deriva_ml.catalog_id=7"], registry=store)
    assert isinstance(found, Curve)
    assert (found.threshold, found.description, list(found.datasets)) == (0.7, "${x} {", ["1-ABCD"])
    assert found.deriva_ml.catalog_id == 7
    assert found.config_choices == {
        "assets": "default_asset",
        "datasets": "other",
        "deriva_ml": "default_deriva",
        "extra": "one",
    }
    folder = found.deriva_ml.hydra_runtime_output_dir
    assert {path.name for path in (folder / "hydra-config").iterdir()} == {
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    }


def test_what_the_runner_hands_over_comes_first_and_what_is_given_wins(
    store: ZenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook_config("curve", Curve, registry=store)
    monkeypatch.setenv("DERIVA_ML_HYDRA_OVERRIDES", '["threshold=1", "datasets=other"]')
    found = get_notebook_configuration(None, "curve", ["threshold=2"], registry=store)
    assert (found.threshold, list(found.datasets)) == (2.0, ["1-ABCD"])
    monkeypatch.setenv("DERIVA_ML_HYDRA_OVERRIDES", "threshold=1")
    with pytest.raises(DerivaMLConfigurationError, match="not a JSON list of overrides"):
        get_notebook_configuration(None, "curve", registry=store)


def test_a_configuration_that_is_not_stored_is_taken_as_it_is(store: ZenStore) -> None:
    found = get_notebook_configuration(Curve, "nobody_stored_this", ["threshold=3"], registry=store)
    assert isinstance(found, Curve)
    assert (found.threshold, found.config_choices["datasets"]) == (3.0, "default_dataset")
    assert (None, "nobody_stored_this") not in store


@pytest.mark.parametrize(
    ("override", "allowed"), [("treshold=1", "threshold"), ("datasets=othr", "other"), ("dry_run=maybe", "true")]
)
def test_a_wrong_override_is_told_with_what_is_allowed(store: ZenStore, override: str, allowed: str) -> None:
    notebook_config("curve", Curve, registry=store)
    with pytest.raises(DerivaMLConfigurationError) as caught:
        get_notebook_configuration(None, "curve", [override], registry=store)
    assert allowed in caught.value.allowed


def test_a_value_that_does_not_fit_a_field_is_told(store: ZenStore, capfd: pytest.CaptureFixture[str]) -> None:
    notebook_config("curve", Curve, registry=store)
    with pytest.raises(DerivaMLConfigurationError, match="threshold takes a number, and 'high' is not that") as caught:
        get_notebook_configuration(None, "curve", ["threshold=high"], registry=store)
    assert caught.value.source == "override threshold=high"
    assert capfd.readouterr() == ("", "")


def test_configurations_work_outside_hydra() -> None:
    assert Curve(threshold=1.0).dry_run is False
    assert DerivaMLConfig(hostname="local").hydra_runtime_output_dir is None
    assert DerivaBaseConfig(description="x").description == "x"


@pytest.fixture
def leftover() -> Iterator[None]:
    """What Hydra holds of a job that was broken off."""
    before = HydraConfig.instance().cfg
    runtime = {"choices": {"a": "b"}, "output_dir": "???"}
    hydra = {"runtime": runtime, "job": {"num": 3}, "overrides": {"task": ["a=${b}"]}}
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": hydra})  # type: ignore[assignment]
    yield
    HydraConfig.instance().cfg = before


def test_what_hydra_still_holds_of_a_job_can_be_forgotten(leftover: None) -> None:
    assert JobContext.current() == JobContext({"a": "b"}, None, ("a=${b}",), 3)
    assert DerivaMLConfig().hydra_runtime_output_dir is None
    reset_multirun_state()
    assert JobContext.current() == JobContext({}, None)
