"""What is said often is passed on seldom, and the last of it always."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from tests.fakes import Counting

from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_record import lookup_execution
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.saying import Sayings


def wait_for(condition) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_the_first_is_passed_on_at_once_and_the_last_when_it_is_time():
    passed = []
    sayings = Sayings(lambda text: passed.append((time.monotonic(), text)), every=0.3)
    for number in range(1000):
        sayings.say(f"step {number}")
    assert [text for _at, text in passed] == ["step 0"]
    assert wait_for(lambda: len(passed) == 2)
    assert passed[1][1] == "step 999"
    assert passed[1][0] - passed[0][0] >= 0.3
    time.sleep(0.4)
    sayings.say("at leisure")
    assert passed[-1][1] == "at leisure"


def test_what_waits_can_be_passed_on_now_or_forgotten():
    passed = []
    sayings = Sayings(passed.append, every=60)
    for text in ("one", "two"):
        sayings.say(text)
    sayings.settle()
    sayings.settle()
    assert passed == ["one", "two"]
    sayings.say("three")
    sayings.drop()
    sayings.settle()
    assert passed == ["one", "two"]


def test_threads_may_speak_at_once():
    passed = []
    sayings = Sayings(passed.append, every=0.05)
    threads = [threading.Thread(target=lambda: [sayings.say("x") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wait_for(lambda: sayings._timer is None)
    assert 1 <= len(passed) < 200


def test_a_loop_that_tells_its_status_floods_neither_journal_nor_catalog(ml, configuration):
    transport = Counting(ml.connection.transport)
    catalog = type(ml.session.catalog)(transport, "1")
    execution = Execution(configuration, replace(ml.session, catalog=catalog))
    with execution:
        transport.reset()
        start = time.monotonic()
        for step in range(2000):
            execution.update_status("Running", f"step {step}")
        took = time.monotonic() - start
        assert transport.count <= 2 + took
        assert wait_for(lambda: lookup_execution(ml.session, execution.execution_rid).status_detail == "step 1999")
        with open_journal(ml.session) as journal:
            assert journal.run(execution.execution_rid).detail == "step 1999"
        execution.update_status("Running", "nobody will read this")
    assert lookup_execution(ml.session, execution.execution_rid).status_detail == "The model has ended."
