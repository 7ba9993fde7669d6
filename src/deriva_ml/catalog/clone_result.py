"""What a copy of a part of a catalog is to be, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, field
from typing import Any

from deriva_ml.core.enums import BaseStrEnum
from deriva_ml.core.files import human_size
from deriva_ml.core.values import dataclass

__all__ = ["AssetCopyMode", "CloneCatalogResult", "CloneProgress", "OrphanStrategy", "Orphans"]

CloneProgress = Callable[[str, int, int], None]
"""Told what is being done, how many rows are done, and how many there are; 0 where that is not known."""


class AssetCopyMode(BaseStrEnum):
    """What becomes of the files of assets."""

    NONE = "none"
    """Neither rows nor files of assets are copied."""

    REFERENCES = "refs"
    """Rows are copied; their URLs name the files where they are."""

    FULL = "full"
    """Rows and files are copied."""


class OrphanStrategy(BaseStrEnum):
    """What becomes of rows that refer to rows which do not come along."""

    FAIL = "fail"
    """Nothing is copied; the error names them."""

    DELETE = "delete"
    """They are left out, and so is what refers to them."""

    NULLIFY = "nullify"
    """The reference is made null; where it may not be null, the row is left out."""


@dataclass(frozen=True)
class Orphans:
    """Rows that refer, by one foreign key, to rows that do not come along.

    Attributes:
        table: The rows' table, as ``schema:Table``.
        columns: The columns of the reference.
        referenced: The table that they refer to.
        count: How many rows.
        action: What was done: ``fail``, ``delete`` or ``nullify``.
        rids: The first of them.
    """

    table: str
    columns: tuple[str, ...]
    referenced: str
    count: int
    action: OrphanStrategy
    rids: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = "..." if self.count > len(self.rids) else ""
        done = {OrphanStrategy.DELETE: ": left out", OrphanStrategy.NULLIFY: ": made null"}.get(self.action, "")
        return (
            f"{self.count} rows of {self.table} refer by {', '.join(self.columns)} to rows of {self.referenced} that "
            f"do not come along{done} (RID {', '.join(self.rids)}{more})"
        )


@dataclass
class CloneCatalogResult:
    """What a copy of a part of a catalog came to.

    Attributes:
        source_hostname: Where the source is.
        source_catalog_id: Its id.
        source_snapshot: The moment of it that was copied.
        root_rid: The record from which everything that was copied can be reached.
        root_table: Its table.
        asset_mode: What became of the files of assets.
        hostname: Where the copy is; None of a plan.
        catalog_id: Its id; None of a plan.
        alias: A second name for it.
        ml_schema_added: The source had no ML schema, and the copy has.
        tables: Rows that were copied, by ``schema:Table``; those of a plan are to be copied.
        orphans: Rows whose references would have led nowhere, and what was done about it.
        pruned: Foreign keys that were left out, and why.
        hidden: Tables of the source whose rows the user may not see.
        skipped: Rows that the copy's service refused.
        truncated: Values that were cut, since the service refused them.
        missing: What else could not be copied: objects, rules.
        objects: How many objects were brought.
        size: Bytes of them.
        versions: The new version of each dataset that got one.
    """

    source_hostname: str
    source_catalog_id: str
    source_snapshot: str
    root_rid: str
    root_table: str
    asset_mode: AssetCopyMode
    hostname: str | None = None
    catalog_id: str | None = None
    alias: str | None = None
    ml_schema_added: bool = False
    tables: dict[str, int] = field(default_factory=dict)
    orphans: list[Orphans] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    objects: int = 0
    size: int = 0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows were copied."""
        return sum(self.tables.values())

    @property
    def is_whole(self) -> bool:
        """Nothing is lacking that was to be copied; what was done about orphans was asked for."""
        return not (self.skipped or self.truncated or self.missing)

    def count_object(self, size: int) -> None:
        """Note that an object was brought."""
        self.objects += 1
        self.size += size

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return {**asdict(self), "rows": self.rows, "is_whole": self.is_whole}

    def to_text(self) -> str:
        """All of it, in lines for people."""
        said = "Copied" if self.catalog_id else "To be copied"
        where = f" to catalog {self.catalog_id} of {self.hostname}" if self.catalog_id else ""
        whence = f"{self.root_table} {self.root_rid} of catalog {self.source_catalog_id} of {self.source_hostname}"
        filled = {name: count for name, count in self.tables.items() if count}
        lines = [
            f"{said}{where}: what can be reached from {whence}, as of {self.source_snapshot}",
            *([f"Alias: {self.alias}"] if self.alias else []),
            f"{self.rows} rows of {len(filled)} tables; {len(self.tables) - len(filled)} tables are empty",
            *(f"  {count:>9}  {name}" for name, count in sorted(filled.items())),
        ]
        if self.catalog_id and self.asset_mode is AssetCopyMode.FULL:
            lines.append(f"{self.objects} objects ({human_size(self.size)})")
        lines += [f"Orphans: {each}" for each in self.orphans]
        for title, found in (
            ("Left out", self.pruned),
            ("Not visible", self.hidden),
            ("Refused", self.skipped),
            ("Cut", self.truncated),
            ("Missing", self.missing),
        ):
            lines += [f"{title}: {each}" for each in found]
        lines += [f"Dataset {rid}: version {version}" for rid, version in sorted(self.versions.items())]
        return "\n".join(lines)
