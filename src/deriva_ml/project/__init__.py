"""Projects: making a new one, and keeping the configuration of one right. Each name is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.project.bootstrap import BootstrapReport, bootstrap_config
    from deriva_ml.project.config_catalogs import CatalogName, CatalogSource
    from deriva_ml.project.config_report import ConfigProblem, ConfigValidationReport
    from deriva_ml.project.config_validation import validate_configs
    from deriva_ml.project.creation import ProjectPlan, create_project, plan_project

__all__ = [
    "BootstrapReport",
    "CatalogName",
    "CatalogSource",
    "ConfigProblem",
    "ConfigValidationReport",
    "ProjectPlan",
    "bootstrap_config",
    "create_project",
    "plan_project",
    "validate_configs",
]

_HOMES = MappingProxyType(
    {
        "deriva_ml.project.bootstrap": ("BootstrapReport", "bootstrap_config"),
        "deriva_ml.project.config_catalogs": ("CatalogName", "CatalogSource"),
        "deriva_ml.project.config_report": ("ConfigProblem", "ConfigValidationReport"),
        "deriva_ml.project.config_validation": ("validate_configs",),
        "deriva_ml.project.creation": ("ProjectPlan", "create_project", "plan_project"),
    }
)


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
