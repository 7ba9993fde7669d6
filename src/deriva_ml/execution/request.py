"""What a run is asked to do: the composed configuration as objects."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from deriva_ml.core.enums import BaseStrEnum
from deriva_ml.core.ermrest import RID_PATTERN
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException, DerivaMLProblems
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.model_protocol import RUN_KEYWORDS
from deriva_ml.execution.overrides import LIST_GROUPS

__all__ = ["DryRun", "RunRequest", "given_values", "instantiate", "open_catalog", "reason", "salvage", "unwrap"]

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


def instantiate(config: Any) -> RunRequest:
    """Make the objects that a composed configuration describes.

    Raises:
        DerivaMLConfigurationError: A node cannot be made; the error names it.
    """
    from hydra.errors import HydraException
    from hydra_zen import zen
    from hydra_zen.errors import HydraZenException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for group in LIST_GROUPS:
        if OmegaConf.is_missing(config, group):  # datasets=[] chooses no configuration of the group: there are none
            config[group] = []
    try:
        request: RunRequest = zen(RunRequest)(config)
    except (HydraException, HydraZenException, OmegaConfBaseException) as error:
        _parts, broken = _parts_of(config)
        raise DerivaMLProblems.of([*broken.values()] or [_not_made(error)]) from error
    DryRun.read(request.dry_run, JobContext.current().overrides)
    return request


def salvage(config: Any) -> tuple[RunRequest | None, dict[str, DerivaMLException]]:
    """What can be made of a configuration that `instantiate` refuses, for whoever looks for all that is wrong.

    Returns:
        The request without the arguments that cannot be made, None if the catalog or how dry the run is are among
        them; and why each of them cannot.
    """
    parts, broken = _parts_of(config)
    for name in ("datasets", "assets"):
        parts.setdefault(name, [])
    for name in ("workflow", "model_config"):
        parts.setdefault(name, None)
    needed = {item.name for item in fields(RunRequest) if item.default is MISSING}
    if not needed <= parts.keys() or broken.keys() & {"deriva_ml", "ml_class", "dry_run"}:
        return None, broken
    return RunRequest(**parts), broken


def _parts_of(config: Any) -> tuple[dict[str, Any], dict[str, DerivaMLException]]:
    """The arguments of a run, each made by itself, and why those that cannot be made cannot."""
    from hydra.errors import HydraException
    from hydra_zen import instantiate as make
    from hydra_zen.errors import HydraZenException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    parts: dict[str, Any] = {}
    broken: dict[str, DerivaMLException] = {}
    for name in (item.name for item in fields(RunRequest) if item.name in config):
        try:
            value = config[name]
            parts[name] = make(value) if OmegaConf.is_config(value) else value
        except (HydraException, HydraZenException, OmegaConfBaseException) as error:
            broken[name] = _not_made(error, name)
    return parts, broken


def _not_made(error: Exception, name: str | None = None) -> DerivaMLException:
    cause = error.__cause__
    named = re.search(r"full_key: ([\w.@/\[\]]+)", str(error))
    key = named[1] if named else name
    if isinstance(cause, DerivaMLException):
        cause.source = cause.source or (f"configuration key {key}" if key else None)
        return cause
    return DerivaMLConfigurationError(
        f"The configuration cannot be used: {reason(cause or error)}",
        source=f"configuration key {key}" if key else None,
        hint="deriva-ml-run --cfg job shows the composed configuration",
    )


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
    ml_class = request.ml_class
    if ml_class is None:
        module, _dot, name = DEFAULT_ML_CLASS.rpartition(".")
        ml_class = getattr(importlib.import_module(module), name)
    return ml_class.instantiate(request.deriva_ml)


def unwrap(model: Any) -> tuple[Any, list[str]]:
    """The function inside partials, and the names of the parameters that they give it."""
    given: list[str] = []
    while hasattr(model, "func") and hasattr(model, "keywords"):
        given += [name for name in model.keywords if name not in RUN_KEYWORDS]
        model = model.func
    return model, given


def given_values(model: Any) -> dict[str, Any]:
    """The values that partials give to a function's parameters; the outermost one's count."""
    values: dict[str, Any] = {}
    while hasattr(model, "func") and hasattr(model, "keywords"):
        values = {**{name: value for name, value in model.keywords.items() if name not in RUN_KEYWORDS}, **values}
        model = model.func
    return values
