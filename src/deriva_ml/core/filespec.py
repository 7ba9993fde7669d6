"""``FileSpec``: a file that a catalog refers to where it lies, by its place, its size and the hash of its content."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLValidationError
from deriva_ml.core.files import hash_file

__all__ = ["FILE_TYPE", "FileSpec"]

FILE_TYPE = "File"
"""The type that every file has that is referred to and not stored."""

FileTypes = list[str] | Callable[[Path], list[str]] | None


class FileSpec(BaseModel):
    """A file as a catalog refers to it.

    Attributes:
        url: Where it lies: ``tag://<host>,<date>:file://<path>``; a path or ``file:`` URL is brought into this form.
        md5: MD5 of its content.
        length: Its size in bytes.
        description: What it holds.
        file_types: Terms of ``Asset_Type``.
    """

    model_config = ConfigDict(populate_by_name=True)

    url: str = Field(alias="URL")
    md5: str = Field(alias="MD5")
    length: int = Field(alias="Length", ge=0)
    description: str | None = Field(default="", alias="Description")
    file_types: list[str] | None = []

    @field_validator("url")
    @classmethod
    def _as_tag(cls, value: str) -> str:
        scheme = urlsplit(value).scheme
        if scheme == "tag":
            return value
        if scheme == "file":
            return _tag(os.fsdecode(unquote_to_bytes(urlsplit(value).path)))
        if scheme and not value.startswith("/"):
            raise ValueError("url is not a file URL")
        return _tag(value)

    @property
    def path(self) -> Path:
        """Where the file lies on its machine."""
        place = self.url.partition(":file://")[2] or self.url
        return Path(os.fsdecode(unquote_to_bytes(place)))

    @classmethod
    def create_filespecs(cls, path: Path | str, description: str, file_types: FileTypes = None) -> Iterator[FileSpec]:
        """Describe a file, or every file below a directory, in the order of their names.

        Args:
            path: The file or the directory.
            description: What the files hold.
            file_types: Their types, or what gives those of one file; the type ``File`` is added where it is missing.

        Yields:
            One description for each file.

        Raises:
            DerivaMLDataError: There is no such file, or one is no plain file or cannot be read.
        """
        # so that what is wrong with the path is said at once, and not when the first file is asked for
        return cls._each(_files(Path(path)), description, file_types)

    @classmethod
    def _each(cls, files: Iterable[Path], description: str, file_types: FileTypes) -> Iterator[FileSpec]:
        for file in files:
            given = file_types(file) if callable(file_types) else list(file_types or ())
            types = given if FILE_TYPE in given else [FILE_TYPE, *given]
            try:
                digests = hash_file(file)
            except OSError as error:
                raise DerivaMLDataError(f"{file} cannot be read: {error.strerror or error}.") from error
            yield cls(
                URL=_tag(str(file)), MD5=digests.md5, Length=digests.length, Description=description, file_types=types
            )

    @staticmethod
    def read_filespec(path: Path | str) -> Iterator[FileSpec]:
        """Read descriptions from a file of JSON Lines; blank lines are left out.

        Raises:
            DerivaMLValidationError: A line is no description; it is named.
        """
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _parsed(line, f"{path}:{number}")


def _parsed(line: bytes, where: str) -> FileSpec:
    try:
        return FileSpec.model_validate(json.loads(line))
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DerivaMLValidationError(f"Not the description of a file: {reason}", source=where) from error
    except ValueError as error:
        raise DerivaMLValidationError(f"Not the description of a file: {error}", source=where) from error


def _tag(path: str) -> str:
    """The URL of a file of this machine. What cannot stand in a text of one line is written as URLs escape it."""
    absolute = str(Path(path).expanduser().absolute())
    plain = "".join(
        each if each.isprintable() and each != "%" else quote(os.fsencode(each), safe="") for each in absolute
    )
    return f"tag://{socket.gethostname()},{datetime.now(UTC).date().isoformat()}:file://{plain}"


def _files(path: Path) -> list[Path]:
    """The file itself, or the files below a directory."""
    if not path.exists():
        reason = "is a symbolic link to a file that does not exist" if path.is_symlink() else "does not exist"
        raise DerivaMLDataError(f"{path} {reason}.")
    if not path.is_dir():
        return [_plain(path)]
    found: list[Path] = []
    for directory, names, files in os.walk(path, onerror=_refuse):
        names.sort()
        found += [_plain(Path(directory, name)) for name in sorted(files)]
    return found


def _plain(path: Path) -> Path:
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise DerivaMLDataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not is_file:
        raise DerivaMLDataError(f"{path} is not a plain file.", hint="take it out of the directory")
    return path


def _refuse(error: OSError) -> None:
    raise DerivaMLDataError(f"{error.filename} cannot be read: {error.strerror or error}.") from error
