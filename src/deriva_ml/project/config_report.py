"""What a validation of configurations found: problems with their places, and a report of them all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.schema.validation import ValidationSeverity

__all__ = ["ConfigProblem", "ConfigValidationReport", "in_order"]


@dataclass(frozen=True)
class ConfigProblem:
    """One thing that is wrong with a configuration, or may be.

    Attributes:
        severity: An error keeps some run from starting; a warning does not.
        kind: ``syntax``, ``import``, ``circular-import``, ``not-loaded``, ``duplicate``, ``unknown-name``,
            ``composition``, ``interpolation``, ``missing-value``, ``configuration``, ``model``, ``workflow``,
            ``input``, ``catalog``.
        message: What is wrong.
        path: The file.
        line: The line in it, from 1.
        allowed: What would be right, nearest first.
        hint: What to do.
    """

    severity: ValidationSeverity
    kind: str
    message: str
    path: Path
    line: int = 1
    allowed: tuple[str, ...] = ()
    hint: str | None = None

    def __str__(self) -> str:
        lines = [f"{self.path}:{self.line}: {self.severity}: {self.message} [{self.kind}]"]
        if self.allowed:
            lines.append(f"    allowed: {', '.join(self.allowed)}")
        if self.hint:
            lines.append(f"    do:      {self.hint}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Json]:
        """The problem as plain values."""
        return {
            "severity": str(self.severity),
            "kind": self.kind,
            "message": self.message,
            "path": str(self.path),
            "line": self.line,
            "allowed": list(self.allowed),
            "hint": self.hint,
        }


@dataclass(frozen=True)
class ConfigValidationReport:
    """What a validation of a project's configurations found.

    Attributes:
        folder: The configuration package.
        files: The files that were looked at.
        problems: What is wrong, by file and line.
        composed: What was composed: the main configuration, each choice of a group, experiments and sweeps.
        catalogs: The catalogs that were asked.
        references: How many datasets and assets were looked up in them.
        unchecked: What could not be checked, and why.
        unreachable: Catalogs that did not answer.
    """

    folder: Path
    files: tuple[Path, ...]
    problems: tuple[ConfigProblem, ...] = ()
    composed: tuple[str, ...] = ()
    catalogs: tuple[str, ...] = ()
    references: int = 0
    unchecked: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def _of(self, severity: ValidationSeverity) -> tuple[ConfigProblem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == severity)

    @property
    def errors(self) -> tuple[ConfigProblem, ...]:
        """The problems that keep some run from starting."""
        return self._of(ValidationSeverity.error)

    @property
    def warnings(self) -> tuple[ConfigProblem, ...]:
        """The problems that do not."""
        return self._of(ValidationSeverity.warning)

    def to_text(self) -> str:
        """The report for people: each problem as ``file:line``, then what was looked at."""
        lines = [str(problem) for problem in self.problems]
        lines += [f"not checked: {text}" for text in self.unchecked]
        lines += [f"unreachable: {text}" for text in self.unreachable]
        looked = f"{len(self.files)} files, {len(self.composed)} compositions"
        if self.catalogs:
            looked += f", {self.references} datasets and assets in {', '.join(self.catalogs)}"
        verdict = "valid" if self.is_valid else f"{len(self.errors)} errors"
        if self.warnings:
            verdict += f", {len(self.warnings)} warnings"
        return "\n".join([*lines, f"{self.folder}: {verdict} ({looked})"])

    def to_dict(self) -> dict[str, Json]:
        """The report as plain values."""
        return {
            "folder": str(self.folder),
            "is_valid": self.is_valid,
            "files": [str(path) for path in self.files],
            "problems": [problem.to_dict() for problem in self.problems],
            "composed": list(self.composed),
            "catalogs": list(self.catalogs),
            "references": self.references,
            "unchecked": list(self.unchecked),
            "unreachable": list(self.unreachable),
        }

    def to_json(self, indent: int = 2) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)


def in_order(problems: Iterable[ConfigProblem]) -> tuple[ConfigProblem, ...]:
    """Problems by file and line, each once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda item: (str(item.path), item.line, item.kind, item.message)))
