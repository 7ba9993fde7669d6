"""A catalog of a million executions and ten million association rows: what is asked of it every day, and its size.

It is built through the service's own POST, in process: executions with a workflow each, and for each execution the
datasets and assets that it used and made. The baseline of a question is the same one put to a plain SQLite file of
the same rows with the indexes that serve it. ``--scale 0.1`` makes a tenth of the rows.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Sheet, typical_time

from deriva_ml.connect import open_connection
from deriva_ml.schema.create_schema import create_ml_schema
from deriva_ml.server.app import Service, local_client, open_service
from deriva_ml.wire.http import Request

CATALOG = "/ermrest/catalog/1"
PART = 50_000
"""Rows of one POST."""

DATASETS = 2_000
ASSETS = 10_000
WORKFLOWS = 50
PLAIN = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE execution (rid TEXT PRIMARY KEY, rct INTEGER, workflow TEXT, status TEXT);
CREATE TABLE used (dataset TEXT, execution TEXT);
CREATE TABLE linked (asset TEXT, execution TEXT, role TEXT);
"""
INDEXES = """
CREATE INDEX by_rct ON execution (rct, rid);
CREATE INDEX used_dataset ON used (dataset); CREATE INDEX used_execution ON used (execution);
CREATE INDEX linked_asset ON linked (asset); CREATE INDEX linked_execution ON linked (execution);
"""


@dataclass(frozen=True)
class Built:
    """What was built: RIDs to ask for."""

    executions: Sequence[str]
    datasets: Sequence[str]


