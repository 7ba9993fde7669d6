"""Settings: where a catalog lives, and what the environment says. The one reader of the environment for the library."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.marker import MARKER, settle_identity
from deriva_ml.core.values import dataclass

if TYPE_CHECKING:
    from deriva_ml.core.ml_config import DerivaMLConfig

__all__ = [
    "MARKER",
    "DerivaMLConfig",
    "Place",
    "Settings",
    "default_workdir",
    "directory_name",
    "folder_identity",
    "line_to_complete",
    "place_flags",
    "resolve_place",
]

LOCAL = "local"
"""The host name that stands for this machine's own catalog folder."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says, read once where it is needed.

    Attributes:
        home: The folder that holds working directories and caches (``~/.deriva-ml``).
        local: The folder of the catalog that ``hostname="local"`` names (``DERIVA_ML_LOCAL``).
        allow_dirty: Code with uncommitted changes may run (``DERIVA_ML_ALLOW_DIRTY``).
        token: Bearer token for a service that is named by its URL (``DERIVA_ML_TOKEN``).
        bdbag_config: The configuration file of the command ``bdbag`` (``BDBAG_CONFIG_FILE``).
    """

    home: Path
    local: Path
    allow_dirty: bool = False
    token: str | None = field(default=None, repr=False)
    bdbag_config: Path = Path("~/.bdbag/bdbag.json")

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings from an environment.

        Args:
            environ: The variables; by default the process's own.
        """
        home = Path(environ.get("HOME") or Path.home()) / ".deriva-ml"
        local = environ.get("DERIVA_ML_LOCAL")
        return cls(
            home=home,
            local=Path(local).expanduser().absolute() if local else home / LOCAL,
            allow_dirty=environ.get("DERIVA_ML_ALLOW_DIRTY", "").lower() in {"1", "true", "yes"},
            token=environ.get("DERIVA_ML_TOKEN") or None,
            bdbag_config=Path(environ.get("BDBAG_CONFIG_FILE") or home.parent / ".bdbag" / "bdbag.json"),
        )

    def make_home(self) -> None:
        """Make the folder of working directories where there is none, for its owner alone: secrets pass through it."""
        if not self.home.exists():
            self.home.parent.mkdir(parents=True, exist_ok=True)
            self.home.mkdir(mode=0o700, exist_ok=True)


def child_environment(changes: Mapping[str, str | None], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a child process: that of this one, with changes.

    Args:
        changes: Variables with their values; None removes one.
        environ: The environment that is changed.
    """
    return {name: value for name, value in {**environ, **changes}.items() if value is not None}


def change_environment(changes: Mapping[str, str | None]) -> None:
    """Change the environment of this very process, which nothing but a child that has just begun may do.

    Args:
        changes: Variables with their values; None removes one.
    """
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def line_to_complete(environ: Mapping[str, str] = os.environ) -> str:
    """The command line that a shell asks to have completed, up to the cursor (``COMP_LINE``, ``COMP_POINT``)."""
    line, point = environ.get("COMP_LINE", ""), environ.get("COMP_POINT", "")
    return line[: int(point)] if point.isdecimal() else line


@dataclass(frozen=True, slots=True)
class Place:
    """Where a catalog service is.

    Attributes:
        hostname: As the user named it: ``local``, a path, a host name, or a URL.
        root: The folder, if the service is embedded; else None.
        base_url: Scheme and authority of the service, if it is reached over a network; else None.
        is_default: The place is the one that is made on first use.
    """

    hostname: str
    root: Path | None
    base_url: str | None
    is_default: bool = False

    @property
    def authority(self) -> str:
        """Host and port of a service that is reached over a network; empty for a folder."""
        return (self.base_url or "").partition("://")[2]

    def __str__(self) -> str:
        return str(self.root) if self.root is not None else str(self.base_url)


def resolve_place(hostname: str, settings: Settings | None = None) -> Place:
    """Turn what a user wrote for a host into the place of a catalog service.

    ``local`` is this machine's own folder; whatever holds a slash or begins with ``.`` or ``~`` is a path;
    ``http://`` and ``https://`` begin a URL; anything else is the name of a host that answers HTTPS.

    Raises:
        DerivaMLConfigurationError: Nothing was given, or a folder here is named like a host.
    """
    settings = settings or Settings.read()
    text = str(hostname or "").strip()
    if not text:
        raise DerivaMLConfigurationError(
            "No catalog host was given.",
            allowed=["local", "a path", "a host name", "http(s)://host:port"],
            hint="set deriva_ml.hostname in the configuration, or --host",
        )
    if text == LOCAL:
        return Place(text, settings.local, None, is_default=True)
    if text.startswith(("http://", "https://")):
        return Place(text, None, text.rstrip("/"))
    if "/" in text or text.startswith((".", "~")):
        return Place(text, Path(text).expanduser().absolute(), None)
    if "." not in text and (Path(text) / MARKER).is_file():
        raise DerivaMLConfigurationError(
            f"{text} is read as the name of a host, and there is a catalog folder of that name here.",
            source=f"hostname {text!r}",
            allowed=[f"./{text} for the folder", f"https://{text} for the host"],
            hint=f"write ./{text}",
        )
    return Place(text, None, f"https://{text}")


def folder_identity(root: Path) -> str | None:
    """The identity that is a catalog folder's own, or None if the folder is not one.

    A folder that was copied gets its own now (:mod:`deriva_ml.core.marker`).
    """
    try:
        return str(settle_identity(root)["identity"])
    except (OSError, ValueError, KeyError):
        # What is wrong with a marker is said where the folder is opened.
        return None


def directory_name(authority: str) -> str:
    """A host with its port as the name of a directory."""
    return authority.replace("/", "-").replace(":", "-")


def default_workdir(
    settings: Settings,
    hostname: str | None = None,
    catalog_id: str | int | None = None,
    *,
    identity: str | None = None,
) -> Path:
    """The working directory of a catalog where none was chosen.

    Below ``~/.deriva-ml``: ``work/<identity>/<catalog>`` for a folder, by the first eight digits of its identity, so
    that a folder made anew at the same path never meets the runs of the old one; ``<host>/<catalog>`` for a host.

    Args:
        settings: Where the home is.
        hostname: The host, as in ``DerivaMLConfig``.
        catalog_id: The catalog; a snapshot after ``@`` does not count.
        identity: What the service says it is: a folder has one working directory, whether it is served or not.
    """
    path = settings.home
    if hostname is not None:
        place = resolve_place(hostname, settings)
        if place.root is not None or identity not in (None, place.authority):
            path = path / "work" / str(identity or folder_identity(place.root or Path()) or "new")[:8]
        else:
            path = path / directory_name(place.authority)
    if catalog_id is not None:
        path = path / str(catalog_id).partition("@")[0]
    return path


def place_flags(hostname: str, catalog_id: str | int) -> str:
    """The flags that name a catalog in a command; none for the default one."""
    flags = "" if hostname == LOCAL else f" --host {shlex.quote(hostname)}"
    return flags + ("" if str(catalog_id) == "1" else f" --catalog {shlex.quote(str(catalog_id))}")


def __getattr__(name: str) -> Any:
    # pydantic takes 45 ms to import: the class is made when it is first named.
    if name == "DerivaMLConfig":
        from deriva_ml.core.ml_config import DerivaMLConfig

        return DerivaMLConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
