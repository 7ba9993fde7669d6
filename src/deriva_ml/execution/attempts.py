"""The attempts of one run: what became of those that are over, and how their files are told apart.

1. The first attempt is number 1. Each time that a run is taken up again, the next one begins.
2. The journal tells the attempts that are over, from the moment at which the next one has begun. From that a file
   ``attempt-N.json`` is made for each, as a part of what describes the run; if there is one already it stays.
3. A file that describes one attempt and has a fixed name (``stdout.txt``) has, from the second attempt on, the number
   in its name. What the model of an attempt had printed, and nobody could register, is registered by the next one.
4. What was registered before ``attempt-N.json`` belongs to attempt N or an earlier one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from deriva_ml.core.enums import ExecMetadataType, MLAsset
from deriva_ml.core.files import read_ends
from deriva_ml.execution.masking import Mask
from deriva_ml.execution.metadata import FOLDER, MetadataFile
from deriva_ml.workspace.journal import Journal
from deriva_ml.workspace.lines import LineFile
from deriva_ml.workspace.manifest import AssetEntry, Manifest

__all__ = [
    "PRINTED",
    "PROCESS",
    "RESUMED",
    "attempt_file",
    "attempt_files",
    "attempt_number",
    "earlier_outputs",
    "earlier_values",
    "is_attempt_file",
    "numbered",
]

RESUMED = "resumed"
"""The step of the journal with which an attempt begins that is not the first."""

PROCESS = "process"
"""Where, in a run's directory, the files about the model's process are."""

PRINTED: Mapping[str, str] = {
    "stdout.txt": "what the model printed",
    "stderr.txt": "what the model printed as errors",
}
"""The files there that hold what the model printed."""


def attempt_number(journal: Journal, execution_rid: str) -> int:
    """The number of a run's last attempt, from 1."""
    return 1 + sum(step.what == RESUMED for step in journal.steps(execution_rid))


def numbered(name: str, attempt: int) -> str:
    """The name of a file that describes an attempt: that of the first has none of its number in it."""
    path = PurePath(name)
    return name if attempt == 1 else f"{path.stem}-{attempt}{path.suffix}"


def attempt_file(attempt: int) -> str:
    """The name of the file that tells an attempt that is over."""
    return f"attempt-{attempt}.json"


def is_attempt_file(entry: AssetEntry) -> bool:
    """Whether an entry tells an attempt that is over; a run with none is in its first."""
    return entry.path.startswith(f"{FOLDER}/attempt-")


def attempt_files(journal: Journal, manifest: Manifest, mask: Mask) -> list[MetadataFile]:
    """What is to be told of the attempts that are over and was not told yet.

    Args:
        journal: The journal of this machine.
        manifest: The run's manifest.
        mask: What hides secrets.
    """
    run_dir, known = manifest.path.parent, _described(manifest)
    over = [step.detail for step in journal.steps(manifest.execution_rid) if step.what == RESUMED]
    files: list[MetadataFile] = []
    for attempt, detail in enumerate(over, start=1):
        files += [file for file in _printed(run_dir, attempt, mask) if file.name not in known]
        if attempt_file(attempt) not in known:
            told = {"attempt": attempt, **json.loads(detail), "values": _counted(manifest)}
            files.append(
                MetadataFile(
                    attempt_file(attempt),
                    (json.dumps(mask.data(told), indent=2) + "\n").encode("ascii"),
                    ExecMetadataType.runtime_env.value,
                    f"Attempt {attempt} of the run, which was taken up again after it.",
                )
            )
    return files


def _described(manifest: Manifest) -> set[str]:
    """The names of the files that describe the run."""
    table = str(MLAsset.execution_metadata)
    return {entry.file_name for entry in manifest.assets.values() if entry.asset_table == table}


def _printed(run_dir: Path, attempt: int, mask: Mask) -> Iterator[MetadataFile]:
    """What the model of an attempt had printed."""
    for name, what in PRINTED.items():
        content = read_ends(run_dir / numbered(PROCESS, attempt) / name)
        if content:
            text = mask.text(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            yield MetadataFile(numbered(name, attempt), text, str(MLAsset.execution_metadata), what)


def _counted(manifest: Manifest) -> dict[str, int]:
    """How many values of each feature have been staged, by the feature's key."""
    return {key: len(LineFile(manifest.values_of(entry)).read()) for key, entry in manifest.features.items()}


def earlier_outputs(manifest: Manifest, attempt: int) -> list[AssetEntry]:
    """The outputs that earlier attempts registered; of a file that was written again, the last entry."""
    border = _border(manifest, attempt)
    if border is None:
        return []
    found: dict[str, AssetEntry] = {}
    for entry in manifest.assets.values():
        if entry.key == border.key:
            break
        if entry.path.startswith("assets/"):
            found[entry.path] = entry
    return list(found.values())


def earlier_values(manifest: Manifest, attempt: int) -> Mapping[str, int]:
    """How many values of each feature earlier attempts have staged, by the feature's key."""
    border = _border(manifest, attempt)
    if border is None:
        return {}
    try:
        told: dict[str, Any] = json.loads(manifest.file_of(border).read_bytes())
    except FileNotFoundError:  # it was cleaned away when all was in the catalog, and the values with it
        return {}
    return {str(key): int(count) for key, count in told["values"].items()}


def _border(manifest: Manifest, attempt: int) -> AssetEntry | None:
    """The entry behind which the outputs of an attempt stand; None of the first."""
    path = f"{FOLDER}/{attempt_file(attempt - 1)}"
    return next((entry for entry in manifest.assets.values() if entry.path == path), None)