class Builder:
    """Fills a catalog, and the baseline's file with the same rows.

    Args:
        service: The service of the folder.
        plain: The baseline.
        scale: Which part of the full size to build.
    """

    def __init__(self, service: Service, plain: sqlite3.Connection, scale: float) -> None:
        self._service = service
        self._plain = plain
        self._client = local_client()
        self._random = random.Random(1)
        self.executions = max(100, int(1_000_000 * scale))
        self.datasets = min(DATASETS, self.executions // 5)
        self.uses = 2 * self.executions
        self.links = 8 * self.executions

    def post(self, table: str, rows: list[dict[str, Any]]) -> list[str]:
        """Insert rows; gives their RIDs."""
        headers = {"content-type": "application/json", "accept": "application/json"}
        body = json.dumps(rows).encode()
        target = f"{CATALOG}/entity/deriva-ml:{table}"
        answer = self._service(Request("POST", target, headers, body), self._client)
        content = answer.read()
        assert answer.status == 200, content[:500]
        return [row["RID"] for row in json.loads(content)]

    def build(self) -> Built:
        """Fill both; the plain one gets its indexes at the end."""
        workflows = self.post("Workflow", [{"Name": f"workflow {at}"} for at in range(WORKFLOWS)])
        datasets = self.post("Dataset", [{"Description": f"dataset {at}"} for at in range(self.datasets)])
        assets = self.post("Execution_Asset", [self._asset(at) for at in range(ASSETS)])
        executions: list[str] = []
        for part in _parts(self.executions):
            rows = [
                {"Workflow": workflows[at % WORKFLOWS], "Status": "Completed", "Description": f"run {at}"}
                for at in part
            ]
            made = self.post("Execution", rows)
            values = [(rid, part[0], row["Workflow"], row["Status"]) for rid, row in zip(made, rows, strict=True)]
            self._plain.executemany("INSERT INTO execution VALUES (?, ?, ?, ?)", values)
            executions += made
        self._link("Dataset_Execution", "Dataset", datasets, executions, self.uses // self.executions)
        self._link("Execution_Asset_Execution", "Execution_Asset", assets, executions, self.links // self.executions)
        self._plain.executescript(INDEXES)
        return Built(executions, datasets)

    @staticmethod
    def _asset(at: int) -> dict[str, Any]:
        return {"URL": f"/hatrac/bench/{at}", "Filename": f"{at}.bin", "Length": at, "MD5": f"{at:032x}"}

    def _link(self, table: str, kind: str, others: Sequence[str], executions: Sequence[str], each: int) -> None:
        """Give every execution some different others."""
        for part in _parts(len(executions), PART // each):
            rows = []
            for at in part:
                for number, other in enumerate(self._random.sample(others, each)):
                    role = {} if kind == "Dataset" else {"Asset_Role": "Output" if number % 2 else "Input"}
                    rows.append({kind: other, "Execution": executions[at], **role})
            self.post(table, rows)
            if kind == "Dataset":
                self._plain.executemany("INSERT INTO used VALUES (:Dataset, :Execution)", rows)
            else:
                self._plain.executemany("INSERT INTO linked VALUES (:Execution_Asset, :Execution, :Asset_Role)", rows)


def _parts(count: int, size: int = PART) -> Iterator[range]:
    return (range(at, min(at + size, count)) for at in range(0, count, size))


def questions(sheet: Sheet, service: Service, plain: sqlite3.Connection, built: Built, rounds: int) -> None:
    """Ask what is asked every day."""
    client, chooser = local_client(), random.Random(2)

    def ask(path: str, least: int) -> None:
        answer = service(Request("GET", f"{CATALOG}/{path}", {"accept": "application/json"}), client)
        content = answer.read()
        assert answer.status == 200, content[:500]
        assert content.count(b'"RID"') >= least, content[:500]

    def base(sql: str, *values: str) -> Callable[[], object]:
        return lambda: json.dumps(plain.execute(sql, values).fetchall())

    one, its = "SELECT e.* FROM execution AS e JOIN", "ON e.rid = x.execution WHERE x."
    some = built.executions[len(built.executions) // 2]
    dataset = built.datasets[7]
    newest = "entity/deriva-ml:Execution@sort(RCT::desc::,RID::desc::)?limit=100"
    used_by = "entity/deriva-ml:Dataset/RID={}/deriva-ml:Dataset_Execution/deriva-ml:Execution?limit=1000"
    inputs = "entity/deriva-ml:Execution/RID={}/deriva-ml:Dataset_Execution/deriva-ml:Dataset"
    links = "A:=deriva-ml:Execution_Asset_Execution/Execution={}"
    files = f"attribute/{links}/F:=(Execution_Asset)/RID,Filename,role:=A:Asset_Role"

    def both() -> None:
        rid = chooser.choice(built.executions)
        ask(inputs.format(rid), 2)
        ask(files.format(rid), 8)

    asked: tuple[tuple[str, Callable[[], object], Callable[[], object]], ...] = (
        (
            "the latest 100",
            lambda: ask(newest, 100),
            base("SELECT * FROM execution ORDER BY rct DESC, rid DESC LIMIT 100"),
        ),
        (
            "the latest 100, by time alone",
            lambda: ask("entity/deriva-ml:Execution@sort(RCT::desc::)?limit=100", 100),
            base("SELECT * FROM execution ORDER BY rct DESC LIMIT 100"),
        ),
        (
            "those that used one dataset (1,000 at most)",
            lambda: ask(used_by.format(chooser.choice(built.datasets)), 1),
            base(f"{one} used AS x {its}dataset = ? LIMIT 1000", dataset),
        ),
        (
            "inputs and outputs of one, two requests",
            both,
            base("SELECT * FROM used, linked WHERE used.execution = ?1 AND linked.execution = ?1", some),
        ),
    )
    for what, ours, theirs in asked:
        took, baseline = typical_time(ours, rounds) * 1000, typical_time(theirs, rounds) * 1000
        sheet.add(f"executions: {what}", took, "ms", baseline=baseline, at_most=20)


def main() -> int:
    """Build, ask and print; 1 if a target is missed."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--scale", type=float, default=1.0, help="which part of the full size to build")
    flags.add_argument("--rounds", type=int, default=50)
    flags.add_argument("--folder", type=Path, help="where to build it, for a disk other than the temporary one's")
    args = flags.parse_args()
    sheet = Sheet("A large catalog", "the same rows in a plain SQLite file, with indexes")
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        root, file = Path(scratch) / "folder", Path(scratch) / "plain.db"
        with open_connection(str(root), create=True) as connection:
            create_ml_schema(connection.create_catalog(1))
        plain = sqlite3.connect(file)
        plain.executescript(PLAIN)
        service = open_service(root)
        builder = Builder(service, plain, args.scale)
        start = time.perf_counter()
        built = builder.build()
        plain.commit()
        took, rows = time.perf_counter() - start, builder.executions + builder.uses + builder.links
        sheet.add(f"{rows:,} rows built, the baseline's too", rows / took, "rows/s")
        service.close()
        service = open_service(root)
        questions(sheet, service, plain, built, args.rounds)
        service.close()
        plain.close()
        ours = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        sheet.add("size on disk", ours / 1e6, "MB", baseline=file.stat().st_size / 1e6)
        sheet.add("size on disk per row", ours / rows, "bytes", baseline=file.stat().st_size / rows)
    sheet.add("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, "MB")
    return sheet.end()


if __name__ == "__main__":
    raise SystemExit(main())
