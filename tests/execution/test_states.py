"""The table of moves, rule by rule."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLInvalidTransition
from deriva_ml.execution.states import (
    FINAL,
    MOVES,
    UPLOAD_MOVES,
    Upload,
    check_move,
    check_upload_move,
    diagram,
    is_final,
    parse_status,
)

WAY = [Status.created, Status.initializing, Status.pending, Status.running, Status.completed]


def test_every_status_has_a_row():
    assert set(MOVES) == set(Status)
    assert set(UPLOAD_MOVES) == set(Upload)


def test_rule_2_the_way_of_a_good_run():
    for start, finish in pairwise(WAY):
        check_move(start, finish)


@pytest.mark.parametrize("step", [2, 3, 4, -1, -2])
def test_rule_2_no_status_is_skipped_and_none_comes_again(step):
    for at, start in enumerate(WAY):
        if 0 <= at + step < len(WAY):
            with pytest.raises(DerivaMLInvalidTransition):
                check_move(start, WAY[at + step])


@pytest.mark.parametrize("end", [Status.failed, Status.aborted])
def test_rule_3_every_open_run_can_fail_or_be_aborted(end):
    for status in Status:
        if not is_final(status):
            check_move(status, end)


def test_rule_4_final_statuses_are_left_by_nothing():
    assert {Status.completed, Status.failed, Status.aborted} == FINAL
    for start in FINAL:
        for finish in set(Status) - {start}:
            with pytest.raises(DerivaMLInvalidTransition) as caught:
                check_move(start, finish)
            assert (caught.value.start, caught.value.finish) == (start.value, finish.value)


def test_rule_5_staying_is_allowed():
    for status in Status:
        check_move(status, status)
    for state in Upload:
        check_upload_move(state, state)


def test_rule_6_the_upload_has_its_own_way():
    for start, finish in [("none", "pending"), ("pending", "uploaded"), ("pending", "failed"), ("failed", "pending")]:
        check_upload_move(Upload(start), Upload(finish))
    check_upload_move(Upload.uploaded, Upload.pending)
    with pytest.raises(DerivaMLInvalidTransition, match="none cannot become uploaded"):
        check_upload_move(Upload.none, Upload.uploaded)


def test_the_error_says_what_is_allowed_and_survives_pickling():
    with pytest.raises(DerivaMLInvalidTransition) as caught:
        check_move(Status.created, Status.completed)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.allowed == ("Initializing", "Failed", "Aborted")
    assert str(again) == str(caught.value)


@pytest.mark.parametrize(
    ("text", "status"),
    [(None, "Created"), ("", "Created"), ("running", "Running"), ("Pending_Upload", "Completed"), ("??", "Created")],
)
def test_any_text_of_a_catalog_is_a_status(text, status):
    assert parse_status(text) == status


def test_the_diagram_shows_every_move():
    text = diagram()
    assert text.startswith("stateDiagram-v2\n")
    for start, targets in [*MOVES.items(), *UPLOAD_MOVES.items()]:
        for target in targets:
            assert f"{start} --> {target}" in text


class AnyHistory(RuleBasedStateMachine):
    """Whatever is tried in whatever order, a run that has ended stays as it ended."""

    def __init__(self):
        super().__init__()
        self.status = Status.created
        self.ended = None

    @rule(target_status=st.sampled_from(Status))
    def try_move(self, target_status):
        try:
            check_move(self.status, target_status)
        except DerivaMLInvalidTransition:
            return
        self.status = target_status
        if is_final(target_status) and self.ended is None:
            self.ended = target_status

    @invariant()
    def the_end_is_the_end(self):
        assert self.ended is None or self.status == self.ended


TestAnyHistory = AnyHistory.TestCase
