"""Assets: outputs registered, uploaded, listed and resolved, through ``DerivaML`` and a folder of this machine.

The baseline of an upload is writing and flushing the same files one after the other, hashing each with MD5 and SHA-256;
of a large file, reading it once with both digests side by side, as quick as hashing gets (the target), and one after
the other in one thread, as most programs do it; of a registration, a line appended to a file and flushed, each by
itself (a tenth of them, times ten); of listing and resolving, the number of requests; of the memory that a commit
takes, that of ten outputs. Transactions are counted as the databases and the manifest have them on the disk: at most
one for 500 outputs in each, and a few that do not depend on how many there are. The public deriva-ml needs 39 ms a file
for an upload, on its own server. ``--scale 0.01`` makes a hundredth of everything.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import secrets
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from figures import Sheet, best
from transactions import commits

from deriva_ml import DerivaML
from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.transport import Bulk, Transport
from deriva_ml.connect import open_connection
from deriva_ml.core.files import hash_file
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.create_schema import create_ml_schema
from deriva_ml.wire.batch import Limits
from deriva_ml.wire.http import Request, Response
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

if TYPE_CHECKING:
    from deriva_ml.execution.execution import Execution

SMALL = 4096
BLOCK = 4 << 20
ROUNDS = 3
BATCH = 500
"""Outputs for which there may be a transaction."""
CONSTANT = 3
"""Transactions however many outputs there are: RIDs are leased; the run's state before and after."""
TABLES = ("Sample", "Image", "Large", "Note", "Left")
LATER = """
import json
import re
import sys
from pathlib import Path
from transactions import openings
from deriva_ml import DerivaML
from deriva_ml.execution.finishing import commit_run

root, work, rid, manifest, told = sys.argv[1:]
with DerivaML(root, 1, working_dir=work) as ml, openings(Path(manifest)) as written:
    commit_run(ml, rid).require_complete()
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
Path(told).write_text(json.dumps([written.number, int(peak[1]) * 1024]))
"""
"""A process that commits what a run has left.

It tells how often it took its turn to write to the manifest, and its own peak memory: what the system says of a child
begins with the memory of its parent.
"""
TYPES = ["Measured", "Checked"]
"""The types of each output, beside those of its table."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.

    Attributes:
        files: Files of an upload.
        outputs: Small outputs that are registered, written and committed.
        large: Bytes of the large file.
        registrations: Outputs that are registered and not written.
        rids: RIDs that are resolved.
    """

    files: int
    outputs: int
    large: int
    registrations: int
    rids: int

    @classmethod
    def scaled(cls, scale: float) -> Sizes:
        """The sizes of the targets, or a part of them."""
        full = (1_000, 10_000, 1 << 30, 100_000, 1_100)
        return cls(*(max(10, round(number * scale)) for number in full))


