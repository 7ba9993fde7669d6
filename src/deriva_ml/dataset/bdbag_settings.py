"""The configuration of the command ``bdbag``: telling it, once, how to get the files of catalog folders.

1. One entry of the file is ours, ``fetch_config`` / ``deriva-ml``; everything else in it stays as it is, in its order.
2. A file that is not there yet is made by ``bdbag`` itself, with its own defaults, since it takes what a file lacks for
   what its user does not want.
3. The file is replaced whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import atomic_write
from deriva_ml.dataset.bag_sources import SCHEME

__all__ = ["HANDLER", "register_handler", "unregister_handler"]

HANDLER = "deriva_ml.dataset.bdbag_transport.FolderTransport"
"""The class that brings the files."""

_SECTION = "fetch_config"


def register_handler(file: Path, folders: Sequence[Path] = ()) -> bool:
    """Let ``bdbag`` get the files of catalog folders.

    Args:
        file: Its configuration file; it is made if need be.
        folders: Folders to look into too, instead of those named before; without any, those stay.

    Returns:
        Whether the file was changed.

    Raises:
        DerivaMLConfigurationError: The file is not a configuration of ``bdbag``.
    """
    if not file.exists():
        from bdbag.bdbag_config import write_config

        write_config(config_file=str(file))
    text, document = _read(file)
    section = document.setdefault(_SECTION, {})
    before = section.get(SCHEME)
    named = [str(folder) for folder in folders] or (before or {}).get("folders", [])
    entry = {"handler": HANDLER, **({"folders": named} if named else {})}
    if before == entry:
        return False
    section[SCHEME] = entry
    _write(file, text, _in_order(document, section))
    return True


def unregister_handler(file: Path) -> bool:
    """Take back what :func:`register_handler` wrote.

    Args:
        file: The configuration file of ``bdbag``.

    Returns:
        Whether there was something to take back.

    Raises:
        DerivaMLConfigurationError: The file is not a configuration of ``bdbag``.
    """
    if not file.exists():
        return False
    text, document = _read(file)
    if document.get(_SECTION, {}).pop(SCHEME, None) is None:
        return False
    _write(file, text, document)
    return True


def _in_order(document: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    """The document with our entry where it belongs, in a section that is sorted as ``bdbag`` writes it."""
    others = [name for name in section if name != SCHEME]
    if others == sorted(others):
        document[_SECTION] = dict(sorted(section.items()))
    return document


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
        document = json.loads(text)
    except (OSError, ValueError) as error:
        raise _unfit(file, error) from error
    if not isinstance(document, dict) or not isinstance(document.get(_SECTION, {}), dict):
        raise _unfit(file, "it is not an object with sections")
    return text, document


def _unfit(file: Path, why: object) -> DerivaMLConfigurationError:
    return DerivaMLConfigurationError(
        f"The configuration of bdbag cannot be used: {why}",
        source=str(file),
        hint="mend it, or remove it and repeat: bdbag makes a new one with its own defaults",
    )


def _write(file: Path, before: str, document: dict[str, Any]) -> None:
    """Write a document as it was laid out before."""
    indent = re.search(r"\n([ \t]+)", before)
    text = json.dumps(document, indent=indent[1] if indent else None, ensure_ascii=before.isascii())
    target = file.resolve()
    with atomic_write(target) as out:
        os.fchmod(out.fileno(), target.stat().st_mode & 0o777)
        out.write((text + ("\n" if before.endswith("\n") else "")).encode())
