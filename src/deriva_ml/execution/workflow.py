"""``Workflow``: the code that a run executes, as a value; and its row in the catalog.

Making a ``Workflow`` looks at nothing: not at git, not at the environment, not at the call stack. Which code it is, is
found out by :meth:`Workflow.resolve`, for the file that really runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, field_validator, model_validator

from deriva_ml.core.config import Settings
from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLExecutionError, DerivaMLReadOnlyError, DerivaMLWorkflowError
from deriva_ml.core.fields import refuse_unknown
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution.config_text import join_text
from deriva_ml.execution.environment import Container, NotebookHandover
from deriva_ml.execution.source import Code, calling_file, file_of, identify
from deriva_ml.schema import workflows as rows
from deriva_ml.schema.ordering import Sort, arranged
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.path import any_of, eq, table

if TYPE_CHECKING:
    from deriva_ml.schema.workflows import WorkflowRow

__all__ = [
    "Workflow",
    "add_workflow",
    "create_workflow",
    "find_workflows",
    "lookup_workflow",
    "lookup_workflow_by_url",
]


class Workflow(BaseModel):
    """The code that a run executes.

    A workflow that was read from the catalog is bound to its row: assigning ``description`` or ``workflow_type``
    changes the row too.

    Attributes:
        name: Its name.
        workflow_type: Its kinds, terms of ``Workflow_Type``; one may be given as text.
        description: What it does.
        url: Where the code is; found out by ``resolve`` unless given.
        version: Version of the code; found out by ``resolve`` unless given.
        rid: Its row, if it is in the catalog.
        checksum: Checksum of the file; found out by ``resolve`` unless given.
        is_notebook: The code is a notebook.
        git_root: Root of the repository that holds the code.
        allow_dirty: The code may differ from its last commit.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    workflow_type: str | list[str]
    description: str | None = None
    url: str | None = None
    version: str | None = None
    rid: str | None = None
    checksum: str | None = None
    is_notebook: bool = False
    git_root: Path | None = None
    allow_dirty: bool = False

    _code: Code | None = PrivateAttr(default=None)
    _session: Session | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _known_fields_only(cls, values: Any) -> Any:
        if isinstance(values, dict):
            refuse_unknown(cls.__name__, values, cls.model_fields)
        return values

    @field_validator("workflow_type", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> list[str]:
        """One kind as a list of one; a list of a configuration as a plain list."""
        return [value] if isinstance(value, str) else [str(kind) for kind in value]

    @field_validator("description", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """A text that a configuration holds in pieces (``config_text``), as one."""
        return value if value is None or isinstance(value, str) else join_text(value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "workflow_type":
            value = self._as_list(value)
        if self.rid is not None and self._session is not None:
            if name == "description":
                self._write_description(value)
            elif name == "workflow_type":
                value = self._write_types(value)
        super().__setattr__(name, value)

    @property
    def code(self) -> Code | None:
        """What was found out about the code, once ``resolve`` has looked."""
        return self._code

    @property
    def workflow_types(self) -> list[str]:
        """The kinds, as a list."""
        return list(self.workflow_type)

    def resolve(
        self, code: Callable[..., object] | Path | str | None = None, *, allow_dirty: bool | None = None
    ) -> Workflow:
        """The same workflow with its ``url``, ``checksum`` and ``version``.

        In a container that says what is in it (``DERIVA_MCP_*``) that is taken. A notebook's runner hands its own over
        (``DERIVA_ML_WORKFLOW_*``). Otherwise git, or the installed distribution, is asked. What was given stays.

        Args:
            code: The model, or the file that it is in; by default the program that is running.
            allow_dirty: Accept code that differs from its last commit; by default as the workflow or
                ``DERIVA_ML_ALLOW_DIRTY`` says.

        Raises:
            DerivaMLDirtyWorkflowError: The code differs from its last commit.
            DerivaMLWorkflowError: It cannot be told which code it is.
        """
        if self.rid is not None or (self.url and self.checksum):
            return self
        container = Container.read()
        if container is not None:
            found = {"url": container.url, "checksum": container.checksum, "version": container.version or None}
            return self._completed(found)
        handover = NotebookHandover.read()
        if handover is not None and code is None:
            root = handover.path.parent if handover.path else None
            notebook = {"url": handover.url, "checksum": handover.checksum, "git_root": root}
            return self._completed({**notebook, "is_notebook": True})
        if self.url:
            return self
        if allow_dirty is None:
            allow_dirty = self.allow_dirty or Settings.read().allow_dirty
        path = calling_file() if code is None else Path(code) if isinstance(code, (str, Path)) else file_of(code)
        known = identify(path, allow_dirty=allow_dirty)
        if known.is_dirty:
            get_logger("execution").warning(
                "File %s has uncommitted changes. Proceeding with --allow-dirty override.", known.path
            )
        resolved = self._completed(
            {
                "url": known.url,
                "checksum": known.checksum,
                "version": known.version,
                "git_root": known.root,
                "is_notebook": known.is_notebook,
            }
        )
        resolved.allow_dirty = allow_dirty
        resolved._code = known  # noqa: SLF001 - the same class
        return resolved

    def _completed(self, found: dict[str, Any]) -> Workflow:
        """A copy in which fields that were not given are filled in."""
        return self.model_copy(update={name: value for name, value in found.items() if not getattr(self, name)})

    @staticmethod
    def get_url_and_checksum(executable_path: Path | str, allow_dirty: bool = False) -> tuple[str, str]:
        """Where the code in a file is, and its checksum.

        Raises:
            DerivaMLDirtyWorkflowError: The code differs from its last commit, and that is not allowed.
            DerivaMLWorkflowError: The file is in no git repository, and that is not allowed.
        """
        code = identify(executable_path, allow_dirty=allow_dirty)
        return code.url, code.checksum

    @staticmethod
    def get_dynamic_version(root: Path | str | None = None) -> str:
        """The version of the project in a folder, by setuptools-scm and the project's own settings for it.

        Runs do not ask it: it costs 0.15 s of CPU and a dozen git processes where ``git describe`` gives the same.

        Raises:
            DerivaMLWorkflowError: The folder is in no git repository.
        """
        import setuptools_scm

        folder = Path.cwd() if root is None else Path(root)
        try:
            return str(setuptools_scm.get_version(root=str(folder), search_parent_directories=True))
        except LookupError as error:
            raise DerivaMLWorkflowError(
                f"The version of {folder} cannot be told: it is in no git repository."
            ) from error

    def add_workflow_type(self, workflow_type: str) -> None:
        """Add a kind to a workflow of the catalog."""
        self.add_workflow_types([workflow_type])

    def add_workflow_types(self, workflow_types: Iterable[str]) -> None:
        """Add kinds to a workflow of the catalog.

        Raises:
            DerivaMLInvalidTerm: A kind is not in the vocabulary.
        """
        self._writable("add workflow types")
        self.workflow_type = [*self.workflow_type, *workflow_types]

    def remove_workflow_type(self, workflow_type: str) -> None:
        """Remove a kind from a workflow of the catalog; without effect if it is not of that kind."""
        self._writable("remove a workflow type")
        self.workflow_type = [kind for kind in self.workflow_type if kind != workflow_type]

    def _writable(self, what: str) -> Session:
        if self.rid is None or self._session is None:
            raise DerivaMLExecutionError(f"Cannot {what}: Workflow is not registered in the catalog (no RID)")
        if self._session.is_snapshot:
            raise DerivaMLReadOnlyError(
                f"Cannot {what} on a read-only catalog snapshot.", hint="connect to the catalog without a snapshot"
            )
        return self._session

    def _write_description(self, description: str | None) -> None:
        session = self._writable("set the description")
        session.catalog.update(
            session.ml_schema, str(MLTable.workflow), [{"RID": self.rid, "Description": description}]
        )

    def _write_types(self, kinds: list[str]) -> list[str]:
        """Make the rows say these kinds and no others, and give their preferred names."""
        session = self._writable("set the workflow types")
        wanted = list(dict.fromkeys(check_terms(session, f"{session.ml_schema}:{MLVocab.workflow_type}", kinds)))
        link = str(MLTable.workflow_type)
        surplus = [kind for kind in self.workflow_type if kind not in wanted]
        if surplus:
            ours = table(session.ml_schema, link).where(eq("Workflow", str(self.rid)), any_of("Workflow_Type", surplus))
            session.catalog.delete(ours)
        links = [{"Workflow": self.rid, "Workflow_Type": kind} for kind in wanted]
        session.catalog.insert(session.ml_schema, link, links, on_conflict_skip=True)
        return wanted


def _bound(row: WorkflowRow, session: Session) -> Workflow:
    workflow = Workflow(
        name=row.name,
        workflow_type=list(row.workflow_type),
        description=row.description,
        url=row.url,
        version=row.version,
        rid=row.rid,
        checksum=row.checksum,
        is_notebook=(row.url or "").endswith(".ipynb"),
    )
    workflow._session = session  # noqa: SLF001 - this module makes workflows
    return workflow


def create_workflow(session: Session, name: str, workflow_type: str | list[str], description: str = "") -> Workflow:
    """A new workflow, not yet in the catalog, whose kinds are known to be terms.

    Raises:
        DerivaMLInvalidTerm: A kind is not in the vocabulary.
    """
    workflow = Workflow(name=name, workflow_type=workflow_type, description=description)
    kinds = check_terms(session, f"{session.ml_schema}:{MLVocab.workflow_type}", workflow.workflow_types)
    workflow.workflow_type = list(kinds)
    return workflow


def add_workflow(session: Session, workflow: Workflow) -> str:
    """The RID of a workflow's row; the row is made if there is none for the same code.

    Raises:
        DerivaMLInvalidTerm: A kind is not in the vocabulary; nothing is written then.
    """
    if workflow.rid is not None:
        return workflow.rid
    return rows.add_workflow(
        session,
        name=workflow.name,
        workflow_type=workflow.workflow_types,
        description=workflow.description,
        url=workflow.url,
        checksum=workflow.checksum,
        version=workflow.version,
    )


def find_workflows(session: Session, *, sort: Sort[Workflow] = None) -> list[Workflow]:
    """All workflows of the catalog, in the order of their RIDs.

    Args:
        session: The catalog.
        sort: True for the newest first, or a function that gives what to sort by.
    """
    found = rows.find_workflows(session, newest_first=sort is True)
    return arranged((_bound(row, session) for row in found), sort)


def lookup_workflow(session: Session, rid: str) -> Workflow:
    """The workflow of a RID.

    Raises:
        DerivaMLNotFoundError: There is none.
    """
    return _bound(rows.lookup_workflow(session, rid), session)


def lookup_workflow_by_url(session: Session, url_or_checksum: str) -> Workflow:
    """The newest workflow of a URL or checksum.

    Raises:
        DerivaMLNotFoundError: There is none.
    """
    return _bound(rows.lookup_workflow_by_url(session, url_or_checksum), session)
