"""Text that anybody may have made, that of an error above all, made fit to be written down."""

from __future__ import annotations

__all__ = ["error_text", "legible"]

LONGEST_TEXT = 2000
"""How much of an error's text is written down; a model may raise one with a whole array in it."""


def error_text(error: BaseException) -> str:
    """The text of any error, fit to be written anywhere: it never raises, is never huge, and is valid Unicode.

    Args:
        error: An error, of ours or of anybody's; its ``__str__`` may itself raise.
    """
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001  # the user's code: what it raises is said, the first error is the news
        return f"(its text cannot be made: {type(second).__name__})"
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]} ... ({len(text)} characters)"
    return legible(text)


def legible(text: str) -> str:
    """A text as it can be stored: bytes that were no text, and NUL, are written out in hexadecimal."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
