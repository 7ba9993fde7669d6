"""The files that describe a run (configuration, code, environment): made before the model starts, without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.core.enums import ExecMetadataType, MLAsset
from deriva_ml.core.files import atomic_write
from deriva_ml.core.values import dataclass
from deriva_ml.execution.environment import find_lock_file, get_execution_environment
from deriva_ml.execution.masking import Mask
from deriva_ml.workspace.entries import new_key
from deriva_ml.workspace.manifest import AssetEntry, Manifest

if TYPE_CHECKING:
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration
    from deriva_ml.execution.source import Code
    from deriva_ml.execution.workflow import Workflow

__all__ = [
    "CONFIGURATION",
    "FOLDER",
    "MetadataFile",
    "describe_changes",
    "describe_environment",
    "describe_run",
    "stage_metadata",
]

FOLDER = "metadata"
"""Where the files are in a run's directory."""

CONFIGURATION = "configuration.json"
"""The file that holds what the run was given."""

_HYDRA = {
    "config.yaml": "Resolved Hydra configuration: the values that the run was configured with.",
    "overrides.yaml": "Hydra overrides: what the command line changed.",
    "hydra.yaml": "Hydra's own configuration: launcher, directories, choices.",
}


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """A file that describes a run.

    Attributes:
        name: Its name in the catalog.
        content: Its content.
        asset_type: Its type.
        description: What it holds.
    """

    name: str
    content: bytes
    asset_type: str
    description: str


def describe_run(
    configuration: ExecutionConfiguration,
    workflow: Workflow,
    *,
    execution_rid: str,
    catalog: Mapping[str, str],
    mask: Mask,
    now: datetime,
    hydra_output_dir: Path | None = None,
    relatives: Mapping[str, object] | None = None,
) -> list[MetadataFile]:
    """Everything that is written down of a run before it starts.

    Args:
        configuration: What the run is given.
        workflow: The code.
        execution_rid: The run.
        catalog: Where it is recorded: ``hostname``, ``identity`` and ``catalog_id``.
        mask: What hides secrets.
        now: When it is.
        hydra_output_dir: Hydra's directory for the job.
        relatives: What the run will be linked with, for whoever goes on with it: ``part_of``, ``instead_of``.
    """
    files = [
        _configuration(configuration, workflow, {"execution_rid": execution_rid, **(relatives or {})}, catalog, mask)
    ]
    lock = find_lock_file(workflow.git_root)
    if lock is not None:
        files.append(
            MetadataFile(
                lock.name,
                mask.code(lock.read_bytes()),
                ExecMetadataType.execution_config.value,
                "Lock file: the dependencies of the project, pinned.",
            )
        )
    if hydra_output_dir is not None:
        files += _hydra_files(hydra_output_dir, mask)
    if workflow.code is not None:
        files += describe_changes(workflow.code, mask)
    files.append(describe_environment(workflow, configuration.argv, now))
    return files


def describe_environment(workflow: Workflow, argv: Sequence[str] | None, now: datetime) -> MetadataFile:
    """The environment in which a run starts, or is taken up again.

    Args:
        workflow: The code.
        argv: The command; by default that of the process.
        now: When it is.
    """
    snapshot = get_execution_environment(argv=argv, project=workflow.git_root)
    return MetadataFile(
        f"environment_snapshot_{now:%Y%m%d_%H%M%S}.txt",
        _json(snapshot),
        ExecMetadataType.runtime_env.value,
        "Environment: packages with versions, Python, machine, chosen environment variables.",
    )


def describe_changes(code: Code, mask: Mask) -> list[MetadataFile]:
    """What differs from the commits: of the model's repository, and of each that it imports from.

    Args:
        code: The code.
        mask: What hides secrets.
    """
    kind = ExecMetadataType.execution_config.value
    about = "The code that ran, as a patch (git apply) on the commit that the workflow names."
    files = [MetadataFile("code.patch", mask.code(code.patch), kind, about)] if code.patch else []
    names: set[str] = set()
    for number, library in enumerate(code.libraries, start=1):
        if library.patch:
            name = library.name if library.name not in names else f"{library.name}-{number}"
            names.add(name)
            about = f"Code that was imported from {library.url}, as a patch on commit {library.commit or 'none'}."
            files.append(MetadataFile(f"code-{name}.patch", mask.code(library.patch), kind, about))
    return files


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=True) + "\n").encode("ascii")


def _configuration(
    configuration: ExecutionConfiguration,
    workflow: Workflow,
    place: Mapping[str, object],
    catalog: Mapping[str, str],
    mask: Mask,
) -> MetadataFile:
    document = configuration.model_copy(update={"workflow": workflow, "argv": mask.argv(configuration.argv)})
    where = mask.data(dict(catalog))
    plain = {**place, "catalog": where, **mask.data(document.model_dump(mode="json"))}
    if workflow.code is not None:
        plain["code"] = mask.data(workflow.code.to_dict())
    return MetadataFile(
        CONFIGURATION,
        _json(plain),
        ExecMetadataType.deriva_config.value,
        "Configuration of the run: inputs, workflow, code, command.",
    )


def _hydra_files(folder: Path, mask: Mask) -> list[MetadataFile]:
    """Hydra's three files of a job; they lie in its output folder, or in one below it."""
    found: Iterable[Path] = sorted({*folder.glob("*.yaml"), *folder.glob("*/*.yaml"), *folder.glob(".*/*.yaml")})
    return [
        MetadataFile(
            f"hydra-{folder.name}-{path.name}",
            mask.text(path.read_text(encoding="utf-8", errors="replace")).encode(),
            ExecMetadataType.hydra_config.value,
            _HYDRA[path.name],
        )
        for path in found
        if path.name in _HYDRA
    ]


def stage_metadata(manifest: Manifest, run_dir: Path, schema: str, files: Sequence[MetadataFile]) -> None:
    """Write the files into a run's directory and register them, with one write of the manifest.

    Args:
        manifest: The run's manifest.
        run_dir: The run's directory.
        schema: The ML schema.
        files: The files.
    """
    for file in files:
        # not waited for: after a power failure the run is gone anyhow
        with atomic_write(run_dir / FOLDER / file.name, durable=False) as out:
            out.write(file.content)
    manifest.add_many(
        AssetEntry(
            key=new_key(),
            asset_table=str(MLAsset.execution_metadata),
            schema=schema,
            file_name=file.name,
            path=f"{FOLDER}/{file.name}",
            asset_types=(file.asset_type,),
            description=file.description,
        )
        for file in files
    )
