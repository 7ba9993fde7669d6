"""Names of a project and of its configurations: what may be one, and how one is made of any text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from deriva_ml.core.config import resolve_place
from deriva_ml.core.exceptions import DerivaMLConfigurationError

__all__ = ["catalog_name", "configuration_name", "distribution_name", "host_name", "project_name", "unique_name"]

LONGEST_NAME = 100
LONGEST_CONFIGURATION = 40

_WORDS_OF_HYDRA = {"null", "none", "true", "false", "inf", "nan", "infinity"}
"""What Hydra's grammar would not take for a name, and ``none``, which a project may want for itself."""


def project_name(text: str, *, source: str) -> str:
    """The name of a project as people say it: any text of one line.

    Args:
        text: The name.
        source: Where it was given, for the error.

    Raises:
        DerivaMLConfigurationError: It is empty, too long, holds what cannot be printed, or what configurations would
            take for an interpolation.
    """
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or "${" in name:
        raise DerivaMLConfigurationError(
            f"This cannot be the name of a project: {text!r}",
            source=source,
            allowed=[f"one line of 1 to {LONGEST_NAME} printable characters, without ${{"],
            hint="give another one with --name",
        )
    return name


def host_name(hostname: str) -> str:
    """A host as a configuration names it: a folder by its whole path, so that it is found from anywhere.

    Args:
        hostname: What a user wrote: ``local``, a path, a host name, a URL.

    Raises:
        DerivaMLConfigurationError: A configuration cannot name it.
    """
    place = resolve_place(hostname)
    host = hostname.strip() if place.root is None or place.is_default else str(place.root)
    if not host.isprintable() or "${" in host:
        raise DerivaMLConfigurationError(f"A configuration cannot name this host: {hostname!r}", source="--host")
    return host


def catalog_name(catalog_id: str | int) -> str | int:
    """A catalog as a configuration names it: a number where it is one.

    Raises:
        DerivaMLConfigurationError: A configuration cannot name it.
    """
    text = str(catalog_id).strip()
    if not text or not text.isprintable() or "${" in text:
        raise DerivaMLConfigurationError(f"A configuration cannot name this catalog: {text!r}", source="--catalog")
    return int(text) if text.isdecimal() and text.isascii() else text


def distribution_name(name: str) -> str:
    """The name of a project as packaging tools take it: ASCII letters, digits and dashes."""
    return "-".join(_ascii_words(name)) or "project"


def configuration_name(text: str, kind: str) -> str:
    """A name for a configuration, made of a description: lower-case words that are an identifier of Python too.

    Args:
        text: What the configuration is.
        kind: The word that the name begins with where the text gives none that could stand alone.
    """
    name = ""
    for word in _ascii_words(text):
        longer = f"{name}_{word}" if name else word
        if len(longer) > LONGEST_CONFIGURATION and name:
            break
        name = longer[:LONGEST_CONFIGURATION]
    if not name:
        return kind
    return f"{kind}_{name}" if name[0].isdigit() or name in _WORDS_OF_HYDRA or name.startswith("default_") else name


def unique_name(name: str, rid: str, taken: Collection[str]) -> str:
    """The name itself, or with the RID of what it names if another has it.

    Args:
        name: The name that is wished for.
        rid: The record.
        taken: Names that are given away.
    """
    chosen = name
    while chosen in taken:
        chosen = f"{chosen}_{rid.lower().replace('-', '_')}"
    return chosen


def _ascii_words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.findall(r"[a-z0-9]+", plain.lower())
