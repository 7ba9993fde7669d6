"""What the configuration modules registered: read for checks, and handed to Hydra before it composes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.execution.config_sources import stored_at, stored_in
from deriva_ml.execution.config_text import literal_description

__all__ = ["Registry", "defaults_of", "entries", "field_names", "register"]

_STORABLE = "store numbers, text, lists, mappings, or builds(...) of what makes the value"


@dataclass(frozen=True)
class Registry:
    """What the configuration modules registered.

    Attributes:
        groups: Names in each group; the main configurations are under the empty group.
        fields: Keys that a main configuration or an experiment has at its top.
        defaults: Groups that a defaults list mentions, and which ``group=name`` may therefore change.
        main_defaults: Those that the main configuration mentions, and which ``+group=name`` would double.
    """

    groups: dict[str, tuple[str, ...]]
    fields: frozenset[str]
    defaults: frozenset[str]
    main_defaults: frozenset[str]

    @classmethod
    def read(cls, store: Any, config_name: str, folders: Iterable[Path] = ()) -> Registry:
        """Read hydra-zen's store.

        Args:
            store: The ``ZenStore``.
            config_name: The main configuration.
            folders: Folders with configurations in YAML, beside the store.

        Raises:
            DerivaMLConfigurationError: There is no such main configuration.
        """
        groups: dict[str, list[str]] = {}
        main, others = None, []
        for entry in entries(store):
            group = entry["group"] or ""
            groups.setdefault(group, []).append(entry["name"])
            if not group and entry["name"] == config_name:
                main = entry["node"]
            elif entry["package"] == "_global_":
                others.append(entry["node"])
        for group, name in _yaml_names(folders):
            groups.setdefault(group, []).append(name)
        if main is None:
            raise DerivaMLConfigurationError(
                f"There is no main configuration {config_name!r}.",
                source="--config-name",
                allowed=nearest(config_name, groups.get("", ())),
                hint="store create_model_config(...) under that name in a configuration module",
            )
        tops = [main, *others]
        return cls(
            {group: tuple(sorted(set(names))) for group, names in groups.items()},
            frozenset(name for node in tops for name in field_names(node)),
            frozenset(group for node in tops for group in _default_groups(node)),
            frozenset(_default_groups(main)),
        )

    @property
    def keys(self) -> list[str]:
        """Everything that an override may begin with."""
        return sorted(self.fields | {group for group in self.groups if group})


def entries(store: Any) -> list[Any]:
    """The entries of hydra-zen's store, each made into a configuration, which hydra-zen does only now.

    Args:
        store: The ``ZenStore``, or a list of entries.

    Raises:
        DerivaMLConfigurationError: What was stored cannot be made into one.
    """
    from hydra_zen.errors import HydraZenException

    try:
        return list(store)
    except HydraZenException as error:
        raise _not_made(store, error) from error


def _not_made(store: Any, error: Exception) -> DerivaMLConfigurationError:
    """The error of an entry that hydra-zen cannot make; which one it is, is found group by group."""
    from hydra_zen.errors import HydraZenException

    at_fault = None
    for group in store.groups:
        try:
            dict(store[group])
        except HydraZenException:
            at_fault = group
            break
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return DerivaMLConfigurationError(
        f"A configuration of {f'group {at_fault}' if at_fault else 'the main ones'} cannot be made: {lines[0]}",
        source=", ".join(stored_in(at_fault)[:3]) or None,
        hint=_STORABLE,
    )


def _yaml_names(folders: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted(folder.rglob("*.y*ml")):
            inner = path.relative_to(folder)
            yield inner.parent.as_posix().removeprefix("."), inner.stem


def field_names(node: Any) -> list[str]:
    """The keys of a configuration; not those that hydra-zen and Hydra read themselves."""
    if dataclasses.is_dataclass(node):
        names = [item.name for item in dataclasses.fields(node)]
    elif hasattr(node, "keys"):
        names = [str(name) for name in node]
    else:
        return []  # a list
    return [name for name in names if not name.startswith("_") and name != "defaults"]


def _default_groups(node: Any) -> Iterator[str]:
    for item in defaults_of(node):
        if isinstance(item, str):
            continue
        for key in item:
            yield str(key).split("@")[0].split(" ")[-1].lstrip("/")


def defaults_of(node: Any) -> Sequence[Any]:
    """The defaults list of a configuration."""
    if not dataclasses.is_dataclass(node):
        return (node.get("defaults") or ()) if hasattr(node, "get") else ()
    for item in dataclasses.fields(node):
        if item.name == "defaults" and item.default_factory is not dataclasses.MISSING:
            found: Sequence[Any] = item.default_factory()
            return found
    return ()


def register(store: Any, keys: Iterable[str] = ()) -> None:
    """Hand what the configuration modules registered to Hydra; done by a command, never by an import.

    The store itself is left as it is.

    Args:
        store: The ``ZenStore``.
        keys: Keys at the top of the configuration, which descriptions may refer to.

    Raises:
        DerivaMLConfigurationError: A configuration holds something that none can.
    """
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf.errors import OmegaConfBaseException

    known = frozenset(keys)
    add = ConfigStore.instance().store
    if not hydra.__version__.startswith("1.3."):  # 1.3 replaces without being asked
        add = partial(add, replace=True)
    for entry in entries(store):
        is_top = not entry["group"] or entry["package"] == "_global_"
        try:
            add(**{**entry, "node": literal_description(entry["node"], known, is_top=is_top)})
        except OmegaConfBaseException as error:
            raise _unusable(entry["group"], entry["name"], error) from error


def _unusable(group: str | None, name: str, error: Exception) -> DerivaMLConfigurationError:
    what = f"{group}={name}" if group else f"the main configuration {name!r}"
    lines = [line.strip() for line in str(error).splitlines()]
    key = next((line.partition(":")[2].strip() for line in lines if line.startswith("full_key:")), "")
    return DerivaMLConfigurationError(
        f"What is stored as {what} is no configuration: {lines[0]}" + (f" (key {key})" if key else ""),
        source=", ".join(stored_at(group, name)) or None,
        hint=_STORABLE,
    )
