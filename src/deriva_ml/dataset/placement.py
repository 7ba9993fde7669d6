"""Files laid out in a tree of directories, such that no two of them meet."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLException
from deriva_ml.core.values import dataclass

__all__ = ["Placement", "Transformer", "component", "kept_apart", "place"]

logger = logging.getLogger(__name__)

Transformer = Callable[[Path, Path], Path]
"""Makes a file of another, at about the path that it is given, and says where it made it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A file and where it is to be.

    Attributes:
        rid: The asset.
        source: The file.
        directory: The directory, relative to the root of the tree.
        name: Its name there.
    """

    rid: str
    source: Path
    directory: tuple[str, ...]
    name: str


def component(value: object) -> str:
    """A value as the name of a directory: without what would lead elsewhere."""
    text = str(value).replace("/", "%2F").replace("\\", "%5C").replace("\0", "%00")
    return text if text.strip(".") and text.strip() else text.replace(".", "%2E").replace(" ", "%20") or "%"


def kept_apart(placements: Iterable[Placement], *, by_stem: bool = False) -> list[Placement]:
    """Give files that would meet names of their own: ``name.RID.suffix``.

    Names that differ in case only meet too, as they do in some file systems.

    Args:
        placements: The files.
        by_stem: Names that differ in their suffix only meet too.
    """
    ordered = sorted(placements, key=lambda each: each.rid)
    groups: dict[tuple[tuple[str, ...], str], list[Placement]] = {}
    for each in ordered:
        groups.setdefault(_spot(each, by_stem=by_stem), []).append(each)
    taken = {spot for spot, group in groups.items() if len(group) == 1}
    found: list[Placement] = []
    for group in groups.values():
        for each in group if len(group) > 1 else ():
            renamed = _renamed(each)
            while _spot(renamed, by_stem=by_stem) in taken:
                renamed = _renamed(renamed)
            taken.add(_spot(renamed, by_stem=by_stem))
            found.append(renamed)
        if len(group) == 1:
            found += group
    return sorted(found, key=lambda each: each.rid)


def _spot(each: Placement, *, by_stem: bool) -> tuple[tuple[str, ...], str]:
    name = Path(each.name).stem if by_stem else each.name
    return tuple(part.casefold() for part in each.directory), name.casefold()


def _renamed(each: Placement) -> Placement:
    name = Path(each.name)
    return Placement(each.rid, each.source, each.directory, f"{name.stem}.{each.rid}{name.suffix}")


def place(
    root: Path, placements: Sequence[Placement], *, use_symlinks: bool = True, transformer: Transformer | None = None
) -> dict[Path, Path]:
    """Put files where they are to be; what is there from before is replaced.

    Args:
        root: The root of the tree.
        placements: The files, whose places differ.
        use_symlinks: Link to the files, where the file system can; else copy them.
        transformer: Makes the files instead.

    Returns:
        Where each file was put.

    Raises:
        DerivaMLDataError: A directory is in the way, or the transformer made no file, or one where another is.
        DerivaMLException: A file could not be written; those that had been placed are removed then.
    """
    owners: dict[Path, Path] = {}
    try:
        _place_all(root, placements, owners, use_symlinks=use_symlinks, transformer=transformer)
    except OSError as error:
        if transformer is not None:  # its own errors say more
            raise
        for target in owners:
            target.unlink(missing_ok=True)
        raise DerivaMLException(
            f"Cannot lay files out in {root}: {error.strerror or error}",
            source=str(error.filename2 or error.filename or "") or None,
            hint="make room there, or choose another directory; what had been placed was removed",
        ) from error
    return {source: target for target, source in owners.items()}


def _place_all(
    root: Path,
    placements: Sequence[Placement],
    owners: dict[Path, Path],
    *,
    use_symlinks: bool,
    transformer: Transformer | None,
) -> None:
    """Put files where they are to be, and note in ``owners`` which is where."""
    made: set[tuple[str, ...]] = set()
    for each in placements:
        directory = root.joinpath(*each.directory)
        if each.directory not in made:
            directory.mkdir(parents=True, exist_ok=True)
            made.add(each.directory)
        target = directory / each.name
        if target.is_dir() and not target.is_symlink():
            raise DerivaMLDataError(f"There is a directory where a file is to be: {target}", hint="remove it")
        if transformer is not None:
            target = _transformed(each, target, transformer)
        else:
            _put(each.source, target, use_symlinks=use_symlinks)
        if target in owners:
            raise DerivaMLDataError(f"{each.source} and {owners[target]} were made into one file: {target}")
        owners[target] = each.source


def _transformed(each: Placement, target: Path, transformer: Transformer) -> Path:
    # A link from before must not be written through.
    target.unlink(missing_ok=True)
    made = Path(transformer(each.source, target))
    if not made.exists():
        raise DerivaMLDataError(f"The transformer made no file of {each.source}: there is none at {made}")
    return made


def _put(source: Path, target: Path, *, use_symlinks: bool) -> None:
    """Link or copy; the target is there whole or not at all, and a link at its place is never written through."""
    if use_symlinks and _linked(source, target):
        return
    # A name that no other process or thread, and no asset, has.
    new = target.with_name(f".{os.getpid()}-{threading.get_ident()}.placing")
    try:
        if not (use_symlinks and _linked(source, new)):
            shutil.copyfile(source, new)
        os.replace(new, target)  # noqa: PTH105  # Path.replace would do the same
    finally:
        new.unlink(missing_ok=True)


def _linked(source: Path, new: Path) -> bool:
    """Link to a file, unless something is there already, or the file system has no links."""
    try:
        os.symlink(source, new)  # noqa: PTH211  # for many thousand files
    except OSError as error:
        logger.debug("no link to %s: %s", source, error)
        return False
    return True
