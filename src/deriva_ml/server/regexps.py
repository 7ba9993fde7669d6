r"""PostgreSQL's advanced regular expressions, put into Python's language; no I/O.

What differs: ``$`` is the end of the text and ``.`` any character at all; ``\m \M \y \Y`` are word boundaries;
``\b`` is a backspace and ``\B`` a backslash; brackets know POSIX classes; options stand in front. Where Python cannot
say it (a look-behind of variable width), the pattern is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from deriva_ml.server.matching import check

__all__ = ["translate"]

_LETTERS = "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0370-\u1fff\u2c00-\ud7ff\uf900-\ufdcf"
_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "alpha": rf"a-zA-Z{_LETTERS}",
        "alnum": rf"a-zA-Z0-9{_LETTERS}",
        "blank": r" \t",
        "cntrl": r"\x00-\x1f\x7f",
        "digit": r"0-9",
        "graph": r"\x21-\x7e\u00a1-\ud7ff\uf900-\uffff",
        "lower": r"a-z\u00df-\u00f6\u00f8-\u00ff",
        "print": r"\x20-\x7e\u00a0-\ud7ff\uf900-\uffff",
        "punct": r"!-/:-@\[-`{-~",
        "space": r"\s",
        "upper": r"A-Z\u00c0-\u00d6\u00d8-\u00de",
        "word": r"\w",
        "xdigit": r"0-9a-fA-F",
    }
)
_ESCAPES: Mapping[str, str] = MappingProxyType(
    {
        "m": r"\b(?=\w)",
        "M": r"\b(?<=\w)",
        "y": r"\b",
        "Y": r"\B",
        "b": r"\x08",
        "B": r"\\",
        "e": r"\x1b",
        "Z": r"\Z",
        **{letter: "\\" + letter for letter in "AdDsSwWafnrtvxuU0123456789"},
    }
)
_OPTIONS = re.compile(r"\(\?([bceimnpqstwx]+)\)")
_QUANTIFIED = re.compile(r"[*+?]\+|\}\+")
_ITEM = re.compile(r"\[:(\w+):\]|\[([.=])(.+?)\2\]|\\(.)|(.)", re.DOTALL)


def translate(pattern: str, *, ignore_case: bool = False) -> str:
    """The Python pattern that finds what a PostgreSQL pattern finds.

    Args:
        pattern: The text of an advanced regular expression.
        ignore_case: Letters match without regard to case.

    Raises:
        ValueError: It is not one, or Python has no form of it, or it might take for ever.
    """
    options = ""
    if pattern.startswith("***:"):
        pattern = pattern[4:]
    elif pattern.startswith("***="):
        options, pattern = "q", pattern[4:]
    found = None if options else _OPTIONS.match(pattern)
    if found is not None:
        options, pattern = found.group(1), pattern[found.end() :]
    lines = "n" in options or "m" in options
    body = re.escape(pattern) if "q" in options else _body(pattern, lines=lines)
    flags = "" if lines else "s"
    if (ignore_case or "i" in options) and "c" not in options:
        flags += "i"
    if lines:
        flags += "m"
    if "x" in options:
        flags += "x"
    made = f"(?{flags}){body}"
    try:
        re.compile(made)
        check(made)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"invalid regular expression: {error}") from None
    return made


def _body(pattern: str, *, lines: bool) -> str:
    if _QUANTIFIED.search(pattern.replace("\\\\", "").replace("\\*", "").replace("\\+", "").replace("\\?", "")):
        raise ValueError("invalid regular expression: quantifier operand invalid")
    parts = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            parts.append(_escape(pattern[at + 1 : at + 2]))
            at += 2
        elif char == "[":
            text, at = _bracket(pattern, at)
            parts.append(text)
        elif char == "{" and not pattern[at + 1 : at + 2].isdigit():
            parts.append(r"\{")  # a bound begins with a digit; Python takes {,2} for one too
            at += 1
        else:
            parts.append(r"\Z" if char == "$" and not lines else char)
            at += 1
    return "".join(parts)


def _escape(char: str) -> str:
    if not char:
        raise ValueError("invalid regular expression: invalid escape \\ sequence")
    found = _ESCAPES.get(char)
    if found is None and char.isalnum() and char.isascii():
        raise ValueError(f"invalid regular expression: invalid escape \\{char} sequence")
    return re.escape(char) if found is None else found


def _bracket(pattern: str, start: int) -> tuple[str, int]:
    """A bracket expression that opens at ``start``, and where it ends."""
    for boundary, text in (("[[:<:]]", r"\b(?=\w)"), ("[[:>:]]", r"\b(?<=\w)")):
        if pattern.startswith(boundary, start):
            return text, start + len(boundary)
    at = start + 1
    parts = ["["]
    if pattern.startswith("^", at):
        parts.append("^")
        at += 1
    if pattern.startswith("]", at):
        parts.append(r"\]")
        at += 1
    while at < len(pattern) and pattern[at] != "]":
        found = _ITEM.match(pattern, at)
        assert found is not None  # its last alternative matches any character
        parts.append(_member(found))
        at = found.end()
    if at >= len(pattern):
        raise ValueError("invalid regular expression: brackets [] not balanced")
    return "".join(parts) + "]", at + 1


def _member(found: re.Match[str]) -> str:
    named, _, collating, escaped, char = found.groups()
    if named is not None:
        if named not in _CLASSES:
            raise ValueError("invalid regular expression: invalid character class")
        return _CLASSES[named]
    if collating is not None:
        return re.escape(collating)
    if escaped is not None:
        return _escape(escaped)
    return "-" if char == "-" else re.escape(char)
