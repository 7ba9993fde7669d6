"""Overrides: read, checked against what is registered before Hydra composes, and spread out into the jobs of a sweep.

Hydra's own messages name neither what would have been right nor where to look, and a mistyped ``+key=`` adds a key that
nobody reads. So each override is compared with the groups, names and fields that the configuration modules registered.
What can only be known from the composed configuration (a key inside a group, the type of a value) is judged where that
fails, in ``composition_errors``.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import nearest
from deriva_ml.execution.config_sources import stored_at
from deriva_ml.execution.config_text import escape_text
from deriva_ml.execution.multirun_config import MULTIRUN_GROUP, MultirunSpec, get_multirun_config, list_multirun_configs
from deriva_ml.execution.registry import Registry

__all__ = ["LIST_GROUPS", "check_overrides", "expand", "literal_descriptions", "quote", "source_of", "take_multirun"]

LIST_GROUPS = ("datasets", "assets")
"""Groups whose configurations are lists, which may be empty: ``datasets=[]``."""

_LIST_HINT = "deriva-ml-run --list-configs shows every group and name"


def quote(text: str) -> str:
    """A value as an override writes it so that Hydra's grammar takes it for this very text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return str(QuotedString(text, Quote.single).with_quotes())


def take_multirun(overrides: Sequence[str]) -> tuple[list[str], MultirunSpec | None]:
    """Replace ``+multirun=NAME`` by the overrides of that sweep, in its place.

    Overrides that stand behind it therefore win over the sweep's own.

    Args:
        overrides: What the user wrote.

    Returns:
        The overrides to use, and the sweep if one was named.

    Raises:
        DerivaMLConfigurationError: No sweep has this name, or two were named.
    """
    out: list[str] = []
    spec = None
    for text in overrides:
        key, _equals, name = text.partition("=")
        if key not in (f"+{MULTIRUN_GROUP}", f"++{MULTIRUN_GROUP}"):
            out.append(text)
            continue
        if spec is not None or "," in name:
            raise DerivaMLConfigurationError(
                f"Two named sweeps in one command: {f'{spec.name} and {name}' if spec else name}.",
                source=f"override {text}",
                hint="start them one after the other",
            )
        spec = get_multirun_config(name.strip("'\""))
        if spec is None:
            raise DerivaMLConfigurationError(
                f"There is no named sweep {name!r}.",
                source=f"override {text}",
                allowed=nearest(name, list_multirun_configs()),
                hint="define it with multirun_config() in a configuration module (configs/multiruns.py)",
            )
        out += spec.overrides
    return out, spec


def literal_descriptions(overrides: Sequence[str], keys: Collection[str], *, multirun: bool = False) -> list[str]:
    """The overrides, with what the user wrote behind ``description=`` as the text that it is.

    Quotes, commas, braces, line breaks and ``$`` have a meaning in Hydra's grammar and in OmegaConf's. In a description
    nobody means them; but ``${key}`` of a key that there is, and several descriptions in a sweep, are left.

    Args:
        overrides: What the user wrote.
        keys: Keys at the top of the configuration.
        multirun: Whether the command is a sweep.
    """
    return [
        _literal(text, keys, multirun=multirun) if text.partition("=")[0].lstrip("+") == "description" else text
        for text in overrides
    ]


def _literal(text: str, keys: Collection[str], *, multirun: bool) -> str:
    key, equals, value = text.partition("=")
    try:
        read = parse(text)
    except DerivaMLConfigurationError:
        read = None
    if read is not None and read.is_sweep_override():
        if multirun:
            return text
        read = None  # a comma in a sentence
    found = None if read is None else read.value()
    if not equals or (read is not None and found is None):
        return text
    # What stands in quotes is read as the grammar reads it; everything else is what was typed, backslashes and all.
    meant = found if isinstance(found, str) and value.lstrip()[:1] in ("'", '"') else value
    escaped = escape_text(meant, keys)
    return text if found == escaped else f"{key}={quote(escaped)}"


def source_of(key: str, overrides: Iterable[str]) -> str:
    """Where the value of a key comes from: the override that gives it, else the configuration."""
    given = [text for text in overrides if text.partition("=")[0].lstrip("+") == key]
    return f"override {given[-1]}" if given else f"configuration key {key}"


