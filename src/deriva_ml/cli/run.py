"""``deriva-ml-run``: run a configured model once, or a sweep of it, and show what was recorded.

The command takes its own flags, which are all long; whatever else stands on the command line goes to Hydra as it is,
in any order. Hydra's own flags (``--cfg job``, ``--resolve``, ``--info defaults``, ...) are answered by ``hydra.main``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.configurations import config_folder, project
from deriva_ml.cli.errors import guarded
from deriva_ml.cli.hydra_flags import answer, options_of, search_override, set_up_completion, split_hydra

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from deriva_ml.cli.hydra_flags import HydraWords
    from deriva_ml.execution.outcome import Outcome
    from deriva_ml.execution.runner import RunPlan
    from deriva_ml.execution.sweep import SweepOutcome

__all__ = ["main", "parser"]

EPILOG = """\
Everything else goes to Hydra: overrides (model_config=quick, model_config.lr=0.1), +experiment=NAME, +multirun=NAME,
dry_run=true, and Hydra's own flags (--cfg job, --resolve, --info defaults, --hydra-help, -cd DIR for YAML).

  deriva-ml-run --list-configs                       what there is to choose from
  eval "$(deriva-ml-run --shell-completion install=bash)"   complete flags, groups, names and keys in this shell
  deriva-ml-run +experiment=NAME dry_run=true        check everything, record nothing
  deriva-ml-run +experiment=NAME dry_run=full        go the whole way in a copy of the catalog that is thrown away
  deriva-ml-run +experiment=NAME model_config.lr=1   run and record
  deriva-ml-run +multirun=NAME                       a named sweep
  deriva-ml-run --multirun model_config.lr=1,2,3     a sweep
  deriva-ml-run --resume RID                         take a run up again that failed, was aborted or was killed:
                                                     the same configuration, inputs and record; a new, linked
                                                     run where its code has changed or it is of another machine
  deriva-ml-run --resume PARENT                      finish a sweep: jobs that completed stay
  deriva-ml-run --resume RID dry_run=true            show what would be run, record nothing

Exit codes: 0 done, 1 the run or some job failed, 2 the request was wrong, 4 the model has ended well and the upload is
incomplete, as where the catalog was lost (finish it with deriva-ml-upload), 5 the catalog cannot be reached and the
model did not run, 129 the terminal was closed (SIGHUP), 130 interrupted, 143 terminated (SIGTERM).
"""


def parser() -> argparse.ArgumentParser:
    """The command's own flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-run",
        description="Run a configured model, once or as a sweep, and record it in a catalog.",
        usage="deriva-ml-run [flags] [overrides and Hydra flags ...]",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = out.add_argument
    add("--host", metavar="HOST", help="the catalog's host: local, a path, a host name, a URL (deriva_ml.hostname)")
    add("--catalog", metavar="ID", help="the catalog (deriva_ml.catalog_id)")
    add("--config-dir", metavar="DIR", help="the configuration package (default: src/configs, else configs)")
    add("--config-name", metavar="NAME", default="deriva_model", help="the main configuration (default: deriva_model)")
    add("--info", action="store_true", help="show the configuration groups and stop; with a word, Hydra's --info")
    add("--list-configs", action="store_true", help="show groups, names and descriptions, and stop")
    add("--multirun", "-m", action="store_true", help="run a sweep: one job for each combination of values")
    add("--fail-fast", action="store_true", help="stop a sweep at its first failing job")
    add("--resume", metavar="RID", help="take a run, or a sweep, up again that did not complete, as it was configured")
    add("--allow-dirty", action="store_true", help="run code with uncommitted changes")
    add("--offline", action="store_true", help="check what can be known without the catalog, and run nothing")
    add("--sizes", action="store_true", help="a dry run works out how large inputs are of which it is not known")
    add(
        "--json", action="store_true", help="print one JSON document and nothing else; of a run, or with --list-configs"
    )
    add("--debug", action="store_true", help="show tracebacks")
    add("--version", action="store_true", help="show the version and stop")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; by default those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    flags, rest = parser().parse_known_args([part for word in words for part in _parts(word)])
    if flags.version:
        from importlib.metadata import version

        print(f"deriva-ml {version('deriva-ml')}")
        return 0
    is_listing = flags.info or flags.list_configs  # which has a JSON of its own
    run = _answer_json if flags.json and not is_listing else _run
    return guarded(partial(run, flags, rest), debug=flags.debug, is_process=argv is None)


