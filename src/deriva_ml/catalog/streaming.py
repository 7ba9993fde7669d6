"""Many rows of a catalog, read while they arrive: never more than a part of them is in memory.

One request each, whatever the number of rows. Where the connection breaks, rows go on after the last one that was
read; columns, which are short, begin anew where they are asked for. An answer that ends too early is never taken for a
whole one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import TypeAlias, cast

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.transport import Retry
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.core.values import dataclass
from deriva_ml.wire import targets
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import Path

__all__ = ["Columns", "Row", "columns_of", "stream_rows"]

Row: TypeAlias = dict[str, Json]

_AROUND = b"[], \r\n"
"""What stands between the rows of an answer, and before and after them; a row's own text begins and ends in braces."""


def stream_rows(client: CatalogClient, path: Path, *, retry: Retry | None = None) -> Iterator[list[Row]]:
    """The rows of a path's context table, in the catalog's order of RIDs, some at a time.

    Args:
        client: The catalog.
        path: The path, without an order.
        retry: When to go on after the connection broke.

    Raises:
        DerivaMLUnreachable: The connection broke and could not be taken up again.
    """
    patience = retry or Retry(attempts=5)
    ordered = path.sorted("RID")
    last: str | None = None
    attempt = 1
    while True:
        asked = ordered if last is None else ordered.after(last)
        try:
            for rows in _rows(_get(client, asked.entity(), "application/json")):
                yield rows
                last, attempt = str(rows[-1]["RID"]), 1
        except DerivaMLUnreachable:
            if not patience.again(attempt):
                raise
            attempt += 1
        else:
            return


@dataclass(frozen=True, slots=True)
class Columns:
    """Some columns of an answer in CSV.

    Attributes:
        values: The values of each column as text, in an order that all of them share; null is empty text.
        count: How many rows there are.
        length: How many bytes their lines take, with all of their columns.
    """

    values: list[list[str]]
    count: int
    length: int


def columns_of(answer: Response, wanted: Sequence[str]) -> Columns:
    """Read an answer in CSV while it arrives.

    Args:
        answer: The answer.
        wanted: The columns to keep.

    Raises:
        DerivaMLUnreachable: It ends too early.
    """
    groups = _line_groups(answer)
    (header,) = csv.reader([next(groups).decode()])
    places = [header.index(name) for name in wanted]
    found: list[list[str]] = [[] for _ in places]
    length = 0
    for group in groups:
        if b'"' in group:
            # A quoted value may go on in the next group: from here on all of them are read as one.
            rest = b"".join([group, *groups])
            length += len(rest)
            _quoted(found, rest.decode(), places, len(header))
        elif group:
            length += len(group)
            fields = group.decode().removesuffix("\n").replace("\n", ",").split(",")
            for column, place in zip(found, places, strict=True):
                column.extend(fields[place :: len(header)])
    return Columns(found, len(found[0]) if found else 0, length)


def _get(client: CatalogClient, target: str, media: str) -> Response:
    if client.snaptime is None and client.drafts.before(target):
        return client.send("GET", target, headers={"accept": media})
    base = targets.catalog(client.catalog_id, client.snaptime)
    request = Request("GET", base + target, {"accept": media})
    return check(request, client.transport.send(request))


def _rows(answer: Response) -> Iterator[list[Row]]:
    rest, closed = b"", False
    try:
        for part in answer.parts():
            # JSON has no line ends within values: what ends with one holds whole rows.
            whole, end, after = (rest + part).rpartition(b"\n")
            closed = not after and whole.endswith(b"]")
            rest = after
            if end and (text := whole.strip(_AROUND)):
                yield cast("list[Row]", json.loads(b"[" + text + b"]"))
    finally:
        answer.close()
    closed = closed or rest.rstrip().endswith(b"]")
    if text := rest.strip(_AROUND):
        if not closed:
            raise DerivaMLUnreachable("The connection was lost in the middle of a row.")
        yield cast("list[Row]", json.loads(b"[" + text + b"]"))
    if not closed:
        raise DerivaMLUnreachable("The connection was lost in the middle of an answer.")


def _line_groups(answer: Response) -> Iterator[bytes]:
    """The header, then whole lines, many at a time."""
    rest, header = b"", False
    try:
        for part in answer.parts():
            whole, end, rest = (rest + part).rpartition(b"\n")
            if not end:
                continue
            if not header:
                first, _end, whole = whole.partition(b"\n")
                header = True
                yield first
            if whole:
                yield whole + b"\n"
    finally:
        answer.close()
    if rest or not header:
        raise DerivaMLUnreachable("The connection was lost in the middle of an answer.")


def _quoted(found: list[list[str]], text: str, places: Sequence[int], width: int) -> None:
    for row in csv.reader(io.StringIO(text, newline="")):
        # A line without anything in it is a null.
        values = row or [""]
        if len(values) != width:
            raise DerivaMLUnreachable("The connection was lost in the middle of a row.")
        for column, place in zip(found, places, strict=True):
            column.append(values[place])
