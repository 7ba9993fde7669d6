"""``deriva-ml-catalog user``, ``group``, ``grant`` and ``revoke``: who may come to a served folder, and do what."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias

from deriva_ml.cli.catalog_flags import add_json, known_catalog

if TYPE_CHECKING:
    from deriva_ml.server.users import Users

__all__ = ["add_user_commands"]

MINIMUM = 8
"""Characters that a password has at least."""

LEVELS = ("reader", "writer", "owner")
"""Those of `deriva_ml.catalog.sharing`, which is not loaded for ``--help``."""

AddRoot: TypeAlias = Callable[[argparse.ArgumentParser], None]


class Commands(Protocol):
    """The commands of a parser, to which more can be added."""

    def add_parser(
        self,
        name: str,
        *,
        help: str | None = ...,  # noqa: A002  # the name that argparse gives it
        description: str | None = ...,
    ) -> argparse.ArgumentParser:
        """Add a command."""


def add_user_commands(commands: Commands, add_root: AddRoot) -> None:
    """Add ``user``, ``group``, ``grant`` and ``revoke`` to the command line.

    Args:
        commands: The commands of the parser above.
        add_root: Adds the option that names the folder.
    """
    _add_users(
        _group_of(commands, "user", "who may come to a served folder: add, list, remove, token, password"), add_root
    )
    _add_groups(_group_of(commands, "group", "the groups that users belong to: list, add, remove"), add_root)
    _add_rights(commands, add_root)


def _add_rights(commands: Commands, add_root: AddRoot) -> None:
    grant = commands.add_parser("grant", help="let a user or group read a catalog, work in it, or own it")
    grant.add_argument("level", choices=LEVELS, help="what they may do: read; read and write; everything")
    revoke = commands.add_parser("revoke", help="take the rights to a catalog from a user or group")
    for command, run in ((grant, _grant), (revoke, _revoke)):
        command.add_argument("who", metavar="WHO", help="a user, a group, or * for everyone")
        command.add_argument("--catalog", default="1", metavar="ID", help="the catalog (default: %(default)s)")
        _finish(command, add_root, run)


def _group_of(commands: Commands, name: str, text: str) -> Commands:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    return command.add_subparsers(dest="action", required=True, metavar="ACTION")


def _add_users(actions: Commands, add_root: AddRoot) -> None:
    add = actions.add_parser("add", help="make a user and show the user's token, once")
    add.add_argument("name", metavar="NAME", help="the name by which access lists will mean the user")
    add.add_argument(
        "--group", action="append", default=[], metavar="G", help="a group the user is in; may be repeated"
    )
    add.add_argument("--full-name", metavar="TEXT", help="the user's full name")
    add.add_argument("--email", metavar="ADDRESS", help="the user's mail address")
    add.add_argument(
        "--password", action="store_true", help="ask for a password too (or read a line of standard input)"
    )
    _finish(add, add_root, _add)

    users = actions.add_parser("list", help="show the users")
    add_json(users)
    _finish(users, add_root, _list)

    remove = actions.add_parser("remove", help="remove a user; tokens and sessions end at once")
    remove.add_argument("name", metavar="NAME")
    _finish(remove, add_root, _remove)

    token = actions.add_parser("token", help="make a new token and show it, once; earlier ones and sessions end")
    token.add_argument("name", metavar="NAME")
    token.add_argument("--keep", action="store_true", help="let earlier tokens and open sessions stay valid")
    _finish(token, add_root, _token)

    password = actions.add_parser("password", help="set a user's password, or take it away; open sessions end")
    password.add_argument("name", metavar="NAME")
    password.add_argument("--none", action="store_true", help="take the password away")
    _finish(password, add_root, _password)


def _add_groups(actions: Commands, add_root: AddRoot) -> None:
    groups = actions.add_parser("list", help="show the groups and their members")
    add_json(groups)
    _finish(groups, add_root, _list_groups)
    for name, text, run in (
        ("add", "put users into a group", _join),
        ("remove", "take users out of a group", _leave),
    ):
        command = actions.add_parser(name, help=text)
        command.add_argument("group", metavar="GROUP")
        command.add_argument("names", metavar="NAME", nargs="+")
        _finish(command, add_root, run)


def _finish(command: argparse.ArgumentParser, add_root: AddRoot, run: Callable[[argparse.Namespace], int]) -> None:
    add_root(command)
    command.set_defaults(run=run)


# ---------------------------------------------------------------------------------------------- doing


@contextmanager
def _users(arguments: argparse.Namespace) -> Iterator[Users]:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.server.app import open_service
    from deriva_ml.server.errors import ServiceError
    from deriva_ml.server.users import users_of

    # Opening it refuses what is no catalog's folder, or a later version's.
    with closing(open_service(arguments.root.expanduser().absolute())) as service:
        root = service.root
    with closing(users_of(root)) as users:
        try:
            yield users
        except ServiceError as error:
            raise DerivaMLConfigurationError(error.detail, source=str(users.path)) from error


def _add(arguments: argparse.Namespace) -> int:
    with _users(arguments) as users:
        password = _ask(arguments.name) if arguments.password else None
        token = users.add(
            arguments.name,
            groups=arguments.group,
            full_name=arguments.full_name,
            email=arguments.email,
            password=password,
        )
    groups = f" in {', '.join(sorted(set(arguments.group)))}" if arguments.group else ""
    print(f"Added {arguments.name}{groups}.")
    _show_token(token)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from deriva_ml.cli.terminal import show_json

    with _users(arguments) as users:
        found = users.users()
    if arguments.json:
        show_json([asdict(user) for user in found])
        return 0
    if not found:
        print("No users. Make one: deriva-ml-catalog user add NAME")
    width = max((len(user.name) for user in found), default=0)
    for user in found:
        words = [f"groups: {', '.join(user.groups)}"] if user.groups else []
        words += [word for word in (user.full_name, user.email) if word]
        words.append(f"{user.tokens} token{'' if user.tokens == 1 else 's'}")
        if user.has_password:
            words.append("password")
        if user.sessions:
            words.append(f"{user.sessions} open session{'' if user.sessions == 1 else 's'}")
        print(f"{user.name:<{width}}  {'; '.join(words)}")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    with _users(arguments) as users:
        users.remove(arguments.name)
    print(f"Removed {arguments.name}; tokens and sessions have ended. Access lists may still name {arguments.name}:")
    print("give the name to nobody else unless they shall have the same rights.")
    return 0


def _token(arguments: argparse.Namespace) -> int:
    with _users(arguments) as users:
        token = users.new_token(arguments.name, keep=arguments.keep)
    print(f"A new token for {arguments.name}{'' if arguments.keep else '; earlier ones and open sessions have ended'}.")
    _show_token(token)
    return 0


def _password(arguments: argparse.Namespace) -> int:
    with _users(arguments) as users:
        users.set_password(arguments.name, None if arguments.none else _ask(arguments.name))
    print(f"{arguments.name} has {'no' if arguments.none else 'a new'} password; open sessions have ended.")
    return 0


def _list_groups(arguments: argparse.Namespace) -> int:
    from deriva_ml.cli.terminal import show_json

    with _users(arguments) as users:
        found = users.users()
    groups = sorted({group for user in found for group in user.groups})
    if arguments.json:
        show_json({group: [user.name for user in found if group in user.groups] for group in groups})
        return 0
    if not groups:
        print("No groups. Put a user into one: deriva-ml-catalog group add GROUP NAME")
    for group in groups:
        print(f"{group}: {', '.join(user.name for user in found if group in user.groups)}")
    return 0


def _join(arguments: argparse.Namespace) -> int:
    with _users(arguments) as users:
        users.join(arguments.group, arguments.names)
    print(f"In {arguments.group}: {', '.join(arguments.names)}.")
    return 0


def _leave(arguments: argparse.Namespace) -> int:
    with _users(arguments) as users:
        users.leave(arguments.group, arguments.names)
    print(f"No longer in {arguments.group}: {', '.join(arguments.names)}.")
    return 0


def _grant(arguments: argparse.Namespace) -> int:
    from deriva_ml.catalog.sharing import grant
    from deriva_ml.connect import open_connection
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    who = arguments.who
    if who == "*" and arguments.level != "reader":
        raise DerivaMLConfigurationError(
            "Everyone, known or not, can be given no more than to read.", source="WHO", hint="name a user or a group"
        )
    with _users(arguments) as users:
        found = users.users()
        is_known = who == "*" or any(who == user.name or who in user.groups for user in found)
        with open_connection(str(users.path.parent)) as connection:
            known_catalog(connection, arguments.catalog, "--catalog")
            grant(connection.transport, arguments.catalog, who, arguments.level)
    article = "an" if arguments.level == "owner" else "a"
    print(f"{who} is {article} {arguments.level} of catalog {arguments.catalog}, and of the objects in the folder.")
    if not is_known:
        print(f"There is no user or group {who} yet: deriva-ml-catalog user add {who}")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    from deriva_ml.catalog.sharing import revoke
    from deriva_ml.connect import open_connection

    with _users(arguments) as users, open_connection(str(users.path.parent)) as connection:
        known_catalog(connection, arguments.catalog, "--catalog")
        revoke(connection.transport, arguments.catalog, arguments.who)
    print(
        f"{arguments.who} is in no access list of catalog {arguments.catalog} or of the object store's root any more."
    )
    return 0


def _show_token(token: str) -> None:
    print(f"Token: {token}")
    print("It is kept nowhere and not shown again.")


def _ask(name: str) -> str:
    """A password: asked for twice at a terminal, else one line of standard input."""
    import getpass

    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass(f"Password for {name}: ")
        if password != getpass.getpass("Once more: "):
            raise DerivaMLConfigurationError("The two passwords differ.", hint="try again")
    if len(password) < MINIMUM:
        raise DerivaMLConfigurationError(f"A password has at least {MINIMUM} characters.", hint="choose a longer one")
    return password
