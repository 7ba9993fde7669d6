"""The environment that a run has: packages, interpreter, machine, and of the environment variables a chosen few.

The only module outside ``core/config.py`` that reads the environment. Of its variables exactly those of
``ALLOWED_VARIABLES`` are ever recorded, and their values are masked like everything else.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.values import dataclass
from deriva_ml.execution.masking import Mask

__all__ = [
    "ALLOWED_VARIABLES",
    "LOCK_FILES",
    "Container",
    "NotebookHandover",
    "find_lock_file",
    "get_execution_environment",
    "git_environment",
    "handed_overrides",
    "installed_distributions",
    "mask",
    "process_mask",
    "running_notebook",
]

ALLOWED_VARIABLES = (
    # what decides how a computation runs
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "JAX_PLATFORMS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TF_DETERMINISTIC_OPS",
    "XLA_FLAGS",
    # what decides which Python code is found, and how it behaves
    "CONDA_DEFAULT_ENV",
    "CONDA_PREFIX",
    "LANG",
    "LC_ALL",
    "PYTHONHASHSEED",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "TZ",
    "VIRTUAL_ENV",
    # where the run is part of something larger
    "CI",
    "GITHUB_REPOSITORY",
    "GITHUB_RUN_ID",
    "GITHUB_SHA",
    "LOCAL_RANK",
    "RANK",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_ID",
    "SLURM_PROCID",
    "WORLD_SIZE",
    # deriva-ml's own
    "DERIVA_MCP_GIT_COMMIT",
    "DERIVA_MCP_IMAGE_DIGEST",
    "DERIVA_MCP_IMAGE_NAME",
    "DERIVA_MCP_IN_DOCKER",
    "DERIVA_MCP_VERSION",
    "DERIVA_ML_ALLOW_DIRTY",
    "DERIVA_ML_DRY_RUN",
    "DERIVA_ML_LOCAL",
)
"""The environment variables that are recorded with a run; no other one is."""

LOCK_FILES = (
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "pixi.lock",
    "conda-lock.yml",
    "Pipfile.lock",
    "pylock.toml",
    "requirements.lock",
    "requirements.txt",
)
"""Files that pin a project's dependencies, the most telling first."""

_GIT_LOCAL = (
    # These would make git look at another repository than the one that holds the file: a hook sets them.
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)

_NVIDIA = Path("/proc/driver/nvidia")


def process_mask() -> Mask:
    """The mask that knows the secrets of this process's environment."""
    return Mask(os.environ)


def mask(text: str) -> str:
    """A text without the secrets that may be in it."""
    return process_mask().text(text)


def git_environment() -> dict[str, str]:
    """The environment for git: messages in English, no lock taken for a read, no repository but the one asked for."""
    environ = {name: value for name, value in os.environ.items() if name not in _GIT_LOCAL}
    return environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


@dataclass(frozen=True, slots=True)
class Container:
    """What a container image says of the code in it (the variables ``DERIVA_MCP_*``).

    Attributes:
        image: Name of the image.
        digest: Digest of the image, or "".
        commit: The commit that the image was built from, or "".
        version: Version of the code, or "".
    """

    image: str
    digest: str
    commit: str
    version: str

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Container | None:
        """The container that this process runs in, if its image says so."""
        if environ.get("DERIVA_MCP_IN_DOCKER", "").lower() != "true":
            return None
        return cls(
            environ.get("DERIVA_MCP_IMAGE_NAME") or "ghcr.io/informatics-isi-edu/deriva-ml-mcp",
            environ.get("DERIVA_MCP_IMAGE_DIGEST", ""),
            environ.get("DERIVA_MCP_GIT_COMMIT", ""),
            environ.get("DERIVA_MCP_VERSION", ""),
        )

    @property
    def url(self) -> str:
        """Where the code is: the image by its digest, else the commit, else the repository."""
        if self.digest:
            return f"{self.image}@{self.digest}"
        repository = "https://github.com/informatics-isi-edu/deriva-ml-mcp"
        return f"{repository}/commit/{self.commit}" if self.commit else repository

    @property
    def checksum(self) -> str:
        """What identifies the code."""
        return self.digest or self.commit


@dataclass(frozen=True, slots=True)
class NotebookHandover:
    """What the runner of a notebook tells the kernel that it starts (the variables ``DERIVA_ML_WORKFLOW_*``)."""

    url: str
    checksum: str
    path: Path | None

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> NotebookHandover | None:
        """What was handed over to this process, if anything."""
        url = environ.get("DERIVA_ML_WORKFLOW_URL")
        if not url:
            return None
        path = environ.get("DERIVA_ML_NOTEBOOK_PATH")
        return cls(url, environ.get("DERIVA_ML_WORKFLOW_CHECKSUM", ""), Path(path) if path else None)


