"""What a run is told beside its configuration, and what it came to: values that go between command, sweep and run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.values import dataclass
from deriva_ml.execution.request import DryRun

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import UploadCallback
    from deriva_ml.execution.anew import Earlier
    from deriva_ml.execution.dry_run import PlaceAhead
    from deriva_ml.execution.inputs import DownloadNotice
    from deriva_ml.execution.preflight import Checked
    from deriva_ml.execution.report import RunReport
    from deriva_ml.execution.sweep_again import EarlierSweep
    from deriva_ml.execution.throwaway import CopyPlace

__all__ = ["Child", "Outcome", "RunOptions"]


@dataclass(frozen=True)
class RunOptions:
    """What the command says about a run, beside its configuration.

    Attributes:
        allow_dirty: Code with uncommitted changes may run; None for what the environment says.
        fail_fast: A sweep stops at its first failing job.
        offline: Check what can be known without the catalog, and run nothing.
        sizes: A dry run works out how large bags will be that are neither here nor were ever exported.
        on_outcome: Is told the outcome of each job of a sweep as it ends.
        on_download: Is told how far inputs are.
        on_upload: Is told how far outputs are.
        earlier: The run that is resumed, as it was recorded.
        sweep: The sweep that is resumed, likewise.
    """

    allow_dirty: bool | None = None
    fail_fast: bool = False
    offline: bool = False
    sizes: bool = False
    on_outcome: Callable[[Outcome], None] | None = None
    on_download: DownloadNotice | None = None
    on_upload: UploadCallback | None = None
    earlier: Earlier | None = None
    sweep: EarlierSweep | None = None

    def check(self, dry: DryRun) -> None:
        """Refuse what would have no effect.

        Args:
            dry: How dry the run is.

        Raises:
            DerivaMLConfigurationError: Sizes are to be worked out where nothing is looked at.
        """
        if self.sizes and (self.offline or dry is DryRun.off):
            raise DerivaMLConfigurationError(
                "--sizes works out how large inputs are, which a dry run tells.",
                source="--sizes" + (" and --offline, which asks no catalog" if self.offline else ""),
                hint="add dry_run=true, without --offline; or leave out --sizes",
            )


@dataclass(frozen=True)
class Child:
    """A job's place in a sweep.

    Attributes:
        parent_rid: The execution of the sweep.
        stop: A file whose presence means that no further job shall start.
        copy: The copy of the catalog in which a dry run of the whole way is recorded.
        sweep: What the sweep came to before, if it is resumed.
    """

    parent_rid: str | None
    stop: Path
    copy: CopyPlace | None = None
    sweep: EarlierSweep | None = None


@dataclass(frozen=True)
class Outcome:
    """What a job came to.

    Attributes:
        description: What the job was for.
        number: The job's number in its sweep.
        overrides: The job's overrides.
        hostname: The catalog's host as the configuration names it.
        catalog_id: The catalog.
        execution_rid: The run, if it was opened.
        report: What was recorded; None also where the catalog could not be asked any more.
        checked: What is known of the job before it starts; all that there is of a dry run.
        dry: How dry the run was.
        ahead: What a dry run found of the catalog and of what the run needs there; of a sweep, that is told once.
        error: Why the job failed, or was refused.
        made_catalog: The default catalog was made for this run, here.
        skipped: The job was not started, because another had failed.
        why_new: Of a run that was resumed, why it is a new one; empty if it is the same.
    """

    description: str = ""
    number: int | None = None
    overrides: tuple[str, ...] = ()
    hostname: str = ""
    catalog_id: str = ""
    execution_rid: str | None = None
    report: RunReport | None = None
    checked: Checked | None = None
    dry: DryRun = DryRun.off
    ahead: PlaceAhead | None = None
    error: BaseException | None = None
    made_catalog: str | None = None
    skipped: bool = False
    why_new: str = ""

    @property
    def failed(self) -> bool:
        """Whether the job did not do what it was asked."""
        return self.error is not None or self.skipped
