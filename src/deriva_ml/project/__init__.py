"""Projects: making a new one, and keeping the configuration of one right. Each name is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.project.creation import ProjectPlan, create_project, plan_project

__all__ = ["ProjectPlan", "create_project", "plan_project"]

_HOMES = MappingProxyType(
    {
        "deriva_ml.project.creation": ("ProjectPlan", "create_project", "plan_project"),
    }
)


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
