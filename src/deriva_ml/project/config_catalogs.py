"""The catalogs that configurations name, and whether what is to come from each is there.

An experiment is checked against the catalog that it would run on. What no experiment takes is checked against all
catalogs of the project, since it may be meant for any, and is right if it is in one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path

from deriva_ml.core.config import resolve_place
from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLUnreachable
from deriva_ml.core.values import dataclass
from deriva_ml.project.config_references import Named, Wrong, wrong_references, wrong_terms
from deriva_ml.project.config_report import ConfigProblem
from deriva_ml.schema.session import Session
from deriva_ml.schema.validation import ValidationSeverity

__all__ = ["CatalogAnswers", "CatalogName", "CatalogSource", "CatalogUse", "ask_catalogs"]

Spot = tuple[Path, int]


@dataclass(frozen=True, order=True)
class CatalogName:
    """A catalog as configurations name it."""

    hostname: str
    catalog_id: str
    ml_schema: str = ML_SCHEMA

    def __str__(self) -> str:
        return f"catalog {self.catalog_id} at {self.hostname}"


@dataclass(frozen=True)
class CatalogSource:
    """Which catalogs may be asked.

    Attributes:
        session: An open catalog, which stands for the project's default one.
        instead: A catalog to ask in place of every other, as ``--host`` and ``--catalog`` of a run do.
        offline: None is asked.
    """

    session: Session | None = None
    instead: CatalogName | None = None
    offline: bool = False


@dataclass
class CatalogUse:
    """What configurations want of catalogs.

    Attributes:
        default: The catalog of the main configuration.
        named: Every catalog that is named, and where.
        references: Where each dataset and asset is named.
        runs_on: The catalogs of the experiments that take it.
        runs: Those on which the main configuration, experiments and sweeps run.
        terms: Where each kind of work is named.
        terms_on: The catalogs for which it is.
    """

    default: CatalogName | None = None
    named: dict[CatalogName, Spot] = field(default_factory=dict)
    references: dict[Named, list[Spot]] = field(default_factory=dict)
    runs_on: dict[Named, set[CatalogName]] = field(default_factory=dict)
    runs: set[CatalogName] = field(default_factory=set)
    terms: dict[str, Spot] = field(default_factory=dict)
    terms_on: dict[str, set[CatalogName]] = field(default_factory=dict)


@dataclass
class CatalogAnswers:
    """What the catalogs said."""

    problems: list[ConfigProblem] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    references: int = 0
    unchecked: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)


def ask_catalogs(use: CatalogUse, source: CatalogSource) -> CatalogAnswers:
    """Look up in catalogs what configurations want of them; a catalog that does not exist is not made.

    Args:
        use: What they want.
        source: Which catalogs may be asked.
    """
    answers = CatalogAnswers()
    if source.offline:
        answers.unchecked.append("what is in catalogs (offline)")
        return answers
    use = _instead(use, source)
    wrong: dict[CatalogName, dict[Named, Wrong]] = {}
    for name in _wanted(use):
        with _opened(name, use, source, answers) as session:
            if session is not None:
                answers.asked.append(f"catalog {session.catalog_id} at {session.place}")
                wrong[name] = _ask(session, name, use, answers)
    answers.references = sum(1 for each in use.references if any(_is_asked(use, each, name) for name in wrong))
    answers.problems += _problems(use, wrong)
    return answers


def _instead(use: CatalogUse, source: CatalogSource) -> CatalogUse:
    """The same, with the one catalog that is to be asked in place of all."""
    if source.instead is None:
        return use
    one = source.instead
    runs_on = {each: {one} for each in use.references}
    spot = next(iter(use.named.values()), (Path(), 1))
    return CatalogUse(one, {one: spot}, use.references, runs_on, {one}, use.terms, {term: {one} for term in use.terms})


def _wanted(use: CatalogUse) -> list[CatalogName]:
    """The catalogs, the default one first."""
    default = [use.default] if use.default is not None else []
    return list(dict.fromkeys([*default, *sorted(use.named)]))


def _is_asked(use: CatalogUse, each: Named, name: CatalogName) -> bool:
    return name in use.runs_on.get(each, {name})


@contextmanager
def _opened(
    name: CatalogName, use: CatalogUse, source: CatalogSource, answers: CatalogAnswers
) -> Iterator[Session | None]:
    """An open catalog; None where that cannot be, of which a note is made."""
    if source.session is not None:
        if name == use.default or _is_same(name, source.session):
            yield source.session
            return
        if resolve_place(name.hostname).root is None:
            answers.unchecked.append(f"what is in {name}, which is not the catalog that is open")
            yield None
            return
    if not _exists(name, use, answers):
        yield None
        return
    from deriva_ml.schema.opening import open_session

    try:
        opened = open_session(name.hostname, name.catalog_id, ml_schema=name.ml_schema)
    except DerivaMLUnreachable as error:
        answers.unreachable.append(f"{name}: {error.args[0]}")
        yield None
        return
    except DerivaMLException as error:
        answers.problems.append(_problem(_spot(use, name), Wrong(str(error.args[0]), error.allowed, error.hint)))
        yield None
        return
    with opened.connection:
        yield opened.session


def _is_same(name: CatalogName, session: Session) -> bool:
    place = resolve_place(name.hostname)
    same = (place.root, place.base_url) == (session.place.root, session.place.base_url)
    return same and name.catalog_id == session.catalog_id


def _spot(use: CatalogUse, name: CatalogName) -> Spot:
    return use.named.get(name) or next(iter(use.named.values()), (Path(), 1))


def _exists(name: CatalogName, use: CatalogUse, answers: CatalogAnswers) -> bool:
    """Whether a catalog in a folder is there; that of a host is asked when it is opened."""
    from deriva_ml.connect import catalog_exists

    try:
        place = resolve_place(name.hostname)
        if place.root is None or catalog_exists(name.hostname, name.catalog_id):
            return True
    except DerivaMLException as error:
        answers.problems.append(_problem(_spot(use, name), Wrong(str(error.args[0]), error.allowed, error.hint)))
        return False
    wanted = [each for each in use.references if name in use.runs_on.get(each, {use.default})]
    if not place.is_default or name.catalog_id != "1":
        wrong = Wrong(f"There is no catalog {name.catalog_id} at {place}.", hint="name one that exists, or make it")
        problem = _problem(_spot(use, name), wrong)
        severity = ValidationSeverity.error if name in use.runs else ValidationSeverity.warning
        answers.problems.append(replace(problem, severity=severity))
    elif wanted:
        wrong = Wrong(
            f"There is no catalog yet at {place}, and {len(wanted)} datasets and assets of it are named.",
            hint="make it and bring the data, or name another catalog",
        )
        answers.problems.append(_problem(use.references[wanted[0]][0], wrong))
    else:
        answers.unchecked.append(f"what is in {name}: the first run makes it")
    return False


def _ask(session: Session, name: CatalogName, use: CatalogUse, answers: CatalogAnswers) -> dict[Named, Wrong]:
    """What is wrong with what is to come from a catalog; kinds of work that it lacks are noted."""
    try:
        terms = [term for term in use.terms if name in use.terms_on[term]]
        for term, wrong in wrong_terms(session, terms).items():
            answers.problems.append(_problem(use.terms[term], wrong, "workflow"))
        return wrong_references(session, [each for each in use.references if _is_asked(use, each, name)])
    except DerivaMLUnreachable as error:
        answers.unreachable.append(f"{name}: {error.args[0]}")
    except DerivaMLException as error:
        answers.problems.append(_problem(_spot(use, name), Wrong(str(error.args[0]), error.allowed, error.hint)))
    return {}


def _problems(use: CatalogUse, wrong: Mapping[CatalogName, Mapping[Named, Wrong]]) -> Iterator[ConfigProblem]:
    several = len(wrong) > 1
    for each, spots in use.references.items():
        where = [name for name in wrong if _is_asked(use, each, name)]
        bad = [name for name in where if each in wrong[name]]
        if each not in use.runs_on and len(bad) < len(where):
            continue
        for name in bad if each in use.runs_on else bad[:1]:
            found = wrong[name][each]
            said = Wrong(f"{found.message} ({name})" if several else found.message, found.allowed, found.hint)
            yield from _at(spots, said)


def _at(spots: Sequence[Spot], wrong: Wrong) -> Iterable[ConfigProblem]:
    return [_problem(spot, wrong, "input") for spot in spots]


def _problem(spot: Spot, wrong: Wrong, kind: str = "catalog") -> ConfigProblem:
    path, line = spot
    return ConfigProblem(ValidationSeverity.error, kind, wrong.message, path, line, wrong.allowed, wrong.hint)
