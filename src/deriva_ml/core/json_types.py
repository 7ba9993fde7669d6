"""The type of what JSON can say."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Json"]

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
"""A value that JSON can say."""
