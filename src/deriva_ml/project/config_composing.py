"""Everything that a package offers is composed once and made into objects, and what is wrong with each is noted.

What is offered: the main configuration, each name in each group, each experiment, each sweep, and the other
configurations at the top, which notebooks use. Of a sweep, so many jobs are composed that every choice of a group, and
the first and the last of other values, is in one of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLProblems
from deriva_ml.core.files import nearest
from deriva_ml.execution import composition
from deriva_ml.execution.model_protocol import check_model
from deriva_ml.execution.multirun_config import MULTIRUN_GROUP, get_all_multirun_configs
from deriva_ml.execution.overrides import LIST_GROUPS, check_overrides, parse, quote
from deriva_ml.execution.registry import Registry
from deriva_ml.execution.request import RunRequest, instantiate, reason, unwrap
from deriva_ml.project.config_scan import DEFAULTS_KEY
from deriva_ml.project.findings import Composition, Finding, NamedDataset

__all__ = ["compose_each", "unknown_choices"]

Owner = tuple[str, str]
_SIMPLE = re.compile(r"^\$\{([\w.]+)\}$")


def unknown_choices(store: Any, groups: Mapping[str, Sequence[str]]) -> list[Finding]:
    """What defaults lists choose that nobody stored.

    Args:
        store: hydra-zen's store.
        groups: The names in each group, those that could not be stored among them.
    """
    found = []
    for entry in store:
        owner = (entry["group"] or "", str(entry["name"]))
        for group, name in _choices(entry["node"]):
            if group.startswith("hydra/"):
                continue
            if group not in groups:
                known = nearest(group, [each for each in groups if each])
                message = f"The defaults choose {name!r} in group {group!r}, which does not exist."
                found.append(Finding("unknown-name", message, owner, group, allowed=tuple(known)))
            elif name not in groups[group]:
                message = f"The defaults choose {name!r} in group {group!r}, which has no such configuration."
                found.append(Finding("unknown-name", message, owner, name, allowed=tuple(nearest(name, groups[group]))))
    return found


def _choices(node: Any) -> Iterator[tuple[str, str]]:
    """The groups and names that a configuration's defaults list chooses; what is only known later is left out."""
    for item in _defaults(node):
        if not isinstance(item, Mapping):
            continue
        for key, value in item.items():
            match = DEFAULTS_KEY.match(str(key))
            names = value if isinstance(value, list | tuple) else [value]
            for name in names if match is not None and "optional" not in str(key) else ():
                if name is not None and str(name) != "???" and "${" not in str(name):
                    assert match is not None
                    yield match["group"], str(name)


def _defaults(node: Any) -> Sequence[Any]:
    import dataclasses

    if isinstance(node, Mapping):
        return node.get("defaults") or ()
    for item in dataclasses.fields(node) if dataclasses.is_dataclass(node) else ():
        if item.name == "defaults" and callable(item.default_factory):
            found: Sequence[Any] = item.default_factory()
            return found
    return ()


def compose_each(store: Any, config_name: str, skip: set[Owner]) -> Iterator[Composition]:
    """Compose everything that is offered, one by one.

    Args:
        store: hydra-zen's store.
        config_name: The main configuration.
        skip: Configurations whose defaults are known to be wrong.

    Raises:
        DerivaMLConfigurationError: There is no main configuration of this name.
    """
    registry = Registry.read(store, config_name)
    for made, overrides in _offered(store, registry, config_name):
        if made.owner not in skip and ("", config_name) not in skip:
            yield _compose(made, config_name, overrides)
    for name in registry.groups[""]:
        if name != config_name and ("", name) not in skip:
            yield _compose(Composition(name, ("", name)), name, [], is_model=False)
    for name, spec in sorted(get_all_multirun_configs(registry=store).items()):
        is_whole = ("", config_name) not in skip
        yield from _sweep(name, spec.overrides, config_name, registry, compose=is_whole)


