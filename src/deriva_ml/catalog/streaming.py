"""Many rows of a catalog, read while they arrive: never more than a part of them is in memory.

One request each, whatever the number of rows. Where the connection breaks, rows go on after the last one that was
read, and columns, which are short, begin anew. An answer that ends too early is never taken for a whole one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias, cast

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.transport import Retry
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.wire import targets
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import Path

__all__ = ["Row", "read_columns", "stream_rows"]

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


def read_columns(
    client: CatalogClient, path: Path, columns: Sequence[str], *, retry: Retry | None = None
) -> list[list[str]]:
    """Some columns of a path's rows as text, in an order that all of them share; null is empty text.

    Args:
        client: The catalog.
        path: The path.
        columns: Their names.
        retry: When to begin anew after the connection broke.

    Raises:
        DerivaMLUnreachable: The connection broke each time.
    """
    patience = retry or Retry(attempts=5)
    attempt = 1
    while True:
        try:
            return _columns(_get(client, path.attributes(*columns), "text/csv"), len(columns))
        except DerivaMLUnreachable:
            if not patience.again(attempt):
                raise
            attempt += 1


def _get(client: CatalogClient, target: str, media: str) -> Response:
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


def _columns(answer: Response, width: int) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(width)]
    lines = _line_groups(answer)
    next(lines)  # the header
    for group in lines:
        if '"' in group:
            # A quoted value may go on in the next group: from here on all of them are read as one.
            _quoted(found, [group, *lines])
        elif group:
            fields = group.removesuffix("\n").replace("\n", ",").split(",")
            for at, column in enumerate(found):
                column.extend(fields[at::width])
    return found


def _line_groups(answer: Response) -> Iterator[str]:
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
                yield first.decode()
            if whole:
                yield whole.decode() + "\n"
    finally:
        answer.close()
    if rest or not header:
        raise DerivaMLUnreachable("The connection was lost in the middle of an answer.")


def _quoted(found: list[list[str]], groups: Iterable[str]) -> None:
    for row in csv.reader(io.StringIO("".join(groups), newline="")):
        # A line without anything in it is a null.
        for column, value in zip(found, row or [""], strict=True):
            column.append(value)
