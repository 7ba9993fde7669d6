"""A dry run looks at everything that can be known, says all that is wrong, in few requests, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.fakes import Counting
from tests.serving import served

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.sharing import grant
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLConfigurationError,
    DerivaMLInvalidTerm,
    DerivaMLProblems,
    DerivaMLReadOnlyError,
    DerivaMLRidsNotFound,
    DerivaMLUnreachable,
    DerivaMLValidationError,
    DerivaMLVersionNotFound,
)
from deriva_ml.core.ml_config import DerivaMLConfig
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.execution import needs
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.dry_run import Asked, look_ahead
from deriva_ml.execution.outcome import Outcome, RunOptions
from deriva_ml.execution.request import DryRun, RunRequest
from deriva_ml.execution.runner import Job, perform
from deriva_ml.execution.workflow import Workflow
from deriva_ml.ml import DerivaML
from deriva_ml.server.users import users_of

NO_JOB = JobContext({}, None)
CHOSEN = JobContext({"datasets": "small", "assets": "weights"}, None)


def train(lr: float = 0.1, *, ml_instance: Any = None, execution: Any = None) -> None:
    raise AssertionError("a dry run calls no model")


class Counted(DerivaML):
    """A project's class whose requests are counted; the model is asked for again, as when the catalog was opened."""

    transports: list[Counting] = []  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        transport = Counting(self.session.catalog.transport)
        self.transports.append(transport)
        self.session = replace(self.session, catalog=CatalogClient(transport, self.session.catalog_id))


def request(root: Path, model: Any = train, **changes: Any) -> RunRequest:
    code = Workflow(name="w", workflow_type="Analysis", url="https://example.org/w", checksum="0" * 40)
    values: dict[str, Any] = {
        "deriva_ml": DerivaMLConfig(hostname=str(root), catalog_id=1),
        "datasets": [],
        "assets": [],
        "description": "a run",
        "workflow": code,
        "model_config": model,
        "dry_run": True,
    }
    return RunRequest(**(values | changes))


def problems(outcome: Outcome) -> list[Any]:
    error = outcome.error
    return list(error.errors) if isinstance(error, DerivaMLProblems) else [error] if error is not None else []


def everything_below(*places: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for place in places for path in sorted(place.rglob("*")) if path.is_file()}


@contextmanager
def untouched(*places: Path) -> Iterator[None]:
    before = everything_below(*places)
    yield
    assert everything_below(*places) == before


@pytest.fixture
def inputs(world: Any) -> Any:
    """Three datasets and five assets."""

    def make(datasets: int = 3, assets: int = 5) -> dict[str, Any]:
        session = world.ml.session
        rows = []
        for at in range(assets):
            url = session.objects.put(f"/hatrac/Scan/{at}.bin", b"s" * (at + 1), filename=f"{at}.bin")
            md5 = session.objects.head(url).md5
            rows.append({"URL": url, "Filename": f"{at}.bin", "Length": at + 1, "MD5": md5})
        files = [str(row["RID"]) for row in session.catalog.insert("demo-schema", "Scan", rows)]
        made = [Dataset.create_dataset(world.ml, None, "Training", f"number {at}") for at in range(datasets)]
        return {
            "datasets": [DatasetSpec(rid=one.dataset_rid, version="0.1.0") for one in made],
            "assets": files,
        }

    return make


@pytest.mark.parametrize(("datasets", "assets"), [(3, 5), (30, 50)])
def test_a_dry_run_takes_at_most_six_requests_whatever_the_number_of_inputs(
    world: Any, inputs: Any, datasets: int, assets: int
) -> None:
    asked = request(world.ml.session.place.root, ml_class=Counted, **inputs(datasets, assets))
    Counted.transports.clear()
    outcome = perform(asked, NO_JOB)
    assert outcome.error is None
    assert outcome.ahead is not None
    assert len(outcome.ahead.needs) == datasets + assets
    (transport,) = Counted.transports
    assert transport.count <= 6, transport.requests
    assert set(transport.methods) == {"GET"}


