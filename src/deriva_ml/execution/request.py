"""What a run is asked to do: the composed configuration as objects."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from deriva_ml.core.enums import BaseStrEnum
from deriva_ml.core.ermrest import RID_PATTERN
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException, DerivaMLProblems
from deriva_ml.core.values import dataclass
from deriva_ml.execution.composition_errors import interpolation_error
from deriva_ml.execution.config_text import join_text
from deriva_ml.execution.model_protocol import RUN_KEYWORDS
from deriva_ml.execution.overrides import LIST_GROUPS, source_of

__all__ = ["DryRun", "RunRequest", "catalog_class", "instantiate", "open_catalog", "reason", "salvage", "unwrap"]

DEFAULT_ML_CLASS = "deriva_ml.ml.DerivaML"
"""The class that opens a catalog unless the configuration names another. It is named as configuration names things, by
its path, because it composes the rooms and therefore stands above this one."""


class DryRun(BaseStrEnum):
    """How dry a run is."""

    off = "false"
    """It is a run, and is recorded."""
    checks = "true"
    """Everything that can be known is checked; nothing is written, nothing is downloaded, no model is called."""
    full = "full"
    """It goes the whole way, in a copy of the catalog that is thrown away."""

    @classmethod
    def read(cls, value: Any, overrides: Sequence[str] = ()) -> DryRun:
        """What a configuration says.

        Args:
            value: Its value.
            overrides: Overrides of the job, for the error.

        Raises:
            DerivaMLConfigurationError: It is neither a truth value nor ``full``.
        """
        text = str(value).strip().lower()
        if text == cls.full:
            return cls.full
        for mode, words in ((cls.checks, _YES), (cls.off, _NO)):
            if text in words:
                return mode
        raise DerivaMLConfigurationError(
            f"dry_run takes true, false or full, and {value!r} is not that.",
            source=next((f"override {one}" for one in overrides if one.startswith("dry_run=")), "key dry_run"),
            allowed=["true", "false", "full"],
            hint="true checks everything and writes nothing; full goes the whole way in a copy that is thrown away",
        )


_YES = frozenset({"true", "yes", "on", "y", "1"})
_NO = frozenset({"false", "no", "off", "n", "0", "none"})


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do: the instantiated configuration. The fields are the arguments of `run_model`."""

    deriva_ml: Any
    datasets: Any
    assets: Any
    description: str
    workflow: Any
    model_config: Any
    dry_run: Any = False
    ml_class: Any = None
    upload_timeout: float = 600
    upload_chunk_size: int = 50_000_000
    script_config: Any = None
    isolation: str = "process"
    limits: Any = None

    @property
    def dry(self) -> DryRun:
        """How dry the run is.

        Raises:
            DerivaMLConfigurationError: ``dry_run`` has a value that it cannot have.
        """
        return DryRun.read(self.dry_run)

    def upload_options(self) -> dict[str, Any]:
        """How outputs are uploaded, as `Execution.upload_execution_outputs` takes it."""
        return {"timeout": (self.upload_timeout, self.upload_timeout), "chunk_size": self.upload_chunk_size}

    @property
    def model(self) -> Any:
        """What is called: the script if there is one, else the model."""
        return self.model_config if self.script_config is None else self.script_config


def instantiate(config: Any, overrides: Sequence[str] = ()) -> RunRequest:
    """Make the objects that a composed configuration describes.

    Args:
        config: The configuration, without Hydra's part.
        overrides: The overrides that it was composed with, for messages.

    Raises:
        DerivaMLConfigurationError: A node cannot be made; the error names it.
    """
    from hydra_zen import zen
    from omegaconf import OmegaConf

    for group in LIST_GROUPS:
        if OmegaConf.is_missing(config, group):  # datasets=[] chooses no configuration of the group: there are none
            config[group] = []
    if OmegaConf.is_missing(config, "script_config") or OmegaConf.select(config, "script_config") == {}:
        config["script_config"] = None  # an optional group of which nothing was chosen, or what is stored as nothing
    description = None
    try:
        _refuse_missing(sorted(OmegaConf.missing_keys(config)))
        # Read here, once: hydra-zen resolves what it is given and reads it again, and then an escaped ${ is none.
        description = OmegaConf.select(config, "description")
        if description is not None:
            config["description"] = ""
        request: RunRequest = zen(RunRequest)(config)
    except Exception as error:  # whatever the user's classes raise, in Hydra's wrapping or as it is
        _parts, broken = _parts_of(config, overrides)
        raise DerivaMLProblems.of([*broken.values()] or [_not_made(error, overrides)]) from error
    DryRun.read(request.dry_run, overrides)
    return replace(request, description=join_text("" if description is None else description))


def instantiate_model(config: Any) -> tuple[Any, Any, Any]:
    """Make what the process of a model needs of a configuration that another process has made in full: no more.

    Args:
        config: The configuration, without Hydra's part.

    Returns:
        Where the catalog is, the class that opens it (None for the default one), and what is called.
    """
    from hydra_zen import instantiate as make
    from omegaconf import OmegaConf

    def part(name: str) -> Any:
        if name not in config or OmegaConf.is_missing(config, name):
            return None
        value = config[name]
        return (make(value) if value else None) if OmegaConf.is_config(value) else value

    script = part("script_config")
    return part("deriva_ml"), part("ml_class"), part("model_config") if script is None else script


