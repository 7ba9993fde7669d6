"""The users of a folder: what makes them known, and what ends that."""

from __future__ import annotations

import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.app import local_client
from deriva_ml.server.errors import FolderError, ServiceError
from deriva_ml.server.users import SESSION_SECONDS, UserError, Users


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def users(tmp_path: Path, clock: Clock) -> Iterator[Users]:
    made = Users(tmp_path / "users.db", clock=clock)
    yield made
    made.close()


def test_a_folder_without_users_knows_nobody_and_is_not_written(users: Users) -> None:
    assert not users.exist()
    assert users.users() == []
    assert users.known("anything") is None
    assert users.sign_in("ann", "anything") is None
    with pytest.raises(UserError, match="no users"):
        users.remove("ann")
    assert not users.path.exists()


def test_a_token_says_who_it_is_and_is_kept_nowhere(users: Users) -> None:
    token = users.add("ann", groups=["readers", "lab"], full_name="Ann Other", email="ann@x.org")
    assert not token.startswith("-"), "a tool would take it for an option"
    session = users.known(token)
    assert session is not None
    assert session.expires is None
    client = session.client
    assert (client.id, client.display_name, client.email) == ("ann", "Ann Other", "ann@x.org")
    assert client.roles == {"ann", "readers", "lab"}
    assert token.encode() not in users.path.read_bytes()
    assert len(token) >= 43  # 256 bits
    assert users.path.stat().st_mode & 0o077 == 0
    for wrong in ("", token[:-1], token + "x", token.upper()):
        assert users.known(wrong) is None


def test_a_removed_user_is_nobody_at_once_also_in_another_process(users: Users) -> None:
    token = users.add("ann", groups=["g"], password="correct horse")
    session = users.sign_in("ann", "correct horse")
    assert session is not None
    assert users.known(token)
    code = f"import pathlib, deriva_ml.server.users as u; u.Users(pathlib.Path({str(users.path)!r})).remove('ann')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert users.known(token) is None
    assert users.known(session) is None
    assert users.sign_in("ann", "correct horse") is None
    # Who takes the name later gets nothing of what was: no token, no group.
    users.add("ann")
    assert users.known(token) is None
    assert users.users()[0].groups == ()


def test_sessions_begin_last_are_prolonged_and_end(users: Users, clock: Clock) -> None:
    users.add("ann", password="correct horse")
    secret = users.sign_in("ann", "correct horse")
    assert secret is not None
    session = users.known(secret)
    assert session is not None
    assert session.expires == clock.now + SESSION_SECONDS
    clock.now += SESSION_SECONDS - 1
    users.prolong(secret)
    clock.now += SESSION_SECONDS - 1
    assert users.known(secret)
    clock.now += 1
    assert users.known(secret) is None
    other = users.sign_in("ann", "correct horse")
    assert other is not None
    assert users.users()[0].sessions == 1
    users.sign_out(other)
    assert users.known(other) is None


def test_a_session_outlives_the_server(users: Users, clock: Clock) -> None:
    users.add("ann", password="correct horse")
    secret = users.sign_in("ann", "correct horse")
    users.close()
    again = Users(users.path, clock=clock)
    assert secret is not None
    assert again.known(secret)
    again.close()


def test_signing_in_takes_the_right_password_or_one_s_own_token(users: Users) -> None:
    ann, bob = users.add("ann", password="correct horse"), users.add("bob")
    for name, password in (("ann", "wrong"), ("ann", ""), ("nobody", "x"), ("bob", ""), ("bob", ann), ("ann", bob)):
        assert users.sign_in(name, password) is None, (name, password)
    for name, password in (("ann", "correct horse"), ("ann", ann), ("bob", bob)):
        secret = users.sign_in(name, password)
        assert secret is not None
        known = users.known(secret)
        assert known is not None
        assert known.client.id == name
        # A session is no password: else it could prolong itself without end.
        assert users.sign_in(name, secret) is None
    assert b"correct horse" not in users.path.read_bytes()


def test_a_token_ends_with_the_next_unless_it_is_kept(users: Users) -> None:
    first = users.add("ann", password="correct horse")
    second = users.new_token("ann", keep=True)
    assert users.known(first)
    assert users.known(second)
    session = users.sign_in("ann", "correct horse")
    assert session is not None
    third = users.new_token("ann")
    assert users.known(third)
    assert [users.known(old) for old in (first, second, session)] == [None, None, None]
    # A token is neither prolonged nor ended like a session.
    users.sign_out(third)
    users.prolong(third)
    known = users.known(third)
    assert known is not None
    assert known.expires is None


def test_a_password_is_changed_and_taken_away(users: Users) -> None:
    users.add("ann", password="correct horse")
    session = users.sign_in("ann", "correct horse")
    assert session is not None
    users.set_password("ann", "battery staple")
    assert users.known(session) is None
    assert users.sign_in("ann", "correct horse") is None
    assert users.sign_in("ann", "battery staple")
    users.set_password("ann", None)
    assert users.sign_in("ann", "battery staple") is None


def test_groups_are_made_of_their_members(users: Users) -> None:
    token = users.add("ann")
    users.add("bob")
    users.join("lab", ["ann", "bob"])
    assert [user.groups for user in users.users()] == [("lab",), ("lab",)]
    known = users.known(token)
    assert known is not None
    assert known.client.roles == {"ann", "lab"}
    users.leave("lab", ["ann"])
    known = users.known(token)
    assert known is not None
    assert known.client.roles == {"ann"}
    with pytest.raises(UserError, match="not in the group"):
        users.leave("lab", ["ann"])
    with pytest.raises(UserError, match="no user 'carl'"):
        users.join("lab", ["ann", "carl"])
    assert users.users()[0].groups == ()  # all of a request or nothing


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "*", "-a", "a,b", "a;b", 'a"b', "a\nb", "x" * 201, LOCAL_ROLE, "deriva-ml:x", "local:me"]
)
def test_names_that_would_mean_something_else_are_refused(users: Users, name: str) -> None:
    users.add("ann")
    with pytest.raises(UserError, match="cannot be the name"):
        users.add(name)
    with pytest.raises(UserError, match="cannot be the name"):
        users.join(name, ["ann"])
    with pytest.raises(UserError, match="cannot be the name"):
        users.add("bob", groups=[name])
    assert [user.name for user in users.users()] == ["ann"]


def test_a_group_is_never_a_user_and_a_user_never_a_group(users: Users) -> None:
    users.add("ann", groups=["lab"])
    with pytest.raises(UserError, match="There is a group"):
        users.add("lab")
    with pytest.raises(UserError, match="There is a user"):
        users.add("bob", groups=["ann"])
    with pytest.raises(UserError, match="already"):
        users.add("ann")


def test_nobody_is_ever_who_uses_the_folder_in_process(users: Users) -> None:
    import sqlite3

    token = users.add("ann")
    with sqlite3.connect(users.path) as raw:
        raw.execute("INSERT INTO memberships (grp, user) VALUES (?, 'ann')", (LOCAL_ROLE,))
    raw.close()
    known = users.known(token)
    assert known is not None
    assert known.client.roles == {"ann"}
    assert local_client().roles & known.client.roles == set()


def test_a_later_format_and_a_damaged_file_are_said(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "users.db"
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    later = Users(path)
    with pytest.raises(FolderError, match="format 99"):
        later.exist()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ServiceError, match="database is damaged"):
        Users(path).known("x")


SECRETS = st.text(string.printable + "é€\udc80", max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=SECRETS)
def test_no_guess_is_ever_known(users: Users, secret: str) -> None:
    if not users.exist():
        users.add("ann")
    assert users.known(secret) is None