def test_a_dry_run_writes_nothing_at_all(world: Any, inputs: Any, tmp_path: Path) -> None:
    given = inputs()
    world.ml.download_dataset_bag(given["datasets"][0])
    world.ml.close()
    with untouched(tmp_path):
        outcome = perform(request(tmp_path / "catalog", **given), NO_JOB)
        assert outcome.error is None
        wrong = {**given, "datasets": [DatasetSpec(rid="9-ZZZZ", version="1.0.0")]}
        assert perform(request(tmp_path / "catalog", **wrong), NO_JOB).error is not None


def test_inputs_are_told_with_their_sizes_and_whether_they_are_here(world: Any, inputs: Any, tmp_path: Path) -> None:
    given = inputs(2, 2)
    bag = world.ml.download_dataset_bag(given["datasets"][0])
    file = tmp_path / "local.bin"
    file.write_bytes(b"12345")
    cached = {"rid": given["assets"][1], "cache": True}
    asked = request(tmp_path / "catalog", datasets=given["datasets"], assets=[given["assets"][0], cached, str(file)])
    outcome = perform(asked, NO_JOB)
    assert outcome.ahead is not None
    first, second, plain, kept, local = outcome.ahead.needs
    assert (first.is_cached, first.known, first.version, first.name) == (True, "cache", "0.1.0", "number 0")
    assert first.size is not None
    assert first.size >= sum(path.stat().st_size for path in bag.path.rglob("*") if path.is_file())
    assert (second.is_cached, second.size, second.known) == (False, None, "unknown")
    assert (plain.table, plain.name, plain.size, plain.to_cache) == ("demo-schema:Scan", "0.bin", 1, False)
    assert (kept.size, kept.to_cache, kept.is_cached) == (2, True, False)
    assert (local.kind, local.name, local.size) == ("file", str(file), 5)
    (room,) = outcome.ahead.rooms
    assert (room.needed, room.unknown) == (1 + 2 + 5, 1)


def test_the_size_of_a_bag_that_was_exported_before_is_known_without_it(world: Any, inputs: Any) -> None:
    root = world.ml.session.place.root
    spec = DatasetSpec(rid=world.dataset, version=str(world.ml.lookup_dataset(world.dataset).current_version))
    unknown = perform(request(root, datasets=[spec]), NO_JOB)
    estimated = perform(request(root, datasets=[spec]), NO_JOB, RunOptions(sizes=True))
    world.ml.download_dataset_bag(spec)
    world.ml.delete_cached_bag(world.dataset)
    recorded = perform(request(root, datasets=[spec]), NO_JOB)
    assert unknown.ahead and estimated.ahead and recorded.ahead
    assert [one.ahead.needs[0].known for one in (unknown, estimated, recorded)] == ["unknown", "estimated", "recorded"]
    assert estimated.ahead.needs[0].size
    assert (recorded.ahead.needs[0].size or 0) >= estimated.ahead.needs[0].size
    assert not recorded.ahead.needs[0].is_cached


def test_everything_that_is_wrong_is_said_at_once_with_where_it_came_from(world: Any) -> None:
    def careless(width: int, *, ml_instance: Any) -> None: ...

    code = Workflow(name="w", workflow_type="Trainig", url="https://example.org/w", checksum="0" * 40)
    outcome = perform(
        request(
            world.ml.session.place.root,
            partial(careless, width="wide"),
            workflow=code,
            datasets=[DatasetSpec(rid=world.dataset, version="7.0.0"), DatasetSpec(rid="9-ZZZZ", version="1.0.0")],
            assets=[world.subjects[0], "9-YYYY"],
        ),
        CHOSEN,
    )
    found = problems(outcome)
    assert [type(one) for one in found[:4]] == [
        DerivaMLValidationError,
        DerivaMLConfigurationError,
        DerivaMLInvalidTerm,
        DerivaMLVersionNotFound,
    ]
    said = str(outcome.error)
    for text in (
        "does not take the keyword execution",
        "model_config.width takes a whole number, and 'wide' is not that",
        "model_config.width",
        "Invalid term Trainig",
        "allowed: Training",
        "datasets[0] of the configuration datasets=small",
        "RID not found in the catalog: 9-ZZZZ",
        "datasets[1] of the configuration datasets=small",
        "assets[0] of the configuration assets=weights",
        "RID not found in the catalog: 9-YYYY",
    ):
        assert text in said
    assert outcome.error is not None
    assert getattr(outcome.error, "exit_code", None) == 2
    assert outcome.checked is not None
    assert outcome.checked.inputs is not None


