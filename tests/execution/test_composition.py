"""Hydra's part of a run: composed once, in directories of its own, with errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra_zen import MISSING, ZenStore, builds, make_config

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution.composition import (
    JobContext,
    compose,
    compose_jobs,
    discard_output,
    hydra_session,
    new_stamp,
    output_overrides,
    run_job,
    run_sweep,
)
from deriva_ml.execution.registry import register


def train(lr: float = 0.1, epochs: int = 3) -> None:
    """A stand-in for a model."""


def dry(dry_run: bool = False, **groups: Any) -> None:
    """A stand-in for what a main configuration calls."""


@pytest.fixture
def name() -> Iterator[str]:
    """A main configuration with one group, under names that no other test uses."""
    mark = f"m{uuid4().hex}"
    store = ZenStore(deferred_hydra_store=True)
    group = f"model_{mark}"
    fields: dict[str, Any] = {group: MISSING, "note": "${nothing}"}
    main = builds(dry, populate_full_signature=True, hydra_defaults=["_self_", {group: "default"}], **fields)
    store(main, name=mark)
    store(builds(train, populate_full_signature=True, zen_partial=True), group=f"model_{mark}", name="default")
    register(store)
    yield mark


def test_a_job_is_composed_once_and_leaves_nothing_in_the_users_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[tuple[Any, JobContext]] = []
    with hydra_session("test") as hydra:
        extra = [f"model_{name}.lr=2"]
        found = run_job(
            hydra,
            name,
            lambda config: calls.append((config, JobContext.current())) or "done",  # type: ignore[func-returns-value]
            [*output_overrides(tmp_path / "home", new_stamp(), extra), *extra],
        )
    assert found == "done"
    [(config, context)] = calls
    assert config[f"model_{name}"].lr == 2.0
    assert context.choices == {f"model_{name}": "default"}
    assert (context.overrides, context.number) == (tuple(extra), None)
    assert context.output_dir is not None
    files = {path.name for path in (context.output_dir / "hydra-config").iterdir()}
    assert files == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_hydras_state_is_as_before_afterwards(name: str) -> None:
    with hydra_session("test"):
        compose(name, [])
    assert not GlobalHydra.instance().is_initialized()
    assert not HydraConfig.initialized()
    assert JobContext.current() == JobContext({}, None)


def test_the_jobs_of_a_sweep_are_numbered_and_apart(name: str, tmp_path: Path) -> None:
    key = f"model_{name}.lr"
    with hydra_session("test") as hydra:
        found = run_sweep(
            hydra,
            name,
            lambda config: JobContext.current(),
            [*output_overrides(tmp_path, new_stamp(), []), f"{key}=1,2"],
        )
    assert [(job.number, job.overrides) for job in found] == [(0, (f"{key}=1",)), (1, (f"{key}=2",))]
    assert len({job.output_dir for job in found}) == 2


def test_two_runs_in_one_moment_have_two_directories() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5)
    assert new_stamp(now) != new_stamp(now)
    assert new_stamp(now).startswith("2026-01-02_03-04-05.000000-")


def test_what_the_user_says_about_directories_and_logging_stands() -> None:
    ours = output_overrides(Path("/h"), "s", ["hydra.run.dir=/mine", "hydra/job_logging=disabled"])
    assert not [text for text in ours if text.startswith(("hydra.run.dir", "hydra.job_logging"))]
    assert "hydra.sweep.dir='/h/hydra-sweep/s'" in ours


def test_only_the_commands_own_directories_are_discarded(tmp_path: Path) -> None:
    for name in ("hydra/mine", "hydra/other", "hydra-sweep/mine"):
        (tmp_path / name).mkdir(parents=True)
    discard_output(tmp_path, "mine")
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["hydra", "other", "hydra-sweep"]


@pytest.mark.parametrize(
    ("override", "said", "allowed"),
    [
        ("model_{}.epoch=1", "has no 'epoch'", ("epochs",)),
        ("model_{}.lr=abc", "takes a number, and 'abc' is not that", ("0.1", "1e-3")),
        ("dry_run=maybe", "dry_run takes true or false, and 'maybe' is not that", ("true", "false")),
    ],
)
def test_a_composition_error_names_the_override(name: str, override: str, said: str, allowed: tuple[str, ...]) -> None:
    text = override.format(name)
    with hydra_session("test"), pytest.raises(DerivaMLConfigurationError) as caught:
        compose(name, [text])
    assert said in str(caught.value)
    assert text in str(caught.value)
    assert caught.value.allowed == allowed
    assert len(str(caught.value).splitlines()) <= 4


def test_a_default_that_is_not_there_is_named_with_the_nearest() -> None:
    mark = f"m{uuid4().hex}"
    store = ZenStore()
    store(make_config(hydra_defaults=["_self_", {f"g_{mark}": "defualt"}]), name=mark)
    store({}, group=f"g_{mark}", name="default")
    register(store)
    with hydra_session("test"), pytest.raises(DerivaMLConfigurationError) as caught:
        compose(mark, [])
    assert "'defualt'" in str(caught.value)
    assert caught.value.allowed == ("default",)


def test_a_group_that_the_main_configuration_does_not_hold_is_named() -> None:
    mark = f"m{uuid4().hex}"
    store = ZenStore()
    store(make_config(hydra_defaults=["_self_", {f"g_{mark}": "default"}]), name=mark)
    store({}, group=f"g_{mark}", name="default")
    register(store)
    with hydra_session("test"), pytest.raises(DerivaMLConfigurationError, match=f"Key 'g_{mark}' not in"):
        compose(mark, [])


def test_what_a_model_wrote_into_hydras_directory_stays_and_its_configuration_goes(tmp_path: Path) -> None:
    sweep, single = tmp_path / "hydra-sweep" / "s", tmp_path / "hydra" / "s"
    for folder in (sweep / "0" / "hydra-config", single / "hydra-config"):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("password: secret")
    (sweep / "multirun.yaml").write_text("password: secret")
    (sweep / "0" / "job.log").touch()
    (single / "plot.txt").write_text("kept")
    discard_output(tmp_path, "s", recorded=True)
    assert not sweep.exists()
    assert [path.name for path in single.rglob("*")] == ["plot.txt"]
    discard_output(tmp_path, "s")
    assert not single.exists()


def test_a_job_that_is_remembered_is_given_out_as_a_copy(name: str, tmp_path: Path) -> None:
    keys = [[f"model_{name}.lr={rate}"] for rate in (1, 2, 1)]
    overrides = output_overrides(tmp_path, new_stamp(), [])
    with hydra_session("test") as hydra:
        first = compose_jobs(hydra, name, overrides, keys)
        assert "hydra" not in first
        assert first[f"model_{name}"].lr == 1.0
        found = run_sweep(
            hydra, name, lambda config: (JobContext.current(), config), [*overrides, f"model_{name}.lr=1,2,1"]
        )
    assert [(job.number, config[f"model_{name}"].lr) for job, config in found] == [(0, 1.0), (1, 2.0), (2, 1.0)]


def test_a_loader_that_is_sent_elsewhere_takes_no_jobs_along(name: str, tmp_path: Path) -> None:
    with hydra_session("test") as hydra:
        compose_jobs(hydra, name, [], [[f"model_{name}.lr=1"]])
        state = hydra.config_loader.__getstate__()
        assert (list(state), state["_jobs"]) == (["_loader", "_jobs"], {})
        with pytest.raises(AttributeError):
            assert hydra.config_loader._no_such_thing
        assert hydra.config_loader.list_groups("hydra")


def test_what_a_task_raises_is_raised_and_not_printed(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(config: Any) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"), hydra_session("test") as hydra:
        run_job(hydra, name, fail, output_overrides(tmp_path, new_stamp(), []))
    assert capfd.readouterr() == ("", "")
