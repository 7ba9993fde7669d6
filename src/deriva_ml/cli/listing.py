"""What there is to choose from: the tree that ``deriva-ml-run --list-configs`` and ``--info`` print, or JSON of it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.values import dataclass

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

__all__ = ["Choice", "Listing", "description_of", "read_listing", "show_configs"]

EXPERIMENT, MULTIRUN = "experiment", "multirun"
LONGEST_VALUE = 60


@dataclass(frozen=True)
class Choice:
    """A configuration that can be chosen.

    Attributes:
        name: Its name.
        description: The first line of what it says of itself.
        is_default: It is what a run takes unless another is chosen.
        overrides: What an experiment or a named sweep changes, as overrides.
    """

    name: str
    description: str = ""
    is_default: bool = False
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """All that can be chosen.

    Attributes:
        config_name: The main configuration.
        main: The main configurations that there are.
        groups: The configurations of each group.
        experiments: The experiments.
        multiruns: The named sweeps.
    """

    config_name: str
    main: tuple[Choice, ...]
    groups: dict[str, tuple[Choice, ...]]
    experiments: tuple[Choice, ...]
    multiruns: tuple[Choice, ...]


def show_configs(store: Any, config_name: str, *, as_json: bool = False) -> None:
    """Print groups, names and descriptions, then experiments and sweeps with what they change.

    Args:
        store: hydra-zen's store, filled by the configuration modules.
        config_name: The main configuration, which is marked.
        as_json: For machines.
    """
    from deriva_ml.cli.terminal import emit, show_json

    listing = read_listing(store, config_name)
    if as_json:
        show_json(listing)
        return
    emit(_tree(listing), f"\n[dim]Try one: deriva-ml-run {_example(listing)} dry_run=true[/dim]")


def _example(listing: Listing) -> str:
    if listing.experiments:
        return f"+{EXPERIMENT}={listing.experiments[0].name}"
    models = listing.groups.get("model_config", ())
    return f"model_config={models[0].name}" if models else ""


def read_listing(store: Any, config_name: str) -> Listing:
    """Read hydra-zen's store.

    Raises:
        DerivaMLConfigurationError: It is empty.
    """
    from deriva_ml.execution.registry import entries

    nodes: dict[str, dict[str, Any]] = {}
    for entry in entries(store):
        nodes.setdefault(entry["group"] or "", {})[entry["name"]] = entry["node"]
    if not nodes:
        raise DerivaMLConfigurationError("The configuration modules registered nothing.")
    main = nodes.pop("", {})
    experiments, multiruns = nodes.pop(EXPERIMENT, {}), nodes.pop(MULTIRUN, {})
    chosen = dict(_chosen(main.get(config_name)))
    return Listing(
        config_name,
        tuple(Choice(name, description_of(node), name == config_name) for name, node in sorted(main.items())),
        {
            group: tuple(
                Choice(name, description_of(node), chosen.get(group) == name) for name, node in sorted(found.items())
            )
            for group, found in sorted(nodes.items())
        },
        tuple(
            Choice(name, description_of(node), overrides=tuple(_changes(node, main.get(config_name))))
            for name, node in sorted(experiments.items())
        ),
        tuple(
            Choice(name, description_of(node), overrides=tuple(_sweep(node)))
            for name, node in sorted(multiruns.items())
        ),
    )


def _chosen(node: Any) -> Iterator[tuple[str, str]]:
    """Groups and names in the defaults list of a configuration."""
    from deriva_ml.execution.registry import defaults_of

    for item in defaults_of(node) if node is not None else ():
        if not isinstance(item, str):
            for key, name in item.items():
                yield str(key).split("@")[0].split(" ")[-1].lstrip("/"), str(name)


def _changes(node: Any, main: Any) -> Iterator[str]:
    """What an experiment changes: the groups in its defaults list, and the values that differ from the main ones."""
    from deriva_ml.execution.environment import process_mask
    from deriva_ml.execution.registry import field_names

    for group, name in _chosen(node):
        yield f"{group}={name}"
    for key in field_names(node):
        value = _value(node, key)
        if key != "description" and not _is_missing(value) and value != _value(main, key):
            shown = str(process_mask().data(_plain(value), key))
            yield f"{key}={shown if len(shown) <= LONGEST_VALUE else shown[: LONGEST_VALUE - 1] + '…'}"


def _sweep(node: Any) -> list[str]:
    from deriva_ml.execution.config_text import join_text
    from deriva_ml.execution.environment import process_mask

    return process_mask().argv(join_text(text) for text in node["overrides"])


def _is_missing(value: Any) -> bool:
    return isinstance(value, str) and value == "???"


def _value(node: Any, key: str) -> Any:
    """The value of a configuration's field, without composing anything."""
    if not dataclasses.is_dataclass(node):
        return node.get(key) if hasattr(node, "get") else None
    if not isinstance(node, type):
        return getattr(node, key, None)
    field = node.__dataclass_fields__.get(key)
    if field is None:
        return None
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _plain(value: Any) -> Any:
    from deriva_ml.execution.registry import field_names

    if dataclasses.is_dataclass(value):
        return {key: _plain(_value(value, key)) for key in field_names(value)}
    return value


def description_of(node: Any) -> str:
    """The first line of what a configuration says of itself.

    That is its ``zen_meta`` or its own field ``description``; else the docstring of the model that it configures.
    """
    from deriva_ml.execution.config_text import join_text

    value = _value(node, "description")
    if not isinstance(value, str | list) or not value:
        value = _docstring(node)
    lines = join_text(value).strip().splitlines()
    return lines[0].lstrip("# ").strip() if lines else ""


def _docstring(node: Any) -> str:
    """The docstring of the user's function or class that a configuration builds."""
    from hydra_zen import get_target

    try:
        target = get_target(node)
    except (TypeError, ImportError, AttributeError):  # a list, a mapping
        return ""
    own = str(getattr(target, "__module__", "")).partition(".")[0] == "deriva_ml"
    return "" if own and isinstance(target, type) else inspect.getdoc(target) or ""


def _tree(listing: Listing) -> Tree:
    from rich.tree import Tree

    tree = Tree("[bold]Available Hydra Configuration Groups[/bold]", guide_style="dim")
    _branch(tree, "Top-level configs:", listing.main, default="main")
    for group, choices in listing.groups.items():
        _branch(tree, f"[bold]{group}[/bold]  [dim]{group}=NAME[/dim]", choices)
    for group, choices in ((EXPERIMENT, listing.experiments), (MULTIRUN, listing.multiruns)):
        if choices:
            _branch(tree, f"[bold]{group}[/bold]  [dim]+{group}=NAME[/dim]", choices)
    return tree


def _branch(tree: Tree, title: str, choices: tuple[Choice, ...], default: str = "default") -> None:
    branch = tree.add(title)
    for choice in choices:
        leaf = branch.add(_line(choice, default))
        for override in choice.overrides:
            leaf.add(_dim(override))


def _line(choice: Choice, default: str) -> Text:
    from rich.text import Text

    line = Text(choice.name, style="cyan")
    if choice.is_default:
        line.append(f" ({default})", style="dim")
    if choice.description:
        line.append(f"  {choice.description}", style="default")
    return line


def _dim(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="dim")
