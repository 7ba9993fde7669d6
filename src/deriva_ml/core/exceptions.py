"""Every error that deriva-ml raises, as one tree.

The branches follow what the caller can do about it:

    DerivaMLException                      anything of ours
    ├── DerivaMLConfigurationError         mend the configuration or the command line
    │   ├── DerivaMLSchemaError            the catalog's schema is not what is needed
    │   ├── DerivaMLAuthenticationError    log in, or ask for rights
    │   └── DerivaMLProblems               several errors at once
    ├── DerivaMLDataError                  the request names something wrong
    │   ├── DerivaMLNotFoundError
    │   │   ├── DerivaMLRidsNotFound
    │   │   ├── DerivaMLDatasetNotFound
    │   │   ├── DerivaMLVersionNotFound
    │   │   ├── DerivaMLTableNotFound
    │   │   └── DerivaMLInvalidTerm
    │   ├── DerivaMLTableTypeError
    │   ├── DerivaMLValidationError
    │   │   └── DerivaMLSelectionError     a ValueError too
    │   ├── DerivaMLDenormalizeError       tables cannot be joined like that
    │   │   ├── DerivaMLDenormalizeAmbiguousPath
    │   │   ├── DerivaMLDenormalizeUnrelatedAnchor
    │   │   └── DerivaMLDenormalizeDownstreamLeaf
    │   ├── NoAssociationException         no table relates two others
    │   ├── AmbiguousAssociationException  several do
    │   ├── DerivaMLMaterializeLimitExceeded
    │   ├── DerivaMLOrphansFound
    │   └── DerivaMLCycleError
    ├── DerivaMLExecutionError             a run went wrong
    │   ├── DerivaMLWorkflowError
    │   │   └── DerivaMLDirtyWorkflowError
    │   ├── DerivaMLInvalidTransition
    │   ├── DerivaMLStateInconsistency     this machine and the catalog say different things of a run
    │   ├── DerivaMLModelError             the user's model raised
    │   └── DerivaMLUploadError            the upload is incomplete and can be resumed
    ├── DerivaMLReadOnlyError
    ├── DerivaMLMissingExtra               install an optional extra
    ├── DerivaMLCatalogError               the catalog answered with an error
    └── DerivaMLUnreachable                the catalog cannot be reached

Rules:

1. An error carries its facts as attributes; the message is built from them and is never parsed.
2. ``exit_code`` and ``http_status`` are class attributes, so that the command line and the service only read them.
3. Every error survives pickling with its attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from deriva_ml.core.error import DerivaMLException

__all__ = [
    "AmbiguousAssociationException",
    "DerivaMLAuthenticationError",
    "DerivaMLCatalogError",
    "DerivaMLConfigurationError",
    "DerivaMLCycleError",
    "DerivaMLDataError",
    "DerivaMLDatasetNotFound",
    "DerivaMLDenormalizeAmbiguousPath",
    "DerivaMLDenormalizeDownstreamLeaf",
    "DerivaMLDenormalizeError",
    "DerivaMLDenormalizeUnrelatedAnchor",
    "DerivaMLDirtyWorkflowError",
    "DerivaMLException",
    "DerivaMLExecutionError",
    "DerivaMLInvalidTerm",
    "DerivaMLInvalidTransition",
    "DerivaMLMaterializeLimitExceeded",
    "DerivaMLMissingExtra",
    "DerivaMLModelError",
    "DerivaMLNotFoundError",
    "DerivaMLOrphansFound",
    "DerivaMLProblems",
    "DerivaMLReadOnlyError",
    "DerivaMLRidsNotFound",
    "DerivaMLSchemaError",
    "DerivaMLSelectionError",
    "DerivaMLStateInconsistency",
    "DerivaMLTableNotFound",
    "DerivaMLTableTypeError",
    "DerivaMLUnreachable",
    "DerivaMLUploadError",
    "DerivaMLValidationError",
    "DerivaMLVersionNotFound",
    "DerivaMLWorkflowError",
    "NoAssociationException",
]


class DerivaMLConfigurationError(DerivaMLException):
    """The configuration or the command line is wrong."""

    exit_code = 2
    http_status = 400


class DerivaMLSchemaError(DerivaMLConfigurationError):
    """The catalog's schema is not what is needed."""