def _parts(word: str) -> list[str]:
    """A word of the command line as the parser is to see it; ``--info`` is ours with no word behind it, or Hydra's."""
    if word == "--":
        return []
    return ["--info", word.removeprefix("--info=")] if word.startswith("--info=") else [word]


def _run(flags: argparse.Namespace, rest: list[str]) -> int:
    hydra = split_hydra(rest, options_of(parser()), info=flags.info)
    if hydra.shell is not None:
        return _complete(hydra.shell)
    with _project(flags) as store:
        if (flags.info and not hydra.flags) or flags.list_configs:
            from deriva_ml.cli.listing import show_configs

            show_configs(store, hydra.config_name or flags.config_name, as_json=flags.json)
            return 0
        plan = _plan(flags, hydra)
        if hydra.flags:
            return answer(hydra.flags, plan)
        return _perform(plan, flags)


def _project(flags: argparse.Namespace) -> AbstractContextManager[Any]:
    return project(config_folder(flags.config_dir, Path.cwd()), "--config-dir" if flags.config_dir else None)


def _plan(flags: argparse.Namespace, hydra: HydraWords) -> RunPlan:
    from deriva_ml.cli.printer import show_job
    from deriva_ml.execution.runner import RunOptions, plan_run

    options = RunOptions(
        allow_dirty=flags.allow_dirty or None,
        fail_fast=flags.fail_fast,
        offline=flags.offline,
        sizes=flags.sizes,
        on_outcome=show_job,
    )
    if flags.resume is not None:
        from deriva_ml.cli.resumed import resumed_plan

        return resumed_plan(flags, hydra, options, _with_place(flags, ()))
    return plan_run(
        [*_with_place(flags, hydra.overrides), *search_override(hydra.folders)],
        config_name=hydra.config_name or flags.config_name,
        multirun=flags.multirun,
        options=options,
        folders=hydra.folders,
    )


def _answer_json(flags: argparse.Namespace, rest: list[str]) -> int:
    """Run, and print what it came to as JSON; whatever else is printed meanwhile goes to standard error."""
    from deriva_ml.cli.machine import answer as answer_json

    return answer_json(partial(_come_to, flags, rest), offline=flags.offline, debug=flags.debug)


def _come_to(flags: argparse.Namespace, rest: list[str]) -> Outcome | SweepOutcome:
    """Run, without a word.

    Raises:
        DerivaMLConfigurationError: Nothing is run here.
    """
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    hydra = split_hydra(rest, options_of(parser()), info=flags.info)
    if hydra.flags or hydra.shell is not None:
        raise DerivaMLConfigurationError(
            "--json shows what a run comes to, and nothing is run here.",
            source="command line",
            hint="leave out --json, or Hydra's own flags",
        )
    with _project(flags):
        plan = _plan(flags, hydra)
        if not plan.is_sweep:
            return plan.run()
        from deriva_ml.execution.sweep import run_sweep

        return run_sweep(plan)


def _complete(step: str) -> int:
    if not step.startswith("query="):
        return set_up_completion(step)
    from deriva_ml.cli.completion import completions
    from deriva_ml.core.config import line_to_complete

    print(*completions(line_to_complete(), parser()), sep="\n" if step == "query=fish" else " ")
    return 0


def _perform(plan: RunPlan, flags: argparse.Namespace) -> int:
    from deriva_ml.cli.printer import show_outcome, show_sweep
    from deriva_ml.cli.transfer_bar import transfer_bar

    if not plan.is_sweep:
        with transfer_bar() as bar:
            outcome = (plan if bar is None else plan.shown(bar.on_download, bar.on_upload)).run()
        if plan.options.earlier is not None:
            from deriva_ml.cli.resumed import say_resumed

            say_resumed(flags, plan.options.earlier, outcome)
        return show_outcome(outcome, debug=flags.debug)
    from deriva_ml.execution.sweep import run_sweep

    if plan.options.sweep is not None:
        from deriva_ml.cli.resumed import say_resumed_sweep

        say_resumed_sweep(plan.options.sweep)
    return show_sweep(run_sweep(plan), debug=flags.debug)


def _with_place(flags: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """The overrides, and those that ``--host`` and ``--catalog`` stand for."""
    from deriva_ml.execution.overrides import quote

    place = {"deriva_ml.hostname": flags.host, "deriva_ml.catalog_id": flags.catalog}
    return [*overrides, *(f"{key}={quote(value)}" for key, value in place.items() if value is not None)]


if __name__ == "__main__":
    sys.exit(main())
