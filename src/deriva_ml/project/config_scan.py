"""What a configuration file says, read from its text: it need not be importable, and nothing in it runs.

What is written in place is found with its line: datasets and assets by their RIDs, catalogs, names that configurations
are stored under, names that defaults lists choose, imports between the modules. What code computes is found by loading.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from deriva_ml.core.ermrest import RID_PATTERN
from deriva_ml.core.values import dataclass
from deriva_ml.execution.multirun_config import MULTIRUN_GROUP

__all__ = ["DEFAULTS_KEY", "Chosen", "FoundPlace", "Reference", "ScannedFile", "Stored", "scan_file"]

Kind = Literal["dataset", "asset"]

_SPECS: dict[str, Kind] = {
    "DatasetSpecConfig": "dataset",
    "DatasetSpec": "dataset",
    "AssetSpecConfig": "asset",
    "AssetSpec": "asset",
}
DEFAULTS_KEY = re.compile(r"^(?:override |optional )*/?(?P<group>[\w/]+)(?:@[\w.]*)?$")
"""A key of a defaults list: a group, and what may stand before and behind it."""


@dataclass(frozen=True)
class Reference:
    """A dataset or an asset that is named."""

    kind: Kind
    rid: str
    version: str | None
    line: int


@dataclass(frozen=True)
class FoundPlace:
    """A catalog that is named."""

    hostname: str
    catalog_id: str
    line: int


@dataclass(frozen=True)
class Stored:
    """A name that something is stored under; group and name are None where the text does not say them."""

    group: str | None
    name: str | None
    line: int


@dataclass(frozen=True)
class Chosen:
    """A name that a defaults list chooses."""

    group: str
    name: str
    line: int


@dataclass
class ScannedFile:
    """What the text of a file says.

    Attributes:
        path: The file.
        error: Why it could not be read, with the line.
        references: Datasets and assets.
        places: Catalogs.
        stored: What is stored.
        chosen: What defaults lists choose.
        imports: Modules that it imports when it is loaded, with the line.
        texts: The lines of each text in it.
    """

    path: Path
    error: tuple[str, int] | None = None
    references: list[Reference] = field(default_factory=list)
    places: list[FoundPlace] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    chosen: list[Chosen] = field(default_factory=list)
    imports: dict[str, int] = field(default_factory=dict)
    texts: dict[str, list[int]] = field(default_factory=dict)

    def line_of(self, text: str) -> int | None:
        """The first line with a text of which this is a part; one that is this and nothing else is preferred."""
        if text in self.texts:
            return self.texts[text][0]
        return next((lines[0] for found, lines in self.texts.items() if text in found), None)


def scan_file(path: Path, module: str = "") -> ScannedFile:
    """Read what a file says.

    Args:
        path: The file.
        module: The name of its module, which relative imports are relative to.
    """
    found = ScannedFile(path)
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        found.error = (f"SyntaxError: {error.msg}", error.lineno or 1)
        return found
    except (OSError, ValueError) as error:  # ValueError: a null byte
        found.error = (f"cannot be read: {error}", 1)
        return found
    _Reader(found, _names(tree)).read(tree)
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    found.imports = dict(_imports(tree, package))
    return found


def _names(tree: ast.Module) -> dict[str, ast.expr]:
    """What names are given at the top of a module."""
    given: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            given.update({target.id: node.value for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            given[node.target.id] = node.value
    return given


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, int]]:
    """The modules that are imported when this one is, with those that a ``from`` may mean."""
    for node in _at_import(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base, node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a module that run when it is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not _is_for_types(child):
            yield child
            yield from _at_import(child)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


class _Reader:
    """Goes through a tree once and notes what is found.

    Args:
        found: Where it is noted.
        names: What names are given at the top of the module.
    """

    def __init__(self, found: ScannedFile, names: Mapping[str, ast.expr]) -> None:
        self._found = found
        self._names = names

    def read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._found.texts.setdefault(node.value, []).append(node.lineno)
            elif isinstance(node, ast.Call):
                self._call(node)
        for lines in self._found.texts.values():
            lines.sort()

    def _call(self, call: ast.Call) -> None:
        target, arguments = self._built(call)
        name = _last(target)
        values = {word.arg: word.value for word in call.keywords if word.arg is not None}
        if name in _SPECS:
            self._reference(_SPECS[name], call, arguments, values)
        elif name == "DerivaMLConfig" and "hostname" in values:
            host, catalog = self._text(values["hostname"]), self._text(values.get("catalog_id")) or "1"
            if host is not None:
                self._found.places.append(FoundPlace(host, catalog, call.lineno))
        elif name == "multirun_config":
            self._store(MULTIRUN_GROUP, self._text(arguments[0] if arguments else values.get("name")), call)
        else:
            self._stores(call, values)
        for item in self._items(values.get("hydra_defaults")):
            self._choose(item)

    def _built(self, call: ast.Call) -> tuple[ast.expr, list[ast.expr]]:
        """What a call makes, and with which arguments: ``builds(X, a)`` and a name given to it make an ``X``."""
        target, arguments = call.func, list(call.args)
        if isinstance(target, ast.Name):
            given = self._names.get(target.id)
            if isinstance(given, ast.Call) and _last(given.func) in ("builds", "make_custom_builds_fn") and given.args:
                return given.args[0], arguments
        if _last(target) in ("builds", "just") and arguments:
            return arguments[0], arguments[1:]
        return target, arguments

    def _reference(self, kind: Kind, call: ast.Call, arguments: list[ast.expr], values: Mapping[str, ast.expr]) -> None:
        rid = self._text(values.get("rid") or (arguments[0] if arguments else None))
        version = self._text(values.get("version") or (arguments[1] if len(arguments) > 1 else None))
        if rid is not None:
            self._found.references.append(Reference(kind, rid, version if kind == "dataset" else None, call.lineno))

    def _stores(self, call: ast.Call, values: Mapping[str, ast.expr]) -> None:
        """A call of a store, named or made in place: ``store(x, name=...)``, ``store(group=...)(x, name=...)``."""
        maker = call.func
        if isinstance(maker, ast.Name):
            maker = self._names.get(maker.id, maker)
        group = values.get("group")
        is_store = _last(call.func) == "store"
        if isinstance(maker, ast.Call) and _last(maker.func) == "store":
            is_store = True
            group = group or next((word.value for word in maker.keywords if word.arg == "group"), None)
        if not is_store:
            return
        text = self._text(group) if group is not None else ""
        if "name" in values:
            self._store(text, self._text(values["name"]), call)
        if text == "assets":
            self._bare_rids(call)

    def _store(self, group: str | None, name: str | None, call: ast.Call) -> None:
        self._found.stored.append(Stored(group, name, call.lineno))

    def _bare_rids(self, call: ast.Call) -> None:
        """RIDs that stand as texts in a list of assets."""
        nodes = [node for argument in call.args for node in ast.walk(argument)]
        given = [self._names[node.id] for node in nodes if isinstance(node, ast.Name) and node.id in self._names]
        nodes += [node for value in given for node in ast.walk(value)]
        for item in [item for node in nodes if isinstance(node, ast.List | ast.Tuple) for item in node.elts]:
            text = self._text(item)
            if text is not None and re.match(RID_PATTERN, text):
                self._found.references.append(Reference("asset", text, None, item.lineno))

    def _items(self, node: ast.expr | None) -> list[ast.expr]:
        if isinstance(node, ast.Name):
            node = self._names.get(node.id)
        return node.elts if isinstance(node, ast.List | ast.Tuple) else []

    def _choose(self, item: ast.expr) -> None:
        if isinstance(item, ast.Name):
            item = self._names.get(item.id, item)
        if not isinstance(item, ast.Dict):
            return
        for key, value in zip(item.keys, item.values, strict=True):
            match = DEFAULTS_KEY.match(self._text(key) or "")
            names = [self._text(part) for part in (self._items(value) or [value])]
            for name in names:
                if match is not None and name is not None:
                    self._found.chosen.append(Chosen(match["group"], name, value.lineno))

    def _text(self, node: ast.expr | None) -> str | None:
        """The text or number that stands in a place, or that a name at the top of the module is given."""
        if isinstance(node, ast.Name):
            node = self._names.get(node.id)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int) and not isinstance(node.value, bool):
            return str(node.value)
        return None


def _last(node: ast.expr) -> str:
    """The last part of a dotted name; empty if it is none."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
