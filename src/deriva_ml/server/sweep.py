"""Removing what processes that ended too early left in a folder; data is never touched."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from deriva_ml.server.finding import Finding
from deriva_ml.server.names import NameStore

__all__ = ["sweep"]


def sweep(root: Path, findings: Iterable[Finding]) -> list[Finding]:
    """Remove leftovers.

    Each is looked at again where it could have become of use since: content is removed while nobody can record it.

    Args:
        root: The folder.
        findings: What a check found; only leftovers are looked at.

    Returns:
        The leftovers that are gone now.
    """
    removed: list[Finding] = []
    with closing(NameStore(root / "hatrac.db")) as store:
        for finding in findings:
            if not finding.is_leftover:
                continue
            if finding.path is not None and finding.path.parent.parent == root / "objects":
                if len(finding.path.parent.name) > 2:
                    _remove(finding.path)
                elif not _remove_content(store, finding.path):
                    continue
            elif finding.path is not None:
                _remove(finding.path)
            if finding.job is not None:
                with store.write() as records:
                    records.forget_job(finding.job)
            removed.append(finding)
    return removed


def _remove_content(store: NameStore, path: Path) -> bool:
    with store.write() as records:
        if records.is_used(path.name):
            return False
        path.unlink(missing_ok=True)
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        return
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
