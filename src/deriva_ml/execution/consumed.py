"""The datasets and files of a run, as the objects that users work with: methods of ``Execution`` and of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from deriva_ml.core.exceptions import DerivaMLReadOnlyError
from deriva_ml.execution import uses
from deriva_ml.schema.session import HasSession, Session, session_of

if TYPE_CHECKING:
    from deriva_ml.asset.asset import Asset
    from deriva_ml.dataset.dataset import Dataset

__all__ = ["RunRef", "list_assets", "list_input_datasets", "require_catalog"]


class RunRef(Protocol):
    """What these functions need of a run; an ``Execution`` is one, and so is an ``ExecutionRecord``."""

    @property
    def execution_rid(self) -> str:
        """The run."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing of it is in the catalog."""

    @property
    def catalog(self) -> HasSession | Session:
        """The catalog that the run was made with."""


def list_input_datasets(run: RunRef) -> list[Dataset]:
    """The datasets that the catalog says the run consumed."""
    from deriva_ml.dataset.dataset import Dataset

    require_catalog(run, "list the inputs")
    found = uses.list_input_datasets(session_of(run.catalog), run.execution_rid)
    return [Dataset(run.catalog, use.rid, use.description, run.execution_rid) for use in found]


def list_assets(run: RunRef, asset_role: str | None = None) -> list[Asset]:
    """The files that the catalog says the run consumed and made.

    Args:
        run: The run.
        asset_role: Only ``Input`` or only ``Output``.
    """
    from deriva_ml.asset.asset import Asset

    require_catalog(run, "list the assets")
    return [
        Asset(
            run.catalog,
            use.rid,
            use.table,
            use.file_name,
            use.url,
            use.length,
            use.md5,
            use.description,
            use.types,
        )
        for use in uses.list_assets(session_of(run.catalog), run.execution_rid, asset_role)
    ]


def require_catalog(run: RunRef, what: str) -> None:
    """Refuse what a dry run cannot answer.

    Raises:
        DerivaMLReadOnlyError: This is a dry run.
    """
    if run.dry_run:
        raise DerivaMLReadOnlyError(
            f"Cannot {what} in a dry run: nothing of it is in the catalog.", hint="run it without dry_run"
        )
