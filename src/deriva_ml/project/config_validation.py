"""Every configuration file of a project is checked at once: one bad file hides no problem of another.

1. Each file is read as text; so a file that cannot be imported is searched all the same.
2. The package is loaded and everything it offers composed, in a process of its own.
3. What configurations want of catalogs is asked of them, in a few requests.
4. What only follows from a file that is not loaded is no problem of its own: it is said that it was not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from deriva_ml.core.ermrest import RID_PATTERN
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import nearest
from deriva_ml.execution.multirun_config import MULTIRUN_GROUP
from deriva_ml.project.config_catalogs import CatalogName, CatalogSource, CatalogUse, ask_catalogs
from deriva_ml.project.config_cycles import import_cycles
from deriva_ml.project.config_package import ConfigPackage, find_package
from deriva_ml.project.config_places import ConfigPlaces, quoted_words
from deriva_ml.project.config_references import Named
from deriva_ml.project.config_report import ConfigProblem, ConfigValidationReport, in_order
from deriva_ml.project.config_scan import Stored, scan_file
from deriva_ml.project.findings import Composition, Finding, LoadedModule, Loading
from deriva_ml.project.inspector import load_package
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.validation import ValidationSeverity

__all__ = ["validate_config_directory", "validate_config_file", "validate_configs"]

Owner = HasSession | Session
ERROR, WARNING = ValidationSeverity.error, ValidationSeverity.warning


def validate_config_directory(owner: Owner, dir: str | Path, *, recursive: bool = True) -> ConfigValidationReport:  # noqa: A002  # the specification's name
    """Check the configuration files of a project, what they name in this catalog included.

    Args:
        owner: The catalog: a ``DerivaML`` or its session. It stands for the one of the main configuration.
        dir: The project, its configuration package, or a folder in that.
        recursive: Tell problems of files in folders below too.

    Raises:
        DerivaMLConfigurationError: There is no configuration package.
    """
    folder = Path(dir)
    if not folder.is_dir():
        raise DerivaMLConfigurationError(f"{folder} is not a folder.", hint="validate_config_file takes a file")
    return validate_configs([folder], CatalogSource(session_of(owner)), recursive=recursive)


def validate_config_file(owner: Owner, path: str | Path) -> ConfigValidationReport:
    """Check one configuration file, what it names in this catalog included.

    The package around it is loaded too, since files refer to each other; only problems in this file are told.

    Args:
        owner: The catalog: a ``DerivaML`` or its session. It stands for the one of the main configuration.
        path: The file.

    Raises:
        DerivaMLConfigurationError: There is no such file.
    """
    file = Path(path)
    if not file.is_file():
        raise DerivaMLConfigurationError(f"{file} is not a file.", hint="validate_config_directory takes a folder")
    return validate_configs([file], CatalogSource(session_of(owner)))


def validate_configs(
    targets: Sequence[str | Path],
    source: CatalogSource | None = None,
    *,
    recursive: bool = True,
    config_name: str = "deriva_model",
) -> ConfigValidationReport:
    """Check configurations.

    Args:
        targets: A project, a configuration package, or files and folders of one.
        source: Which catalogs may be asked; by default those that the configurations name.
        recursive: Tell problems of files in folders below too.
        config_name: The main configuration.

    Raises:
        DerivaMLConfigurationError: There is no configuration package, or the targets are in several.
    """
    packages = {target: find_package(target) for target in targets}
    if len(set(packages.values())) != 1:
        raise DerivaMLConfigurationError(
            f"These are files of {len(set(packages.values()))} configuration packages, and one is checked at a time.",
            source=", ".join(str(target) for target in targets),
        )
    package = next(iter(packages.values()))
    wanted = {file for target in targets for file in _chosen(package, Path(target), recursive=recursive)}
    report = _Validation(package, config_name).report(source or CatalogSource())
    told = [problem for problem in report.problems if problem.path in wanted or not _is_below(package, problem.path)]
    if wanted < set(report.files):
        told = [problem for problem in told if problem.path in wanted]
    return ConfigValidationReport(
        package.folder,
        tuple(path for path in report.files if path in wanted),
        tuple(told),
        report.composed,
        report.catalogs,
        report.references,
        report.unchecked,
        report.unreachable,
    )


def _chosen(package: ConfigPackage, target: Path, *, recursive: bool) -> Iterator[Path]:
    """The files that a target means."""
    where = target.expanduser().resolve()
    if where.is_file():
        if where not in package.files():
            raise DerivaMLConfigurationError(f"{where} is not a file of Python.", hint="name modules of the package")
        yield where
        return
    top = where if _is_below(package, where) else package.folder
    for file in package.files():
        if file.parent == top or (recursive and top in file.parents):
            yield file


def _is_below(package: ConfigPackage, path: Path) -> bool:
    return path == package.folder or package.folder in path.parents


class _Validation:
    """One validation of a package, from its text to what its catalogs say.

    Args:
        package: The package.
        config_name: The main configuration.
    """

    def __init__(self, package: ConfigPackage, config_name: str) -> None:
        self._package = package
        modules = package.modules()
        self._names = {path: name for name, path in modules.items()}
        self._files = package.files()
        self._scans = {path: scan_file(path, self._names.get(path, "")) for path in self._files}
        self._config_name = config_name
        self._loading: Loading = load_package(package, config_name)
        self._modules: dict[Path, LoadedModule] = {modules[item.name]: item for item in self._loading.modules}
        loaded = {owner: path for path, item in self._modules.items() for owner in item.stored}
        self._places = ConfigPlaces(package.folder, self._scans, loaded)
        self._lost = [path for path, item in self._modules.items() if item.error or item.needs]
        self._hidden = quoted_words(self._lost)

    def report(self, source: CatalogSource) -> ConfigValidationReport:
        """Everything that is wrong."""
        problems = [*self._syntax(), *self._not_loaded(), *self._cycles(), *self._imports(), *self._duplicates()]
        problems += self._unknown_choices()
        findings = [*self._loading.findings, *(item for made in self._loading.compositions for item in made.findings)]
        problems += [self._problem(finding) for finding in self._own(findings)]
        answers = ask_catalogs(self._use(), source)
        return ConfigValidationReport(
            self._package.folder,
            tuple(self._files),
            in_order([*problems, *answers.problems]),
            tuple(dict.fromkeys(made.label for made in self._loading.compositions)),
            tuple(answers.asked),
            answers.references,
            (*self._unchecked(), *answers.unchecked),
            tuple(answers.unreachable),
        )

    # -- the files themselves ------------------------------------------------------------------------------------

    def _syntax(self) -> Iterator[ConfigProblem]:
        for scan in self._scans.values():
            if scan.error is not None:
                message, line = scan.error
                yield ConfigProblem(ERROR, "syntax", message, scan.path, line)

    def _not_loaded(self) -> Iterator[ConfigProblem]:
        for path in self._files:
            if path not in self._names:
                message = "A run does not load this file: its folder has no __init__.py."
                hint = f"make {path.parent / '__init__.py'}, or move the file"
                yield ConfigProblem(WARNING, "not-loaded", message, path, hint=hint)

    def _circles(self) -> list[list[str]]:
        imports = {name: self._scans[path].imports for path, name in self._names.items() if path in self._scans}
        return import_cycles(imports)

    def _cycles(self) -> Iterator[ConfigProblem]:
        paths = {name: path for path, name in self._names.items()}
        for cycle in self._circles():
            following = dict(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
            steps = [
                f"{paths[name].name}:{self._scans[paths[name]].imports[other]}" for name, other in following.items()
            ]
            message = f"Modules import each other in a circle: {' -> '.join([*cycle, cycle[0]])} ({', '.join(steps)})."
            is_broken = any(self._is_partial(self._modules.get(paths[name])) for name in cycle)
            line = self._scans[paths[cycle[0]]].imports[following[cycle[0]]]
            hint = "move what both need into a module of its own"
            severity = ERROR if is_broken else WARNING
            yield ConfigProblem(severity, "circular-import", message, paths[cycle[0]], line, hint=hint)

    @staticmethod
    def _is_partial(module: LoadedModule | None) -> bool:
        """Whether a module failed because another was not loaded to its end."""
        return module is not None and module.error is not None and "partially initialized" in module.error.message

    def _imports(self) -> Iterator[ConfigProblem]:
        """Modules that cannot be imported, but for what was said of them already."""
        circular = {name for cycle in self._circles() for name in cycle}
        for module in self._modules.values():
            if module.error is None or (module.name in circular and self._is_partial(module)):
                continue
            if module.error.kind == "duplicate":
                yield self._stored_twice(module.error)
            else:
                yield self._problem(module.error)
        yield from self._ended()

    def _ended(self) -> Iterator[ConfigProblem]:
        """A module that ended the process that loaded it."""
        what, _space, how = self._loading.broke_off.partition(" (")
        path = next((path for path, name in self._names.items() if name == what), None)
        if what:
            message = f"{what} ended the process{f' ({how}' if how else '.'}"
            yield ConfigProblem(ERROR, "import", message, path or self._places.stored(("", self._config_name))[0])

    def _stored_twice(self, finding: Finding) -> ConfigProblem:
        """What hydra-zen says of a name that is taken, with the other place."""
        path, line = self._places.of(finding)
        here = next((item for item in self._stored(path) if item.line == line), None)
        if here is None:
            return self._problem(finding)
        others = [
            f"{other}:{item.line}"
            for other in self._scans
            for item in self._stored(other)
            if (item.group, item.name) == (here.group, here.name) and (other, item.line) != (path, line)
        ]
        return self._twice(path, here, others[0] if others else "another place")

    def _stored(self, path: Path) -> list[Stored]:
        scan = self._scans.get(path)
        return scan.stored if scan is not None else []

    def _twice(self, path: Path, item: Stored, other: str) -> ConfigProblem:
        is_sweep = item.group == MULTIRUN_GROUP
        name = f"{item.group}/{item.name}" if item.group else item.name
        message = f"{name} is stored twice; the other place is {other}."
        hint = "the later one counts; rename one of them" if is_sweep else "rename one of them"
        return ConfigProblem(WARNING if is_sweep else ERROR, "duplicate", message, path, item.line, hint=hint)

    def _duplicates(self) -> Iterator[ConfigProblem]:
        """Names that the text stores twice, where loading could not tell: sweeps replace, and files were not loaded."""
        first: dict[tuple[str, str], str] = {}
        for path in self._names:
            for item in self._stored(path):
                if item.group is None or item.name is None:
                    continue
                key = (item.group, item.name)
                if key in first and (item.group == MULTIRUN_GROUP or path in self._lost):
                    yield self._twice(path, item, first[key])
                first.setdefault(key, f"{path}:{item.line}")

    def _unknown_choices(self) -> Iterator[ConfigProblem]:
        """Names that defaults lists of files which were not loaded choose, and nobody stores."""
        groups = self._loading.groups
        for path in self._lost:
            for item in self._scans[path].chosen if path in self._scans else ():
                if (
                    item.group in groups
                    and item.name not in groups[item.group]
                    and item.name not in self._elsewhere(path)
                ):
                    message = (
                        f"The defaults choose {item.name!r} in group {item.group!r}, which has no such configuration."
                    )
                    allowed = tuple(nearest(item.name, groups[item.group]))
                    yield ConfigProblem(ERROR, "unknown-name", message, path, item.line, allowed)

    def _elsewhere(self, path: Path) -> set[str]:
        """What other files that were not loaded may store."""
        return quoted_words(other for other in self._lost if other != path)

    # -- what was found by loading -------------------------------------------------------------------------------

    def _own(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The findings that do not follow from a file that is not loaded; each message once."""
        told: set[tuple[str, str]] = set()
        for finding in findings:
            may_follow = finding.kind in ("unknown-name", "composition") and finding.text in self._hidden
            if (finding.kind, finding.message) not in told and not may_follow:
                told.add((finding.kind, finding.message))
                yield finding

    def _problem(self, finding: Finding) -> ConfigProblem:
        path, line = self._places.of(finding)
        severity = ERROR if finding.is_error else WARNING
        return ConfigProblem(severity, finding.kind, finding.message, path, line, finding.allowed, finding.hint)

    def _unchecked(self) -> Iterator[str]:
        for module in self._modules.values():
            if module.needs:
                yield f"{module.name}, because {module.needs} cannot be imported"
        if self._loading.broke_off:
            yield f"what comes after {self._loading.broke_off.partition(' (')[0]}, which ended the process"
        elif not any(made.owner == ("", self._config_name) for made in self._loading.compositions):
            yield "compositions, because the main configuration is not complete"

    # -- what is wanted of catalogs ------------------------------------------------------------------------------

    def _use(self) -> CatalogUse:
        use = CatalogUse()
        for scan in self._scans.values():
            is_lost = scan.path in self._lost
            for reference in scan.references:
                if not is_lost and not re.match(RID_PATTERN, reference.rid):
                    continue  # it was told when the object was made
                each = Named(reference.kind, reference.rid, reference.version or "")
                use.references.setdefault(each, []).append((scan.path, reference.line))
        for made in self._loading.compositions:
            if made.hostname:
                self._add(use, made)
        for scan in self._scans.values():
            for place in scan.places:
                name = CatalogName(place.hostname, place.catalog_id)
                if not any(
                    (known.hostname, known.catalog_id) == (name.hostname, name.catalog_id) for known in use.named
                ):
                    use.named[name] = (scan.path, place.line)
        use.default = use.default or next(iter(use.named), None)
        return use

    def _add(self, use: CatalogUse, made: Composition) -> None:
        """Note what one composition wants."""
        name = CatalogName(made.hostname, made.catalog_id, made.ml_schema)
        if made.owner == ("", self._config_name):
            use.default = name
        chosen = {
            group: (group, made.choices.get(group, "")) for group in ("deriva_ml", "datasets", "assets", "workflow")
        }
        use.named.setdefault(name, self._catalog_spot(name, chosen["deriva_ml"]))
        named = [("datasets", Named("dataset", item.rid, item.version)) for item in made.datasets]
        named += [("assets", Named("asset", rid)) for rid in made.assets]
        if made.is_run:
            use.runs.add(name)
        for group, each in named:
            use.references.setdefault(each, [self._places.of(Finding("", "", chosen[group], each.rid))])
            if made.is_run:
                use.runs_on.setdefault(each, set()).add(name)
        for term in made.workflow_types:
            use.terms.setdefault(term, self._places.of(Finding("", "", chosen["workflow"], term)))
            use.terms_on.setdefault(term, set()).add(name)

    def _catalog_spot(self, name: CatalogName, owner: tuple[str, str]) -> tuple[Path, int]:
        for scan in self._scans.values():
            for place in scan.places:
                if (place.hostname, place.catalog_id) == (name.hostname, name.catalog_id):
                    return scan.path, place.line
        return self._places.stored(owner)
