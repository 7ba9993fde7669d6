"""What a run recorded of itself says whether, and with what, it is done anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLRidsNotFound,
)
from deriva_ml.execution.anew import differences, read_earlier
from deriva_ml.execution.execution import Execution
from deriva_ml.wire.path import table

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


def test_a_run_is_taken_up_again_if_it_is_here_did_not_complete_and_its_code_is_the_same(ml, configuration, tmp_path):
    rid = recorded(ml, configuration, tmp_path)
    earlier = read_earlier(ml, rid)
    workflow = configuration.workflow
    assert earlier.why_new(ml, workflow) is None
    assert "code" in earlier.why_new(ml, workflow.model_copy(update={"checksum": "0" * 40}))
    assert "complete" in replace(earlier, status=Status.completed).why_new(ml, workflow)
    (ml.session.runs_dir / rid).rename(tmp_path / "elsewhere")
    assert "this machine has nothing of it" in read_earlier(ml, rid).why_new(ml, workflow)


def test_what_was_recorded_is_read_where_it_lies_before_it_is_in_the_catalog(ml, configuration, tmp_path):
    rid = recorded(ml, configuration, tmp_path, "model_config.lr=1")
    described = ml.session.catalog.rows(table("deriva-ml", "Execution_Metadata_Execution"))
    ml.session.catalog.delete(table("deriva-ml", "Execution_Metadata_Execution"))
    assert described
    assert read_earlier(ml, rid).overrides == ("model_config.lr=1",)


@given(VALUES, VALUES)
def test_two_configurations_differ_somewhere_unless_they_are_equal(then, now):
    assert list(differences(then, then)) == []
    assert bool(list(differences(then, now))) == (then != now)


def test_each_place_that_differs_is_named():
    then = {"a": 1, "b": {"c": [1, 2]}, "gone": None}
    assert list(differences(then, {"a": 1, "b": {"c": [1, 3]}, "new": "x"})) == [
        "b.c[1] was 2 and is 3",
        "gone was None and is not there",
        "new is 'x' and was not there",
    ]


def recorded(ml, configuration, tmp_path, *overrides: str) -> str:
    """A run that was aborted, with the files of a command's configuration."""
    folder = tmp_path / "2026-hydra"
    folder.mkdir()
    (folder / "config.yaml").write_text("model_config:\n  lr: 1\ndescription: ${name}\n")
    (folder / "overrides.yaml").write_text("".join(f"- {one}\n" for one in overrides) or "[]\n")
    (folder / "hydra.yaml").write_text("hydra:\n  job:\n    config_name: deriva_model\n")
    ml.hydra_runtime_output_dir = folder
    execution = Execution(configuration, ml)
    execution.abort()
    return execution.execution_rid


def test_what_was_recorded_is_read_from_the_catalog(ml, configuration, tmp_path):
    rid = recorded(ml, configuration, tmp_path, "model_config.lr=1", "+experiment=one")
    earlier = read_earlier(ml, rid)
    assert (earlier.execution_rid, earlier.config_name) == (rid, "deriva_model")
    assert earlier.overrides == ("model_config.lr=1", "+experiment=one")
    assert earlier.config == {"model_config": {"lr": 1}, "description": "${name}"}
    assert earlier.given.datasets == []
    earlier.require_here(ml)
    earlier.require_same({"model_config": {"lr": 1}, "description": "${name}", "deriva_ml": {"hostname": "elsewhere"}})
    with pytest.raises(DerivaMLConfigurationError, match=r"model_config\.lr was 1 and is 2"):
        earlier.require_same({"model_config": {"lr": 2}, "description": "${name}"})


def test_a_secret_that_was_left_out_cannot_be_done_anew(ml, configuration, tmp_path):
    rid = recorded(ml, configuration, tmp_path, "'model_config.token=***'")
    with pytest.raises(DerivaMLConfigurationError, match="was given a secret"):
        read_earlier(ml, rid)


def test_only_a_run_that_ended_and_said_what_it_was_to_do_is_done_anew(ml, configuration):
    going = Execution(configuration, ml)
    with pytest.raises(DerivaMLConfigurationError, match="it has not ended"):
        read_earlier(ml, going.execution_rid)
    with going:
        pass
    going.asset_file_path("Execution_Asset", "late.txt").write_text("late")
    with pytest.raises(DerivaMLConfigurationError, match="its outputs wait") as caught:
        read_earlier(ml, going.execution_rid)
    assert caught.value.hint == f"deriva-ml-upload --execution {going.execution_rid}"
    going.upload_execution_outputs()
    by_hand = Execution(configuration, ml)
    by_hand.abort()
    with pytest.raises(DerivaMLDataError, match="has not recorded how it was configured"):
        read_earlier(ml, by_hand.execution_rid)
    with pytest.raises(DerivaMLRidsNotFound):
        read_earlier(ml, "9-ZZZZ")