def test_lists_of_inputs_that_cannot_be_read_do_not_hide_what_else_is_wrong(world: Any) -> None:
    asked = request(world.ml.session.place.root, datasets=["no spec"], assets=["9-YYYY"], workflow=None)
    found = problems(perform(asked, CHOSEN))
    assert len(found) == 3
    assert "workflow" in str(found[0])
    assert "configuration datasets=small" in str(found[1].source)
    assert isinstance(found[2], DerivaMLRidsNotFound)


def test_what_may_not_be_written_is_found_before(world: Any, tmp_path: Path) -> None:
    session = world.ml.session
    snapshot = DerivaMLConfig(hostname=str(session.place.root), catalog_id=f"1@{session.catalog.latest_snaptime()}")
    found = problems(perform(request(session.place.root, deriva_ml=snapshot), NO_JOB))
    assert any(isinstance(one, DerivaMLReadOnlyError) for one in found)
    closed = tmp_path / "a file"
    closed.touch()
    config = DerivaMLConfig(hostname=str(session.place.root), catalog_id=1, working_dir=str(closed / "work"))
    (problem,) = problems(perform(request(session.place.root, deriva_ml=config), NO_JOB))
    assert "cannot be used" in str(problem)
    assert "working_dir" in str(problem)


def test_a_catalog_that_cannot_be_reached_hides_nothing_and_has_its_own_code() -> None:
    config = DerivaMLConfig(hostname="http://127.0.0.1:1", catalog_id=1)
    outcome = perform(request(Path("/"), lambda ml_instance: None, deriva_ml=config), NO_JOB)
    found = problems(outcome)
    assert "does not take the keyword execution" in str(found[0])
    assert isinstance(found[-1], DerivaMLUnreachable)
    assert getattr(outcome.error, "exit_code", None) == 5


def test_offline_no_catalog_is_asked_and_it_is_said_what_was_not_checked() -> None:
    config = DerivaMLConfig(hostname="http://127.0.0.1:1", catalog_id=1)
    asked = request(Path("/"), deriva_ml=config, datasets=[DatasetSpec(rid="9-ZZZZ", version="1.0.0")], dry_run=False)
    outcome = perform(asked, NO_JOB, RunOptions(offline=True))
    assert outcome.error is None
    assert outcome.ahead is not None
    assert outcome.ahead.exists is None
    assert any("datasets and their versions" in text for text in outcome.ahead.not_checked)
    wrong = replace(asked, model_config=partial(train, lr="big"))
    assert "model_config.lr takes a number" in str(perform(wrong, NO_JOB, RunOptions(offline=True)).error)


def test_a_sweep_reads_the_catalog_once_for_all_of_its_jobs(world: Any, inputs: Any) -> None:
    given = inputs(3, 5)
    root = world.ml.session.place.root
    jobs = []
    for number in range(20):
        asked = request(root, partial(train, lr=number), ml_class=Counted, **given)
        jobs.append(Asked(JobContext({}, None, (f"lr={number}",), number), asked))
    wrong = request(root, ml_class=Counted, datasets=[DatasetSpec(rid="9-ZZZZ", version="1.0.0")])
    broken = Asked(JobContext({}, None, ("x=1",), 21), broken={"": DerivaMLConfigurationError("no such thing")})
    Counted.transports.clear()
    found = look_ahead([*jobs, Asked(JobContext({}, None, (), 20), wrong), broken], RunOptions(), is_sweep=True)
    assert [job.failed for job in found.jobs] == [False] * 20 + [True, True]
    assert found.jobs[3].description == "[Job 3] a run"
    assert found.problems == []
    (place,) = found.places
    assert len(place.needs) == 8
    assert len(Counted.transports) == 1
    assert Counted.transports[0].count <= 6 + 1  # and one for the RID that is not there


