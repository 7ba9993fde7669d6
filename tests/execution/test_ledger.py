"""Moves go into the journal first and then into the catalog, which is brought level when it can be reached again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes import Failing

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLInvalidTransition
from deriva_ml.execution.ledger import Ledger, duration_text, open_journal
from deriva_ml.execution.masking import Mask
from deriva_ml.execution.states import Upload
from deriva_ml.wire.path import eq, table


@pytest.fixture
def down():
    """Whether the catalog is out of reach: it is while there is something in the list."""
    return []


@pytest.fixture
def ledger(session, down, tmp_path):
    transport = Failing(session.catalog.transport, lose=lambda _request, _number: bool(down))
    far = replace(session, catalog=type(session.catalog)(transport, session.catalog_id))
    far.model()
    (rid,) = session.catalog.lease_rids(1)
    with open_journal(session) as journal:
        made = Ledger(far, journal, rid, mask=Mask({"MY_TOKEN": "secret-value"}))
        made.open(tmp_path, {"Workflow": None, "Description": "d"})
        yield made


def row_of(session, ledger):
    rows = session.catalog.rows(table("deriva-ml", "Execution").where(eq("RID", ledger.execution_rid)))
    return rows[0] if rows else None


def test_the_row_is_made_by_the_first_move(session, ledger):
    assert row_of(session, ledger) is None
    ledger.move(Status.initializing, "begins")
    row = row_of(session, ledger)
    assert (row["Status"], row["Status_Detail"], row["Description"]) == ("Initializing", "begins", "d")
    assert row["Upload_State"] == "none"


def test_a_run_that_fails_at_once_has_a_row_too(session, ledger):
    ledger.move(Status.failed, "at once")
    assert row_of(session, ledger)["Status"] == "Failed"


def test_an_illegal_move_changes_nothing(session, ledger):
    ledger.move(Status.initializing)
    with pytest.raises(DerivaMLInvalidTransition):
        ledger.move(Status.completed)
    assert (ledger.status, row_of(session, ledger)["Status"]) == (Status.initializing, "Initializing")
    with pytest.raises(DerivaMLInvalidTransition):
        ledger.move_upload(Upload.uploaded)


def test_the_journal_goes_ahead_and_the_catalog_follows(session, ledger, down):
    ledger.move(Status.initializing)
    down.append(True)
    ledger.move(Status.pending)
    ledger.move(Status.running, "away", Start_Time="2026-01-01T00:00:00+00:00")
    assert row_of(session, ledger)["Status"] == "Initializing"
    assert ledger.journal.run(ledger.execution_rid).status == "Running"
    down.clear()
    ledger.move(Status.completed, "back")
    row = row_of(session, ledger)
    assert (row["Status"], row["Status_Detail"]) == ("Completed", "back")
    assert row["Start_Time"].startswith("2026-01-01")
    assert ledger.journal.run(ledger.execution_rid).synced


def test_an_end_that_could_not_be_told_is_remembered(ledger, down):
    ledger.move(Status.initializing)
    down.append(True)
    ledger.move(Status.failed, "far away")
    run = ledger.journal.run(ledger.execution_rid)
    assert (run.status, run.synced) == ("Failed", False)


def test_the_upload_is_told_when_it_is_done(session, ledger):
    ledger.move(Status.initializing)
    ledger.begin_upload()
    assert row_of(session, ledger)["Upload_State"] == "none"
    ledger.fail_upload("no room for secret-value")
    assert row_of(session, ledger)["Upload_State"] == "failed"
    assert ledger.journal.run(ledger.execution_rid).error == "no room for ***"
    ledger.settle_upload()
    assert row_of(session, ledger)["Upload_State"] == "uploaded"


def test_details_are_freed_of_secrets_and_cut(session, ledger):
    ledger.move(Status.initializing, "secret-value " + "x" * 10_000)
    detail = row_of(session, ledger)["Status_Detail"]
    assert detail.startswith("*** x")
    assert len(detail) == 4000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0H 0.0min 0.0sec"), (63.14159, "0.0H 1.0min 3.1416sec"), (7260.0, "2.0H 1.0min 0.0sec")],
)
def test_durations_in_words(seconds, text):
    assert duration_text(float(seconds)) == text
