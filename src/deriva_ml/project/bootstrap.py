"""Configurations suggested from what is in a catalog, as text that can be pasted into a project or written into one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.execution.config_text import split_text
from deriva_ml.project.naming import catalog_name, host_name
from deriva_ml.project.placing import placed
from deriva_ml.project.rendering import python_literal
from deriva_ml.project.suggestions import Suggested, Suggestion, suggest_assets, suggest_datasets, suggest_workflows
from deriva_ml.schema.session import HasSession, Session, session_of

__all__ = ["BootstrapReport", "bootstrap_config"]

KINDS: Mapping[str, str] = {
    "deriva_ml": "deriva.py",
    "datasets": "datasets.py",
    "assets": "assets.py",
    "workflow": "workflow.py",
}
"""The configuration groups that can be suggested, with the files that they go into."""

USUAL_KIND_OF_WORK = "Training"


@dataclass(frozen=True)
class BootstrapReport:
    """Configurations that a catalog suggests.

    Attributes:
        catalog: The catalog.
        files: The text of each module, by the name of its file.
        suggestions: What is in them.
        left_out: What was left out, and why.
    """

    catalog: str
    files: Mapping[str, str]
    suggestions: tuple[Suggestion, ...]
    left_out: tuple[str, ...]

    def to_text(self) -> str:
        """All modules one after the other, each under the name of its file, and what was left out as comments."""
        parts = [f"# {name}\n\n{text}" for name, text in self.files.items()]
        if self.left_out:
            parts.append("# Left out:\n" + "".join(f"#   {_commentable(text)}\n" for text in self.left_out))
        return "\n\n".join(parts)

    def write(self, dir: str | Path) -> list[Path]:  # noqa: A002  # the name that says it
        """Write the modules into a configuration package; all or none, and nothing that is there is replaced.

        Args:
            dir: The package; it is made if it is not there.

        Returns:
            The files.

        Raises:
            DerivaMLConfigurationError: Some of them are there already, or something cannot be written.
        """
        folder = Path(dir).expanduser().absolute()
        there = [name for name in self.files if (folder / name).exists() or (folder / name).is_symlink()]
        if there:
            raise DerivaMLConfigurationError(
                f"{folder} has these files already: {', '.join(there)}. Nothing was written.",
                hint="write into another folder, or paste what you need from to_text()",
            )
        try:
            with placed(folder, {name: text.encode() for name, text in self.files.items()}):
                pass
        except OSError as error:
            raise DerivaMLConfigurationError(
                f"The configurations cannot be written: {error.strerror or error}. Nothing was written.",
                source=str(error.filename or folder),
                hint="make room or choose a folder that you can write",
            ) from error
        return [folder / name for name in self.files]


def _commentable(text: str) -> str:
    return " ".join(text.split())


def bootstrap_config(
    owner: HasSession | Session,
    *,
    kinds: str | Iterable[str] | None = None,
    dataset_type_filter: str | Iterable[str] | None = None,
) -> BootstrapReport:
    """Suggest configurations from what is in a catalog.

    Datasets come in their newest released version, each under a name made of its description; files are those that
    runs made, the newest, and those of small asset tables; kinds of work are the terms of the catalog.

    Args:
        owner: The catalog: a ``DerivaML`` or its session.
        kinds: The groups to suggest: ``deriva_ml``, ``datasets``, ``assets``, ``workflow``; all by default.
        dataset_type_filter: Only datasets of this type, or of one of these.

    Raises:
        DerivaMLConfigurationError: There is no such group.
        DerivaMLInvalidTerm: There is no such type of datasets.
    """
    session = session_of(owner)
    wanted = _checked_kinds(kinds)
    types = [dataset_type_filter] if isinstance(dataset_type_filter, str) else dataset_type_filter
    files: dict[str, str] = {}
    suggestions: list[Suggestion] = []
    left_out: list[str] = []
    for kind in wanted:
        found = _suggested(session, kind, None if types is None else list(types))
        files[KINDS[kind]] = _module(session, kind, found.entries)
        suggestions += found.entries
        left_out += found.left_out
    return BootstrapReport(_title(session), files, tuple(suggestions), tuple(left_out))


def _checked_kinds(kinds: str | Iterable[str] | None) -> list[str]:
    given = list(KINDS) if kinds is None else [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in given:
        if kind not in KINDS:
            raise DerivaMLConfigurationError(
                f"There are no suggestions of kind {kind!r}.", source="kinds", allowed=nearest(kind, KINDS)
            )
    return [kind for kind in KINDS if kind in given]


def _suggested(session: Session, kind: str, types: Collection[str] | None) -> Suggested:
    if kind == "datasets":
        return suggest_datasets(session, types)
    if kind == "assets":
        return suggest_assets(session)
    return suggest_workflows(session) if kind == "workflow" else Suggested()


def _title(session: Session) -> str:
    return f"catalog {session.catalog_id} at {session.place.hostname}"


# -- the text ------------------------------------------------------------------------------------------------------


def _module(session: Session, kind: str, entries: Iterable[Suggestion]) -> str:
    if kind == "datasets":
        return _inputs("datasets", "DatasetSpecConfig", "deriva_ml.dataset", "default_dataset", entries)
    if kind == "assets":
        return _inputs("assets", "AssetSpecConfig", "deriva_ml.execution", "default_asset", entries)
    return _workflows(entries) if kind == "workflow" else _connection(session)


def _inputs(group: str, spec: str, home: str, default: str, entries: Iterable[Suggestion]) -> str:
    """A module of datasets or of assets; it names only what it uses."""
    listed = list(entries)
    words = {"datasets": "Datasets to bring, each in a version", "assets": "Single files to bring"}[group]
    lines = [f'"""{words}: what the catalog had when this was suggested."""', "", "from hydra_zen import store", ""]
    if listed:
        names = "with_description"
        if home == "deriva_ml.execution":
            names = f"{spec}, {names}"
        else:
            lines.append(f"from {home} import {spec}")
        lines += [f"from deriva_ml.execution import {names}", ""]
    lines += [f'{group}_store = store(group="{group}")', f'{group}_store([], name="{default}")']
    for entry in listed:
        version = f", version={python_literal(entry.version)}" if entry.version is not None else ""
        lines += [
            f"{group}_store(",
            "    with_description(",
            f"        [{spec}(rid={python_literal(entry.subject)}{version})],",
            f"        {_text(entry.description)},",
            "    ),",
            f"    name={python_literal(entry.name)},",
            ")",
        ]
    return "\n".join([*lines, ""])


def _text(text: str) -> str:
    """Text as Python code of one line; whatever is in it, it can be written to a file."""
    return python_literal(text.encode("utf-8", "replace").decode("utf-8"))


def _described(text: str) -> str:
    """A note on a configuration; it is in pieces where it would be read as an interpolation."""
    pieces = split_text(text)
    return _text(pieces) if isinstance(pieces, str) else f"[{', '.join(map(_text, pieces))}]"


def _workflows(entries: Iterable[Suggestion]) -> str:
    listed = list(entries)
    lines = [
        '"""Kinds of work that the catalog knows; the code itself is found from the model\'s source file."""',
        "",
        "from hydra_zen import builds, store",
        "",
        "from deriva_ml.execution import Workflow",
        "",
        'workflow_store = store(group="workflow")',
    ]
    usual = next((entry for entry in listed if entry.subject == USUAL_KIND_OF_WORK), next(iter(listed), None))
    named = [("default_workflow", usual)] if usual is not None else []
    for name, entry in [*named, *((entry.name, entry) for entry in listed)]:
        lines += [
            "workflow_store(",
            "    builds(",
            "        Workflow,",
            f"        name={_text(entry.subject)},",
            f"        workflow_type={_text(entry.subject)},",
            *([] if "${" in entry.description else [f"        description={_text(entry.description)},"]),
            "        populate_full_signature=True,",
            "    ),",
            f"    name={python_literal(name)},",
            ")",
        ]
    return "\n".join([*lines, ""])


def _connection(session: Session) -> str:
    arguments = {
        "hostname": python_literal(host_name(session.place.hostname)),
        "catalog_id": python_literal(catalog_name(session.catalog_id)),
        **({} if session.ml_schema == ML_SCHEMA else {"ml_schema": python_literal(session.ml_schema)}),
        "populate_full_signature": "True",
        "zen_meta": f'{{"description": {_described(_title(session))}}}',
    }
    return "\n".join(
        [
            '"""Where the catalog is."""',
            "",
            "from hydra_zen import builds, store",
            "",
            "from deriva_ml import DerivaMLConfig",
            "",
            'deriva_store = store(group="deriva_ml")',
            "deriva_store(",
            "    builds(",
            "        DerivaMLConfig,",
            *(f"        {name}={value}," for name, value in arguments.items()),
            "    ),",
            '    name="default_deriva",',
            ")",
            "",
        ]
    )
