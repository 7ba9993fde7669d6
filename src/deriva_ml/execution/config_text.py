"""Text in configurations, whatever is in it, though OmegaConf takes ``${`` for the beginning of an interpolation.

There are two ways to keep ``${`` in a value, because Hydra reads some values once and others twice:

- What is read once (the description of a run) is escaped: `escape_text`.
- What is part of a node that Hydra instantiates is resolved first and read again afterwards, and then an escape has
  gone. Such text is cut into pieces, so that ``${`` stands in none of them: `split_text`, `join_text`.

A description may still refer to the configuration: ``${model_config.lr}`` is an interpolation because there is a key
``model_config``; ``${x}`` is text if there is no key ``x``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable
from typing import Any

__all__ = ["escape_text", "join_text", "literal_description", "split_text"]

_OPENING = re.compile(r"(\\*)\$\{\s*([A-Za-z_][\w.]*)?\s*([:}\[.])?")


def split_text(text: str) -> str | list[str]:
    """Any text as a node that is instantiated can hold it: cut wherever OmegaConf would begin to read."""
    pieces = re.split(r"(?<=\$)(?=\{)", text)
    return text if len(pieces) == 1 else pieces


def join_text(pieces: str | Iterable[str]) -> str:
    """What `split_text` was given."""
    return pieces if isinstance(pieces, str) else "".join(pieces)


def escape_text(text: str, keys: Collection[str] = ()) -> str:
    """Text that OmegaConf, reading it once, gives back as it is, but for interpolations of what there is.

    Args:
        text: Any text.
        keys: Keys at the top of the configuration; ``${key...}`` is left to be filled in.
    """
    if "${" not in text:
        return text
    if keys:
        mixed = _OPENING.sub(lambda found: found[0] if _refers(found, keys) else _escaped(found), text)
        if _is_readable(mixed):
            return mixed
    return _OPENING.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    # Backslashes count only before an interpolation, and there each of them must be doubled.
    return "\\" * (2 * len(found[1]) + 1) + found[0][len(found[1]) :]


def _refers(found: re.Match[str], keys: Collection[str]) -> bool:
    """Whether an opening is one of an interpolation that can be filled in: of a key, or by a resolver."""
    from omegaconf import OmegaConf

    name, after = found[2], found[3]
    if not name or not after:
        return False
    if after == ":":
        return OmegaConf.has_resolver(name)
    return name.partition(".")[0] in keys


def _is_readable(text: str) -> bool:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        OmegaConf.create({"text": text})
    except OmegaConfBaseException:
        return False
    return True


def literal_description(node: Any, keys: Collection[str], *, is_top: bool) -> Any:
    """A node of the store whose ``description`` is the text that its author wrote; the node itself where it is already.

    Args:
        node: A configuration: a dataclass, or a mapping.
        keys: Keys at the top of the configuration.
        is_top: The node's fields are the run's own; else it is part of the configuration and may be instantiated.
    """
    text = _own_description(node)
    if text is None or "${" not in text:
        return node
    safe: Any = escape_text(text, keys)
    if not is_top:
        if not _is_note(node) and not _is_workflow(node):
            return node  # a parameter of the user's own, which reads as Hydra reads it
        safe = text if escape_text(text) != safe else split_text(text)
    return _with_description(node, safe) if dataclasses.is_dataclass(node) else {**node, "description": safe}


def _with_description(node: Any, text: str | list[str]) -> Any:
    """An instance of a dataclass, or of the class that a node is, with another description.

    It stays one of the same class where it can: Hydra merges an experiment only into what its class extends.
    """
    cls = node if isinstance(node, type) else type(node)
    fields = {item.name: item for item in dataclasses.fields(cls)}
    if not isinstance(text, str) and fields["description"].type not in (Any, "Any"):
        value: Any = dataclasses.field(default_factory=lambda: list(text))
        cls = dataclasses.make_dataclass(cls.__name__, [("description", Any, value)], bases=(cls,))
    required = {
        name: "???"
        for name, item in fields.items()
        if item.init and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    }
    values = {} if isinstance(node, type) else {name: getattr(node, name) for name, item in fields.items() if item.init}
    return cls(**{**required, **values, "description": text})


def _own_description(node: Any) -> str | None:
    value = node.get("description") if hasattr(node, "get") else getattr(node, "description", None)
    return value if isinstance(value, str) else None


def _is_note(node: Any) -> bool:
    """Whether the description is hydra-zen's note for readers (``zen_meta``), which nothing is called with."""
    notes = node.get("_zen_exclude", ()) if hasattr(node, "get") else getattr(node, "_zen_exclude", ())
    return "description" in notes


def _is_workflow(node: Any) -> bool:
    target = node.get("_target_", "") if hasattr(node, "get") else getattr(node, "_target_", "")
    return target == "deriva_ml.execution.workflow.Workflow"