class DerivaMLAuthenticationError(DerivaMLConfigurationError):
    """The catalog does not know the caller, or grants too little."""

    http_status = 401


class DerivaMLProblems(DerivaMLConfigurationError):
    """Several things are wrong with a request; ``errors`` are the errors, each with its own fields."""

    def __init__(self, errors: Sequence[DerivaMLException]) -> None:
        super().__init__(f"{len(errors)} things are wrong with the request:")
        self.errors: tuple[DerivaMLException, ...] = tuple(errors)
        if any(error.exit_code == DerivaMLUnreachable.exit_code for error in errors):
            self.exit_code = DerivaMLUnreachable.exit_code

    @classmethod
    def of(cls, errors: Sequence[DerivaMLException]) -> DerivaMLException:
        """One error for all of these: the only one itself, or one that holds them."""
        return errors[0] if len(errors) == 1 else cls(errors)

    def __str__(self) -> str:
        parts = [f"{number}. {error}" for number, error in enumerate(self.errors, 1)]
        return "\n".join([self._msg, *(line for part in parts for line in part.splitlines())])


class DerivaMLDataError(DerivaMLException):
    """A request names data that is wrong or absent."""

    exit_code = 2
    http_status = 400


class DerivaMLNotFoundError(DerivaMLDataError):
    """Something that was named does not exist."""

    http_status = 404


class DerivaMLRidsNotFound(DerivaMLNotFoundError):
    """Some RIDs do not exist in the catalog; ``missing`` holds only those."""

    def __init__(self, missing: Sequence[str], *, source: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"RID not found in the catalog: {', '.join(missing)}", source=source, hint=hint)
        self.missing: tuple[str, ...] = tuple(missing)


class DerivaMLDatasetNotFound(DerivaMLNotFoundError):
    """No dataset has this RID."""

    def __init__(self, dataset_rid: str, msg: str = "Dataset not found", *, hint: str | None = None) -> None:
        super().__init__(f"{msg}: {dataset_rid}", hint=hint)
        self.dataset_rid = dataset_rid


class DerivaMLVersionNotFound(DerivaMLNotFoundError):
    """The dataset exists and has no such version."""

    def __init__(self, dataset_rid: str, version: str, known: Sequence[str], *, source: str | None = None) -> None:
        super().__init__(
            f"Dataset {dataset_rid} has no version {version}",
            source=source,
            allowed=known,
            hint="name one of the versions above in the dataset's configuration",
        )
        self.dataset_rid = dataset_rid
        self.version = version
        self.known: tuple[str, ...] = tuple(known)


class DerivaMLTableNotFound(DerivaMLNotFoundError):
    """No table has this name."""

    def __init__(self, table_name: str, msg: str = "Table not found", *, allowed: Iterable[str] = ()) -> None:
        super().__init__(f"{msg}: {table_name}", allowed=allowed)
        self.table_name = table_name


class DerivaMLInvalidTerm(DerivaMLNotFoundError):
    """A vocabulary has no such term, or has it already where it must be new."""

    def __init__(
        self, vocabulary: str, term: str, msg: str = "Term doesn't exist", *, allowed: Iterable[str] = ()
    ) -> None:
        super().__init__(f"Invalid term {term} in vocabulary {vocabulary}: {msg}.", allowed=allowed)
        self.vocabulary = vocabulary
        self.term = term


class DerivaMLTableTypeError(DerivaMLDataError):
    """A table is not of the kind that is needed."""

    def __init__(self, table_type: str, table: str, *, source: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"Table {table} is not of type {table_type}.", source=source, hint=hint)
        self.table_type = table_type
        self.table = table


class DerivaMLValidationError(DerivaMLDataError):
    """Values do not satisfy the rules for them."""


