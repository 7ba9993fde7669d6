"""Users and groups of a folder: who they are, and the secrets by which a server knows them.

They lie in ``users.db``, readable by the folder's owner alone. Rules:

1. No secret is kept as it was given: a token or session is found by the SHA-256 of its 256 random bits, a password is
   compared with its scrypt. A token is shown once, when it is made.
2. Every request asks the database, so a user who is removed is refused from that moment on; with the user go the
   tokens, the sessions and the memberships.
3. Knowing someone changes nothing: only signing in, prolonging and leaving write, and the administration.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.errors import FolderError, translate
from deriva_ml.server.small_database import SmallDatabase, place_database
from deriva_ml.wire.http import Client

__all__ = ["SESSION_SECONDS", "Session", "User", "UserError", "Users", "users_of"]

FORMAT = 1
BUSY_SECONDS = 20.0

SESSION_SECONDS = 8 * 3600
"""How long a session lasts after it was begun or prolonged: a day's work."""

SCHEMA = f"""
CREATE TABLE users (name TEXT PRIMARY KEY, full_name TEXT, email TEXT, password TEXT, made REAL NOT NULL)
    WITHOUT ROWID;
CREATE TABLE memberships (grp TEXT NOT NULL, user TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
                          PRIMARY KEY (user, grp)) WITHOUT ROWID;
CREATE TABLE secrets (hash BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
                      since REAL NOT NULL, expires REAL) WITHOUT ROWID;
CREATE INDEX secrets_user ON secrets (user);
PRAGMA user_version = {FORMAT};
"""
"""A secret without an end is a token, one with an end a session."""

RESERVED = ("deriva-ml:", "local:")
"""Beginnings of names that mean who uses the folder in process."""

NAME = re.compile(r"[^\s*,;\"'\\\x00-\x1f\x7f-][^\s*,;\"'\\\x00-\x1f\x7f]{0,199}")

SCRYPT = (15, 8, 1)
"""Work factors of new passwords: 32 MiB, some tens of milliseconds."""

NOBODY = "scrypt$15$8$1$" + "00" * 16 + "$" + "00" * 32
"""What the password of an unknown user is compared with, so that it takes as long."""


class UserError(DerivaMLConfigurationError):
    """A user or group cannot be made or found."""


@dataclass(frozen=True, slots=True)
class User:
    """A user, as the administration sees it.

    Attributes:
        name: The name, which is also the id by which access lists mean the user.
        groups: The groups that the user belongs to; access lists mean them likewise.
        full_name: Full name, if known.
        email: Mail address, if known.
        has_password: The user can sign in with a password.
        tokens: How many tokens the user has.
        sessions: How many sessions are open.
    """

    name: str
    groups: tuple[str, ...] = ()
    full_name: str | None = None
    email: str | None = None
    has_password: bool = False
    tokens: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """Someone whom a secret has made known.

    Attributes:
        client: Who it is.
        since: When the secret was made, in seconds since 1970.
        expires: When it ends; None for a token, which does not.
    """

    client: Client
    since: float
    expires: float | None


def users_of(root: Path) -> Users:
    """The users of a folder; it may have none."""
    return Users(root / "users.db")


