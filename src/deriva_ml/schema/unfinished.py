"""The catalog that becomes a copy: a new one, or one in which the same copy broke off before, emptied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.copy_mark import clear, mark, mark_of
from deriva_ml.connect import Connection
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLConfigurationError, DerivaMLException
from deriva_ml.workspace.evidence import ProcessMark, Sign

__all__ = ["broke_off", "copy_target", "who_copies"]

NEXT = "name another id, or none for the next number"


def broke_off(copy: CatalogClient, about: dict[str, Any], error: BaseException, advice: str) -> None:
    """Note that a copy will not be finished by who began it, and say in the error what to do.

    Args:
        copy: The catalog.
        about: What its mark says.
        error: What ended the copy.
        advice: What to do.
    """
    if isinstance(error, DerivaMLException):
        error.hint = f"{error.hint}; {advice}" if error.hint else advice
    else:
        error.add_note(advice)
    try:
        mark(copy, {**about, "ended": True})
    except DerivaMLException as another:
        error.add_note(f"The mark of the unfinished copy could not be amended: {another}")


def who_copies() -> dict[str, Any]:
    """This process, as the mark of an unfinished copy names it."""
    return asdict(ProcessMark.current())


def copy_target(
    target: Connection,
    catalog_id: str | None,
    name: str | None,
    about: dict[str, Any],
    *,
    named: str,
    restart: bool = False,
    say: Callable[[str], None] = lambda _text: None,
) -> CatalogClient:
    """A catalog to copy into, with nothing in it but the service's own tables; whoever copies marks a new one.

    Args:
        target: Where it is to be.
        catalog_id: The id that it shall have; by default that of a copy of the same that broke off, or the next number.
        name: A name to show.
        about: What the mark says: ``source``, and ``by`` for the process.
        named: What named the catalog, for errors.
        restart: Begin a copy anew although it cannot be seen from here whether its process has ended.
        say: Told that a copy is begun anew.

    Raises:
        DerivaMLConfigurationError: There is another catalog of that id, or there was one.
    """
    if catalog_id is None:
        broken = [one for one in target.catalog_ids() if _broke_off(target.catalog(one), about)]
        if not broken:
            return target.create_catalog(name=name)
        catalog_id = broken[0]
    else:
        try:
            return target.create_catalog(catalog_id, name=name)
        except DerivaMLCatalogError as error:
            if error.status != 409:
                raise
    copy = target.catalog(catalog_id)
    said = _mark(target, copy, named)
    if said.get("source") != about["source"]:
        raise DerivaMLConfigurationError(
            f"Catalog {catalog_id} at {target.place} is the unfinished copy of another catalog: {said.get('source')}.",
            source=named,
            hint=f"{NEXT}; or delete it first",
        )
    _check_over(said, catalog_id, named, restart=restart)
    say(f"Catalog {catalog_id} is a copy that broke off; it is begun anew.")
    mark(copy, about)
    clear(copy)
    return copy


def _mark(target: Connection, copy: CatalogClient, named: str) -> dict[str, Any]:
    """The mark of an unfinished copy."""
    try:
        said = mark_of(dict(copy.model().annotations))
    except DerivaMLCatalogError as error:
        if error.status != 404:
            raise
        raise DerivaMLConfigurationError(
            f"There was a catalog {copy.catalog_id} at {target.place}; the id of a deleted catalog is not given out "
            "again.",
            source=named,
            hint=NEXT,
        ) from error
    if said is None:
        raise DerivaMLConfigurationError(
            f"There is a catalog {copy.catalog_id} at {target.place} already; nothing was changed.",
            source=named,
            hint=NEXT,
        )
    return said


def _broke_off(copy: CatalogClient, about: dict[str, Any]) -> bool:
    """Whether a catalog is a copy of the same source by a process that has ended."""
    said = mark_of(dict(copy.model().annotations))
    return said is not None and said.get("source") == about["source"] and _sign(said) is Sign.gone


def _sign(said: dict[str, Any]) -> Sign:
    """Whether the process that makes an unfinished copy is still there, and at it."""
    if said.get("ended"):
        return Sign.gone
    try:
        return ProcessMark(**said["by"]).sign()
    except (KeyError, TypeError):
        return Sign.unknown


def _check_over(said: dict[str, Any], catalog_id: str, named: str, *, restart: bool) -> None:
    sign = _sign(said)
    if sign is Sign.gone or (sign is Sign.unknown and restart):
        return
    by = said.get("by") or {}
    who = f"process {by.get('pid', '?')} on {by.get('host', 'an unknown machine')}"
    raise DerivaMLConfigurationError(
        f"Catalog {catalog_id} is an unfinished copy that {who} "
        + ("is making at this moment." if sign is Sign.alive else "began; it cannot be seen from here."),
        source=named,
        hint="wait for it, or end it" if sign is Sign.alive else "if it has ended, begin the copy anew: --restart",
    )
