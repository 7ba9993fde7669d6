"""The table of moves, rule by rule."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLInvalidTransition
from deriva_ml.execution.state_page import diagram, filled
from deriva_ml.execution.states import (
    FINAL,
    MOVES,
    UPLOAD_MOVES,
    Mover,
    Upload,
    check_move,
    check_upload_move,
    is_final,
    parse_status,
)

PAGE = Path(__file__).parents[2] / "docs" / "lifecycle.md"
WAY = [Status.created, Status.initializing, Status.pending, Status.running, Status.completed]


def test_every_status_has_a_row():
    assert {move.start for move in MOVES} == set(Status) - {Status.completed}
    assert {move.start for move in UPLOAD_MOVES} == set(Upload)


def test_no_move_stands_in_the_table_twice():
    assert len({move[:3] for move in MOVES}) == len(MOVES)
    assert len({move[:2] for move in UPLOAD_MOVES}) == len(UPLOAD_MOVES)


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


def test_rule_3_a_run_whose_process_is_gone_becomes_aborted_and_nothing_else():
    for status in Status:
        for finish in set(Status) - {status}:
            if not is_final(status) and finish is Status.aborted:
                check_move(status, finish, Mover.finder)
            else:
                with pytest.raises(DerivaMLInvalidTransition):
                    check_move(status, finish, Mover.finder)


def test_rule_4_final_statuses_are_left_by_no_holder():
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


def test_rule_6_who_resumes_takes_up_what_did_not_complete_and_nothing_else():
    for start in Status:
        for finish in set(Status) - {start}:
            if start in {Status.failed, Status.aborted} and finish is Status.initializing:
                check_move(start, finish, Mover.resumer)
            else:
                with pytest.raises(DerivaMLInvalidTransition):
                    check_move(start, finish, Mover.resumer)


def test_rule_8_the_upload_has_its_own_way():
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
    for move in [*MOVES, *UPLOAD_MOVES]:
        assert f"{move.start} --> {move.finish}" in text


def test_the_page_says_what_the_table_says():
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "call: make docs"
    for move in MOVES:
        assert f"| {move.start} | {move.finish} | {move.by} | {move.why} |" in page


def test_a_page_without_the_marks_is_refused():
    with pytest.raises(ValueError, match="has not the marks"):
        filled("# A page\n")


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
