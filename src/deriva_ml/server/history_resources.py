"""The resources below ``/history``: ranges of moments, their truncation, and what is amended in them."""

from __future__ import annotations

from functools import partial

from deriva_ml.core import codes
from deriva_ml.server import history
from deriva_ml.server.access import Access
from deriva_ml.server.amend import ASPECTS, amend, redact
from deriva_ml.server.answers import Answer, empty, json_body, json_text
from deriva_ml.server.exchange import Exchange, Resource
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.parse import Segment, Target

__all__ = ["history_resource"]


def history_resource(segments: tuple[Segment, ...], target: Target) -> Resource | None:
    """What answers a target below ``/history``.

    Args:
        segments: What follows the word.
        target: The whole target.

    Returns:
        None if there is no such resource.
    """
    if not segments or target.snaptime is not None:
        return None
    names = segments[0].names
    if segments[0].value is not None or len(names) != 2 or any(len(name) != 1 for name in names):
        return None
    since, until = names[0][0], names[1][0]
    if len(segments) == 1:
        return Resource(("GET", "DELETE"), partial(_read_range, since, until), partial(_truncate, since, until))
    word, rest = segments[1].word, segments[2:]
    reader = partial(_read_range, since, until)
    if word == "attribute":
        if not rest or len(rest) > 2 or not rest[0].word or (len(rest) == 2 and _equality(rest[1]) is None):
            return None
        condition = _equality(rest[1]) if len(rest) == 2 else None
        return Resource(("GET", "DELETE"), reader, partial(_redact, since, until, rest[0].word, condition))
    if word not in ASPECTS or len(rest) > 1 or (rest and not rest[0].word):
        return None
    return Resource(("GET", "PUT"), reader, partial(_amend, word, since, until, (rest[0].word or "") if rest else ""))


def _equality(segment: Segment) -> tuple[str, str] | None:
    """A segment of the form ``RID=value``."""
    if segment.value is None or len(segment.names) != 1 or len(segment.names[0]) != 1:
        return None
    return segment.names[0][0], segment.value


def _read_range(since: str, until: str, exchange: Exchange, view: View, access: Access) -> Answer:
    del exchange, access
    first, last = history.snapshot_range(view, since, until)
    amended = codes.encode(view.amended) if view.amended else None
    return Answer(body=json_text({"snaprange": [codes.encode(first), codes.encode(last)], "amendver": amended}))


def _truncate(since: str, until: str, exchange: Exchange, tx: Transaction) -> Answer:
    del exchange
    Access(tx.model, tx.client).need_owner(tx.model)
    history.truncate(tx, since, until)
    tx.models.forget()
    return empty()


def _redact(
    since: str, until: str, rid: str, condition: tuple[str, str] | None, exchange: Exchange, tx: Transaction
) -> Answer:
    del exchange
    redact(tx, since, until, rid, condition)
    return empty()


def _amend(aspect: str, since: str, until: str, rid: str, exchange: Exchange, tx: Transaction) -> Answer:
    amend(tx, aspect, since, until, rid, json_body(exchange.request))
    tx.models.forget()
    return empty()