def test_dry_run_has_three_values_and_no_other() -> None:
    assert [DryRun.read(value) for value in (True, "yes", 1, "FULL", False, "off", 0, None)] == [
        *[DryRun.checks] * 3,
        DryRun.full,
        *[DryRun.off] * 4,
    ]
    with pytest.raises(DerivaMLConfigurationError, match="'perhaps'") as caught:
        DryRun.read("perhaps", ["x=1", "dry_run=perhaps"])
    assert caught.value.source == "override dry_run=perhaps"
    assert caught.value.allowed == ("true", "false", "full")


def test_room_that_is_not_there_is_a_problem() -> None:
    rooms = [needs.Room(Path("/here"), 10, 20), needs.Room(Path("/there"), 5000, 20, unknown=1)]
    (problem,) = needs.no_room(rooms)
    assert "need 4.9 KB, and only 20 B are free at /there" in str(problem)
    assert "cache_dir" in str(problem)


def test_an_argument_that_cannot_be_made_does_not_hide_the_others(world: Any) -> None:
    config = OmegaConf.create(
        {
            "deriva_ml": {
                "_target_": "deriva_ml.core.ml_config.DerivaMLConfig",
                "hostname": str(world.ml.session.place.root),
                "catalog_id": 1,
            },
            "datasets": [
                {"_target_": "deriva_ml.dataset.aux_classes.DatasetSpec", "rid": "not a rid", "version": "1.0.0"}
            ],
            "assets": ["9-YYYY"],
            "description": "",
            "workflow": {"_target_": "deriva_ml.execution.workflow.Workflow", "name": "x"},
            "model_config": {"_target_": "shutil.copy", "_partial_": True, "epochs": 1},
            "dry_run": True,
        }
    )
    outcome = Job()(config)
    said = str(outcome.error)
    assert len(problems(outcome)) == 7
    for text in (
        "'not a rid' is not a RID",
        "workflow_type: Field required",
        "does not take the keyword ml_instance or execution",
        "no parameter epochs",
        "needs a value for its parameter src",
        "RID not found in the catalog: 9-YYYY",
    ):
        assert text in said
    assert Job()(OmegaConf.create({"dry_run": True})).failed


def test_rights_that_are_missing_are_named_by_table(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.ml.session.place.root
    users = users_of(root)
    token = users.add("reader")
    users.close()
    with open_connection(str(root)) as connection:
        grant(connection.transport, "1", "reader", "reader")
    with served(root) as server:
        monkeypatch.setenv("DERIVA_ML_TOKEN", token)
        config = DerivaMLConfig(hostname=server.url, catalog_id=1)
        asked = request(root, deriva_ml=config, assets=[world.asset])
        (problem,) = problems(perform(asked, NO_JOB))
    assert isinstance(problem, DerivaMLAuthenticationError)
    for name in ("deriva-ml:Execution", "deriva-ml:Workflow", "deriva-ml:Execution_Metadata", "Scan_Execution"):
        assert name in str(problem)
    assert "deriva-ml:Dataset_Execution" not in str(problem)


def test_a_workflow_is_looked_for_by_its_row_where_one_is_named(world: Any) -> None:
    root = world.ml.session.place.root
    known = Workflow(name="w", workflow_type="Analysis", url="https://example.org/w", checksum="0" * 40)
    rid = world.ml.add_workflow(known)
    assert perform(request(root, workflow=world.ml.lookup_workflow(rid)), NO_JOB).error is None
    gone = known.model_copy(update={"rid": world.subjects[0]})
    (problem,) = problems(perform(request(root, workflow=gone), NO_JOB))
    assert "is no workflow, but a record of demo-schema:Subject" in str(problem)


@pytest.mark.parametrize("options", [RunOptions(sizes=True), RunOptions(sizes=True, offline=True)])
def test_sizes_are_refused_where_nothing_tells_them(world: Any, options: RunOptions) -> None:
    with pytest.raises(DerivaMLConfigurationError, match="--sizes"):
        perform(request(world.ml.session.place.root, dry_run=False), NO_JOB, options)
