"""Compares what a service answers with recorded interactions; the format is that of ``recordings/README.md``.

Placeholders ``${KIND:n}`` stand for values that vary: the first one in an answer binds, later ones must agree.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a service answered."""

    status_code: int
    headers: dict[str, str]
    content: bytes


Send = Callable[[str, str, dict[str, str], "bytes | None", str], Answer]

KINDS = {
    "CAT": r"[0-9A-Za-z._~-]+",
    "RID": r"[0-9A-HJKMNP-TV-Z]+(?:-[0-9A-HJKMNP-TV-Z]{4})*",
    "TS": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[+-]\d\d(?::\d\d)?|Z)?",
    "SNAP": r"[0-9A-HJKMNP-TV-Z]{2,3}(?:-[0-9A-HJKMNP-TV-Z]{4}){2,3}",
    "VER": r"[A-Za-z0-9_-]+",
    "JOB": r"[A-Za-z0-9_-]+",
    "ETAG": r'(?:W/)?"[^"]*"|None',
    "ANY": r'[^ ">.]*',
    "RUN": r"[0-9a-z]+",
}
PLACEHOLDER = re.compile(r"\$\{([A-Z]+):([A-Za-z0-9_]+)\}")
HEADERS = [
    "content-type",
    "etag",
    "location",
    "content-location",
    "content-disposition",
    "content-md5",
    "content-sha256",
    "accept-ranges",
    "content-range",
    "vary",
    "www-authenticate",
    "cache-control",
    "allow",
    "content-length",
]
BASIC = {"content-type", "etag", "location"}
UNORDERED = {"keys", "foreign_keys", "unique_columns"}


class Mismatch(Exception):
    """The answer differs from the recording."""


def fill(text: str, bound: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda m: bound.get(m.group(0), m.group(0)), text)


def match_text(expected: str, actual: str, bound: dict[str, str], where: str) -> None:
    """Compare text; placeholders bind on first sight and must agree afterwards (ETAG and ANY never must)."""
    pattern, pos, names = "", 0, {}
    for m in PLACEHOLDER.finditer(expected):
        pattern += re.escape(expected[pos : m.start()])
        pos, name = m.end(), m.group(0)
        if name in bound and m.group(1) not in ("ETAG", "ANY"):
            pattern += re.escape(bound[name])
        elif name in names:
            pattern += f"(?P={names[name]})"
        else:
            names[name] = f"g{len(names)}"
            pattern += f"(?P<{names[name]}>{KINDS[m.group(1)]})"
    found = re.compile(pattern + re.escape(expected[pos:]), re.DOTALL).fullmatch(actual)
    if not found:
        raise Mismatch(f"{where}: expected {fill(expected, bound)[:600]!r} got {actual[:600]!r}")
    bound.update({name: found.group(group) for name, group in names.items()})


def match_json(expected, actual, bound, where="$", unordered=False, deep=False) -> None:
    if isinstance(expected, dict):
        match_object(expected, actual, bound, where, deep)
    elif isinstance(expected, list):
        match_list(expected, actual, bound, where, unordered, deep)
    elif isinstance(expected, str) and re.fullmatch(r"\$\{ANY:\d+\}", expected):
        bound[expected] = str(actual)
    elif isinstance(expected, str) and isinstance(actual, str):
        match_text(expected, actual, bound, where)
    elif not same_scalar(expected, actual):
        raise Mismatch(f"{where}: expected {expected!r} got {actual!r}")


def match_object(expected, actual, bound, where, deep) -> None:
    if not isinstance(actual, dict):
        raise Mismatch(f"{where}: expected an object, got {actual!r}")
    missing, extra = sorted(set(expected) - set(actual)), sorted(set(actual) - set(expected))
    if missing or extra:
        raise Mismatch(f"{where}: members missing {missing}, extra {extra}")
    for key, value in expected.items():
        match_json(value, actual[key], bound, f"{where}.{key}", key in UNORDERED or deep, deep)


def match_list(expected, actual, bound, where, unordered, deep) -> None:
    if not isinstance(actual, list) or len(expected) != len(actual):
        raise Mismatch(f"{where}: expected {len(expected)} items, got {actual!r:.300}")
    if unordered:
        match_multiset(expected, actual, bound, where, lambda a, b, e: match_json(a, b, e, where, True, deep))
        return
    for i, (a, b) in enumerate(zip(expected, actual, strict=True)):
        match_json(a, b, bound, f"{where}[{i}]", False, deep)


