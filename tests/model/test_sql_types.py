"""Types of catalog columns in SQL: what is stored is what the catalog says, what is read is Python's own."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.model.sql_types import sql_type
from deriva_ml.wire.column_types import known_type
from deriva_ml.wire.model import ColumnType


def through(name: str, *values: Any) -> tuple[list[Any], list[Any]]:
    """Values after they were stored in a column of a type, and the texts and numbers that the database holds."""
    kind = known_type(name)
    assert kind is not None
    table = sa.Table("t", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True), sa.Column("x", sql_type(kind)))
    engine = sa.create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            table.create(connection)
            connection.execute(table.insert(), [{"n": n, "x": value} for n, value in enumerate(values)])
            read = list(connection.scalars(sa.select(table.c.x).order_by(table.c.n)))
            held = list(connection.scalars(sa.text("SELECT x FROM t ORDER BY n")))
    finally:
        engine.dispose()
    return read, held


@given(st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-8, minutes=-30))])))
def test_a_moment_is_the_same_moment_again(moment: dt.datetime) -> None:
    try:
        wanted = moment.astimezone(dt.UTC)
    except OverflowError:  # before the first or after the last day
        return
    read, held = through("timestamptz", moment, moment.isoformat(), None)
    assert read == [wanted, wanted, None]
    assert held[0].endswith("+00:00") and held[0] == held[1]


@given(st.datetimes(), st.datetimes())
def test_moments_without_zone_sort_as_their_texts_do(one: dt.datetime, other: dt.datetime) -> None:
    read, held = through("timestamp", one, other)
    assert read == [one, other]
    assert (held[0] < held[1]) == (one < other)


@given(st.dates(), st.times())
def test_dates_and_times_are_the_same_again(day: dt.date, time: dt.time) -> None:
    assert through("date", day, day.isoformat())[0] == [day, day]
    assert through("time", time, time.isoformat())[0] == [time, time]


@given(st.floats())
def test_every_number_is_the_same_again(number: float) -> None:
    ((one, other), _held) = through("float8", number, str(number))
    if math.isnan(number):
        assert math.isnan(one) and math.isnan(other)
    else:
        assert (one, other) == (number, number)


def test_what_python_has_no_value_for_is_its_text() -> None:
    assert through("timestamptz", "infinity", "-infinity")[0] == ["infinity", "-infinity"]
    assert through("date", "infinity")[0] == ["infinity"]
    assert through("time", "24:00:00")[0] == ["24:00:00"]


def test_a_type_that_is_not_known_is_text() -> None:
    assert isinstance(sql_type(ColumnType("geometry")), sa.Text)
    assert isinstance(sql_type(ColumnType("geometry[]")), sa.JSON)
    assert isinstance(sql_type(ColumnType("own", ColumnType("int4"))), sa.Integer)
    assert isinstance(sql_type(ColumnType("interval")), sa.Text)


def test_a_value_that_a_type_does_not_take_is_refused() -> None:
    for name, value in (("timestamptz", "soon"), ("date", "2023-02-29"), ("float8", "x"), ("boolean", "maybe")):
        with pytest.raises((sa.exc.StatementError, ValueError)):
            through(name, value)