class Users:
    """The users of one folder; may be used by several threads, and by several processes at once.

    Args:
        path: The database; it is made when the first user is.
        clock: Gives seconds since 1970.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._hashing = threading.Semaphore(2)
        self._database = SmallDatabase(path, _connect)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # ------------------------------------------------------------------------------------------ knowing

    def exist(self) -> bool:
        """The folder has users."""
        if not self.path.exists():
            return False
        with self._database.open() as connection:
            return connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None

    def known(self, secret: str) -> Session | None:
        """Whose token or session this is, if it is anyone's now."""
        if not secret or not self.path.exists():
            return None
        wanted = _fingerprint(secret)
        with self._database.open() as connection:
            row = connection.execute(
                "SELECT s.hash, s.since, s.expires, u.name, u.full_name, u.email, "
                "(SELECT json_group_array(grp) FROM memberships WHERE user = u.name) "
                "FROM secrets AS s JOIN users AS u ON u.name = s.user WHERE s.hash = ?",
                (wanted,),
            ).fetchone()
        if row is None or not hmac.compare_digest(bytes(row[0]), wanted):
            return None
        _, since, expires, name, full_name, email, groups = row
        if expires is not None and expires <= self._clock():
            return None
        return Session(_client(name, full_name, email, groups), since, expires)

    # ------------------------------------------------------------------------------------------ sessions

    def sign_in(self, name: str, password: str) -> str | None:
        """Begin a session: its secret, or None where name and password do not belong together.

        One of the user's tokens will do as a password.
        """
        if not self.path.exists():
            return None
        with self._database.open() as connection:
            row = connection.execute("SELECT password FROM users WHERE name = ?", (name,)).fetchone()
        stored = row[0] if row and row[0] else NOBODY
        # Only so many at a time: whoever tries passwords in bulk must not take the machine's memory.
        with self._hashing:
            is_right = _verify(password, stored) and stored is not NOBODY
        if not is_right:
            session = self.known(password)
            is_right = session is not None and session.expires is None and session.client.id == name
        return self._begin(name) if is_right else None

    def _begin(self, name: str) -> str | None:
        secret, now = _new_secret(), self._clock()
        with self._database.write() as connection:
            connection.execute("DELETE FROM secrets WHERE expires <= ?", (now,))
            if connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone() is None:
                return None  # removed since the password was compared
            connection.execute(
                "INSERT INTO secrets VALUES (?, ?, ?, ?)", (_fingerprint(secret), name, now, now + SESSION_SECONDS)
            )
        return secret

    def prolong(self, secret: str) -> None:
        """Let a session last its full time from now on; a token has no end that could be moved."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE secrets SET expires = ? WHERE hash = ? AND expires IS NOT NULL",
                (self._clock() + SESSION_SECONDS, _fingerprint(secret)),
            )

    def sign_out(self, secret: str) -> None:
        """End a session; a token stays."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM secrets WHERE hash = ? AND expires IS NOT NULL", (_fingerprint(secret),))

    # ------------------------------------------------------------------------------------------ administration

    def add(
        self,
        name: str,
        *,
        groups: Iterable[str] = (),
        full_name: str | None = None,
        email: str | None = None,
        password: str | None = None,
    ) -> str:
        """Make a user; give the user's token, which is kept nowhere.

        Raises:
            UserError: The name is taken or cannot be one.
        """
        _check_name(name, "user")
        members = sorted(set(groups))
        hashed = _scrypt(password) if password is not None else None
        token, now = _new_secret(), self._clock()
        if not self.path.exists():
            _create(self.path)
        with self._database.write() as connection:
            if connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone():
                raise UserError(f"There is a user {name!r} already.", hint="a new token: deriva-ml-catalog user token")
            if connection.execute("SELECT 1 FROM memberships WHERE grp = ? LIMIT 1", (name,)).fetchone():
                raise UserError(
                    f"There is a group {name!r}: a user of that name would have all that the group may do.",
                    hint="choose another name",
                )
            connection.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?)", (name, full_name, email, hashed, now))
            for group in members:
                _join(connection, group, name)
            connection.execute("INSERT INTO secrets VALUES (?, ?, ?, NULL)", (_fingerprint(token), name, now))
        return token

    def remove(self, name: str) -> None:
        """Remove a user, and with the user every token, session and membership.

        Raises:
            UserError: There is no such user.
        """
        with self._write_existing() as connection:
            _need(connection, name)
            connection.execute("DELETE FROM users WHERE name = ?", (name,))

    def new_token(self, name: str, *, keep: bool = False) -> str:
        """Make a token for a user; the earlier ones, and the open sessions, end unless they are kept.

        Raises:
            UserError: There is no such user.
        """
        token = _new_secret()
        with self._write_existing() as connection:
            _need(connection, name)
            if not keep:
                connection.execute("DELETE FROM secrets WHERE user = ?", (name,))
            connection.execute("INSERT INTO secrets VALUES (?, ?, ?, NULL)", (_fingerprint(token), name, self._clock()))
        return token

    def set_password(self, name: str, password: str | None) -> None:
        """Give a user a password, or take it away; open sessions end.

        Raises:
            UserError: There is no such user.
        """
        hashed = _scrypt(password) if password is not None else None
        with self._write_existing() as connection:
            _need(connection, name)
            connection.execute("UPDATE users SET password = ? WHERE name = ?", (hashed, name))
            connection.execute("DELETE FROM secrets WHERE user = ? AND expires IS NOT NULL", (name,))

    def join(self, group: str, names: Sequence[str]) -> None:
        """Put users into a group, which begins with its first member.

        Raises:
            UserError: There is no such user, or the group's name cannot be one.
        """
        with self._write_existing() as connection:
            for name in names:
                _need(connection, name)
                _join(connection, group, name)

    def leave(self, group: str, names: Sequence[str]) -> None:
        """Take users out of a group, which ends with its last member.

        Raises:
            UserError: There is no such user, or the user is not in the group.
        """
        with self._write_existing() as connection:
            for name in names:
                _need(connection, name)
                gone = connection.execute("DELETE FROM memberships WHERE grp = ? AND user = ?", (group, name))
                if not gone.rowcount:
                    raise UserError(f"The user {name!r} is not in the group {group!r}.")

    def users(self) -> list[User]:
        """All users, by name."""
        if not self.path.exists():
            return []
        with self._database.open() as connection:
            found = connection.execute(
                "SELECT name, full_name, email, password IS NOT NULL, "
                "(SELECT count(*) FROM secrets WHERE user = name AND expires IS NULL), "
                "(SELECT count(*) FROM secrets WHERE user = name AND expires > ?) FROM users ORDER BY name",
                (self._clock(),),
            ).fetchall()
            groups: dict[str, list[str]] = {}
            for group, user in connection.execute("SELECT grp, user FROM memberships ORDER BY grp"):
                groups.setdefault(user, []).append(group)
        return [
            User(name, tuple(groups.get(name, ())), full_name, email, bool(has_password), tokens, sessions)
            for name, full_name, email, has_password, tokens, sessions in found
        ]

    @contextmanager
    def _write_existing(self) -> Iterator[sqlite3.Connection]:
        if not self.path.exists():
            raise UserError(
                f"The folder {self.path.parent} has no users.", hint="make one: deriva-ml-catalog user add NAME"
            )
        with self._database.write() as connection:
            yield connection


