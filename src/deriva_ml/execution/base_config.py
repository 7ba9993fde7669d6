"""What configuration modules are made of: the base configuration, described lists, configurations of notebooks.

Importing this module registers nothing. Configurations enter hydra-zen's ``store`` when a user's configuration module
says so, and Hydra's when a command or a notebook is about to compose (``registry.register``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from hydra_zen import builds, instantiate, store

from deriva_ml.core.config import Settings
from deriva_ml.core.values import dataclass
from deriva_ml.execution import composition
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.config_package import load_configs
from deriva_ml.execution.config_text import join_text, split_text
from deriva_ml.execution.environment import handed_overrides
from deriva_ml.execution.overrides import check_overrides, literal_descriptions
from deriva_ml.execution.parameters import check_fields
from deriva_ml.execution.registry import Registry, entries, register

__all__ = [
    "BaseConfig",
    "DerivaBaseConfig",
    "DescribedList",
    "base_defaults",
    "get_notebook_configuration",
    "load_configs",
    "notebook_config",
    "with_description",
]

base_defaults: tuple[str | dict[str, str], ...] = (
    "_self_",
    {"deriva_ml": "default_deriva"},
    {"datasets": "default_dataset"},
    {"assets": "default_asset"},
    {"workflow": "default_workflow"},
    {"model_config": "default_model"},
)
"""The groups that a main configuration takes, with the names of their defaults."""


@dataclass
class BaseConfig:
    """Fields that every runnable configuration has; projects subclass it with their own parameters.

    Attributes:
        deriva_ml: Where the catalog is.
        datasets: Datasets to bring.
        assets: Assets to bring.
        dry_run: Check everything, record nothing.
        description: What the run is for.
        config_choices: Which name was chosen in each group.
        script_config: A script to run in place of the model.
    """

    deriva_ml: Any = None
    datasets: Any = None
    assets: Any = None
    dry_run: bool = False
    description: str = ""
    config_choices: dict[str, str] = field(default_factory=dict)
    script_config: Any = None


DerivaBaseConfig = builds(BaseConfig, populate_full_signature=True, hydra_defaults=list(base_defaults))
"""``BaseConfig`` for Hydra, with the defaults of every group."""


class DescribedList(list[Any]):
    """A list that says what it is.

    Args:
        items: The items.
        description: What they are, in one piece or several.
    """

    def __init__(self, items: Iterable[Any] | None = None, description: str | Iterable[str] = "") -> None:
        super().__init__(items or ())
        self.description = join_text(description)

    def __repr__(self) -> str:
        shown = super().__repr__()
        return f"DescribedList({shown}, description={self.description!r})" if self.description else shown


def with_description(items: Iterable[Any], description: str) -> Any:
    """A configuration that instantiates to a `DescribedList`.

    In a composition it is one node: list overrides do not reach into it.

    Args:
        items: Values or configurations of values.
        description: What they are; any character is allowed.
    """
    return builds(DescribedList, items=list(items), description=split_text(description))


def notebook_config(
    name: str,
    config_class: type | None = None,
    defaults: Mapping[str, str] | None = None,
    *,
    registry: Any | None = None,
    **field_defaults: Any,
) -> Any:
    """Store the configuration of a notebook; ``get_notebook_configuration`` composes it.

    Args:
        name: Its name.
        config_class: A dataclass that extends ``BaseConfig`` with the notebook's own parameters.
        defaults: Names to choose where they are not the usual ones, and groups beyond ``deriva_ml``, ``datasets`` and
            ``assets``.
        registry: The ``ZenStore`` to enter it in; by default hydra-zen's own ``store``.
        **field_defaults: Values of its fields.

    Returns:
        The configuration.
    """
    chosen = {group: name for item in base_defaults[1:4] if isinstance(item, dict) for group, name in item.items()}
    chosen |= defaults or {}
    made = builds(
        config_class or BaseConfig,
        populate_full_signature=True,
        hydra_defaults=["_self_", *({group: name} for group, name in chosen.items())],
        **field_defaults,
    )
    (store if registry is None else registry)(made, name=name)
    return made


def get_notebook_configuration(
    config_class: Any,
    config_name: str,
    overrides: Sequence[str] | None = None,
    job_name: str = "notebook",
    version_base: str = composition.VERSION_BASE,
    *,
    registry: Any | None = None,
) -> Any:
    """Compose the configuration of a notebook and make the objects that it describes.

    The overrides that the notebook's runner handed over (``DERIVA_ML_HYDRA_OVERRIDES``) come first; those given here
    win. Hydra's files of the job are where ``deriva_ml.hydra_runtime_output_dir`` of the result says.

    Args:
        config_class: The configuration, as `notebook_config` gives it, or a dataclass; taken if none of this name is
            stored.
        config_name: Its name in the store.
        overrides: Overrides, as on the command line.
        job_name: Hydra's name for the job.
        version_base: The version of Hydra whose behaviour is asked for.
        registry: The ``ZenStore`` with the configurations; by default hydra-zen's own ``store``.

    Returns:
        The instance, with ``config_choices`` filled in where it has such a field.

    Raises:
        DerivaMLConfigurationError: An override, or the configuration, is wrong.
    """
    stored = entries(store if registry is None else registry)
    if not any(entry["name"] == config_name and not entry["group"] for entry in stored):
        node = _buildable(config_class)
        stored.append({"name": config_name, "group": None, "package": None, "provider": None, "node": node})
    known = Registry.read(stored, config_name)
    words = literal_descriptions([*handed_overrides(), *(overrides or ())], known.keys)
    check_overrides(words, known)
    register(stored, known.keys)
    settings, stamp = Settings.read(), composition.new_stamp()
    full = [*composition.output_overrides(settings.home, stamp, words), *words]
    with composition.hydra_session(job_name, version_base) as hydra:
        return composition.run_job(hydra, config_name, _made, full)


def _buildable(config_class: Any) -> Any:
    """A configuration that can be instantiated: what hydra-zen built, or one that builds a plain dataclass."""
    if hasattr(config_class, "_target_"):
        return config_class
    names = {item.name for item in dataclasses.fields(config_class)}
    groups = [item for item in base_defaults if isinstance(item, str) or names.issuperset(item)]
    return builds(config_class, populate_full_signature=True, hydra_defaults=groups)


def _made(config: Any) -> Any:
    """The instance that a composed configuration describes, with the choices that were made."""
    text = config.get("description")  # read here, once, as in a run
    if text is not None:
        config["description"] = ""
    made = instantiate(config)
    if text is not None:
        made.description = text
    context = JobContext.current()
    check_fields(made, context.overrides)
    if hasattr(made, "config_choices"):
        made.config_choices = dict(context.choices)
    return made
