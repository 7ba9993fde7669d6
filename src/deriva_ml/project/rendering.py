"""The files of a new project, rendered from the templates that come with the package.

A template says ``<<value>>`` where something of the project stands. Values are put in once and never read again, so
that nothing in a name can name another value. Each is written as its place needs it: ``_literal`` values are literals
of Python, which are strings of TOML too; in a notebook every value is escaped for JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from deriva_ml.core.config import place_flags
from deriva_ml.project.naming import distribution_name

__all__ = ["project_files", "python_literal"]

_SUFFIX = ".tmpl"
_HIDDEN = "dot-"
"""What a template's name begins with in the place of a dot; packaging leaves hidden files out."""

_VALUE = re.compile(r"<<(\w+)>>")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~])")


def project_files(name: str, hostname: str, catalog_id: str | int) -> dict[str, str]:
    """The text of each file of a new project, by its path in the project.

    Args:
        name: The project's name.
        hostname: The host of its catalog, as a configuration names it.
        catalog_id: The catalog.
    """
    values = {
        "name": _MARKDOWN.sub(r"\\\1", name),
        "name_literal": python_literal(name),
        "distribution": distribution_name(name),
        "hostname_literal": python_literal(hostname),
        "catalog_literal": python_literal(catalog_id),
        "flags": place_flags(hostname, catalog_id),
    }
    templates = files("deriva_ml.project").joinpath("templates")
    return dict(sorted((path, _render(path, text, values)) for path, text in _templates(templates)))


def python_literal(value: str | int) -> str:
    """A value as Python code, in double quotes if it is text; the same text is a string of JSON and of TOML.

    The text holds no control characters, which TOML would want escaped in its own way.
    """
    return json.dumps(value, ensure_ascii=False)


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            name = entry.name.removesuffix(_SUFFIX)
            hidden = name.startswith(_HIDDEN)
            yield f"{prefix}{'.' if hidden else ''}{name.removeprefix(_HIDDEN)}", entry.read_text(encoding="utf-8")


def _render(path: str, text: str, values: Mapping[str, str]) -> str:
    in_json = path.endswith(".ipynb")

    def value(match: re.Match[str]) -> str:
        found = values[match[1]]
        return json.dumps(found, ensure_ascii=False)[1:-1] if in_json else found

    return _VALUE.sub(value, text)
