"""PostgreSQL's text of an array, ``{a,"b c",NULL,""}``, written and read; no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["read_array", "write_array"]

_BARE = re.compile(r'[^\s{},"\\]+')
_SPECIAL = re.compile(r'(["\\])')
_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|((?:[^{},"\\]|\\.)*))\s*([,}])', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def write_array(elements: Iterable[str | None]) -> str:
    """The text of an array whose elements have these texts."""
    return "{" + ",".join([_element(text) for text in elements]) + "}"


def _element(text: str | None) -> str:
    if text is None:
        return "NULL"
    if _BARE.fullmatch(text) and text.upper() != "NULL":
        return text
    return '"' + _SPECIAL.sub(r"\\\1", text) + '"'


def read_array(text: str) -> list[str | None]:
    """The texts of the elements of an array of one dimension.

    Raises:
        ValueError: The text is not that of an array.
    """
    whole = text.strip()
    if not whole.startswith("{"):
        raise _malformed(text)
    if re.fullmatch(r"\{\s*\}", whole):
        return []
    elements: list[str | None] = []
    at, end = 1, ","
    while end == ",":
        found = _TOKEN.match(whole, at)
        if found is None:
            raise _malformed(text)
        quoted, bare, end = found.groups()
        at = found.end()
        elements.append(_ESCAPE.sub(r"\1", quoted) if quoted is not None else _bare(bare.rstrip(), text))
    if at != len(whole):
        raise _malformed(text)
    return elements


def _bare(token: str, source: str) -> str | None:
    if not token:
        raise _malformed(source)
    return None if token.upper() == "NULL" else _ESCAPE.sub(r"\1", token)


def _malformed(text: str) -> ValueError:
    return ValueError(f'malformed array literal: "{text}"')
