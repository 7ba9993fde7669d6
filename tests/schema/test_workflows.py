from __future__ import annotations

import pytest

from deriva_ml.core.exceptions import DerivaMLInvalidTerm, DerivaMLNotFoundError, DerivaMLRidsNotFound
from deriva_ml.schema.rids import resolve_rid, resolve_rids, retrieve_rid
from deriva_ml.schema.session import Session
from deriva_ml.schema.workflows import add_workflow, find_workflows, lookup_workflow, lookup_workflow_by_url


def make(session: Session, **changes: object) -> str:
    fields = {
        "name": "Fit",
        "workflow_type": ["Training"],
        "url": "https://example.org/blob/abc/fit.py",
        "checksum": "c1",
        "version": "1.0",
    }
    return add_workflow(session, **(fields | changes))  # type: ignore[arg-type]


def test_the_same_code_is_one_workflow(session: Session) -> None:
    assert make(session) == make(session)
    assert len(find_workflows(session)) == 1


def test_another_commit_of_the_same_file_is_another_workflow(session: Session) -> None:
    assert make(session) != make(session, url="https://example.org/blob/def/fit.py")


def test_a_workflow_is_found_by_rid_url_and_checksum(session: Session) -> None:
    rid = make(session, workflow_type=["Training", "Testing"])
    found = lookup_workflow(session, rid)
    assert found.workflow_type == ("Testing", "Training")
    assert lookup_workflow_by_url(session, "c1") == lookup_workflow_by_url(session, str(found.url)) == found
    with pytest.raises(DerivaMLNotFoundError, match="'none'"):
        lookup_workflow_by_url(session, "none")
    with pytest.raises(DerivaMLNotFoundError, match="'1-ABCD'"):
        lookup_workflow(session, "1-ABCD")


def test_an_unknown_kind_writes_nothing(session: Session) -> None:
    with pytest.raises(DerivaMLInvalidTerm, match=r"(?s)Trainning.*Training"):
        make(session, workflow_type=["Trainning"])
    assert find_workflows(session) == []


def test_rids_are_resolved_together_and_the_unknown_ones_are_named_alone(session: Session) -> None:
    rid = make(session)
    found = resolve_rids(session, [rid])[rid]
    assert (found.schema_name, found.table_name) == ("deriva-ml", "Workflow")
    assert resolve_rid(session, rid).table.name == "Workflow"
    assert retrieve_rid(session, rid)["Name"] == "Fit"
    with pytest.raises(DerivaMLRidsNotFound) as caught:
        resolve_rids(session, [rid, "9-ZZZZ"])
    assert caught.value.missing == ("9-ZZZZ",)
    with pytest.raises(DerivaMLRidsNotFound):
        resolve_rids(session, [rid], [session.table("Dataset")])
