"""An override that Hydra refused: which one it is, and what would have been right.

Hydra tells what stopped it, and not what there is. That is found by composing once more without the override that is to
blame, which happens only where there is an error to tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import nearest
from deriva_ml.execution.model_protocol import RUN_KEYWORDS
from deriva_ml.execution.parameters import EXAMPLES, TYPE_WORDS

__all__ = ["plain", "walk", "wrong_override"]


def plain(config: Any) -> Any:
    """A configuration as nested mappings and lists, with its interpolations as they are written."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=False)


def wrong_override(said: str, config_name: str, overrides: Sequence[str]) -> DerivaMLConfigurationError | None:
    """The override of a key that is to blame, if one is: its key is not there, or its value does not fit."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    keyed = [item for item in parsed if "." in item.key_or_group or "/" not in item.key_or_group]
    named = [item for item in keyed if item.input_line in said]
    candidates = named or [item for item in keyed if f"'{item.key_or_group}'" in said]
    for item in candidates:
        rest = [other.input_line for other in parsed if other is not item and not other.is_sweep_override()]
        config = _composed(config_name, rest)
        if config is not None:
            return _judged(item, config, said)
    return None


def _composed(config_name: str, overrides: Sequence[str]) -> Any:
    """The configuration without what is to blame, with Hydra's own part; None if that cannot be composed either."""
    from hydra import compose
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        return compose(config_name, list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        return None


def _judged(override: Any, config: Any, said: str) -> DerivaMLConfigurationError | None:
    """What is wrong with an override, seen from the configuration that it was to change."""
    key = override.key_or_group
    path = key.split(".")
    depth, known = walk(plain(config), path)
    adds = override.is_add() or override.is_force_add()
    if depth < len(path) and known is not None and not adds:
        return _unknown_key(override, config, path, depth, known)
    if depth == len(path) and override.is_add():
        return DerivaMLConfigurationError(
            f"{key} is there already, so it is changed, not added.",
            source=f"override {override.input_line}",
            hint=f"write {override.input_line.lstrip('+')}",
        )
    if depth == len(path) and not override.is_delete() and "${" not in override.input_line:
        return _wrong_type(override, config, said)
    if 0 < depth < len(path) and known is None:
        return DerivaMLConfigurationError(
            f"{'.'.join(path[:depth])} is a single value, and has no {path[depth]!r} in it.",
            source=f"override {override.input_line}",
            hint=f"write {'.'.join(path[:depth])}=VALUE",
        )
    return None


def _unknown_key(
    override: Any, config: Any, path: Sequence[str], depth: int, known: list[str]
) -> DerivaMLConfigurationError:
    above, name = ".".join(path[:depth]), path[depth]
    takes = _parameters(config, above) if depth == len(path) - 1 else []
    hint = "correct the name, or add it with + before the key"
    if name in takes:
        what = f"The configuration of {above} does not hold its parameter {name!r}"
        return DerivaMLConfigurationError(
            f"{what}, so it is added, not changed.",
            source=f"override {override.input_line}",
            hint=f"write +{override.input_line}; builds(..., populate_full_signature=True) would hold them all",
        )
    allowed = nearest(name, [*known, *takes])
    return DerivaMLConfigurationError(
        f"{above or 'The configuration'} has no {name!r}.",
        source=f"override {override.input_line}",
        allowed=allowed,
        hint=hint,
    )


def _parameters(config: Any, above: str) -> list[str]:
    """The parameters of what a node of the configuration builds; none where that is unknown."""
    import inspect

    from hydra_zen import get_target
    from omegaconf import OmegaConf

    node = OmegaConf.select(config, above) if above else config
    try:
        signature = inspect.signature(get_target(node))
    except (TypeError, ValueError, ImportError, AttributeError):
        return []
    kinds = inspect.Parameter
    return [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY) and name not in RUN_KEYWORDS
    ]


def _wrong_type(override: Any, config: Any, said: str) -> DerivaMLConfigurationError:
    from omegaconf import OmegaConf

    key = override.key_or_group
    above, _dot, leaf = key.rpartition(".")
    kind = OmegaConf.get_type(OmegaConf.select(config, above) if above else config, leaf)
    value = override.value() if not override.is_sweep_override() else override.get_value_string()
    source = f"override {override.input_line}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        names = [item.name for item in kind]
        return DerivaMLConfigurationError(
            f"{key} takes a {kind.__name__}, and {value!r} is none.", source=source, allowed=nearest(str(value), names)
        )
    if kind in TYPE_WORDS:
        return DerivaMLConfigurationError(
            f"{key} takes {TYPE_WORDS[kind]}, and {value!r} is not that.",
            source=source,
            allowed=EXAMPLES.get(kind, ()),
            hint="correct the value",
        )
    return DerivaMLConfigurationError(
        f"The value {value!r} does not fit {key}: {_telling_line(said)}", source=source, hint="correct the value"
    )


def walk(config: Any, path: Sequence[str]) -> tuple[int, list[str] | None]:
    """How far a path goes into nested mappings, and the names where it stops; None at a single value."""
    node = config
    for depth, part in enumerate(path):
        if not isinstance(node, dict):
            return depth, None
        if part not in node:
            notes = node.get("_zen_exclude", ())
            return depth, [name for name in node if not name.startswith("_") and name not in (*notes, *RUN_KEYWORDS)]
        node = node[part]
    return len(path), []


def _telling_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next(
        (line for line in lines if line.startswith(("Value ", "Cannot ", "Invalid ", "Unexpected "))), lines[-1]
    )
