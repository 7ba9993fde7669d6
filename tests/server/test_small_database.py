"""The small databases beside the catalogs: made whole once, one thread at a time, changes whole or not at all."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deriva_ml.server.errors import ServiceError, Unavailable
from deriva_ml.server.small_database import SmallDatabase, place_database, place_new


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SmallDatabase]:
    place_database(tmp_path / "small.db", "CREATE TABLE t (n INTEGER PRIMARY KEY);")
    made = SmallDatabase(tmp_path / "small.db", connect, busy_seconds=0.2)
    yield made
    made.close()


def numbers(database: SmallDatabase) -> list[int]:
    with database.open() as connection:
        return [row[0] for row in connection.execute("SELECT n FROM t ORDER BY n")]


def test_a_change_is_whole_or_not_at_all(database: SmallDatabase) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(LookupError), database.write() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        raise LookupError
    assert numbers(database) == [1]


def test_faults_of_the_database_are_refusals_and_leave_it_usable(database: SmallDatabase) -> None:
    for status, statement in ((409, "INSERT INTO t VALUES (1)"), (503, "SELECT 1")):
        with database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO t VALUES (1)")
        other = connect(database.path)
        if status == 503:
            other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServiceError) as refused, database.write() as connection:
            connection.execute(statement)
        other.close()
        assert refused.value.status == status
    with pytest.raises(sqlite3.OperationalError), database.write() as connection:
        connection.execute("a defect")
    assert numbers(database) == [1]


def test_who_waits_too_long_for_another_thread_is_refused(database: SmallDatabase) -> None:
    inside, go = threading.Event(), threading.Event()

    def hold() -> None:
        with database.open():
            inside.set()
            assert go.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(20)
    with pytest.raises(Unavailable), database.open():
        pass
    go.set()
    holder.join(20)
    assert numbers(database) == []


def test_it_can_be_used_again_after_it_was_closed(database: SmallDatabase) -> None:
    assert numbers(database) == []
    database.close()
    database.close()
    assert numbers(database) == []


def test_of_many_who_make_it_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda number: place_new(path, lambda to: to.write_text(str(number))), range(8)))
    assert placed.count(True) == 1
    assert path.read_text() == str(placed.index(True))
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_cannot_be_filled_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        place_database(tmp_path / "new.db", "CREATE TABLE t (n); a defect;")
    assert list(tmp_path.iterdir()) == []
    place_database(tmp_path / "new.db", "CREATE TABLE t (n);", mode=0o600)
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600
