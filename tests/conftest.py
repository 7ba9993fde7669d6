"""Every test has an embedded catalog of its own, copied in milliseconds from a template made once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import Connection, open_connection
from deriva_ml.core.config import Settings, folder_identity
from deriva_ml.ml import DerivaML
from deriva_ml.schema.create_schema import create_ml_schema
from deriva_ml.schema.session import Session


def pytest_configure() -> None:
    """Let the processes that tests start be interrupted: a shell starts what it runs in the background without that.

    ``nohup`` starts what it runs without being told of a closed terminal, which commands are told of, too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _let_processes_share_compiled_modules()


def _let_processes_share_compiled_modules() -> None:
    """Hundreds of commands are started, and without this each may have to compile the package anew.

    What is compiled lies apart, so that no folder that a test looks at has a file more.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".pytest_cache" / "compiled")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose catalog 1 holds the ML schema and an empty project schema."""
    root = tmp_path_factory.mktemp("template") / "catalog"
    with open_connection(str(root), create=True) as connection:
        client = connection.create_catalog(1)
        create_ml_schema(client, project_name="test")
        client.create_schema("demo-schema", "A project.")
    return root


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DERIVA_ML_LOCAL", str(tmp_path / "catalog"))
    return Settings.read()


@pytest.fixture
def catalog_root(template: Path, settings: Settings) -> Path:
    """A folder with a fresh catalog 1; it is what ``local`` names in this test."""
    shutil.copytree(template, settings.local)
    folder_identity(settings.local)  # a copy gets an identity of its own when it is first met; that is said in the log
    return settings.local


@pytest.fixture
def connection(catalog_root: Path) -> Iterator[Connection]:
    """An open way to the folder."""
    with open_connection(str(catalog_root)) as opened:
        yield opened


@pytest.fixture
def client(connection: Connection) -> CatalogClient:
    """A client of catalog 1."""
    return connection.catalog(1)


@pytest.fixture
def ml(catalog_root: Path) -> Iterator[DerivaML]:
    """A ``DerivaML`` on catalog 1, with the project schema ``demo-schema``."""
    with DerivaML(str(catalog_root), 1) as opened:
        yield opened


@pytest.fixture
def session(ml: DerivaML) -> Session:
    """The session of ``ml``."""
    return ml.session


@pytest.fixture
def empty_store() -> Iterator[None]:
    """Nothing is stored in hydra-zen's global store, as where a command begins; afterwards it holds what it held."""
    from hydra_zen import store

    def clear() -> None:
        for entry in list(store):
            store.delete_entry(entry["group"], entry["name"])

    before = store.copy()
    clear()
    yield
    clear()
    store.update(before)