class Counting:
    """A transport that passes everything on and counts."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.count = 0

    @property
    def body_limit(self) -> int | None:
        """That of the transport itself."""
        return self._inner.body_limit

    @property
    def batch(self) -> Limits | None:
        """That of the transport itself."""
        return self._inner.batch

    @property
    def bulk(self) -> Bulk | None:
        """None: nothing goes past the requests."""
        return None

    def send(self, request: Request) -> Response:
        """Count a request and pass it on."""
        self.count += 1
        return self._inner.send(request)

    def local_path(self, target: str) -> Path | None:
        """Where the transport itself finds an object."""
        return self._inner.local_path(target)

    def close(self) -> None:
        """Close the transport."""
        self._inner.close()


def opened(scratch: Path) -> AbstractContextManager[DerivaML]:
    """A new catalog with asset tables of its own."""
    root = str(scratch / "folder")
    with open_connection(root, create=True) as connection:
        client = connection.create_catalog(1)
        create_ml_schema(client, project_name="bench")
        client.create_schema("bench", "The tables of the benchmark.")
    ml = DerivaML(root, 1, working_dir=scratch / "work", clean_execution_dir=False)
    for name in TABLES:
        ml.create_asset(name)
    for name in TYPES:
        ml.add_term("Asset_Type", name, "A type of the benchmark.")
    ml.add_term("Workflow_Type", "Benchmark", "What measures.")
    return ml


def execution(ml: DerivaML) -> Execution:
    """A new execution."""
    workflow = Workflow(
        name="benchmark", url="https://example.org/bench", workflow_type=["Benchmark"], checksum="abc", version="1"
    )
    return ml.create_execution(ExecutionConfiguration(description="benchmark", workflow=workflow))


def write_outputs(run: Execution, table: str, contents: list[bytes]) -> None:
    """Register an output of each content, and write it as a model does."""
    for at, content in enumerate(contents):
        run.asset_file_path(table, f"file {at}.bin", asset_types=TYPES).write_bytes(content)


def commit(run: Execution, number: int) -> None:
    """Upload the outputs of an execution."""
    done = run.upload_execution_outputs(clean_folder=False)
    assert sum(map(len, done.values())) == number, done.keys()


def write_plain(folder: Path, contents: list[bytes]) -> None:
    """The baseline of small files: hashed, written and flushed, one after the other."""
    folder.mkdir()
    for at, content in enumerate(contents):
        hashlib.md5(content).hexdigest()
        hashlib.sha256(content).hexdigest()
        write_flushed(folder / f"file {at}.bin", [content])


def write_flushed(path: Path, parts: list[bytes]) -> None:
    """Write a file and see it on the disk."""
    with path.open("wb", buffering=0) as out:
        for part in parts:
            out.write(part)
        os.fsync(out.fileno())


# ---------------------------------------------------------------------------------------------- uploads


def uploads(sheet: Sheet, ml: DerivaML, scratch: Path, number: int) -> None:
    """Files that wait for an upload, with rows, types and links, in turn with the baseline."""
    pairs = []
    for count in range(ROUNDS):
        contents = [secrets.token_bytes(SMALL) for _ in range(number)]
        base = best(partial(write_plain, scratch / f"plain{count}", contents), 1)
        run = execution(ml)
        with run.execute():
            write_outputs(run, "Sample", contents)
        # What the model left to be written back is not the upload's.
        os.sync()
        pairs.append((best(partial(commit, run, number), 1), base))
        linked = run.list_assets("Output")
        assert sum(asset.asset_table == "Sample" for asset in linked) == number, len(linked)
        assert all(set(TYPES) <= set(asset.asset_types) for asset in linked if asset.asset_table == "Sample")
    took, base = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    sheet.add(f"upload of {number:,} files of 4 KiB", took, "s", baseline=base, at_most=2 * number / 1000)


def outputs(sheet: Sheet, ml: DerivaML, scratch: Path, number: int) -> None:
    """Small outputs from the first registration to the last commit."""
    contents = [secrets.token_bytes(SMALL) for _ in range(number)]
    base = best(lambda: write_plain(scratch / "plain", contents), 1)
    run = execution(ml)

    def whole() -> None:
        with run.execute():
            write_outputs(run, "Image", contents)
        commit(run, number)

    sheet.add(
        f"{number:,} small outputs, written and committed",
        best(whole, 1),
        "s",
        baseline=base,
        at_most=60 * number / 10_000,
    )


def left(sheet: Sheet, ml: DerivaML, scratch: Path, number: int) -> None:
    """Outputs that a run has left to another process: its transactions and its memory, beside those of ten."""
    for _ in range(2):  # the first one compiles modules
        few, _counts = commit_later(ml, scratch, 10)
    many, counts = commit_later(ml, scratch, number)
    shown = f"{number:,} outputs left"
    sheet.add(f"{shown}, committed", many.wall, "s", baseline=few.wall, at_most=60 * number / 10_000)
    sheet.add(f"{shown}, peak memory", many.rss / 1e6, "MB", baseline=few.rss / 1e6)
    for where, count in counts.items():
        sheet.add(f"{shown}, transactions: {where}", count, "", at_most=-(-number // BATCH) + CONSTANT)


def commit_later(ml: DerivaML, scratch: Path, number: int) -> tuple[measure.Cost, dict[str, int]]:
    """Let another process commit what a run has written; what that costs, and the transactions by where they are."""
    run = execution(ml)
    with run.execute():
        write_outputs(run, "Left", [secrets.token_bytes(SMALL) for _ in range(number)])
    root, told, home = scratch / "folder", scratch / "told", scratch / "home"
    home.mkdir(exist_ok=True)
    databases = {"rows": root / "catalogs" / "1.db", "objects": root / "hatrac.db"}
    databases["journal"] = next((scratch / "work").rglob("journal.db"))
    words = [sys.executable, "-c", LATER, root, scratch / "work", run.execution_rid, run.working_dir / MANIFEST_NAME]
    with ExitStack() as stack:
        counts = {name: stack.enter_context(commits(path)) for name, path in databases.items()}
        cost = measure.run([*words, told], cwd=Path(__file__).resolve().parent, home=home)
    turns, peak = json.loads(told.read_text())
    found = {name: count.number for name, count in counts.items()}
    return replace(cost, rss=peak), {**found, "manifest": turns}


def hash_in_turn(path: Path) -> None:
    """Read a file once with both digests, one after the other."""
    digests = (hashlib.md5(), hashlib.sha256())
    with path.open("rb", buffering=0) as source:
        while part := source.read(BLOCK):
            for digest in digests:
                digest.update(part)


def large(sheet: Sheet, ml: DerivaML, size: int) -> None:
    """One large output, in turn with hashing the very file."""
    rounds = []
    for _ in range(ROUNDS):
        run = execution(ml)
        with run.execute():
            path = run.asset_file_path("Large", "large.bin")
            write_large(path, size)
        side_by_side, in_turn = (best(partial(call, path), 1) for call in (hash_file, hash_in_turn))
        rounds.append((best(partial(commit, run, 1), 1), side_by_side, in_turn))
    took, side_by_side, in_turn = (min(each) for each in zip(*rounds, strict=True))
    shown = f"upload of a file of {size / (1 << 20):,.0f} MiB"
    sheet.add(f"{shown}; digests side by side", took, "s", baseline=side_by_side, at_most=1.5 * side_by_side)
    sheet.add(f"{shown}; digests in turn", took, "s", baseline=in_turn, at_most=1.5 * in_turn)


def write_large(path: Path, size: int) -> None:
    """Write content that was never there before, a block at a time, and see it on the disk."""
    with path.open("wb", buffering=0) as out:
        for at in range(0, size, BLOCK):
            out.write(os.urandom(min(BLOCK, size - at)))
        os.fsync(out.fileno())


# ---------------------------------------------------------------------------------------------- what is no upload


def registrations(sheet: Sheet, ml: DerivaML, scratch: Path, number: int) -> None:
    """Registrations, each durable when the call returns."""
    line = b'{"asset_table": "Note", "file_name": "note 12345.txt", "asset_types": ["Measured", "Checked"]}\n'
    tenth = number // 10

    def lines() -> None:
        with (scratch / "lines").open("wb", buffering=0) as out:
            for _ in range(tenth):
                out.write(line)
                os.fsync(out.fileno())

    base = best(lines, 1) * number / tenth
    run = execution(ml)

    def register() -> None:
        for at in range(number):
            run.asset_file_path("Note", f"note {at}.txt", asset_types=TYPES)

    sheet.add(f"{number:,} registrations", best(register, 1), "s", baseline=base, at_most=60 * number / 100_000)
    sheet.add("peak memory of this process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, "MB")
    # Read after the measure of memory: the entries are there twice now.
    journal = Manifest(run.working_dir / MANIFEST_NAME, read_only=True)
    noted = sum(entry.asset_table == "Note" for entry in journal.assets.values())
    assert noted == number, noted


def requests(sheet: Sheet, ml: DerivaML, sizes: Sizes) -> None:
    """Listing and resolving: how many requests, and how long, with the model known as after any other call."""
    counting = Counting(ml.session.catalog.transport)
    ml.session = replace(ml.session, catalog=CatalogClient(counting, ml.session.catalog_id))
    ml.session.model()
    listed = ml.list_assets("Image")
    assert len(listed) == sizes.outputs, len(listed)
    assert all(set(TYPES) <= set(asset.asset_types) for asset in listed)
    rids = [asset.asset_rid for asset in listed][: sizes.rids]

    def counted(what: str, call: Callable[[], object], most: int, seconds: float | None) -> None:
        counting.count = 0
        call()
        asked = counting.count
        sheet.add(what, best(call, ROUNDS), "s", at_most=seconds)
        sheet.add(f"{what}, requests", asked, "", at_most=most)

    counted(f"{len(listed):,} assets listed with their types", lambda: ml.list_assets("Image"), 2, 1)
    found = ml.resolve_rids(rids)
    assert {one.table_name for one in found.values()} == {"Image"}
    assert len(found) == len(rids)
    counted(f"{len(rids):,} RIDs resolved", lambda: ml.resolve_rids(rids), 3, None)


def main() -> int:
    """Measure and print; 1 if a target is missed."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--scale", type=float, default=1.0, help="part of the full numbers and sizes")
    sizes = Sizes.scaled(flags.parse_args().scale)
    sheet = Sheet("Assets", "the same files hashed, written and flushed; hashing once; a line flushed")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        # Working directories are noted in the home directory; those that end here are not the user's.
        os.environ["HOME"] = folder
        with opened(scratch) as ml:
            uploads(sheet, ml, scratch, sizes.files)
            large(sheet, ml, sizes.large)
            outputs(sheet, ml, scratch, sizes.outputs)
            left(sheet, ml, scratch, sizes.outputs)
            requests(sheet, ml, sizes)
            registrations(sheet, ml, scratch, sizes.registrations)
    return sheet.end()


if __name__ == "__main__":
    raise SystemExit(main())
