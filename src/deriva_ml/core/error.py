"""What every error of deriva-ml carries, how it is told, and how it travels to another process."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["DerivaMLException"]


def _rebuild(cls: type[DerivaMLException], state: dict[str, object]) -> DerivaMLException:
    """Make an error again from its attributes, without calling its own constructor."""
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (state["_msg"],)
    return error


class DerivaMLException(Exception):
    """Base of every error that deriva-ml raises.

    Args:
        msg: What was wrong, with the offending item in it.
        source: Where it came from: a file, a configuration group, an override, an RID.
        allowed: What would have been accepted, nearest first.
        hint: What to do about it.

    Attributes:
        exit_code: What a command exits with (1 the run failed, 2 the request was wrong, 4 the upload is incomplete,
            5 the catalog cannot be reached).
        http_status: What a service answers with.
    """

    exit_code = 1
    http_status = 500

    def __init__(
        self,
        msg: str = "",
        *,
        source: str | None = None,
        allowed: Iterable[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(msg)
        self._msg = msg
        self.source = source
        self.allowed: tuple[str, ...] = tuple(allowed)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self._msg]
        if self.source:
            lines.append(f"  from:    {self.source}")
        if self.allowed:
            lines.append(f"  allowed: {', '.join(self.allowed)}")
        if self.hint:
            lines.append(f"  do:      {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))
