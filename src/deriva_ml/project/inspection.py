"""A process of its own that loads a configuration package and composes what it offers: ``python -m`` this module.

Configurations are code. In a process of their own they meet no earlier version of themselves, leave nothing behind in
ours, and can end nobody's session. What is found is written line by line, so that what was found before such an end is
not lost.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.project.config_package import ConfigPackage
from deriva_ml.project.findings import Finding

__all__ = ["inspect_package"]


def inspect_package(package: ConfigPackage, config_name: str, tell: Callable[[str, Any], None]) -> None:
    """Load a package and compose what it offers.

    Args:
        package: The package; its search path is put before the process's own.
        config_name: The main configuration.
        tell: Is told what is found, as it is found.
    """
    from hydra import initialize
    from hydra_zen import store

    from deriva_ml.execution import composition
    from deriva_ml.execution.registry import register
    from deriva_ml.project.config_composing import compose_each, unknown_choices
    from deriva_ml.project.config_loading import load_each

    sys.path[:0] = package.search_path
    modules = package.modules()
    order = [*modules, "the compositions"]
    tell("begin", order[0])
    for module, following in zip(load_each(modules, store), order[1:], strict=True):
        tell("module", module)
        tell("begin", following)
    groups: dict[str, list[str]] = {}
    for entry in store:
        groups.setdefault(entry["group"] or "", []).append(str(entry["name"]))
    tell("groups", groups)
    wrong = unknown_choices(store, groups)
    for finding in wrong:
        tell("finding", finding)
    register(store)
    with initialize(config_path=None, job_name="deriva-ml-validate-config", version_base=composition.VERSION_BASE):
        try:
            for made in compose_each(store, config_name, {finding.owner for finding in wrong}):
                tell("composition", made)
        except DerivaMLConfigurationError as error:
            message = str(error.args[0])
            tell("finding", Finding("composition", message, text=config_name, allowed=error.allowed, hint=error.hint))
    tell("end", None)


def main(argv: list[str]) -> int:
    """Read what to do from a file, and write what is found to another."""
    request = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    with Path(argv[1]).open("w", encoding="utf-8") as out:

        def tell(what: str, value: Any) -> None:
            plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
            out.write(json.dumps([what, plain]) + "\n")
            out.flush()

        inspect_package(ConfigPackage(Path(request["folder"])), request["config_name"], tell)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