def salvage(config: Any, overrides: Sequence[str] = ()) -> tuple[RunRequest | None, dict[str, DerivaMLException]]:
    """What can be made of a configuration that `instantiate` refuses, for whoever looks for all that is wrong.

    Args:
        config: The configuration, without Hydra's part.
        overrides: The overrides that it was composed with, for messages.

    Returns:
        The request without the arguments that cannot be made, None if the catalog or how dry the run is are among
        them; and why each of them cannot.
    """
    parts, broken = _parts_of(config, overrides)
    for name in ("datasets", "assets"):
        parts.setdefault(name, [])
    for name in ("workflow", "model_config"):
        parts.setdefault(name, None)
    parts["description"] = join_text(parts.get("description") or "")
    needed = {item.name for item in fields(RunRequest) if item.default is MISSING}
    if not needed <= parts.keys() or broken.keys() & {"deriva_ml", "ml_class", "dry_run"}:
        return None, broken
    return RunRequest(**parts), broken


def _parts_of(config: Any, overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, DerivaMLException]]:
    """The arguments of a run, each made by itself, and why those that cannot be made cannot."""
    from hydra_zen import instantiate as make
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    parts: dict[str, Any] = {}
    broken: dict[str, DerivaMLException] = {}
    try:
        missing = sorted(OmegaConf.missing_keys(config))
    except OmegaConfBaseException as error:  # an interpolation that names nothing, wherever it is
        return parts, {"": _not_made(error, overrides)}
    for name in (item.name for item in fields(RunRequest) if item.name in config):
        try:
            _refuse_missing([key for key in missing if key.partition(".")[0] == name])
            value = config[name]
            parts[name] = make(value) if OmegaConf.is_config(value) else value
        except Exception as error:  # noqa: BLE001  # whatever the user's classes raise is what is wrong with it
            broken[name] = _not_made(error, overrides, name)
    return parts, broken


def _refuse_missing(missing: Sequence[str]) -> None:
    """Refuse that nobody has given some values; a model would get the text ``???`` for them."""
    if missing:
        top = missing[0].partition(".")[0]
        raise DerivaMLConfigurationError(
            f"No value was given for {', '.join(missing[:5])}" + (f" and {len(missing) - 5} more" * (len(missing) > 5)),
            source=f"configuration key {top}",
            hint=f"give it: {missing[0]}=VALUE",
        )


def _not_made(error: Exception, overrides: Sequence[str], name: str | None = None) -> DerivaMLException:
    from omegaconf.errors import OmegaConfBaseException

    cause = error.__cause__
    lines = [*str(error).splitlines(), *getattr(error, "__notes__", ())]
    key = next((line.partition(":")[2].strip() for line in lines if "full_key:" in line), name)
    source = _source(key, cause or error, overrides)
    for found in (error, cause):
        if isinstance(found, DerivaMLException):
            found.source = found.source or source
            return found
        if isinstance(found, OmegaConfBaseException) and (told := interpolation_error(found, overrides)) is not None:
            return told
    return DerivaMLConfigurationError(
        f"The configuration cannot be used: {reason(cause or error)}",
        source=source,
        hint="deriva-ml-run --cfg job shows the composed configuration",
    )


def _source(key: str | None, error: BaseException, overrides: Sequence[str]) -> str | None:
    """The override that a value came from, else the key of the configuration that holds it."""
    if not key:
        return None
    details = getattr(error, "errors", None)
    inner = [".".join([key, *map(str, item["loc"])]) for item in details()] if callable(details) else [key]
    given = [place for place in (source_of(part, overrides) for part in inner) if place.startswith("override ")]
    return given[0] if given else f"configuration key {key}"


def reason(error: BaseException) -> str:
    """One line that says what is wrong; pydantic spreads it over several."""
    details = getattr(error, "errors", None)
    if callable(details):
        return "; ".join(_detail(item) for item in details())
    lines = [line.strip() for line in error_text(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _detail(item: Any) -> str:
    from deriva_ml.execution.environment import process_mask

    where = ".".join(str(part) for part in item["loc"] if part not in ("AssetSpec", "LocalFile"))
    shown = process_mask().data(item["input"], where)
    if item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] == RID_PATTERN:
        return f"{where}: {shown!r} is not a RID, such as 1-ABCD"
    return f"{where}: {item['msg']} ({shown!r})"


def open_catalog(request: RunRequest) -> Any:
    """Open the catalog that the configuration names, as an object of the project's own class."""
    return catalog_class(request.ml_class).instantiate(request.deriva_ml)


def catalog_class(chosen: Any = None) -> Any:
    """The class that opens a catalog: the chosen one, else ``DerivaML``."""
    if chosen is not None:
        return chosen
    module, _dot, name = DEFAULT_ML_CLASS.rpartition(".")
    return getattr(importlib.import_module(module), name)


def unwrap(model: Any) -> tuple[Any, list[str]]:
    """The function inside partials, and the names of the parameters that they give it."""
    given: list[str] = []
    while hasattr(model, "func") and hasattr(model, "keywords"):
        given += [name for name in model.keywords if name not in RUN_KEYWORDS]
        model = model.func
    return model, given
