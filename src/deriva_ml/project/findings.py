"""What the process that loads and composes configurations tells: plain values that travel as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from deriva_ml.core.values import dataclass

__all__ = [
    "Composition",
    "Finding",
    "LoadedModule",
    "Loading",
    "NamedDataset",
    "composition_of",
    "finding_of",
    "module_of",
]


@dataclass(frozen=True)
class Finding:
    """Something wrong that was found by loading or composing.

    Attributes:
        kind: The kind of problem.
        message: What is wrong.
        owner: Group and name of the configuration that it is in.
        text: A text that stands where it is wrong, to find the line by.
        at: File and line, where the error knows them.
        is_error: Whether it keeps a run from starting.
        allowed: What would be right.
        hint: What to do.
    """

    kind: str
    message: str
    owner: tuple[str, str] = ("", "")
    text: str = ""
    at: str | None = None
    is_error: bool = True
    allowed: tuple[str, ...] = ()
    hint: str | None = None


@dataclass
class LoadedModule:
    """A module, and what became of it.

    Attributes:
        name: Its name.
        stored: Group and name of what it stored.
        error: Why it cannot be imported.
        needs: The module whose error it is.
    """

    name: str
    stored: list[tuple[str, str]] = field(default_factory=list)
    error: Finding | None = None
    needs: str | None = None


@dataclass(frozen=True)
class NamedDataset:
    """A dataset that a composition takes."""

    rid: str
    version: str


@dataclass
class Composition:
    """A composed configuration, as far as it came.

    Attributes:
        label: What a user would write to get it.
        owner: Group and name of what was chosen.
        findings: What is wrong.
        is_run: Whether it is something to run as it is, and not only one choice of a group.
        choices: What was chosen of each group.
        hostname: The host of the catalog; empty if that is not known.
        catalog_id: The catalog.
        ml_schema: Its ML schema.
        datasets: The datasets.
        assets: The RIDs of the assets.
        workflow_types: The kinds of work.
    """

    label: str
    owner: tuple[str, str]
    findings: list[Finding] = field(default_factory=list)
    is_run: bool = False
    choices: dict[str, str] = field(default_factory=dict)
    hostname: str = ""
    catalog_id: str = ""
    ml_schema: str = ""
    datasets: list[NamedDataset] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)
    workflow_types: list[str] = field(default_factory=list)


@dataclass
class Loading:
    """What loading and composing a package came to.

    Attributes:
        modules: The modules, in the order in which they were loaded.
        groups: The names in each group.
        compositions: What was composed.
        findings: What is wrong with the whole.
        broke_off: What was being done when the process ended; empty if it came to its end.
    """

    modules: list[LoadedModule] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    compositions: list[Composition] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    broke_off: str = ""


def finding_of(values: Mapping[str, Any]) -> Finding:
    """A finding as it was written."""
    return Finding(**{**values, "owner": tuple(values["owner"]), "allowed": tuple(values["allowed"])})


def module_of(values: Mapping[str, Any]) -> LoadedModule:
    """A module as it was written."""
    stored = [(str(group), str(name)) for group, name in values["stored"]]
    error = finding_of(values["error"]) if values["error"] else None
    return LoadedModule(values["name"], stored, error, values["needs"])


def composition_of(values: Mapping[str, Any]) -> Composition:
    """A composition as it was written."""
    more = {
        "owner": tuple(values["owner"]),
        "findings": [finding_of(item) for item in values["findings"]],
        "datasets": [NamedDataset(**item) for item in values["datasets"]],
    }
    return Composition(**{**values, **more})