def _offered(store: Any, registry: Registry, config_name: str) -> Iterator[tuple[Composition, list[str]]]:
    yield Composition(config_name, ("", config_name), is_run=True), []
    for entry in store:
        group, name = entry["group"] or "", str(entry["name"])
        if not group or group == MULTIRUN_GROUP or group.startswith("hydra"):
            continue
        plus = "" if group in registry.main_defaults else "+"
        made = Composition(f"{plus}{group}={name}", (group, name), is_run=entry["package"] == "_global_")
        yield made, [f"{plus}{group}={quote(name)}"]


def _sweep(
    name: str, overrides: Sequence[str], config_name: str, registry: Registry, *, compose: bool
) -> Iterator[Composition]:
    made = Composition(f"+{MULTIRUN_GROUP}={name}", (MULTIRUN_GROUP, name))
    for override in overrides:
        try:
            check_overrides([override], registry, multirun=True)
        except DerivaMLException as error:
            found = _finding("unknown-name", error, made.owner)
            made.findings.append(replace(found, text=_unknown_name(override, registry)))
    if made.findings:
        yield made
        return
    for job in _jobs(overrides, registry) if compose else ():
        yield _compose(Composition(made.label, made.owner, is_run=True), config_name, job)


def _unknown_name(text: str, registry: Registry) -> str:
    """The group of an override that does not exist, or the name that its group lacks; else the whole override."""
    try:
        override = parse(text)
    except DerivaMLException:  # it cannot be read, which was told
        return text
    if override.is_add() and override.key_or_group not in registry.groups:
        return str(override.key_or_group)
    known = registry.groups.get(override.key_or_group, ())
    names = override.sweep_string_iterator() if override.is_discrete_sweep() else [str(override.value())]
    return next((name for name in names if known and name not in known), text)


def _jobs(overrides: Sequence[str], registry: Registry) -> list[list[str]]:
    """So few jobs of a sweep that each value which may matter is in one."""
    values: dict[str, list[str]] = {}
    for text in overrides:
        override = parse(text)
        if override.is_hydra_override():
            continue
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [text]
        elif override.is_discrete_sweep():
            found = [f"{key}={value}" for value in override.sweep_string_iterator()]
            values[key] = found if override.key_or_group in registry.groups else [found[0], found[-1]]
    count = max((len(found) for found in values.values()), default=1)
    return [[found[at % len(found)] for found in values.values()] for at in range(count)]


def _compose(made: Composition, config_name: str, overrides: Sequence[str], *, is_model: bool = True) -> Composition:
    """Fill in what a composition comes to; what is no model's is composed and not made into objects."""
    try:
        config = _composed(config_name, overrides, made)
    except DerivaMLException as error:
        made.findings.append(_finding("composition", error, made.owner))
        return made
    made.findings += _interpolations(config, made)
    if is_model and not made.findings:
        made.findings += _missing(config, made)
    if is_model and not made.findings:
        _make(config, made)
    return made


