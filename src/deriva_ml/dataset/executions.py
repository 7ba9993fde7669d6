"""Which executions consumed a dataset, in which version, and which ones made it; as plain values."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLValidationError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.reference import DatasetRef
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import eq, table

__all__ = [
    "DatasetRole",
    "ExecutionFinder",
    "ExecutionUse",
    "dataset_executions",
    "list_execution_uses",
    "list_executions",
]

DatasetRole = Literal["any", "input", "output"]
_ROLES = ("any", "input", "output")


@runtime_checkable
class ExecutionFinder(Protocol):
    """What a dataset needs to give its executions as records; a ``DerivaML`` is one."""

    def list_dataset_executions(self, dataset_rid: str, dataset_role: DatasetRole = "any") -> list[Any]:
        """The executions that consumed or made a dataset."""


@dataclass(frozen=True, slots=True)
class ExecutionUse:
    """An execution that has to do with a dataset.

    Attributes:
        execution_rid: The execution.
        dataset_role: ``input``: it consumed the dataset; ``output``: it made it, or a version of it.
        version: The version that it consumed, or the last that it made; None where the catalog does not tell.
    """

    execution_rid: str
    dataset_role: str
    version: str | None


def dataset_executions(session: Session, rid: str, dataset_role: DatasetRole = "any") -> list[ExecutionUse]:
    """The executions that consumed or made a dataset, those that came first first; in two requests.

    An execution made it if a version of the dataset names it. A link that names a version consumed that version. A link
    of an execution that made no version, and that names none (other software, or a catalog without the column), counts
    as consumption.

    Args:
        session: The catalog.
        rid: The dataset.
        dataset_role: Only those that consumed it (``input``), only those that made it (``output``), or ``any``.

    Raises:
        DerivaMLValidationError: There is no such role.
    """
    if dataset_role not in _ROLES:
        raise DerivaMLValidationError(f"A dataset has no role {dataset_role!r} in an execution.", allowed=_ROLES)
    catalog, schema = session.catalog, session.ml_schema
    versions = catalog.rows(table(schema, MLTable.dataset_version.value).where(eq("Dataset", rid)).sorted("RCT"))
    numbers = {row["RID"]: str(row["Version"]) for row in versions}
    made = {str(row["Execution"]): str(row["Version"]) for row in versions if row["Execution"]}
    links = catalog.rows(table(schema, MLTable.dataset_execution.value).where(eq("Dataset", rid)).sorted("RCT"))
    found = []
    for link in links:
        execution, version = str(link["Execution"]), numbers.get(link.get("Dataset_Version"))
        if version is not None or execution not in made:
            found.append(ExecutionUse(execution, "input", version))
    found += [ExecutionUse(execution, "output", version) for execution, version in made.items()]
    return [use for use in found if dataset_role in ("any", use.dataset_role)]


def list_executions(dataset: DatasetRef, dataset_role: DatasetRole = "any") -> list[Any]:
    """The executions that consumed or made the dataset, as records, those that came first first.

    Args:
        dataset: The dataset.
        dataset_role: Only those that consumed it (``input``) or only those that made it (``output``).

    Raises:
        DerivaMLConfigurationError: The dataset was not got from a ``DerivaML``.
    """
    if not isinstance(dataset.owner, ExecutionFinder):
        raise DerivaMLConfigurationError(
            "Only a dataset that was got from a DerivaML can list its executions.", hint="ml.lookup_dataset(rid)"
        )
    return dataset.owner.list_dataset_executions(dataset.dataset_rid, dataset_role)


def list_execution_uses(dataset: DatasetRef, dataset_role: DatasetRole = "any") -> list[ExecutionUse]:
    """The executions with the part that the dataset has in each, and the version that was consumed or made.

    Args:
        dataset: The dataset.
        dataset_role: Only those that consumed it (``input``) or only those that made it (``output``).
    """
    return dataset_executions(dataset.session, dataset.dataset_rid, dataset_role)
