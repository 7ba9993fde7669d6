"""Work in a child process that may crash, hang or be killed, and whose end is always known: useful without the rest."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.isolate.cancel import Cancel
    from deriva_ml.isolate.job import Job, Limits
    from deriva_ml.isolate.starting import can_copy, copy_process
    from deriva_ml.isolate.supervisor import run_isolated
    from deriva_ml.isolate.verdict import Outcome, Usage, Verdict

__all__ = ["Cancel", "Job", "Limits", "Outcome", "Usage", "Verdict", "can_copy", "copy_process", "run_isolated"]

_HOMES = MappingProxyType(
    {
        "deriva_ml.isolate.cancel": ("Cancel",),
        "deriva_ml.isolate.job": ("Job", "Limits"),
        "deriva_ml.isolate.starting": ("can_copy", "copy_process"),
        "deriva_ml.isolate.supervisor": ("run_isolated",),
        "deriva_ml.isolate.verdict": ("Outcome", "Usage", "Verdict"),
    }
)


def __getattr__(name: str) -> Any:
    # the child imports this package too, and needs one module of it
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
