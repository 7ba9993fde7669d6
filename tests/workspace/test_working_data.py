"""Tables of the working directory are kept between sessions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deriva_ml.workspace.working_data import WorkingDataCache, plain_frame

FRAME = pd.DataFrame({"name": ["a", "b"], "size": [1, 2]})


def test_a_table_is_read_back_and_replaced_whole(tmp_path: Path) -> None:
    kept = WorkingDataCache(tmp_path)
    kept.cache_table("x y", FRAME)
    kept.cache_table("x y", FRAME.iloc[:1])
    again = WorkingDataCache(tmp_path)
    assert again.read_table("x y").to_dict("records") == [{"name": "a", "size": 1}]
    assert again.query('SELECT sum(size) AS n FROM "x y"')["n"].tolist() == [1]


def test_a_directory_without_tables_is_not_touched(tmp_path: Path) -> None:
    kept = WorkingDataCache(tmp_path)
    assert kept.list_tables() == []
    assert not kept.has_table("x")
    assert kept.status()["size_bytes"] == 0
    assert kept.clear() == 0
    assert list(tmp_path.iterdir()) == []


def test_tables_are_described_and_removed(tmp_path: Path) -> None:
    kept = WorkingDataCache(tmp_path)
    kept.cache_table("b", FRAME)
    kept.cache_table("a", FRAME)
    assert kept.list_tables() == ["a", "b"]
    assert kept.table_info("a") == {"name": "a", "row_count": 2, "columns": ["name", "size"]}
    assert [one["name"] for one in kept.status()["tables"]] == ["a", "b"]
    assert kept.drop_table("a")
    assert not kept.drop_table("a")
    assert kept.clear() == 1
    assert kept.list_tables() == []


def test_a_table_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    kept = WorkingDataCache(tmp_path)
    kept.cache_table("a", FRAME)
    with pytest.raises(ValueError, match=r"'b'.*there are: a"):
        kept.read_table("b")
    with pytest.raises(ValueError, match="'b'"):
        kept.table_info("b")


def test_names_with_quotes_stay_names(tmp_path: Path) -> None:
    kept = WorkingDataCache(tmp_path)
    name = 'x"; DROP TABLE y; --'
    kept.cache_table(name, FRAME)
    assert kept.list_tables() == [name]
    assert len(kept.read_table(name)) == 2


def test_lists_and_objects_become_json(tmp_path: Path) -> None:
    frame = plain_frame(pd.DataFrame({"v": [["b", "a"], {"k": 1}, None]}))
    assert frame["v"].tolist()[:2] == ['["b", "a"]', '{"k": 1}']
    assert frame["v"].isna().tolist() == [False, False, True]


def test_sqlalchemy_users_get_an_engine(tmp_path: Path) -> None:
    kept = WorkingDataCache(tmp_path)
    kept.cache_table("a", FRAME)
    engine = kept.engine
    try:
        assert len(pd.read_sql_table("a", engine)) == 2
    finally:
        engine.dispose()
