"""``deriva-ml-check-catalog-schema``: is a catalog's ML schema what this library needs?"""

from __future__ import annotations

import argparse
import sys

from deriva_ml.cli.command import Command
from deriva_ml.cli.place import add_place, existing_catalog

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-check-catalog-schema",
        description="Compare a catalog's ML schema with what this library needs: tables, columns, types, terms.",
        epilog="Exit codes: 0 it fits, 2 it does not or the request was wrong, 5 the catalog cannot be reached.",
        allow_abbrev=False,
    )
    add_place(out)
    out.add_argument("--strict", action="store_true", help="tables and columns that are not expected are errors too")
    out.add_argument("--dump", action="store_true", help="print the schema as it is, as JSON, instead")
    out.add_argument("--json", action="store_true", help="print the report as JSON")
    out.add_argument("--debug", action="store_true", help="show tracebacks")
    return out


def _check(flags: argparse.Namespace) -> int:
    from deriva_ml.cli.terminal import show_json

    with existing_catalog(flags) as ml:
        if flags.dump:
            show_json(ml.model.get_schema_description(include_system_columns=True)["schemas"])
            return 0
        report = ml.validate_schema(flags.strict)
    print(report.to_json() if flags.json else report.to_text())
    return 0 if report.is_valid else 2


main = Command(parser, _check)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
