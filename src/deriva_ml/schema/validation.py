"""Whether a catalog's ML schema is what this library needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, field

from deriva_ml.core.enums import BaseStrEnum, ExecAssetType
from deriva_ml.core.values import dataclass
from deriva_ml.schema.create_schema import SEED_TERMS, ml_schema_documents
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.tables import is_vocabulary
from deriva_ml.schema.vocabulary import list_vocabulary_terms, vocabulary_columns
from deriva_ml.wire.model import Json, Schema, Table

__all__ = ["SchemaValidationReport", "SchemaValidator", "ValidationIssue", "ValidationSeverity", "validate_ml_schema"]

OPTIONAL_COLUMNS = frozenset(
    {
        ("Execution", "Start_Time"),
        ("Execution", "Stop_Time"),
        ("Execution", "Upload_State"),
        ("Execution", "Download_Duration"),
        ("Execution", "Upload_Duration"),
        ("Dataset_Execution", "Dataset_Version"),
        ("Dataset_Version", "Bag_Checksum"),
    }
)
"""Columns of our own: a catalog made by others works without them."""

_ALIKE = (
    frozenset({"text", "markdown", "longtext", "ermrest_uri", "ermrest_curie", "ermrest_rid", "ermrest_rcb"}),
    frozenset({"timestamp", "timestamptz", "ermrest_rct", "ermrest_rmt"}),
)


class ValidationSeverity(BaseStrEnum):
    """How much an issue matters."""

    error = "error"
    warning = "warning"
    info = "info"


@dataclass(frozen=True)
class ValidationIssue:
    """One thing that differs from what is expected."""

    severity: ValidationSeverity
    category: str
    message: str
    table: str | None = None
    column: str | None = None
    expected: str | None = None
    actual: str | None = None

    def __str__(self) -> str:
        where = ".".join(part for part in (self.table, self.column) if part)
        return f"{self.severity.upper()}: {f'[{where}] ' if where else ''}{self.message}"


@dataclass
class SchemaValidationReport:
    """What a validation found.

    Attributes:
        schema_name: The schema that was looked at.
        strict_mode: Whether additions counted as errors.
        issues: What differs, in the order in which it was found.
    """

    schema_name: str
    strict_mode: bool = False
    issues: list[ValidationIssue] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def _of(self, severity: ValidationSeverity) -> list[ValidationIssue]:
        return [issue for issue in self.issues if issue.severity == severity]

    @property
    def errors(self) -> list[ValidationIssue]:
        """The issues that must be mended."""
        return self._of(ValidationSeverity.error)

    @property
    def warnings(self) -> list[ValidationIssue]:
        """The issues that may cause trouble."""
        return self._of(ValidationSeverity.warning)

    @property
    def info(self) -> list[ValidationIssue]:
        """The issues that do no harm."""
        return self._of(ValidationSeverity.info)

    def add(self, severity: ValidationSeverity, category: str, message: str, **where: str) -> None:
        """Note an issue; ``where`` gives table, column, expected and actual."""
        self.issues.append(ValidationIssue(severity, category, message, **where))

    def to_text(self) -> str:
        """The report for people."""
        title = f"Schema Validation Report for '{self.schema_name}'"
        lines = [
            title,
            "=" * len(title),
            f"Mode: {'Strict' if self.strict_mode else 'Non-strict'}",
            f"Status: {'VALID' if self.is_valid else 'INVALID'}",
            "",
        ]
        if not self.issues:
            return "\n".join([*lines, "No issues found."])
        lines.append(f"{len(self.errors)} errors, {len(self.warnings)} warnings, {len(self.info)} info")
        for category in dict.fromkeys(issue.category for issue in self.issues):
            lines += ["", f"{category}:"]
            lines += [f"  {issue}" for issue in self.issues if issue.category == category]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Json]:
        """The report as plain values."""
        return {
            "schema_name": self.schema_name,
            "strict_mode": self.strict_mode,
            "is_valid": self.is_valid,
            "issues": [
                {key: value for key, value in asdict(issue).items() if value is not None} for issue in self.issues
            ],
        }

    def to_json(self, indent: int = 2) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)


class SchemaValidator:
    """Compares a catalog's ML schema with the documents that this library would create it from."""

    def __init__(self, ml: HasSession | Session) -> None:
        self.session = session_of(ml)

    def validate(self, strict: bool = False) -> SchemaValidationReport:
        """Look at every table, column, type and seed term.

        Args:
            strict: Tables and columns that are not expected are errors too.
        """
        name = self.session.ml_schema
        report = SchemaValidationReport(name, strict)
        schema = self.session.model().schemas.get(name)
        if schema is None:
            report.add(ValidationSeverity.error, "schema", f"Schema {name} does not exist.")
            return report
        expected = {str(doc["table_name"]): doc for doc in ml_schema_documents(name)[1:]}
        for table_name, document in expected.items():
            table = schema.tables.get(table_name)
            if table is None:
                category = _category(document)
                report.add(ValidationSeverity.error, category, f"Table {table_name} is missing.", table=table_name)
            else:
                self._columns(report, table, document)
        self._terms(report, schema)
        if strict:
            for extra in sorted(set(schema.tables) - set(expected)):
                report.add(ValidationSeverity.error, "extra_table", f"Table {extra} is not expected.", table=extra)
        return report

    def _columns(self, report: SchemaValidationReport, table: Table, document: dict[str, Json]) -> None:
        actual = {column.name: column for column in table.columns}
        if is_vocabulary(table):  # vocabularies of older catalogs have lower-case columns, and serve as well
            actual |= {name: actual.pop(given) for name, given in vocabulary_columns(table).items()}
        expected = dict(_expected_columns(document))
        for name, (kind, nullok) in expected.items():
            where = {"table": table.name, "column": name}
            column = actual.get(name)
            if column is None:
                optional = (table.name, name) in OPTIONAL_COLUMNS
                severity = ValidationSeverity.info if optional else ValidationSeverity.error
                report.add(severity, "column", f"Column {name} is missing.", **where)
                continue
            if not _compatible(kind, column.type.name):
                report.add(
                    ValidationSeverity.warning,
                    "column_type",
                    f"Type is {column.type.name}, not {kind}.",
                    expected=kind,
                    actual=column.type.name,
                    **where,
                )
            if column.nullok != nullok:
                report.add(ValidationSeverity.info, "column_nullok", f"nullok is {column.nullok}.", **where)
        if report.strict_mode:
            for extra in sorted(set(actual) - set(expected)):
                where = {"table": table.name, "column": extra}
                report.add(ValidationSeverity.error, "extra_column", f"Column {extra} is not expected.", **where)

    def _terms(self, report: SchemaValidationReport, schema: Schema) -> None:
        for vocabulary, terms in SEED_TERMS.items():
            table = schema.tables.get(str(vocabulary))
            if table is None or not is_vocabulary(table):
                continue
            known = {term.name for term in list_vocabulary_terms(self.session, table)}
            wanted = {"File"} if vocabulary == "Dataset_Type" else {str(name) for name in terms}
            wanted -= {ExecAssetType.partial.value}  # it is made when it is first needed
            for missing in sorted(wanted - known):
                message = f"Term {missing} is missing from {table.name}."
                report.add(ValidationSeverity.error, "vocabulary_term", message, table=table.name)


def _category(document: dict[str, Json]) -> str:
    columns = {name for name, _expected in _expected_columns(document)}
    if columns >= {"ID", "URI", "Name", "Synonyms"}:
        return "vocabulary_table"
    return "table" if columns & {"Description", "URL"} else "association_table"


def _expected_columns(document: dict[str, Json]) -> Iterator[tuple[str, tuple[str, bool]]]:
    columns = document["column_definitions"]
    assert isinstance(columns, list)
    for column in columns:
        assert isinstance(column, dict)
        kind = column["type"]
        assert isinstance(kind, dict)
        yield str(column["name"]), (str(kind["typename"]), bool(column["nullok"]))


def _compatible(expected: str, actual: str) -> bool:
    return expected == actual or any(expected in group and actual in group for group in _ALIKE)


def validate_ml_schema(ml: HasSession | Session, strict: bool = False) -> SchemaValidationReport:
    """Compare a catalog's ML schema with what this library needs.

    Args:
        ml: The catalog.
        strict: Tables and columns that are not expected are errors too.
    """
    return SchemaValidator(ml).validate(strict)
