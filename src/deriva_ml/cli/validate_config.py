"""``deriva-ml-validate-config``: is every configuration of a project right, and is everything there that they name?"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from deriva_ml.cli.command import Command

if TYPE_CHECKING:
    from deriva_ml.project.config_catalogs import CatalogSource

__all__ = ["main"]

PROBLEMS = 2
UNREACHABLE = 5


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-validate-config",
        description="Check all configuration files of a project at once, each problem with its file and line.",
        epilog="Nothing is run and nothing is written. Exit codes: 0 all is right (warnings aside), 2 there are "
        "problems or the request was wrong, 5 a catalog cannot be reached.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add(
        "targets",
        nargs="*",
        default=["."],
        metavar="PATH",
        help="a project, its configs, or files of them (default: .)",
    )
    add("--host", metavar="HOST", help="ask this host in place of those that the configurations name")
    add("--catalog", metavar="ID", help="ask this catalog in place of those that the configurations name")
    add("--config-name", default="deriva_model", metavar="NAME", help="the main configuration (default: deriva_model)")
    add("--offline", action="store_true", help="ask no catalog")
    add("--json", action="store_true", help="print the report as JSON")
    add("--debug", action="store_true", help="show tracebacks")
    return out


def _validate(flags: argparse.Namespace) -> int:
    from deriva_ml.project.config_validation import validate_configs

    report = validate_configs(flags.targets, _source(flags), config_name=flags.config_name)
    print(report.to_json() if flags.json else report.to_text())
    if not report.is_valid:
        return PROBLEMS
    return UNREACHABLE if report.unreachable else 0


def _source(flags: argparse.Namespace) -> CatalogSource:
    """The catalogs that may be asked; ``--host`` alone means its catalog 1, ``--catalog`` alone one of this machine."""
    from deriva_ml.project.config_catalogs import CatalogName, CatalogSource

    given = flags.host is not None or flags.catalog is not None
    instead = CatalogName(flags.host or "local", flags.catalog or "1") if given else None
    return CatalogSource(instead=instead, offline=flags.offline)


main = Command(parser, _validate)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