def handed_overrides(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The overrides that the runner of a notebook hands to its kernel (``DERIVA_ML_HYDRA_OVERRIDES``, a JSON list).

    Raises:
        DerivaMLConfigurationError: It is no list of texts.
    """
    text = environ.get("DERIVA_ML_HYDRA_OVERRIDES", "").strip()
    try:
        found = json.loads(text or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise DerivaMLConfigurationError(
            f"DERIVA_ML_HYDRA_OVERRIDES is not a JSON list of overrides: {text!r}",
            source="environment variable DERIVA_ML_HYDRA_OVERRIDES",
            allowed=['["datasets=small", "dry_run=true"]'],
            hint="correct it, or unset it",
        )
    return found


def running_notebook(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The notebook whose kernel this process is, as whoever started it says; None if nobody does.

    ``DERIVA_ML_NOTEBOOK_PATH`` is ours, ``JPY_SESSION_NAME`` is set by Jupyter servers.
    """
    for name in ("DERIVA_ML_NOTEBOOK_PATH", "JPY_SESSION_NAME"):
        path = Path(environ.get(name) or "")
        if path.suffix == ".ipynb" and path.is_file():
            return path.resolve()
    return None


def find_lock_file(folder: Path | None) -> Path | None:
    """The file of a project's folder that pins its dependencies, if there is one."""
    if folder is None:
        return None
    return next((folder / name for name in LOCK_FILES if (folder / name).is_file()), None)


def _egg_version(entry: Path) -> tuple[str, str] | None:
    """Name and version of an ``.egg-info``; an editable install's has the version only inside."""
    stem = re.sub(r"-py\d[\d.]*$", "", entry.name[: -len(".egg-info")])
    name, dash, version = stem.partition("-")
    if dash:
        return name, version
    try:
        with (entry / "PKG-INFO" if entry.is_dir() else entry).open(encoding="utf-8", errors="replace") as lines:
            for _number, line in zip(range(10), lines, strict=False):
                if line.startswith("Version:"):
                    return name, line.partition(":")[2].strip()
    except OSError:
        return None
    return None


def installed_distributions(paths: Iterable[str] | None = None) -> dict[str, str]:
    """The installed distributions and their versions.

    Names and versions are read off the names of the metadata folders, which takes milliseconds where reading the
    metadata takes hundreds.

    Args:
        paths: Folders to look in, the first one wins; by default ``sys.path``.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path if paths is None else paths):
        try:
            names = [entry.name for entry in Path(folder or ".").iterdir()]
        except OSError:  # a zip file, or a folder that is not there
            continue
        for entry in names:
            pair: tuple[str, str] | None = None
            if entry.endswith(".dist-info"):
                name, _dash, version = entry[: -len(".dist-info")].partition("-")
                pair = (name, version)
            elif entry.endswith(".egg-info"):
                pair = _egg_version(Path(folder) / entry)
            if pair is not None:
                found.setdefault(re.sub(r"[-_.]+", "-", pair[0]).lower(), pair[1])
    return dict(sorted(found.items()))


def _graphics() -> dict[str, Any]:
    """The NVIDIA driver and GPUs, as the driver's own files tell; no program is started to ask."""
    try:
        driver = (_NVIDIA / "version").read_text(errors="replace").splitlines()[0]
        texts = [path.read_text(errors="replace") for path in sorted(_NVIDIA.glob("gpus/*/information"))]
    except (OSError, IndexError):
        return {}
    models = re.findall(r"^Model:\s*(.+)$", "\n".join(texts), re.MULTILINE)
    return {"driver": driver.removeprefix("NVRM version: "), "gpus": models}


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _processor() -> str:
    """The processor's name as its maker gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.processor()
    found = re.search(r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _distribution() -> str | None:
    """The operating system's name and version, as it gives them itself."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _container(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The container that the process runs in, if it is one; its image and digest where the image says so."""
    kinds = {"docker": Path("/.dockerenv"), "podman": Path("/run/.containerenv")}
    kind = next((name for name, mark in kinds.items() if mark.exists()), None)
    if kind is None and "SINGULARITY_CONTAINER" in environ:
        kind = "singularity"
    if kind is None and "KUBERNETES_SERVICE_HOST" in environ:
        kind = "kubernetes"
    said = Container.read(environ)
    if kind is None and said is None:
        return None
    image = {"image": said.image, "digest": said.digest, "commit": said.commit} if said is not None else {}
    return {"kind": kind, **image}


def get_execution_environment(
    *, argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ, project: Path | None = None
) -> dict[str, Any]:
    """What is recorded of the environment of a run, as data of JSON's kinds, without secrets.

    Args:
        argv: The command; by default ``sys.argv``.
        environ: The environment variables, of which only ``ALLOWED_VARIABLES`` are taken.
        project: The folder of the project, in which a lock file is looked for.
    """
    lock = find_lock_file(project)
    veil = Mask(environ)
    machine = os.uname() if hasattr(os, "uname") else None
    snapshot = {
        "imports": installed_distributions(),
        "os": {
            "cwd": str(Path.cwd()),
            "name": os.name,
            "environ": {name: environ[name] for name in ALLOWED_VARIABLES if name in environ},
        },
        "sys": {
            "executable": sys.executable,
            "version": sys.version,
            "implementation": sys.implementation.name,
            "flags": {name: getattr(sys.flags, name) for name in ("optimize", "isolated", "hash_randomization")},
            "byteorder": sys.byteorder,
            "prefix": sys.prefix,
        },
        "sys_path": list(sys.path),
        "platform": {
            "system": platform.system(),
            "distribution": _distribution(),
            "release": machine.release if machine else platform.release(),
            "machine": machine.machine if machine else platform.machine(),
            "python_version": ".".join(str(part) for part in sys.version_info[:3]),
            "node": machine.nodename if machine else platform.node(),
        },
        "hardware": {"cpu": _processor(), "cpu_count": os.cpu_count(), "memory_bytes": _memory(), **_graphics()},
        "container": _container(environ),
        "lock_file": lock.name if lock else None,
    }
    masked: dict[str, Any] = veil.data(snapshot)
    masked["sys"]["argv"] = veil.argv(sys.argv if argv is None else argv)
    return masked
