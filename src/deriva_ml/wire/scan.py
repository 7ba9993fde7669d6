"""Tokens of a raw request target, and a place among them; no I/O.

1. The text is scanned raw: an escaped character is always data, never punctuation.
2. Every word is ordinary text; what it means depends on its place only, so a table may be called ``entity`` or ``any``.

Source: the protocol specification, section A2.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

__all__ = ["END", "TEXT", "Cursor", "PathSyntaxError"]

_T = TypeVar("_T")

_TOKEN = re.compile(r"((?:%[0-9A-Fa-f]{2}|[-*_.~A-Za-z0-9])+)|(::|:=|[():;,=@&/?!$])")

TEXT = "text"
"""Kind of a token that is text; the kind of any other is the punctuation itself."""

END = "end"
"""Kind of the token after the last one."""


class PathSyntaxError(ValueError):
    """The text is not a path; the message is the detail that the service answers with."""


class Cursor:
    """The tokens of a target and a place among them."""

    __slots__ = ("at", "depth", "kinds", "offsets", "texts")

    def __init__(self, raw: str, start: int) -> None:
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.offsets: list[int] = []
        self.at = 0
        self.depth = 0
        match = _TOKEN.match
        end = len(raw)
        while start < end:
            found = match(raw, start)
            if found is None:
                raise PathSyntaxError("")
            text, punctuation = found.groups()
            self.kinds.append(TEXT if punctuation is None else punctuation)
            self.texts.append(punctuation or (_decode(text) if "%" in text else text))
            self.offsets.append(start)
            start = found.end()
        self.kinds.append(END)
        self.texts.append("")

    def find(self, *kinds: str) -> int:
        """Where the first token of these kinds stands, from here on; the end if there is none."""
        at = self.at
        while self.kinds[at] != END and self.kinds[at] not in kinds:
            at += 1
        return at

    def kind(self, ahead: int = 0) -> str:
        """The kind of the token so far ahead."""
        at = self.at + ahead
        return self.kinds[at] if 0 <= at < len(self.kinds) else END

    def text_here(self, ahead: int = 0) -> str | None:
        """The text ahead, or None where punctuation or the end stands there."""
        return self.texts[self.at + ahead] if self.kind(ahead) == TEXT else None

    def take(self, kind: str) -> bool:
        """Step over a token of this kind, if it is here."""
        if self.kinds[self.at] != kind:
            return False
        self.at += 1
        return True

    def expect(self, kind: str) -> None:
        """Step over a token of this kind, or fail."""
        if not self.take(kind):
            self.fail()

    def text(self) -> str:
        """Step over a text, or fail."""
        if self.kinds[self.at] != TEXT:
            self.fail()
        self.at += 1
        return self.texts[self.at - 1]

    def value(self) -> str:
        """A text that may be empty."""
        return self.text() if self.kinds[self.at] == TEXT else ""

    def word(self, *words: str) -> bool:
        """Step over ``::word::`` with one of these words, if it is here."""
        if self.kinds[self.at] != "::" or self.text_here(1) not in words or self.kind(2) != "::":
            return False
        self.at += 3
        return True

    def some(self, read: Callable[[Cursor], _T]) -> tuple[_T, ...]:
        """One or more of something, between commas."""
        found = [read(self)]
        while self.take(","):
            found.append(read(self))
        return tuple(found)

    def fail(self) -> NoReturn:
        """Say that the token here is not what the grammar wants."""
        if self.kinds[self.at] == END:
            raise PathSyntaxError("URL parse error at token: None (the end)")
        offset = self.offsets[self.at]
        raise PathSyntaxError(f"URL parse error at token: {self.texts[self.at]!r} at character {offset}")


def _decode(text: str) -> str:
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise PathSyntaxError(f"Escaped text is not UTF-8: {text}") from error
    if "\0" in decoded:
        raise PathSyntaxError("The null character is not allowed in text.")
    return decoded
