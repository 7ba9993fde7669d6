"""What configuration modules are made of: the base configuration, described lists, and loading a user's package.

Importing this module registers nothing. Configurations enter hydra-zen's ``store`` when a user's configuration module
says so, and Hydra's when a command is about to compose (``composition.register``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hydra_zen import builds

from deriva_ml.execution.config_package import load_configs
from deriva_ml.execution.config_text import join_text, split_text

__all__ = [
    "BaseConfig",
    "DerivaBaseConfig",
    "DescribedList",
    "base_defaults",
    "load_configs",
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