class DerivaMLSelectionError(DerivaMLValidationError, ValueError):
    """A dataset cannot be divided as it was asked for; a ``ValueError`` too, as documented."""


class DerivaMLDenormalizeError(DerivaMLDataError):
    """Tables cannot be joined into one as it was asked for."""


class DerivaMLDenormalizeAmbiguousPath(DerivaMLDenormalizeError):
    """Several ways lead from one table to another.

    Attributes:
        start: Where the ways begin.
        target: Where they end.
        paths: The ways, each with the names of its tables.
        columns: Where tables refer to each other more than once, the columns that do.
    """

    def __init__(
        self, start: str, target: str, paths: Sequence[tuple[str, ...]], *, columns: Sequence[str] = ()
    ) -> None:
        between = sorted({name for path in paths for name in path[1:-1]})
        if columns or not paths:
            msg = f"Ambiguous linkage between {start} and {target}: found {len(columns)} FK relationships: "
            super().__init__(f"{msg}{', '.join(columns)}.")
        else:
            named = "; ".join(" -> ".join(path) for path in paths)
            super().__init__(
                f"Ambiguous path between {start} and {target}: found {len(paths)} FK paths: {named}.",
                hint="Include an intermediate table to disambiguate"
                + (f" (e.g., add {between[0]} to include_tables, or to via)." if between else "."),
            )
        self.start = start
        self.target = target
        self.paths: tuple[tuple[str, ...], ...] = tuple(paths)
        self.columns: tuple[str, ...] = tuple(columns)


class DerivaMLDenormalizeUnrelatedAnchor(DerivaMLDenormalizeError):
    """No way leads from one table, ``start``, to another, ``target``."""

    def __init__(self, start: str, target: str) -> None:
        super().__init__(
            f"No FK relationship found between {start} and {target}.",
            hint="no chain of references leads there that does not pass Execution, a vocabulary or another dataset",
        )
        self.start = start
        self.target = target


class DerivaMLDenormalizeDownstreamLeaf(DerivaMLDenormalizeError):
    """A table, ``table``, may have several rows for one row of the table that a row is to stand for, ``row_per``."""

    def __init__(self, table: str, row_per: str) -> None:
        super().__init__(
            f"{table} may have several rows for one of {row_per}, so that a row cannot stand for one of {row_per}.",
            hint=f"pass row_per='{table}', or leave {table} out (via=['{table}'] goes by it without its columns)",
        )
        self.table = table
        self.row_per = row_per


class _AssociationError(DerivaMLDataError):
    """Two tables, ``table1`` and ``table2``, are not related by exactly one association."""

    def __init__(self, table1: str, table2: str, found: Sequence[str] = ()) -> None:
        how = f"{len(found)} tables relate" if found else "No table relates"
        super().__init__(f"{how} {table1} and {table2}.", allowed=found)
        self.table1 = table1
        self.table2 = table2
        self.found: tuple[str, ...] = tuple(found)


class NoAssociationException(_AssociationError):
    """No association relates two tables."""


class AmbiguousAssociationException(_AssociationError):
    """Several associations, ``found``, relate two tables."""


class DerivaMLMaterializeLimitExceeded(DerivaMLDataError):
    """There is more than the caller was ready to take; ``limit`` is that number, ``what`` says of what."""

    def __init__(self, what: str, limit: int, *, hint: str | None = None) -> None:
        super().__init__(f"There are more than {limit} {what}.", hint=hint)
        self.what = what
        self.limit = limit


class DerivaMLOrphansFound(DerivaMLDataError):
    """Rows refer to rows that do not come along to a copy; ``orphans`` says which, for each foreign key."""

    def __init__(self, orphans: Sequence[str], *, source: str | None = None, hint: str | None = None) -> None:
        super().__init__("; ".join(orphans), source=source, hint=hint)
        self.orphans: tuple[str, ...] = tuple(orphans)


