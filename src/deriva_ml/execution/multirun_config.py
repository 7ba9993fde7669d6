"""Named sweeps: a name for a list of overrides, with a description for the parent execution.

A named sweep is an entry in group ``multirun`` of hydra-zen's ``store``, beside the configurations that it refers to.
So a configuration module registers it as it registers everything else, there is no second registry to keep in step or
to clear, and importing this module changes nothing.

The specification gives the module and its function one name. Python makes an imported module an attribute of its
package, so ``from deriva_ml.execution import multirun_config`` gives the module once anyone has imported it; therefore
the module can be called like the function.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import field
from types import ModuleType
from typing import Any

from deriva_ml.core.values import dataclass
from deriva_ml.execution.config_text import join_text, split_text
from deriva_ml.execution.registry import entries

__all__ = [
    "MULTIRUN_GROUP",
    "MultirunSpec",
    "get_all_multirun_configs",
    "get_multirun_config",
    "list_multirun_configs",
    "multirun_config",
]

MULTIRUN_GROUP = "multirun"


@dataclass(frozen=True)
class MultirunSpec:
    """A named sweep.

    Attributes:
        name: What ``+multirun=`` calls it.
        overrides: The overrides, in Hydra's sweep syntax.
        description: Markdown for the parent execution; any character is allowed.
    """

    name: str
    overrides: list[str] = field(default_factory=list)
    description: str = ""


def multirun_config(
    name: str, overrides: Iterable[str], description: str = "", *, registry: Any | None = None
) -> MultirunSpec:
    """Give a sweep a name; the same name replaces.

    Args:
        name: What ``+multirun=`` calls it.
        overrides: The overrides, in Hydra's sweep syntax.
        description: Markdown for the parent execution.
        registry: The ``ZenStore`` to enter it in; by default hydra-zen's own ``store``.
    """
    spec = MultirunSpec(name, list(overrides), description)
    store = _store(registry)
    if (MULTIRUN_GROUP, name) in store:
        del store[MULTIRUN_GROUP, name]
    # The entry also becomes a node of Hydra's store, which would take ${...} in it for interpolation: hence split.
    node = {"overrides": [split_text(text) for text in spec.overrides], "description": split_text(description)}
    store(node, group=MULTIRUN_GROUP, name=name)
    return spec


def get_multirun_config(name: str, *, registry: Any | None = None) -> MultirunSpec | None:
    """The sweep of this name, or None."""
    return get_all_multirun_configs(registry=registry).get(name)


def list_multirun_configs(*, registry: Any | None = None) -> list[str]:
    """The names of all sweeps, sorted."""
    return sorted(get_all_multirun_configs(registry=registry))


def get_all_multirun_configs(*, registry: Any | None = None) -> dict[str, MultirunSpec]:
    """All sweeps by name."""
    found = {}
    for entry in entries(_store(registry)):
        if entry["group"] == MULTIRUN_GROUP:
            values = _plain(entry["node"])
            overrides = [join_text(text) for text in values["overrides"]]
            found[entry["name"]] = MultirunSpec(entry["name"], overrides, join_text(values["description"]))
    return found


def _store(registry: Any | None) -> Any:
    if registry is not None:
        return registry
    from hydra_zen import store

    return store


def _plain(node: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    values: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(node), resolve=False)  # type: ignore[assignment]
    return values


class _CallableModule(ModuleType):
    """This module, which can be called like the function of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> MultirunSpec:
        return multirun_config(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
