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

from deriva_ml.cli.errors import guarded

if TYPE_CHECKING:
    from deriva_ml.execution.runner import RunPlan

__all__ = ["main"]

HYDRA_FLAGS = (
    "--cfg",
    "-c",
    "--resolve",
    "--package",
    "-p",
    "--run",
    "-r",
    "--shell-completion",
    "-sc",
    "--config-path",
    "-cp",
    "-cn",
    "-cd",
    "--experimental-rerun",
    "--hydra-help",
)
HYDRA_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

EPILOG = """\
Everything else goes to Hydra: overrides (model_config=quick, model_config.lr=0.1), +experiment=NAME, +multirun=NAME,
dry_run=true, and Hydra's own flags (--cfg job, --resolve, --info defaults, --hydra-help).

  deriva-ml-run --list-configs                       what there is to choose from
  deriva-ml-run +experiment=NAME dry_run=true        check everything, record nothing
  deriva-ml-run +experiment=NAME dry_run=full        go the whole way in a copy of the catalog that is thrown away
  deriva-ml-run +experiment=NAME model_config.lr=1   run and record
  deriva-ml-run +multirun=NAME                       a named sweep
  deriva-ml-run --multirun model_config.lr=1,2,3     a sweep

Exit codes: 0 done, 1 the run or some job failed, 2 the request was wrong, 4 the upload is incomplete (finish it with
deriva-ml-upload), 5 the catalog cannot be reached, 130 interrupted,
143 terminated (SIGTERM).
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
    add("--allow-dirty", action="store_true", help="run code with uncommitted changes")
    add("--offline", action="store_true", help="check what can be known without the catalog, and run nothing")
    add("--sizes", action="store_true", help="a dry run works out how large inputs are of which it is not known")
    add("--json", action="store_true", help="print one JSON document and nothing else")
    add("--debug", action="store_true", help="show tracebacks")
    add("--version", action="store_true", help="show the version and stop")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; by default those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    flags, rest = parser().parse_known_args([word for word in words if word != "--"])
    if flags.version:
        from importlib.metadata import version

        print(f"deriva-ml {version('deriva-ml')}")
        return 0
    return guarded(partial(_answer_json if flags.json else _run, flags, rest), debug=flags.debug)


def _run(flags: argparse.Namespace, rest: list[str]) -> int:
    hydra_flags, overrides = split_hydra(rest, info=flags.info)
    _load(flags.config_dir)
    if (flags.info and not hydra_flags) or flags.list_configs:
        from hydra_zen import store

        from deriva_ml.cli.listing import show_configs

        show_configs(store, flags.config_name)
        return 0
    plan = _plan(flags, overrides)
    if hydra_flags:
        return _hydra_answers(hydra_flags, plan)
    return _perform(plan, debug=flags.debug)


def _plan(flags: argparse.Namespace, overrides: list[str]) -> RunPlan:
    from deriva_ml.cli.printer import show_job
    from deriva_ml.execution.runner import RunOptions, plan_run

    options = RunOptions(
        allow_dirty=flags.allow_dirty or None,
        fail_fast=flags.fail_fast,
        offline=flags.offline,
        sizes=flags.sizes,
        on_outcome=show_job,
    )
    return plan_run(
        _with_place(flags, overrides), config_name=flags.config_name, multirun=flags.multirun, options=options
    )


def _answer_json(flags: argparse.Namespace, rest: list[str]) -> int:
    """Run, and print what it came to as JSON; whatever else is printed meanwhile goes to standard error."""
    from deriva_ml.cli.machine import answer

    return answer(partial(_understood, flags, rest), offline=flags.offline, debug=flags.debug)


def _understood(flags: argparse.Namespace, rest: list[str]) -> RunPlan:
    """What is to be run.

    Raises:
        DerivaMLConfigurationError: Nothing is, or the command is wrong.
    """
    hydra_flags, overrides = split_hydra(rest, info=flags.info)
    if hydra_flags or flags.info or flags.list_configs:
        raise _json_of_nothing()
    _load(flags.config_dir)
    return _plan(flags, overrides)


def _json_of_nothing() -> Exception:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    return DerivaMLConfigurationError(
        "--json shows what a run comes to, and nothing is run here.",
        source="command line",
        hint="leave out --json, or --info, --list-configs and Hydra's own flags",
    )


def _perform(plan: RunPlan, *, debug: bool) -> int:
    from deriva_ml.cli.printer import show_outcome, show_sweep
    from deriva_ml.cli.transfer_bar import transfer_bar

    if not plan.is_sweep:
        with transfer_bar() as bar:
            outcome = (plan if bar is None else plan.shown(bar.on_download, bar.on_upload)).run()
        return show_outcome(outcome, debug=debug)
    from deriva_ml.execution.sweep import run_sweep

    return show_sweep(run_sweep(plan), debug=debug)


def split_hydra(rest: Sequence[str], *, info: bool = False) -> tuple[list[str], list[str]]:
    """Take Hydra's own flags, with their values, out of what the command does not know itself.

    Args:
        rest: The arguments that are not the command's own flags, in order.
        info: Whether ``--info`` was given; one of Hydra's words for it then makes it Hydra's flag.

    Returns:
        Hydra's flags with their values, and the overrides.

    Raises:
        DerivaMLConfigurationError: A flag is neither ours nor Hydra's.
    """
    with_value = {"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "-cn", "-cd", "--experimental-rerun"}
    flags: list[str] = []
    overrides: list[str] = []
    words = iter(rest)
    for word in words:
        name, equals, _value = word.partition("=")
        if name in HYDRA_FLAGS:
            flags.append(word)
            if name in with_value and not equals:
                flags += [value for value in [next(words, None)] if value is not None]
        elif word.startswith("-"):
            raise _unknown_flag(name)
        elif info and word in HYDRA_INFO:
            flags += ["--info", word]
        else:
            overrides.append(word)
    return flags, overrides


def _unknown_flag(name: str) -> Exception:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.core.files import nearest

    own = [option for action in parser()._actions for option in action.option_strings]  # noqa: SLF001  # argparse tells no other way
    return DerivaMLConfigurationError(
        f"There is no flag {name}.",
        source="command line",
        allowed=nearest(name, [*own, *HYDRA_FLAGS]),
        hint="deriva-ml-run --help shows them all",
    )


def _with_place(flags: argparse.Namespace, overrides: list[str]) -> list[str]:
    """The overrides, and those that ``--host`` and ``--catalog`` stand for."""
    from deriva_ml.execution.overrides import quote

    place = {"deriva_ml.hostname": flags.host, "deriva_ml.catalog_id": flags.catalog}
    return overrides + [f"{key}={quote(value)}" for key, value in place.items() if value is not None]


def config_folder(given: str | None, here: Path) -> Path:
    """The folder of the configuration package: the given one, else ``src/configs``, else ``configs``.

    Args:
        given: What ``--config-dir`` says.
        here: The working directory.

    Raises:
        DerivaMLConfigurationError: There is no such folder.
    """
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    tried = [here / given] if given else [here / "src" / "configs", here / "configs"]
    for folder in tried:
        if folder.is_dir():
            return folder.resolve()
    raise DerivaMLConfigurationError(
        f"Config directory not found: {' nor '.join(str(folder) for folder in tried)}",
        source="--config-dir" if given else "working directory",
        hint="go to the project's directory, or name the folder with --config-dir",
    )


def _load(given: str | None) -> None:
    """Import the configuration package, with its parent, and the project above a ``src``, on ``sys.path``."""
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    folder = config_folder(given, Path.cwd())
    above = [folder.parent.parent] if folder.parent.name == "src" else []
    for place in (*above, folder.parent):
        if str(place) not in sys.path[:2]:
            sys.path.insert(0, str(place))
    from deriva_ml.execution.base_config import load_configs

    if not load_configs(folder.name):
        raise DerivaMLConfigurationError(
            f"There are no configuration modules in {folder}.",
            source="--config-dir" if given else "working directory",
            hint="put Python modules there that store their configurations with hydra-zen",
        )


def _hydra_answers(flags: list[str], plan: RunPlan) -> int:
    """Let ``hydra.main`` answer its own flags; it reads ``sys.argv``, which is put back afterwards."""
    import hydra

    from deriva_ml.execution.composition import discard_output

    outcomes: list[Any] = []

    def task(config: Any) -> None:
        outcomes.append(plan.job()(config))

    before = sys.argv
    sys.argv = ["deriva-ml-run", *flags, *plan.all_overrides]
    try:
        hydra.main(config_path=None, config_name=plan.config_name, version_base="1.3")(task)()
    except SystemExit as stop:
        if not isinstance(stop.code, int | None):
            raise
        return stop.code or 0
    finally:
        sys.argv = before
        discard_output(plan.home, plan.stamp, recorded=any(outcome.report for outcome in outcomes))
    from deriva_ml.cli.printer import show_outcome

    return max((show_outcome(outcome) for outcome in outcomes), default=0)


if __name__ == "__main__":
    sys.exit(main())
