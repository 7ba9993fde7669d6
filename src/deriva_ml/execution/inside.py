"""What the child process of a run does: it makes the model from the configuration, and calls it.

Its ``ml_instance`` is a whole ``DerivaML`` of the project's own class; every request of it travels to the parent, which
holds the connection and the credentials. Its ``execution`` writes to the run's own journal and manifest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from deriva_ml.catalog.piped import Piped
from deriva_ml.connect import Connection, through
from deriva_ml.core.config import resolve_place
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.handover import opened_from
from deriva_ml.execution.request import catalog_class, instantiate_model
from deriva_ml.wire.batch import Limits

if TYPE_CHECKING:
    from deriva_ml.isolate.child import Conversation

__all__ = ["call_model"]


def call_model(parent: Conversation, *, place: dict[str, Any], run: dict[str, Any], config: str | None = None) -> None:
    """Call the model of a run.

    Args:
        parent: The conversation with the process that has opened the run.
        place: The catalog and the directories for it, as ``isolation`` tells them.
        run: What ``handover.facts_of`` says of the run.
        config: The composed configuration as YAML, for a process that did not inherit it.
    """
    composed = parent.inherited if config is None else OmegaConf.create(config)
    configured, ml_class, model = instantiate_model(composed)
    batch = None if place["batch"] is None else Limits(**place["batch"])
    transport = Piped(lambda name, data, payload=b"": parent.request(name, data, payload), batch)
    connection = Connection(resolve_place(place["hostname"]), transport, place["identity"], place["client_id"])
    where = {name: place[name] for name in ("hostname", "catalog_id", "working_dir", "cache_dir")}
    there = configured.model_copy(update={**where, "credential": None})
    with through(connection):
        ml = catalog_class(ml_class).instantiate(there)
    ml.session = replace(ml.session, is_passing=bool(place["is_passing"]))
    with ml:
        execution = Execution.attached(opened_from(ml.session, run), ml)
        model(ml_instance=ml, execution=execution)
