"""Errors of Hydra and OmegaConf in our words: what is wrong, who said it, what is allowed, what to do.

What an override of a key has done is told by ``override_errors``; here is what the configuration modules have done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException
from deriva_ml.core.files import nearest
from deriva_ml.execution.config_sources import stored_at, written_at
from deriva_ml.execution.override_errors import plain, walk, wrong_override

__all__ = ["interpolation_error", "our_words"]

_OF_PYTHON = (ValueError, TypeError, KeyError, AttributeError, AssertionError)
"""What Hydra lets through from its own code when it meets something that it does not expect."""

_HOLDS_IT = "correct the configuration that holds it"


@contextmanager
def our_words(config_name: str, overrides: Sequence[str]) -> Iterator[None]:
    """Turn errors of Hydra and OmegaConf into ours; within a Hydra session.

    Args:
        config_name: The main configuration.
        overrides: The overrides that it is composed with.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except DerivaMLException:
        raise
    except RecursionError as error:
        raise _circle(config_name, overrides) from error
    except (HydraException, OmegaConfBaseException, *_OF_PYTHON) as error:
        raise _explained(error, config_name, overrides) from error


def _explained(error: Any, config_name: str, overrides: Sequence[str]) -> DerivaMLConfigurationError:
    from hydra.errors import MissingConfigException

    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_config(error, config_name, overrides)
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else None
    said = f"{error}\n{cause or ''}"
    return (
        _override_of_nothing(said, config_name)
        or interpolation_error(cause or error, overrides)
        or wrong_override(said, config_name, overrides)
        or _general(cause or error, said, config_name, overrides)
    )


def _missing_config(error: Any, config_name: str, overrides: Sequence[str]) -> DerivaMLConfigurationError:
    wanted = str(error.missing_cfg_file)
    group, _slash, name = wanted.rpartition("/")
    asked = next((item for item in (*_chosen(overrides), config_name) if wanted in _defaults(item)), None)
    source = f"the defaults of {_place(asked)}" if asked else f"defaults: {wanted}"
    source = next((f"override {text}" for text in overrides if text.lstrip("+") == f"{group}={name}"), source)
    if not error.options:
        return DerivaMLConfigurationError(
            f"The defaults ask for group {group!r}, and no configuration is stored in it.",
            source=source,
            allowed=nearest(group.rpartition("/")[2], _groups()),
            hint=f"store a configuration with group={group!r}, name={name!r}; a group that is no sub-group of the "
            "configuration's own begins with a slash: /model_config",
        )
    return DerivaMLConfigurationError(
        f"The defaults ask for {name!r} in group {group!r}, which has no such configuration.",
        source=source,
        allowed=nearest(name, error.options),
        hint=f"choose another: {group}=NAME"
        if group.startswith("hydra/")
        else f"store a configuration with group={group!r}, name={name!r}, or choose another: {group}=NAME",
    )


def _place(config: str) -> str:
    """A configuration as Hydra names it, with the place where it is stored if that is known."""
    group, _slash, name = config.rpartition("/")
    places = stored_at(group, name)
    return f"{config} ({', '.join(places[:2])})" if places else config