def _composed(config_name: str, overrides: Sequence[str], made: Composition) -> Any:
    """The configuration without Hydra's own part, whose choices are noted."""
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = compose(config_name, list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        composition.compose(config_name, overrides)  # says the same in our words
        raise
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.runtime.output_dir = str(Path.cwd())  # nothing is written there, and ${hydra:...} may refer to it
    HydraConfig.instance().set_config(config)
    choices = OmegaConf.to_container(config.hydra.runtime.choices)
    assert isinstance(choices, dict)
    made.choices = {str(group): str(name) for group, name in choices.items() if name is not None}
    with open_dict(config):
        del config["hydra"]
    return config


def _owner(made: Composition, group: str) -> Owner:
    """Whose fault it is: that of the name that was chosen in a group, if one was."""
    name = made.choices.get(group)
    return made.owner if name is None else (group, name)


def _finding(kind: str, error: DerivaMLException, owner: Owner) -> Finding:
    return Finding(kind, str(error.args[0]), owner, allowed=error.allowed, hint=error.hint)


def _interpolations(config: Any, made: Composition) -> list[Finding]:
    from omegaconf import OmegaConf

    found = []
    for path, raw, why in _broken(config, ""):
        if "hydra:" in raw:
            continue
        simple = _SIMPLE.match(raw)
        known: list[str] = []
        if simple is not None:
            above, _dot, last = simple[1].rpartition(".")
            parent = OmegaConf.select(config, above, throw_on_missing=False) if above else config
            known = nearest(last, [str(key) for key in parent]) if OmegaConf.is_dict(parent) else []
        message = f"The interpolation {raw} of {path} leads nowhere: {why}"
        found.append(Finding("interpolation", message, _owner(made, path.partition(".")[0]), raw, allowed=tuple(known)))
    return found


def _broken(node: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """The interpolations below a node that cannot be resolved: where, the text, and why."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    keys = list(node.keys()) if OmegaConf.is_dict(node) else range(len(node))
    for key in keys:
        where = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_missing(node, key):
            continue
        try:
            value = node[key]
        except OmegaConfBaseException as error:
            raw = OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[index]
            yield where, str(raw), error_text(error).strip().splitlines()[0]
            continue
        if OmegaConf.is_config(value) and not OmegaConf.is_interpolation(node, key):
            yield from _broken(value, where)


def _missing(config: Any, made: Composition) -> list[Finding]:
    from omegaconf import OmegaConf

    keys = [key for key in sorted(OmegaConf.missing_keys(config)) if key not in LIST_GROUPS]
    return [
        Finding(
            "missing-value",
            f"{key} has no value in {made.label}: each run must give one.",
            _owner(made, key.partition(".")[0]),
            is_error=False,
            hint=f"deriva-ml-run {key}=VALUE, or give it in a configuration",
        )
        for key in keys
    ]


def _make(config: Any, made: Composition) -> None:
    """Make the objects; note what is wrong with them, and what they name of the catalog."""
    try:
        request = instantiate(config)
    except DerivaMLException as error:
        key = (error.source or "").removeprefix("configuration key ")
        group = key.partition(".")[0] if error.source else ""
        made.findings.append(_finding("configuration", error, _owner(made, group)))
        return
    script = request.script_config is not None
    _check("model", "script_config" if script else "model_config", made, lambda: check_model(*unwrap(request.model)))
    made.hostname = str(getattr(request.deriva_ml, "hostname", "") or "")
    made.catalog_id = str(getattr(request.deriva_ml, "catalog_id", "") or "")
    made.ml_schema = str(getattr(request.deriva_ml, "ml_schema", "") or ML_SCHEMA)
    if hasattr(request.workflow, "resolve"):
        made.workflow_types = list(request.workflow.workflow_types)
    else:
        message = f"The run has no workflow: {request.workflow!r}."
        hint = "store builds(Workflow, name=..., workflow_type=...) in group workflow"
        made.findings.append(Finding("workflow", message, _owner(made, "workflow"), hint=hint))
    _inputs(request, made)


def _check(kind: str, group: str, made: Composition, check: Any) -> None:
    try:
        check()
    except DerivaMLProblems as several:
        made.findings += [_finding(kind, error, _owner(made, group)) for error in several.errors]
    except DerivaMLException as error:
        made.findings.append(_finding(kind, error, _owner(made, group)))


def _inputs(request: RunRequest, made: Composition) -> None:
    from pydantic import ValidationError

    from deriva_ml.asset.aux_classes import AssetSpec
    from deriva_ml.asset.local_file import check_local_file
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration

    given: dict[str, list[Any]] = {}
    for group, value in (("datasets", request.datasets), ("assets", request.assets)):
        try:
            given[group] = list(getattr(ExecutionConfiguration(**{group: value}), group))
        except (ValidationError, TypeError) as error:
            made.findings.append(Finding("input", f"{group}: {reason(error)}", _owner(made, group)))
    made.datasets = [NamedDataset(spec.rid, str(spec.version)) for spec in given.get("datasets", ())]
    for item in given.get("assets", ()):
        if isinstance(item, AssetSpec):
            made.assets.append(item.rid)
        else:
            _check("input", "assets", made, lambda file=item: check_local_file(file, "assets"))
    counts = {"datasets": Counter(item.rid for item in made.datasets), "assets": Counter(made.assets)}
    for group, count in counts.items():
        for rid in [rid for rid, number in count.items() if number > 1]:
            message = f"{rid} is named twice in {group}."
            made.findings.append(Finding("input", message, _owner(made, group), rid, hint="name each input once"))
