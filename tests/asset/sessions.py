"""The same session over another transport, and what a run needs to begin."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deriva_ml.asset.manifest import AssetManifest
from deriva_ml.asset.staging import AssetStage
from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.transport import Transport
from deriva_ml.schema.session import Session


def over(session: Session, transport: Transport) -> Session:
    """The session over another transport; its model is read first, so that only what follows goes over it."""
    made = replace(session, catalog=CatalogClient(transport, session.catalog_id), objects=ObjectClient(transport))
    made.model()
    return made


def new_execution(session: Session) -> str:
    workflow = session.catalog.insert("deriva-ml", "Workflow", [{"Name": "w"}])[0]["RID"]
    return str(session.catalog.insert("deriva-ml", "Execution", [{"Workflow": workflow}])[0]["RID"])


class Run:
    """An execution with its manifest and its stage."""

    def __init__(self, session: Session, directory: Path) -> None:
        self.session = session
        self.rid = new_execution(session)
        self.directory = directory / self.rid
        self.manifest = AssetManifest(self.directory / "asset-manifest.jsonl", self.rid)
        self.stage = AssetStage(session, self.manifest, self.directory)


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """A disk that is full in the middle of a large file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
