"""A copy of a catalog for a dry run of the whole way: made in a moment, changed as the catalog would be, thrown away.

- Of a folder it is a folder laid over it (``server.overlay``): every row is there, and no object is copied.
- Of a folder that is served, and of a host, it is a sketch in a folder of this machine (``catalog.sketch``): the model,
  the vocabularies in full, the rows that the runs name and that belong to their datasets, and what those refer to.
  What else a model asks of the catalog is not in it.
- Of the default catalog that is not there yet it is a new one.

Inputs are brought from the catalog itself, through the cache as always; all else is in one temporary directory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from deriva_ml.catalog.sketch import Sketch
from deriva_ml.connect import lay_over, open_connection
from deriva_ml.core.enums import MLTable
from deriva_ml.core.logging_config import get_logger
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.bag import download_dataset_bag
from deriva_ml.execution.input_check import Inputs
from deriva_ml.execution.request import RunRequest, open_catalog
from deriva_ml.schema.create_schema import create_ml_schema
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_vocabulary
from deriva_ml.wire.path import table

__all__ = ["CopyPlace", "copied", "open_copy"]


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """Where a copy is; jobs in other processes of this machine find it by that.

    Attributes:
        folder: The temporary directory.
        catalog_id: The catalog, under its own id.
    """

    folder: Path
    catalog_id: str

    @property
    def root(self) -> Path:
        """The catalog folder."""
        return self.folder / "catalog"


@contextmanager
def copied(session: Session | None, inputs: Sequence[Inputs]) -> Iterator[CopyPlace]:
    """A copy of a catalog, which is gone at the end of the block.

    Args:
        session: The catalog; None for a new default one.
        inputs: What the runs consume.
    """
    with tempfile.TemporaryDirectory(prefix="deriva-ml-dry-run-") as folder:
        place = CopyPlace(Path(folder), "1" if session is None else session.catalog_id)
        if session is None:
            with open_connection(str(place.root), create=True) as connection:
                create_ml_schema(connection.create_catalog(place.catalog_id))
        elif session.place.root is not None:
            lay_over(session.place, place.catalog_id, place.root)
        else:
            _sketch(session, inputs, place)
        yield place


def open_copy(request: RunRequest, place: CopyPlace) -> Any:
    """Open a copy in the way in which a request opens its catalog, with directories that go with the copy.

    Args:
        request: The request.
        place: The copy.
    """
    elsewhere = {
        "hostname": str(place.root),
        "catalog_id": place.catalog_id,
        "working_dir": str(place.folder / "work"),
        "cache_dir": str(place.folder / "cache"),
        "credential": None,
    }
    ml = open_catalog(replace(request, deriva_ml=request.deriva_ml.model_copy(update=elsewhere)))
    ml.session = replace(ml.session, is_passing=True)
    return ml


def _sketch(session: Session, inputs: Sequence[Inputs], place: CopyPlace) -> None:
    """Make a catalog with what the runs name, and with what belongs to their datasets, in the bags of these."""
    ml = session.ml_schema
    with open_connection(str(place.root), create=True) as connection:
        sketch = Sketch(session.catalog, connection.create_catalog(place.catalog_id))
        for one in session.model().tables():
            if is_vocabulary(one):
                sketch.add((one.schema, one.name), session.catalog.rows(table(one.schema, one.name)))
        for dataset in (item for one in inputs for item in one.datasets):
            sketch.take((ml, str(MLTable.dataset)), "RID", [dataset.spec.rid])
            sketch.take((ml, str(MLTable.dataset_version)), "RID", [dataset.version.version_rid])
            bag = download_dataset_bag(session, dataset.spec, record=False).database
            for each in bag.tables():
                sketch.add(each.qualified, bag.rows(each))
        for asset in (item for one in inputs for item in one.assets):
            sketch.take((asset.schema, asset.table), "RID", [asset.spec.rid])
        sketch.finish()
    for text in sketch.refused:
        get_logger("execution").warning("The copy of the catalog does not check the reference %s.", text)