def parse(text: str) -> Any:
    """Read one override with Hydra's grammar.

    Raises:
        DerivaMLConfigurationError: It is not an override.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        return OverridesParser.create().parse_overrides([text])[0]
    except OverrideParseException as error:
        raise DerivaMLConfigurationError(
            f"Cannot read the override {text!r}: {_reason(text, error)}.",
            source="command line",
            allowed=["key=value", "group=name", "+experiment=name", "key=1,2,3 with --multirun"],
            hint="quote values with special characters: \"key='a value'\"",
        ) from error


def _reason(text: str, error: Any) -> str:
    if "=" not in text:
        return "it holds no '='"
    for mark, name in (("\t", "a tab"), ("\n", "a line break"), ("\r", "a carriage return")):
        if mark in text:
            return f"it holds {name} outside quotes"
    found = str(error.message).splitlines()[0]
    kind, colon, rest = found.partition("Exception: ")
    return f"it makes no sense from {rest!r} on" if colon and " " not in kind else found


def check_overrides(
    overrides: Sequence[str], registry: Registry, *, multirun: bool = False, spec: MultirunSpec | None = None
) -> None:
    """Compare overrides with what is registered.

    Args:
        overrides: What the user wrote, without ``+multirun=``.
        registry: What the configuration modules registered.
        multirun: Whether the command is a sweep.
        spec: The named sweep that some of them come from.

    Raises:
        DerivaMLConfigurationError: An override names something that does not exist; the nearest names are in the error.
    """
    with told_of(spec):
        for text in overrides:
            override = parse(text)
            if override.is_hydra_override():
                continue
            if override.is_sweep_override() and not multirun:
                raise DerivaMLConfigurationError(
                    f"The override {text!r} has several values, and this is a single run.",
                    source="command line",
                    hint=f"add --multirun for a sweep, or quote the value: {override.get_key_element()}='...'",
                )
            _check_sweep_key(override)
            if override.key_or_group in registry.groups:
                _check_choice(override, registry)
            else:
                _check_key(override, registry)


@contextmanager
def told_of(spec: MultirunSpec | None) -> Iterator[None]:
    """Within the block, an error in an override of a named sweep says that it comes from there."""
    try:
        yield
    except DerivaMLConfigurationError as error:
        source = error.source or ""
        if spec is not None and any(_is_part(text, source, str(error)) for text in spec.overrides):
            places = stored_at(MULTIRUN_GROUP, spec.name)
            error.source = f"{source}, of the named sweep {spec.name}" + (f" ({places[0]})" if places else "")
        raise


def _is_part(text: str, source: str, message: str) -> bool:
    """Whether an error is about an override of a sweep, or about one of its values in a job."""
    key = text.partition("=")[0]
    return f"override {text}" in message or source.startswith(f"override {key}=") or repr(text) in message


def _check_sweep_key(override: Any) -> None:
    if override.is_sweep_override() and override.key_or_group == "dry_run":
        raise DerivaMLConfigurationError(
            "A sweep is dry or it is not: dry_run takes one value.",
            source=f"override {override.input_line}",
            allowed=["dry_run=true", "dry_run=false"],
        )


def _choices(override: Any) -> list[str]:
    """The names in a group that an override asks for; none where only Hydra can tell."""
    from hydra.core.override_parser.types import ValueType

    if override.value_type in (ValueType.GLOB_CHOICE_SWEEP, ValueType.INTERVAL_SWEEP) or override.is_delete():
        return []
    if override.is_sweep_override():
        return [str(text).strip("'\"") for text in override.sweep_string_iterator()]
    value = override.value()
    return [str(item) for item in (value if isinstance(value, list) else [value]) if item is not None]


def _check_not_null(override: Any, known: Iterable[str]) -> None:
    """Refuse that nothing is chosen in a group; only lists can be empty."""
    if override.is_delete() or override.is_sweep_override():
        return
    group, value = override.key_or_group, override.value()
    if value is None or (value == [] and group not in LIST_GROUPS):
        raise DerivaMLConfigurationError(
            f"{group} is a group of configurations, and nothing is chosen in it.",
            source=f"override {override.input_line}",
            allowed=sorted(known)[:10],
            hint=f"write {group}=[] for none" if group in LIST_GROUPS else f"choose one: {group}=NAME",
        )


def _check_choice(override: Any, registry: Registry) -> None:
    group = override.key_or_group
    known = registry.groups[group]
    _check_not_null(override, known)
    for name in _choices(override):
        if name not in known:
            raise DerivaMLConfigurationError(
                f"{group} has no configuration {name!r}.",
                source=f"override {override.input_line}",
                allowed=nearest(name, known),
                hint=_LIST_HINT,
            )
    changes = not override.is_add() and not override.is_force_add() and not override.is_delete()
    if changes and group not in registry.defaults:
        raise DerivaMLConfigurationError(
            f"{group} is not in the defaults of the main configuration, so it is added, not changed.",
            source=f"override {override.input_line}",
            hint=f"write +{override.input_line}",
        )
    if override.is_add() and group in registry.main_defaults:
        raise DerivaMLConfigurationError(
            f"{group} is in the defaults of the main configuration already, so it is changed, not added.",
            source=f"override {override.input_line}",
            hint=f"write {override.input_line.lstrip('+')}",
        )


def _check_key(override: Any, registry: Registry) -> None:
    top, dot, _rest = override.key_or_group.partition(".")
    if top in registry.fields or (dot and top in registry.groups):
        return
    known = registry.keys
    raise DerivaMLConfigurationError(
        f"The configuration has no {top!r}.",
        source=f"override {override.input_line}",
        allowed=nearest(top, known),
        hint=_LIST_HINT,
    )


def expand(overrides: Sequence[str], config_loader: Any = None) -> list[list[str]]:
    """The jobs of a sweep: every combination of the values, the last key changing fastest, as Hydra counts them.

    Continuous ranges have no list of values; they are left out, and the sweeper that knows them chooses.

    Args:
        overrides: Overrides of the task, in Hydra's sweep syntax.
        config_loader: Hydra's, which ``glob()`` needs.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    chosen: dict[str, list[str]] = {}
    for override in OverridesParser.create(config_loader=config_loader).parse_overrides(list(overrides)):
        if override.is_hydra_override():
            continue
        key = override.get_key_element()
        if not override.is_sweep_override():
            chosen[key] = [override.input_line]
        elif override.is_discrete_sweep():
            chosen[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [list(job) for job in itertools.product(*chosen.values())]


def swept_keys(overrides: Iterable[str]) -> list[str]:
    """The keys that a sweep varies, in order."""
    return [item.get_key_element().lstrip("+") for item in map(parse, overrides) if item.is_sweep_override()]
