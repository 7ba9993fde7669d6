"""The rows that a request brings: its body read as columns of stored values, or refused in ERMrest's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TypeAlias

from deriva_ml.core.values import dataclass
from deriva_ml.server.errors import BadRequest, Conflict, UnsupportedInput
from deriva_ml.server.integrity import INPUT_VIOLATES, not_null
from deriva_ml.wire.model import Column, Table
from deriva_ml.wire.rows import CSV, JSON, media_type, read_cells, read_csv, read_objects, store_column
from deriva_ml.wire.values import DomainViolation, Stored, codec, is_serial

__all__ = ["Body", "Inputs", "read_inputs", "refuse_repeated"]

Body: TypeAlias = "bytes | IO[bytes] | None"


_PLAIN = frozenset({str, int, bool, type(None)})
"""Types of JSON values that have no fraction in them."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Rows of a request, column by column.

    Attributes:
        count: How many rows there are.
        values: Stored values by the name that the request gives the column.
        media: The media type in which they came.
    """

    count: int
    values: Mapping[str, list[Stored]]
    media: str


def read_inputs(body: Body, content_type: str | None, table: Table, wanted: Mapping[str, Column]) -> Inputs:
    """Read the rows of a request.

    Args:
        body: The content.
        content_type: Its media type; without one it is JSON.
        table: The table that they are for.
        wanted: The columns to read, by their names in the request.

    Raises:
        UnsupportedInput: The media type is not one of rows.
        BadRequest: The content is not of that type, or a value is not of its column's type.
        Conflict: A value breaks a constraint, or CSV has a column that the table lacks.
    """
    media = media_type(content_type) if content_type else JSON
    if media is None:
        raise UnsupportedInput(content_type or "")
    content = body.read() if body is not None and not isinstance(body, bytes) else body or b""
    inputs = _from_csv(content, table, wanted) if media == CSV else _from_json(content, media, wanted)
    for name, column in wanted.items():
        if not column.nullok or is_serial(column.type):
            not_null(table, column, inputs.values[name], "input_data")
    return inputs


@contextmanager
def _faults(form: str) -> Iterator[None]:
    """Faults of the content become refusals."""
    try:
        yield
    except DomainViolation as error:
        raise Conflict(f"{INPUT_VIOLATES}{error}") from error
    except ValueError as error:
        raise BadRequest(f"Bad {form} input. ERROR:  {error}") from error


def _from_json(content: bytes, media: str, wanted: Mapping[str, Column]) -> Inputs:
    with _faults("JSON array"):
        objects = read_objects(content, media, exact=False)
        # Numbers keep their digits only where a column can hold digits, which few requests ask for: reading them as
        # floats is faster, and what turns out to need its digits is read again.
        textual = [name for name, column in wanted.items() if codec(column.type).affinity == "TEXT"]
        if any(not _PLAIN.issuperset(map(type, (item.get(name) for item in objects))) for name in textual):
            objects = read_objects(content, media, exact=True)
        values = {name: store_column(column.type, name, objects) for name, column in wanted.items()}
    return Inputs(len(objects), values, media)


def _from_csv(content: bytes, table: Table, wanted: Mapping[str, Column]) -> Inputs:
    with _faults("CSV"):
        header, records = read_csv(content)
    missing = [name for name in wanted if name not in header]
    if missing:
        raise BadRequest("Missing expected CSV columns: {}.".format(", ".join(f'"{name}"' for name in missing)))
    for name, times in Counter(header).items():
        if times > 1:
            raise BadRequest(f'CSV column "{name}" appears more than once.')
        if name not in wanted and table.column(name) is None:
            raise Conflict(f"CSV column {name} not recognized.")
    columns: Sequence[Sequence[str | None]] = list(zip(*records, strict=True)) or [()] * len(header)
    with _faults("CSV"):
        values = {name: read_cells(column.type, name, columns[header.index(name)]) for name, column in wanted.items()}
    return Inputs(len(records), values, CSV)


def refuse_repeated(inputs: Inputs, names: Collection[str]) -> None:
    """Refuse rows that have all of some values in common; a null is unlike any other.

    Raises:
        BadRequest: There are such rows.
    """
    if not names:
        return
    rows: Iterable[object]
    rows = inputs.values[next(iter(names))] if len(names) == 1 else zip(*(inputs.values[n] for n in names), strict=True)
    whole = [row for row in rows if row is not None and not (isinstance(row, tuple) and None in row)]
    if len(set(whole)) < len(whole):
        raise BadRequest("Multiple input rows share the same unique key information.")
