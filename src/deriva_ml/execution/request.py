"""What a run is asked to do: the composed configuration as objects."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from deriva_ml.core.ermrest import RID_PATTERN
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException
from deriva_ml.execution.composition_errors import interpolation_error
from deriva_ml.execution.config_text import join_text
from deriva_ml.execution.model_protocol import RUN_KEYWORDS
from deriva_ml.execution.overrides import LIST_GROUPS, source_of
from deriva_ml.execution.parameters import check_values

__all__ = ["RunRequest", "catalog_class", "instantiate", "open_catalog", "reason", "unwrap"]

DEFAULT_ML_CLASS = "deriva_ml.ml.DerivaML"
"""The class that opens a catalog unless the configuration names another. It is named as configuration names things, by
its path, because it composes the rooms and therefore stands above this one."""


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do: the instantiated configuration. The fields are the arguments of `run_model`."""

    deriva_ml: Any
    datasets: Any
    assets: Any
    description: str
    workflow: Any
    model_config: Any
    dry_run: bool = False
    ml_class: Any = None
    upload_timeout: float = 600
    upload_chunk_size: int = 50_000_000
    script_config: Any = None
    isolation: str = "process"
    limits: Any = None

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
    try:
        _refuse_missing(config)
        # Read here, once: hydra-zen resolves what it is given and reads it again, and then an escaped ${ is none.
        description = OmegaConf.select(config, "description")
        if description is not None:
            config["description"] = ""
        request: RunRequest = zen(RunRequest)(config)
        check_values(request.model, "model_config" if request.script_config is None else "script_config", overrides)
    except Exception as error:  # whatever the user's classes raise, in Hydra's wrapping or as it is
        raise _not_made(error, overrides) from error
    return replace(request, description=join_text("" if description is None else description))


def _refuse_missing(config: Any) -> None:
    """Refuse a configuration with values that somebody has to give; a model would get the text ``???`` for them."""
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        top = missing[0].partition(".")[0]
        raise DerivaMLConfigurationError(
            f"No value was given for {', '.join(missing[:5])}" + (f" and {len(missing) - 5} more" * (len(missing) > 5)),
            source=f"configuration key {top}",
            hint=f"give it: {missing[0]}=VALUE",
        )


def _not_made(error: Exception, overrides: Sequence[str]) -> DerivaMLException:
    from omegaconf.errors import OmegaConfBaseException

    cause = error.__cause__
    lines = [*str(error).splitlines(), *getattr(error, "__notes__", ())]
    key = next((line.partition(":")[2].strip() for line in lines if "full_key:" in line), None)
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
