"""A sweep that did not complete, as it was recorded: what ``deriva-ml-run --resume PARENT`` has still to do.

Jobs that completed stay. Jobs that did not are resumed, each like a run of its own; those that were never begun are
begun. All of them are parts of the same parent, which is taken up again and ends by what they came to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDataError
from deriva_ml.core.values import dataclass
from deriva_ml.execution.anew import Earlier, earlier_of
from deriva_ml.execution.described import Recorded, read_recorded, require_catalog
from deriva_ml.execution.execution_record import relatives_below
from deriva_ml.execution.report import describe
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.workflows import same_workflow

if TYPE_CHECKING:
    from deriva_ml.execution.report import RunReport
    from deriva_ml.execution.workflow import Workflow

__all__ = ["SWEEP", "EarlierSweep", "read_sweep"]

SWEEP = "sweep.json"
"""The file of a parent that says what its sweep is."""


@dataclass(frozen=True)
class EarlierSweep:
    """A sweep that did not complete.

    Attributes:
        execution_rid: The parent.
        status: How it ended.
        workflow_rid: The code of its jobs.
        identity: The catalog service.
        catalog_id: The catalog.
        config_name: The main configuration.
        overrides: What defines the sweep.
        count: How many jobs it has.
        kept: What the jobs came to that completed, by their numbers.
        jobs: The jobs that were begun and did not complete, by their numbers.
    """

    execution_rid: str
    status: Status
    workflow_rid: str | None
    identity: str
    catalog_id: str
    config_name: str
    overrides: tuple[str, ...]
    count: int
    kept: Mapping[int, RunReport] = field(default_factory=dict)
    jobs: Mapping[int, Earlier] = field(default_factory=dict)

    def require_same(self, owner: HasSession | Session, workflow: Workflow, count: int) -> None:
        """Refuse a sweep that is another by now.

        Args:
            owner: The catalog.
            workflow: The code as it is now.
            count: How many jobs there are now.

        Raises:
            DerivaMLConfigurationError: It is in another catalog, has other jobs, or its code is other code.
        """
        require_catalog(owner, f"Sweep {self.execution_rid}", self.identity, self.catalog_id)
        hint = "take the project to the commit of that sweep, resume its jobs one by one, or run it as a new one"
        if count != self.count:
            raise DerivaMLConfigurationError(
                f"Sweep {self.execution_rid} had {self.count} jobs, and its overrides come to {count} by now.",
                hint=hint,
            )
        code = {"url": workflow.url, "checksum": workflow.checksum, "version": workflow.version}
        if same_workflow(session_of(owner), name=workflow.name, **code) != self.workflow_rid:
            raise DerivaMLConfigurationError(
                f"The code of sweep {self.execution_rid} was other code: its jobs would be of two under one parent.",
                hint=hint,
            )

    def words(self) -> str:
        """What will be done, in words."""
        fresh = self.count - len(self.kept) - len(self.jobs)
        return (
            f"of its {self.count} jobs {len(self.kept)} completed and stay, {len(self.jobs)} are resumed, "
            f"and {fresh} are begun"
        )


def read_sweep(owner: HasSession | Session, recorded: Recorded) -> EarlierSweep:
    """Read what a sweep was to do, and what became of its jobs.

    Args:
        owner: The catalog.
        recorded: The parent.

    Raises:
        DerivaMLConfigurationError: It completed, or is not of this machine; a job has not ended; or a secret was left
            out of what was recorded.
    """
    session, record = session_of(owner), recorded.record
    rid = record.execution_rid
    if record.status is Status.completed:
        raise DerivaMLConfigurationError(
            f"Sweep {rid} is Completed: all of its jobs are.", hint="name a job to do it anew, or run the sweep again"
        )
    if not recorded.is_here:
        raise DerivaMLConfigurationError(
            f"This machine has nothing of sweep {rid}.",
            source=str(session.records_dir),
            hint="resume it on the machine, and with the working directory, of the sweep; or name single jobs",
        )
    told = json.loads(recorded.read(SWEEP))
    # folders with YAML are named again, as for a single run
    overrides = tuple(str(one) for one in told["overrides"] if not str(one).startswith("hydra.searchpath"))
    recorded.refuse_masked(overrides)
    kept: dict[int, RunReport] = {}
    jobs: dict[int, Earlier] = {}
    for part in relatives_below(session, rid):
        number, job = part.sequence, part.record
        if number is None or number in kept:
            continue
        if job.status is Status.completed:
            kept[number] = describe(owner, job.execution_rid)
            jobs.pop(number, None)
            continue
        found = read_recorded(owner, job.execution_rid)
        try:
            jobs[number] = earlier_of(found)  # of several with one number, the last that was made
        except DerivaMLDataError:
            continue  # it was killed before it was written down what it was to do: it was never begun
    return EarlierSweep(
        rid,
        record.status,
        record.workflow_rid,
        session.identity,
        session.catalog_id,
        str(told["config_name"]),
        overrides,
        int(told["jobs"]),
        kept,
        jobs,
    )