def _groups() -> list[str]:
    """The groups that are stored, of Hydra's own none."""
    from hydra.core.config_store import ConfigStore

    def walk(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
        for name, inner in tree.items():
            if isinstance(inner, dict):
                yield above + name
                yield from walk(inner, f"{above}{name}/")

    return [name for name in walk(ConfigStore.instance().repo) if name.partition("/")[0] != "hydra"]


def _override_of_nothing(said: str, config_name: str) -> DerivaMLConfigurationError | None:
    """A defaults list overrides a group that no other one chooses from."""
    found = re.search(r"In '([^']+)': Could not override '([^']+)'", said) or re.search(  # 1.4 has other words
        r"In '([^']+)': Invalid Defaults List override '/?([^:']+)", said
    )
    if found is None:
        return None
    return DerivaMLConfigurationError(
        f"{found[1]} overrides group {found[2]!r}, which is not in the defaults of {config_name}.",
        source=f"the defaults of {_place(found[1])}",
        allowed=nearest(found[2], _groups()),
        hint="correct the group, or write it without 'override' to add it",
    )


def interpolation_error(error: BaseException, overrides: Sequence[str] = ()) -> DerivaMLConfigurationError | None:
    """An error of ``${...}`` that leads nowhere, with the override or line that it stands in; None for any other."""
    from omegaconf.errors import GrammarParseError, InterpolationResolutionError

    if not isinstance(error, InterpolationResolutionError | GrammarParseError):
        return None
    key = str(getattr(error, "full_key", "") or "")
    wanted = re.search(r"Interpolation key '([^']+)'", str(error))
    text = "${" + (wanted[1] if wanted else "")
    override = next((item for item in overrides if text in item), None)
    source = f"override {override}" if override else written_at(text) or (f"configuration key {key}" if key else None)
    within = f" in {key}" if key else ""
    if wanted is None:
        return DerivaMLConfigurationError(
            f"The interpolation{within} cannot be read: {_first_line(error)}",
            source=source,
            hint="write \\${ for text that is no interpolation",
        )
    return DerivaMLConfigurationError(
        f"${{{wanted[1]}}}{within} names no key of the configuration.",
        source=source,
        allowed=nearest(wanted[1], _neighbours(error, wanted[1])),
        hint="correct the key, or write \\${ for text that is no interpolation",
    )


def _neighbours(error: Any, wanted: str) -> list[str]:
    """Keys that an interpolation could have meant, as far down as it is right."""
    parent = getattr(error, "parent_node", None)
    if parent is None or not hasattr(parent, "_get_root"):
        return []
    config = plain(parent._get_root())  # noqa: SLF001  # the error holds only the node at fault
    path = wanted.split(".")
    depth, known = walk(config, path)
    return [".".join([*path[:depth], name]) for name in known or () if name != "hydra"]


def _circle(config_name: str, overrides: Sequence[str]) -> DerivaMLConfigurationError:
    """Configurations whose defaults lists name each other, found in Hydra's store."""
    for start in (*_chosen(overrides), config_name):
        ring = _ring(start, ())
        if ring:
            return DerivaMLConfigurationError(
                f"The defaults lists name each other in a circle: {' -> '.join(ring)}.",
                source=f"the defaults of {_place(ring[0])}",
                hint="remove one of them from the defaults of another",
            )
    return DerivaMLConfigurationError(
        "The configuration refers to itself without end.", source=f"configuration {config_name}", hint=_HOLDS_IT
    )


def _chosen(overrides: Sequence[str]) -> list[str]:
    """The configurations that overrides choose, as Hydra names them."""
    return [text.lstrip("+").replace("=", "/") for text in overrides if re.fullmatch(r"\+*[\w/]+=\w+", text)]


def _ring(config: str, above: tuple[str, ...]) -> list[str]:
    if config in above:
        return [*above[above.index(config) :], config]
    for inner in _defaults(config):
        found = _ring(inner, (*above, config))
        if found:
            return found
    return []


def _defaults(config: str) -> list[str]:
    """The configurations that the defaults list of one names, as far as Hydra's store holds it."""
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    try:
        node: Any = ConfigStore.instance().load(f"{config}.yaml").node
    except (HydraException, OSError, KeyError, TypeError):
        return []
    own = config.rpartition("/")[0]
    found = []
    for item in node.get("defaults", ()) if OmegaConf.is_dict(node) else ():
        for key, name in [("", item)] if isinstance(item, str) else item.items():
            group = str(key).split("@")[0].split(" ")[-1]
            parts = [group.lstrip("/"), str(name)] if group.startswith("/") else [own, group, str(name)]
            if name not in ("_self_", None):
                found.append("/".join(part for part in parts if part))
    return found


def _general(error: BaseException, said: str, config_name: str, overrides: Sequence[str]) -> DerivaMLConfigurationError:
    text = next((text for text in overrides if text in said), None)
    asked = re.search(r"In '([^']+)'", said)
    holder = f"configuration {_place(asked[1])}" if asked else f"configuration {config_name}"
    return DerivaMLConfigurationError(
        f"The configuration cannot be composed: {_first_line(error)}",
        source=f"override {text}" if text else holder,
        hint="correct the value" if text else _HOLDS_IT,
    )


def _first_line(error: BaseException) -> str:
    """The line that says it; Hydra puts a heading that ends in a colon before some."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
