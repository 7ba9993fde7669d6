"""One thing that is wrong with a folder."""

from __future__ import annotations

from pathlib import Path

from deriva_ml.core.values import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a folder.

    Attributes:
        kind: ``database``, ``model``, ``row``, ``reference``, ``url``, ``record``, ``object``: damage. ``leftover``:
            what a process that ended too early left behind, and what a repair removes.
        where: The catalog, table and RID, or the object's name and version, or the path in the folder.
        problem: What is wrong with it.
        path: The file that a repair removes.
        job: The upload job that a repair ends.
        table: RID of the table that cannot be read, if that is the problem.
    """

    kind: str
    where: str
    problem: str
    path: Path | None = None
    job: str | None = None
    table: str | None = None

    @property
    def is_leftover(self) -> bool:
        """A repair removes it."""
        return self.kind == "leftover"

    def document(self) -> dict[str, str]:
        """The finding as JSON shows it."""
        return {"kind": self.kind, "where": self.where, "problem": self.problem}
