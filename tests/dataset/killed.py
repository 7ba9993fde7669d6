"""Changes of a dataset in processes that are killed before or after one of their requests.

A harness process (``python -m tests.dataset.killed ROOT``) loads everything once; for each line that it reads, a JSON
document with the work and the point, it forks a child, which does the work on the catalog in the folder.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.dataset.project import DEMO
from tests.fakes import Counting
from tests.harness import asking, serve

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.ml import DerivaML
from deriva_ml.wire.http import Request, Response


class Deadly(Counting):
    """Kills the process before, or after, one request."""

    def __init__(self, inner: Any, at: int, when: str) -> None:
        super().__init__(inner)
        self._at, self._when = at, when

    def send(self, request: Request) -> Response:
        number = self.count
        if (number, self._when) == (self._at, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = super().send(request)
        answer.read()
        if (number, self._when) == (self._at, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def _edit(dataset: Dataset, work: dict[str, Any]) -> None:
    with dataset.edit("Edited") as edit:
        edit.add_dataset_members({"Image": work["more"]})
        dataset.delete_dataset_members({"Image": work["members"][:1]})
        edit.add_dataset_types(["Training"])
        dataset.list_dataset_members()
        edit.add_dataset_members([work["nested"]])


WORK: dict[str, Callable[[Dataset, dict[str, Any]], object]] = {
    "add": lambda dataset, work: dataset.add_dataset_members({"Image": work["more"], "Subject": work["subjects"]}),
    "delete": lambda dataset, work: dataset.delete_dataset_members(work["members"]),
    "type": lambda dataset, _work: dataset.add_dataset_type("Training"),
    "edit": _edit,
}


def _child(root: str, work: dict[str, Any]) -> None:
    with DerivaML(root, 1, domain_schemas=[DEMO]) as ml:
        ml.session.model()
        transport = Deadly(ml.session.catalog.transport, work["at"], work["when"])
        session = replace(ml.session, catalog=CatalogClient(transport, ml.session.catalog_id))
        WORK[work["name"]](Dataset(session, work["rid"]), work)


def main() -> None:
    root = sys.argv[1]
    serve(lambda work: _child(root, work))


def killing(root: Path) -> AbstractContextManager[Callable[..., int]]:
    """Gives what does work in a process that is killed, and tells the exit code."""
    return asking("tests.dataset.killed", str(root))


if __name__ == "__main__":
    main()
