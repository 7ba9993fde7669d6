"""Where the rows of a mapped database come from: a bag, or a catalog. Rows are read while they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from deriva_ml.catalog.streaming import stream_rows
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLNotFoundError, DerivaMLTableNotFound
from deriva_ml.core.files import nearest
from deriva_ml.dataset.bag_database import read_model
from deriva_ml.dataset.bag_layout import payload_path, table_path
from deriva_ml.dataset.cells import field_reader, read_csv
from deriva_ml.schema.handles import client_of, model_of
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Column, Json, Model, Table
from deriva_ml.wire.path import table as rows_of

__all__ = ["BagDataSource", "CatalogDataSource", "DataSource"]

Row = dict[str, Json]


@runtime_checkable
class DataSource(Protocol):
    """What rows are loaded from. A table is one of our model's: it has ``schema`` and ``name``, both text."""

    def has_table(self, table: Table) -> bool:
        """Whether there may be rows of a table."""

    def get_table_data(self, table: Table) -> Iterator[Mapping[str, Any]]:
        """The rows of a table; an error if they cannot all be read."""


class BagDataSource:
    """The tables of a bag, read from its CSVs.

    ``Filename`` of an asset is the path of its file where the bag has it.

    Args:
        bag_path: The bag's directory.
        model: The model of its tables; by default the bag's own.

    Raises:
        DerivaMLNotFoundError: There is no bag there.
        DerivaMLDataError: The bag's model cannot be read.
    """

    def __init__(self, bag_path: Path | str, model: Any = None) -> None:
        self.bag_path = Path(bag_path).expanduser().absolute()
        self.model = _read_model(self.bag_path) if model is None else model_of(model)

    def __repr__(self) -> str:
        return f"BagDataSource({str(self.bag_path)!r})"

    def has_table(self, table: Table) -> bool:
        """Whether the bag has a file of a table's rows."""
        return self._file(table).is_file()

    def list_tables(self) -> list[Table]:
        """The tables that the bag has a file of."""
        return [table for table in self.model.tables() if self.has_table(table)]

    def get_table_data(self, table: Table) -> Iterator[Row]:
        """The rows of a table as the catalog's JSON rows; none if the bag has no file of it.

        Raises:
            DerivaMLTableNotFound: The bag's model has no such table.
            DerivaMLDataError: A row is not what the model says.
        """
        own = self.model.table(*table.qualified)
        if own is None:
            known = nearest(table.name, (each.name for each in self.model.tables()))
            raise DerivaMLTableNotFound(f"{table.schema}:{table.name}", allowed=known)
        path = self._file(own)
        if not path.is_file():
            return
        files = self.bag_path if is_asset(own) else None
        with path.open(encoding="utf-8", newline="\n") as lines:
            found = read_csv(lines, str(path))
            read = _row_reader([_column(own, name, path) for name in next(found, [])], path)
            for number, fields in enumerate(found, start=1):
                row = read(number, fields)
                if files and (local := files / payload_path(own, row)).exists():
                    row["Filename"] = str(local)
                yield row

    def _file(self, table: Table) -> Path:
        return self.bag_path / table_path(table.schema, table.name)


class CatalogDataSource:
    """The tables of some schemas of a catalog, read in one request each while the rows arrive.

    Args:
        catalog: A ``DerivaML``, its session, a client, or an ``ErmrestCatalog`` of the ``deriva`` package.
        schemas: The schemas.
    """

    def __init__(self, catalog: HasSession | Session | Any, schemas: str | Iterable[str]) -> None:
        self.catalog = session_of(catalog).catalog if isinstance(catalog, Session | HasSession) else catalog
        self.schemas = [schemas] if isinstance(schemas, str) else list(dict.fromkeys(schemas))

    def __repr__(self) -> str:
        return f"CatalogDataSource({self.schemas})"

    def has_table(self, table: Table) -> bool:
        """Whether the catalog has a table, in one of the schemas."""
        with client_of(self.catalog) as client:
            return table.schema in self.schemas and client.model().table(*table.qualified) is not None

    def get_table_data(self, table: Table) -> Iterator[Row]:
        """The rows of a table.

        Raises:
            DerivaMLTableNotFound: The catalog has no such table in these schemas.
            DerivaMLCatalogError: The catalog refused the query.
            DerivaMLUnreachable: The connection broke and could not be taken up again.
        """
        if not self.has_table(table):
            raise DerivaMLTableNotFound(
                f"{table.schema}:{table.name}", f"The catalog has no such table in {', '.join(self.schemas)}"
            )
        with client_of(self.catalog) as client:
            for rows in stream_rows(client, rows_of(*table.qualified)):
                yield from rows


def _read_model(bag: Path) -> Model:
    document = bag / "data" / "schema.json"
    if not document.is_file():
        raise DerivaMLNotFoundError(
            f"There is no bag of a dataset at {bag}: it has no data/schema.json.",
            hint="name the bag's directory, as DatasetBag.path gives it",
        )
    try:
        return read_model(bag)
    except ValueError as error:
        raise DerivaMLDataError(f"The bag's model cannot be read: {error}", source=str(document)) from error


def _column(table: Table, name: str | None, path: Path) -> Column:
    found = table.column(name or "")
    if found is None:
        raise DerivaMLDataError(f"{path.name} has a column {name!r} that the model does not know.", source=str(path))
    return found


def _row_reader(columns: list[Column], path: Path) -> Callable[[int, list[str | None]], Row]:
    """What makes a row of the fields of a line, which is told by its number."""
    names = [column.name for column in columns]
    readers = [(at, read) for at, read in enumerate(map(field_reader, columns)) if read is not None]

    def row(number: int, fields: list[str | None]) -> Row:
        cells: list[Json] = [*fields]
        try:
            for at, read in readers:
                field = fields[at]
                if field is not None:
                    cells[at] = read(field)
            return dict(zip(names, cells, strict=True))
        except (ValueError, KeyError, IndexError) as error:
            raise DerivaMLDataError(
                f"Row {number} of {path.name} cannot be read: {error}", source=f"{path}, row {number}"
            ) from error

    return row
