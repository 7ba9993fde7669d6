"""One catalog's database: time, history, RIDs, and that reading changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from deriva_ml.core import codes
from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.bootstrap import furnish
from deriva_ml.server.errors import Conflict, FolderError, Unavailable
from deriva_ml.server.store import CatalogStore
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.http import Client
from deriva_ml.wire.model import Table

OWNER = Client("owner", roles=frozenset({"owner", LOCAL_ROLE}))


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000)


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[CatalogStore]:
    path = tmp_path / "1.db"
    CatalogStore.create(path)
    made = CatalogStore(path, clock=clock, busy_seconds=0.3)
    with made.write(OWNER) as tx:
        furnish(tx, ["owner"], {})
    yield made
    made.close()


def leases(tx: Transaction) -> Table:
    table = tx.model.table("public", "ERMrest_RID_Lease")
    assert table is not None
    return table


def put(tx: Transaction, rid: str, value: str) -> None:
    place = tx.column(leases(tx).columns_by_name["ID"])
    tx.connection.execute(f"DELETE FROM {tx.source(leases(tx))} WHERE RID = ?", (rid,))
    tx.connection.execute(
        f"INSERT INTO {tx.source(leases(tx))} (RID, RCT, RMT, _from, {place}) VALUES (?, ?, ?, ?, ?)",
        (rid, tx.now, tx.now, tx.now, value),
    )


def values(store: CatalogStore, moment: int | None = None) -> list[tuple[str, str]]:
    with store.read(None if moment is None else codes.encode(moment)) as view:
        table = view.model.table("public", "ERMrest_RID_Lease")
        assert table is not None
        place = view.column(table.columns_by_name["ID"])
        return view.connection.execute(f"SELECT RID, {place} FROM {view.source(table)} ORDER BY 1").fetchall()


def test_moments_grow_though_the_clock_stands_still_or_goes_back(store: CatalogStore, clock: Clock) -> None:
    seen = []
    for now in (1_000_000, 1_000_000, 5, 1_000_001, 2_000_000):
        clock.now = now
        with store.write(OWNER) as tx:
            tx.touch()
            seen.append(tx.now)
    assert seen == sorted(set(seen))
    assert seen[-1] == 2_000_000


def test_a_snapshot_shows_rows_as_they_were(store: CatalogStore) -> None:
    moments = []
    for rid, value in (("A", "1"), ("B", "2"), ("A", "3")):
        with store.write(OWNER) as tx:
            put(tx, rid, value)
            moments.append(tx.now)
    with store.write(OWNER) as tx:
        tx.connection.execute(f"DELETE FROM {tx.source(leases(tx))} WHERE RID = 'B'")
        moments.append(tx.now)
    expected = [[("A", "1")], [("A", "1"), ("B", "2")], [("A", "3"), ("B", "2")], [("A", "3")]]
    assert [values(store, moment) for moment in moments] == expected
    assert values(store) == expected[-1]
    # between two commits, and after the last one, the newest at or before the moment counts
    assert values(store, moments[-1] + 1000) == expected[-1]


def test_versions_that_one_transaction_made_and_ended_leave_no_history(store: CatalogStore) -> None:
    with store.write(OWNER) as tx:
        put(tx, "A", "1")
        put(tx, "A", "2")
    with store.read() as view:
        rid = view.model.schemas["public"].tables["ERMrest_RID_Lease"].rid
        assert view.connection.execute(f'SELECT count(*) FROM "h_{rid}"').fetchone() == (0,)


def test_a_moment_before_the_first_commit_is_refused(store: CatalogStore) -> None:
    for moment in ("0", "2", "U", "nonsense!", "0-0000-0000-0000-0000"):
        with pytest.raises(Conflict, match="prior to any known revision"), store.read(moment):
            pass


def test_a_block_that_raises_leaves_nothing(store: CatalogStore) -> None:
    before = values(store)
    with pytest.raises(RuntimeError), store.write(OWNER) as tx:
        put(tx, "A", "1")
        tx.put(tx.model.schemas["public"])
        raise RuntimeError
    assert values(store) == before
    with store.write(OWNER) as tx:
        assert tx.next_rids(1)


def test_a_block_that_changes_nothing_is_no_commit(store: CatalogStore) -> None:
    with store.read() as view:
        before = view.snaptime
    with store.write(OWNER) as tx:
        assert tx.model
    assert not tx.is_committed
    with store.read() as view:
        assert view.snaptime == before


def test_rids_grow_and_pass_those_that_clients_chose(store: CatalogStore) -> None:
    with store.write(OWNER) as tx:
        first = tx.next_rids(3)
        tx.reserve_rid("9-ZZZZ")
        assert tx.next_rids(1) == ["A-0000"]
        tx.reserve_rid("2")
        tx.reserve_rid("no rid at all")
        assert tx.next_rids(1) == ["A-0002"]
    numbers = [codes.decode(rid) for rid in first]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    with store.write(OWNER) as tx:
        assert tx.next_rids(1) == ["A-0004"]


def test_a_reader_sees_one_moment_while_others_write(store: CatalogStore) -> None:
    with store.read() as view:
        before = view.snaptime
        with store.write(OWNER) as tx:
            put(tx, "A", "1")
        table = view.model.table("public", "ERMrest_RID_Lease")
        assert table is not None
        assert view.snaptime == before
        assert view.connection.execute(f"SELECT count(*) FROM {view.source(table)}").fetchone() == (0,)
    assert len(values(store)) == 1


def test_a_writer_that_waits_too_long_is_told_to_come_again(store: CatalogStore) -> None:
    other = CatalogStore(store.path, busy_seconds=0.2)
    try:
        with store.write(OWNER) as tx:
            tx.touch()
            with pytest.raises(Unavailable), other.write(OWNER):
                pass
            with pytest.raises(Unavailable), store.write(OWNER):
                pass
            with other.read() as view:
                assert view.model.schemas
        with other.write(OWNER) as tx:
            tx.touch()
    finally:
        other.close()


def test_opening_and_reading_leave_every_byte_as_it_was(store: CatalogStore) -> None:
    with store.write(OWNER) as tx:
        put(tx, "A", "1")
    store.close()

    def digests() -> dict[str, str]:
        files = sorted(store.path.parent.rglob("*"))
        return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    before = digests()
    again = CatalogStore(store.path)
    assert values(again) == [("A", "1")]
    with again.write(OWNER) as tx:
        assert tx.model
    again.close()
    assert digests() == before


def test_a_reader_cannot_write(store: CatalogStore) -> None:
    with pytest.raises(Exception, match="readonly"), store.read() as view:
        view.connection.execute("DELETE FROM commits")


def test_a_closed_store_and_a_missing_file_say_so(tmp_path: Path, store: CatalogStore) -> None:
    store.close()
    with pytest.raises(Unavailable, match="closed"), store.read():
        pass
    with pytest.raises(Unavailable, match="closed"), store.write(OWNER):
        pass
    absent = CatalogStore(tmp_path / "absent.db")
    with pytest.raises(FolderError, match=r"absent\.db"), absent.read():
        pass


def test_the_model_is_kept_until_it_changes_and_only_what_changed_is_read_again(store: CatalogStore) -> None:
    with store.read() as view:
        first = view.model
        assert view.model is first
        moment = view.snaptime
    with store.write(OWNER) as tx:
        put(tx, "A", "1")
    with store.read() as view:
        assert view.model is first
    with store.write(OWNER) as tx:
        tx.put(first.schemas["public"])
    with store.read() as view:
        assert view.model is not first
        assert view.model.schemas["public"].tables["ERMrest_Client"] is first.schemas["public"].tables["ERMrest_Client"]
    with store.read(codes.encode(moment)) as view:
        assert view.model is first
        assert view.is_snapshot
