"""The heartbeat of a run advances while its process holds it, and no longer."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from tests.execution.test_resume import held_by

from deriva_ml.execution.execution import Execution
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.pulse import Pulse


def beats(rid: str) -> bool:
    return any(thread.name == f"heartbeat {rid}" for thread in threading.enumerate())


def until(condition) -> bool:
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.01)
    return False


class Owner:
    """Whoever holds a run."""


@pytest.fixture
def begun(ml, tmp_path):
    journal = open_journal(ml.session)
    journal.open_run("1-ABCD", directory=tmp_path)
    return journal


def test_it_advances_until_it_is_stopped(begun):
    first = begun.run("1-ABCD").heartbeat
    owner = Owner()
    pulse = Pulse(owner, begun, "1-ABCD", every=0.01)
    assert until(lambda: begun.run("1-ABCD").heartbeat > first)
    pulse.stop()
    assert until(lambda: not beats("1-ABCD"))


def test_it_ends_with_the_run_and_writes_nothing_afterwards(begun):
    owner = Owner()
    begun.move("1-ABCD", "Completed")
    ended = begun.run("1-ABCD")
    Pulse(owner, begun, "1-ABCD", every=0.01)
    assert until(lambda: not beats("1-ABCD"))
    assert begun.run("1-ABCD") == ended


def test_it_ends_with_its_owner_and_with_a_run_that_is_forgotten(begun):
    owner = Owner()
    Pulse(owner, begun, "1-ABCD", every=60)
    assert beats("1-ABCD")
    del owner
    gc.collect()
    assert until(lambda: not beats("1-ABCD"))
    other = Owner()
    begun.forget("1-ABCD")
    Pulse(other, begun, "1-ABCD", every=0.01)
    assert until(lambda: not beats("1-ABCD"))


def test_a_run_that_another_process_holds_by_now_is_left_alone(ml, configuration):
    execution = Execution(configuration, ml)
    held_by(ml, execution, pid=1, process_start="1")
    with open_journal(ml.session) as journal:
        before = journal.run(execution.execution_rid)
        assert not journal.heartbeat(execution.execution_rid)
        assert journal.run(execution.execution_rid) == before


def test_a_run_has_one_from_its_beginning_to_its_end(ml, configuration):
    execution = Execution(configuration, ml)
    rid = execution.execution_rid
    assert beats(rid)
    with execution:
        assert sum(thread.name == f"heartbeat {rid}" for thread in threading.enumerate()) == 1
    assert until(lambda: not beats(rid))


def test_a_dry_run_has_none(ml, configuration):
    before = threading.active_count()
    with Execution(configuration, ml, dry_run=True):
        assert threading.active_count() == before
