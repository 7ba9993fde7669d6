"""``deriva-ml-init``: a new project that runs at once."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.cli.command import Command
from deriva_ml.cli.place import existing_catalog

if TYPE_CHECKING:
    from deriva_ml.project.bootstrap import BootstrapReport
    from deriva_ml.project.creation import CreatedProject, ProjectPlan

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-init",
        description="Make a new project: a model, its configurations, a notebook, a test; in git, ready to run.",
        epilog="Exit codes: 0 done, 2 the request was wrong or files are in the way; nothing was changed then.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("folder", metavar="DIR", help="the project's folder; it need not exist")
    add("--name", metavar="NAME", help="the project's name (default: that of the folder)")
    add("--host", default="local", metavar="HOST", help="its catalog's host: local, a path, a host name, a URL")
    add("--catalog", default="1", metavar="ID", help="its catalog (default: 1)")
    add(
        "--from-catalog",
        action="store_true",
        help="take the configurations of datasets, files and kinds of work from what is in the catalog",
    )
    add("--dataset-type", action="append", metavar="TYPE", help="of these types only; with --from-catalog; repeatable")
    add("--no-git", action="store_true", help="make no git repository and no commit")
    add("--force", action="store_true", help="replace files that are there; they are listed")
    add("--dry-run", action="store_true", help="list the files, and show what --from-catalog suggests; make nothing")
    add("--debug", action="store_true", help="show tracebacks")
    return out


def _init(flags: argparse.Namespace) -> int:
    from deriva_ml.project.creation import create_project, plan_project

    suggested = _suggested(flags)
    plan = plan_project(
        flags.folder,
        name=flags.name,
        hostname=flags.host,
        catalog_id=flags.catalog,
        git=not flags.no_git,
        more={f"src/configs/{name}": text for name, text in suggested.files.items()} if suggested else None,
    )
    if flags.dry_run:
        _show_plan(plan)
        if suggested is not None:
            print(f"\n{suggested.to_text()}", end="")
        return 0
    _show_created(create_project(plan, replace=flags.force), suggested)
    return 0


def _suggested(flags: argparse.Namespace) -> BootstrapReport | None:
    """What the catalog suggests, if that was asked for."""
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    if not flags.from_catalog:
        if flags.dataset_type:
            raise DerivaMLConfigurationError("--dataset-type says which datasets of the catalog; add --from-catalog.")
        return None
    with existing_catalog(flags) as ml:
        return ml.bootstrap_config(dataset_type_filter=flags.dataset_type)


def _show_plan(plan: ProjectPlan) -> None:
    print(f"{plan.folder} would get:")
    for name in plan.files:
        note = "  (is there with the same text)" if name in plan.present else ""
        note = "  (is there with another text: only --force replaces it)" if name in plan.different else note
        print(f"  {name}{note}")
    print(f"{_repository_line(plan)}\nNothing was made.")


def _repository_line(plan: ProjectPlan) -> str:
    if plan.commit:
        return "  .git, with a first commit"
    if plan.repository is not None:
        return f"It is in the git repository {plan.repository} already."
    return "No git repository."


def _show_created(made: CreatedProject, suggested: BootstrapReport | None) -> None:
    plan = made.plan
    commit = f", first commit {made.commit.commit[:10]}" if made.commit else ""
    print(f"Made {plan.name} in {plan.folder}: {len(plan.to_write)} files{commit}.")
    if plan.different:
        print(f"Replaced: {', '.join(plan.different)}")
    if plan.present:
        print(f"Were there already: {', '.join(plan.present)}")
    if suggested is not None:
        print(f"Suggested by {suggested.catalog}: {_counts(suggested)}")
        print("".join(f"  left out: {text}\n" for text in suggested.left_out), end="")
    for note in _notes(made):
        print(f"Note: {note}")
    print("\nNext:")
    for command, meaning in _commands(made):
        print(f"  {command}{'  # ' if meaning else ''}{meaning}")


def _counts(suggested: BootstrapReport) -> str:
    words = {"workflow": "kinds of work"}
    kinds = [words.get(entry.kind, entry.kind) for entry in suggested.suggestions]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "nothing"


def _notes(made: CreatedProject) -> list[str]:
    plan, notes = made.plan, []
    if made.commit is not None and made.commit.is_anonymous:
        notes.append("git does not know your name, so the first commit has none: git config --global user.name NAME")
    if made.commit is not None and made.others:
        notes.append(
            "the folder holds other files, which are not in the commit: commit them or list them in .gitignore"
        )
    if made.commit is None and plan.repository is None:
        notes.append("without a git repository only --allow-dirty runs are possible: nobody could say later what ran")
    return notes + _catalog_note(plan)


def _catalog_note(plan: ProjectPlan) -> list[str]:
    """What to do where the project's catalog does not exist and is not made by the first run."""
    from deriva_ml.connect import catalog_exists
    from deriva_ml.core.config import resolve_place
    from deriva_ml.project.naming import distribution_name

    place = resolve_place(plan.hostname)
    is_made = place.is_default and str(plan.catalog_id) == "1"
    if place.root is None or is_made or catalog_exists(plan.hostname, plan.catalog_id):
        return []
    make = f"deriva-ml-catalog create --root {shlex.quote(str(place.root))} --project {distribution_name(plan.name)}"
    return [f"there is no catalog {plan.catalog_id} at {place} yet; one is made by: {make}"]


def _commands(made: CreatedProject) -> list[tuple[str, str]]:
    from deriva_ml.core.config import place_flags

    plan = made.plan
    there = os.path.relpath(plan.folder)
    found = [] if plan.folder == Path.cwd() else [(f"cd {shlex.quote(there)}", "")]
    dirty = ""
    if made.commit is None:
        dirty = " --allow-dirty"
        if plan.repository is not None:
            dirty = ""
            found.append(("git add . && git commit -m 'A new project'", "runs record the commit"))
    return [
        *found,
        ("deriva-ml-validate-config", "checks every configuration"),
        (f"deriva-ml-run{dirty} dry_run=true", "checks one run, records nothing"),
        (f"deriva-ml-run{dirty} +experiment=quick", "trains the example and records the run"),
        (f"deriva-ml-run{dirty} +multirun=rates", "a sweep of three runs"),
        (f"deriva-ml-show{place_flags(plan.hostname, plan.catalog_id)}", "what was recorded"),
        ("deriva-ml-run --list-configs", "what else there is to choose from"),
    ]


main = Command(parser, _init)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