class DerivaMLCycleError(DerivaMLDataError):
    """Links would form a cycle; ``cycle_nodes`` names the members in order."""

    def __init__(self, cycle_nodes: Sequence[str], msg: str = "Cycle detected") -> None:
        super().__init__(f"{msg}: {', '.join(cycle_nodes)}")
        self.cycle_nodes: tuple[str, ...] = tuple(cycle_nodes)


class DerivaMLExecutionError(DerivaMLException):
    """A run went wrong."""


class DerivaMLWorkflowError(DerivaMLExecutionError):
    """The code of a run cannot be identified."""

    exit_code = 2


class DerivaMLDirtyWorkflowError(DerivaMLWorkflowError):
    """The code differs from the last commit; ``paths`` names what differs."""

    def __init__(self, path: str | Path, paths: Sequence[str] = ()) -> None:
        super().__init__(
            f"File {path} has uncommitted changes. Commit before running, or use --allow-dirty to override.",
            source=", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "") or None,
            hint="git commit the changes, or add --allow-dirty: the run is then recorded as made from changed code; "
            "what is no code can be exempted in pyproject.toml ([tool.deriva-ml] dirty-ignore)",
        )
        self.path = str(path)
        self.paths: tuple[str, ...] = tuple(paths)


class DerivaMLInvalidTransition(DerivaMLExecutionError):
    """An execution cannot move from one status to another."""

    def __init__(self, start: str, finish: str, allowed: Iterable[str] = ()) -> None:
        super().__init__(f"An execution that is {start} cannot become {finish}.", allowed=allowed)
        self.start = start
        self.finish = finish


class DerivaMLStateInconsistency(DerivaMLExecutionError):
    """The journal of this machine and the catalog say things of a run that cannot both be true.

    Attributes:
        execution_rid: The run.
        here: What the journal says.
        there: What the catalog says; None if it has no row of the run.
    """

    def __init__(self, execution_rid: str, here: str, there: str | None, *, hint: str | None = None) -> None:
        said = "has no row of it" if there is None else f"says {there}"
        super().__init__(
            f"Of execution {execution_rid} the journal of this machine says {here}, and the catalog {said}.", hint=hint
        )
        self.execution_rid = execution_rid
        self.here = here
        self.there = there


class DerivaMLModelError(DerivaMLExecutionError):
    """The user's model raised, or its process came to an end; an error of this process is the ``__cause__``.

    Args:
        msg: What happened.
        source: The line of the model.
        hint: What to do about it.
        detail: What the record of the run says of it; by default the text.
    """

    def __init__(
        self, msg: str = "", *, source: str | None = None, hint: str | None = None, detail: str | None = None
    ) -> None:
        super().__init__(msg, source=source, hint=hint)
        self.detail = detail


class DerivaMLUploadError(DerivaMLExecutionError):
    """Some outputs did not reach the catalog; the upload can be resumed."""

    exit_code = 4


class DerivaMLReadOnlyError(DerivaMLException):
    """A write to something that cannot be written: a snapshot, a bag, a dry run."""

    exit_code = 2
    http_status = 403


class DerivaMLMissingExtra(DerivaMLConfigurationError):
    """A feature needs a package of an optional extra."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"This needs the package {package}.", hint=f"pip install 'deriva-ml[{extra}]'")
        self.package = package
        self.extra = extra


class DerivaMLCatalogError(DerivaMLException):
    """The catalog refused a request; ``status`` is its HTTP status, ``detail`` its text."""

    def __init__(self, status: int, detail: str, *, method: str = "", target: str = "") -> None:
        super().__init__(
            f"The catalog answered {status}: {detail.strip()}", source=f"{method} {target}".strip() or None
        )
        self.status = status
        self.detail = detail
        self.method = method
        self.target = target


class DerivaMLUnreachable(DerivaMLException):
    """The catalog could not be reached.

    Attributes:
        was_repeated: The request was tried again, as often as the connection does, and in vain; else it was sent once,
            since whoever sent it did not know whether it may be repeated.
    """

    was_repeated = False
    exit_code = 5
    http_status = 503
