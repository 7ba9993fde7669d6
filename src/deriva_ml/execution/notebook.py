"""A run in a notebook: one call composes its configuration, opens the catalog and starts the execution.

The notebook's cells are the model, so nothing stands around them that could start and end the run:

1. The run is started by :func:`run_notebook` and ended by ``execution.upload_execution_outputs()``, which the last cell
   calls; what is registered afterwards is brought by calling it again. A ``with`` block ends the run as well, and says
   what failed.
2. If the kernel ends before, the next command finds the run dead, and what it had registered can be uploaded.
3. The code of the run is the notebook file, without its outputs. It is known from whoever started the kernel, or is
   named; it is never searched for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from deriva_ml.asset.aux_classes import AssetFilePath
from deriva_ml.core.enums import MLVocab, Status
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLInvalidTerm
from deriva_ml.core.files import nearest
from deriva_ml.execution.base_config import DerivaBaseConfig, get_notebook_configuration
from deriva_ml.execution.config_package import load_configs
from deriva_ml.execution.environment import running_notebook
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.registry import entries
from deriva_ml.execution.request import catalog_class
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.vocabulary import add_term, check_terms

__all__ = ["NotebookExecution", "run_notebook"]

WORKFLOW_TYPE = "Analysis Notebook"


class NotebookExecution(Execution):
    """A run that is going on when it is given out, and that its first upload ends, unless a ``with`` block does."""

    _is_block = False

    def __enter__(self) -> Self:
        if self.status is not Status.running:
            self.execution_start()
        self._is_block = True
        return self

    def upload_execution_outputs(self, *args: Any, **kwargs: Any) -> dict[str, list[AssetFilePath]]:
        """Bring what the run has registered into the catalog; outside of a ``with`` block, this ends the run.

        The arguments are those of :meth:`Execution.upload_execution_outputs`.
        """
        if self.status is Status.running and not self._is_block:
            self.execution_stop()
        return super().upload_execution_outputs(*args, **kwargs)


def run_notebook(
    config_name: str,
    overrides: Sequence[str] | None = None,
    workflow_name: str | None = None,
    workflow_type: str | list[str] = WORKFLOW_TYPE,
    ml_class: type | None = None,
    config_package: str = "configs",
    *,
    notebook: Path | str | None = None,
    allow_dirty: bool | None = None,
) -> tuple[Any, NotebookExecution, Any]:
    """Begin the run of a notebook.

    Args:
        config_name: The notebook's configuration, as ``notebook_config`` stored it.
        overrides: Overrides, as on the command line.
        workflow_name: Name of the workflow; by default made from the configuration's.
        workflow_type: Its kinds; ``Analysis Notebook`` is made if the vocabulary lacks it.
        ml_class: Class that opens the catalog; ``DerivaML`` by default.
        config_package: The configuration package: importable, or in ``src`` of the project that holds the notebook.
        notebook: The notebook's file, where whoever started the kernel does not tell.
        allow_dirty: A notebook that differs from its last commit may run; None for what the environment says.

    Returns:
        The catalog, the run, which has been started, and the configuration.

    Raises:
        DerivaMLConfigurationError: The configuration is wrong, or it is not known which notebook this is.
        DerivaMLWorkflowError: The notebook differs from its last commit.
        DerivaMLDataError: An input does not exist, or is not what it is taken for.
    """
    _load(config_package, notebook)
    _refuse_unknown(config_name)
    config = get_notebook_configuration(DerivaBaseConfig, config_name, overrides)
    dry_run = bool(getattr(config, "dry_run", False))
    name = workflow_name or config_name.replace("_", " ").title()
    kinds = [workflow_type] if isinstance(workflow_type, str) else list(workflow_type)
    code = _code(Workflow(name=name, workflow_type=kinds), notebook, allow_dirty=dry_run or allow_dirty)
    configuration = ExecutionConfiguration(
        datasets=getattr(config, "datasets", None) or [],
        assets=getattr(config, "assets", None) or [],
        workflow=code,
        description=getattr(config, "description", "") or f"Running {config_name}",
        config_choices=dict(getattr(config, "config_choices", {}) or {}),
    )
    ml = catalog_class(ml_class).instantiate(config.deriva_ml)
    try:
        code.workflow_type = _known_kinds(ml, kinds, dry_run=dry_run)
        execution = NotebookExecution(configuration, ml, dry_run=dry_run)
        execution.execution_start()
    except BaseException:
        ml.close()
        raise
    return ml, execution, config


def _load(package: str, notebook: Path | str | None) -> None:
    """Load the configuration package, which may lie in the project that holds the notebook."""
    start = Path(notebook).resolve().parent if notebook is not None else Path.cwd()
    for folder in (start, *start.parents):
        place = next((each for each in (folder / "src", folder) if (each / package / "__init__.py").is_file()), None)
        if place is not None:
            if str(place) not in sys.path:
                sys.path.insert(0, str(place))
            break
        if (folder / ".git").exists():
            break
    if not load_configs(package):
        raise DerivaMLConfigurationError(
            f"There is no configuration package {package!r}.",
            source=f"config_package, looked for in {start} and above, and on sys.path",
            hint=f"name it with config_package=..., or make src/{package} in the project (deriva-ml-init makes one)",
        )


def _code(workflow: Workflow, notebook: Path | str | None, *, allow_dirty: bool | None) -> Workflow:
    """The workflow with its code: the notebook's file, or the script that calls."""
    file = Path(notebook) if notebook is not None else running_notebook()
    if file is None and "ipykernel" in sys.modules:
        raise DerivaMLConfigurationError(
            "It is not known which notebook this is.",
            source="the kernel, whose starter does not tell (JPY_SESSION_NAME, DERIVA_ML_NOTEBOOK_PATH)",
            hint='name it: run_notebook(..., notebook="analysis.ipynb")',
        )
    return workflow.resolve(file, allow_dirty=allow_dirty)


def _refuse_unknown(config_name: str) -> None:
    from hydra_zen import store

    known = [str(entry["name"]) for entry in entries(store) if not entry["group"]]
    if config_name not in known:
        raise DerivaMLConfigurationError(
            f"There is no configuration {config_name!r}.",
            source="config_name",
            allowed=nearest(config_name, known),
            hint="make it with notebook_config(...) in a module of the configuration package",
        )


def _known_kinds(ml: Any, kinds: Sequence[str], *, dry_run: bool) -> list[str]:
    """The kinds of work, the usual one of notebooks made where it is no term yet; a dry run leaves it out instead.

    Raises:
        DerivaMLInvalidTerm: A kind is not in the vocabulary.
    """
    table = f"{ml.session.ml_schema}:{MLVocab.workflow_type}"
    try:
        return list(check_terms(ml.session, table, list(kinds)))
    except DerivaMLInvalidTerm as error:
        if error.term != WORKFLOW_TYPE:
            raise
    if dry_run:
        return list(check_terms(ml.session, table, [kind for kind in kinds if kind != WORKFLOW_TYPE]))
    add_term(ml.session, table, WORKFLOW_TYPE, "A notebook that analyses data")
    return list(check_terms(ml.session, table, list(kinds)))
