"""What there is to choose from: the tree that ``deriva-ml-run --list-configs`` and ``--info`` print."""

from __future__ import annotations

from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError

__all__ = ["description_of", "show_configs"]


def show_configs(store: Any, config_name: str) -> None:
    """Print groups, names and descriptions, then experiments and sweeps, as a tree.

    Args:
        store: hydra-zen's store, filled by the configuration modules.
        config_name: The main configuration, which is marked.
    """
    from rich.tree import Tree

    from deriva_ml.cli.terminal import emit

    groups: dict[str, list[tuple[str, str]]] = {}
    for entry in store:
        groups.setdefault(entry["group"] or "", []).append((entry["name"], description_of(entry["node"])))
    if not groups:
        raise DerivaMLConfigurationError("The configuration modules registered nothing.")
    last = ("experiment", "multirun")
    order = [*sorted(group for group in groups if group and group not in last), *(g for g in last if g in groups)]
    tree = Tree("[bold]Available Hydra Configuration Groups[/bold]", guide_style="dim")
    tops = tree.add("Top-level configs:")
    for name, text in sorted(groups.get("", ())):
        tops.add(_line(name, text, mark=" (main)" if name == config_name else ""))
    for group in order:
        how = f"+{group}=" if group in last else f"{group}="
        branch = tree.add(f"[bold]{group}[/bold]  [dim]{how}NAME[/dim]")
        for name, text in sorted(groups[group]):
            branch.add(_line(name, text))
    emit(tree, "\n[dim]Try one: deriva-ml-run +experiment=NAME dry_run=true[/dim]")


def _line(name: str, text: str, mark: str = "") -> Any:
    from rich.text import Text

    line = Text(name, style="cyan")
    line.append(mark, style="dim")
    if text:
        line.append(f"  {text}", style="default")
    return line


def description_of(node: Any) -> str:
    """The first line of a configuration's description: its ``zen_meta``, or its own field of that name."""
    from deriva_ml.execution.config_text import join_text

    value = node.get("description") if isinstance(node, dict) else getattr(node, "description", None)
    if value is None and hasattr(node, "__dataclass_fields__") and "description" in node.__dataclass_fields__:
        field = node.__dataclass_fields__["description"]
        value = field.default_factory() if callable(field.default_factory) else None
    if not isinstance(value, str | list):
        return ""
    lines = join_text(value).strip().splitlines()
    return lines[0].lstrip("# ").strip() if lines else ""