def _create(path: Path) -> None:
    try:
        place_database(path, SCHEMA, mode=0o600)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"The users cannot be written to {path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    # Without a write-ahead log: a reader makes no files, and there are next to no writers.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        connection.close()
        if translate(error, path) is not None:
            raise
        raise FolderError(f"The users of this folder cannot be read: {path} ({error})") from error
    if layout != FORMAT:
        connection.close()
        raise FolderError(
            f"The users of this folder have format {layout}; this version of deriva-ml reads format {FORMAT}: {path}",
            hint="use the version of deriva-ml that made it, or a later one",
        )
    return connection


def _client(name: str, full_name: str | None, email: str | None, groups: str) -> Client:
    # Whatever the database says, nobody comes over a network as who uses the folder in process.
    roles = frozenset({name, *json.loads(groups)}) - {LOCAL_ROLE}
    return Client(name, display_name=full_name or name, roles=roles, full_name=full_name, email=email)


def _check_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be the name of a {what}.",
            hint="up to 200 letters, digits and signs, without spaces, quotes, commas, semicolons, backslashes and *",
        )
    if name.startswith(RESERVED):
        raise UserError(
            f"{name!r} cannot be the name of a {what}: names that begin so mean who uses the folder in process.",
            hint="choose another name",
        )


def _join(connection: sqlite3.Connection, group: str, name: str) -> None:
    _check_name(group, "group")
    taken = connection.execute("SELECT 1 FROM users WHERE name = ?", (group,)).fetchone()
    if taken and group != name:
        raise UserError(
            f"There is a user {group!r}: the members of a group of that name would have all that the user may do.",
            hint="choose another name",
        )
    connection.execute("INSERT OR IGNORE INTO memberships (grp, user) VALUES (?, ?)", (group, name))


def _need(connection: sqlite3.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone() is None:
        known = [row[0] for row in connection.execute("SELECT name FROM users ORDER BY name")]
        raise UserError(f"There is no user {name!r}.", allowed=nearest(name, known) or known[:10])


def _new_secret() -> str:
    # A dash in front would be taken for an option by tools that are given the token as an argument.
    return "t" + base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


def _fingerprint(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _scrypt(password: str) -> str:
    cost, block, lanes = SCRYPT
    salt = os.urandom(16)
    return f"scrypt${cost}${block}${lanes}${salt.hex()}${_derived(password, salt, cost, block, lanes).hex()}"


def _derived(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    # Twice what the algorithm needs, since the library counts a little more.
    memory = 2 * 128 * block << cost
    given = password.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(given, salt=salt, n=1 << cost, r=block, p=lanes, maxmem=memory, dklen=32)


def _verify(password: str, stored: str) -> bool:
    _, cost, block, lanes, salt, expected = stored.split("$")
    derived = _derived(password, bytes.fromhex(salt), int(cost), int(block), int(lanes))
    return hmac.compare_digest(derived, bytes.fromhex(expected))