def same_scalar(expected, actual) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool) or not isinstance(expected, int | float):
        return type(expected) is type(actual) and expected == actual
    return isinstance(actual, int | float) and abs(expected - actual) <= 1e-9 * max(abs(expected), abs(actual))


def match_multiset(expected, actual, bound, where, compare) -> None:
    left = list(actual)
    for item in expected:
        for j, candidate in enumerate(left):
            trial = dict(bound)
            try:
                compare(item, candidate, trial)
            except Mismatch:
                continue
            bound.update(trial)
            del left[j]
            break
        else:
            raise Mismatch(f"{where}: nothing matches {json.dumps(item)[:500]}; left over {json.dumps(left)[:500]}")


def csv_records(text: str) -> list[str]:
    records, current, quoted = [], "", False
    for char in text:
        quoted ^= char == '"'
        if char == "\n" and not quoted:
            records.append(current)
            current = ""
        else:
            current += char
    return [*records, current] if current else records


def match_body(e, content: bytes, bound) -> None:
    kind = e["rkind"]
    if kind == "empty":
        if content and e["method"] != "HEAD":
            raise Mismatch(f"body: expected none, got {content[:200]!r}")
    elif kind == "json":
        match_json(
            e["rbody"], json.loads(content), bound, "$", e.get("unordered", False), e.get("deep_unordered", False)
        )
    elif kind == "jsonl":
        rows = [json.loads(line) for line in content.decode().split("\n") if line.strip()]
        match_json(e["rbody"], rows, bound, "$", e.get("unordered", False), e.get("deep_unordered", False))
    elif kind == "csv" and e.get("unordered"):
        want, got = csv_records(e["rbody"]), csv_records(content.decode())
        if len(want) != len(got):
            raise Mismatch(f"csv: expected {len(want)} records, got {len(got)}")
        if want:
            match_text(want[0], got[0], bound, "csv header")
            match_multiset(want[1:], got[1:], bound, "csv", lambda a, b, x: match_text(a, b, x, "csv row"))
    elif kind in ("csv", "text"):
        match_text(e["rbody"], content.decode("utf-8", "replace"), bound, kind)
    elif base64.b64encode(content).decode() != e["rbody"]:
        raise Mismatch(f"binary body differs ({len(content)} bytes)")


def compare(e, answer, bound, errors="text", headers="full") -> list[str]:
    if answer.status_code != e["status"]:
        return [f"status: expected {e['status']} got {answer.status_code} {answer.content[:300]!r}"]
    brief = e["status"] >= 400 and errors == "status"
    fails = []
    for name in HEADERS:
        skipped = headers == "basic" and (name not in BASIC or (name == "content-type" and e["rkind"] == "empty"))
        if name == "content-length" and (e["rheaders"].get(name) is None or brief):
            skipped = True
        if not skipped:
            fails.extend(compare_header(name, e["rheaders"].get(name), answer.headers.get(name), bound))
    if not brief:
        try:
            match_body(e, answer.content, bound)
        except Mismatch as problem:
            fails.append(str(problem))
        except ValueError as problem:
            fails.append(f"unparsable: {problem} {answer.content[:200]!r}")
    return fails


def compare_header(name, want, got, bound) -> list[str]:
    if want is None and got is None:
        return []
    if want is None or got is None:
        return [f"header {name}: expected {want!r} got {got!r}"]
    if name in ("allow", "vary"):
        same = {x.strip().lower() for x in want.split(",")} == {x.strip().lower() for x in got.split(",")}
        return [] if same else [f"header {name}: expected {want!r} got {got!r}"]
    if name == "content-type":
        want, got = want.replace(" ", "").lower(), got.replace(" ", "").lower()
    try:
        match_text(want, got, bound, f"header {name}")
    except Mismatch as problem:
        return [str(problem)]
    return []


def replay(lines: Iterable[str], send: Send, errors: str = "text", headers: str = "full", seed: int = 0):
    """Yield (interaction, failures) for each recorded line, in order."""
    rng = random.Random(seed)
    bound = {"${RUN:1}": "".join(rng.choice(string.ascii_lowercase + string.digits) for _ in range(8))}
    for line in lines:
        e: dict[str, Any] = json.loads(line)
        body = None
        if "body_b64" in e:
            body = base64.b64decode(e["body_b64"])
        elif "body" in e:
            body = fill(e["body"], bound).encode()
        sent = {name: fill(value, bound) for name, value in e.get("headers", {}).items()}
        answer = send(e["method"], fill(e["path"], bound), sent, body, e["as"])
        yield e, compare(e, answer, bound, errors, headers)
