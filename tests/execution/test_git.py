"""What git prints is understood, whatever the names; remotes become addresses without credentials."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.execution.git import Change, parse_changes, version_of, web_url

ORDINARY = b"1 %s N... 100644 100644 100644 " + b"0" * 40 + b" " + b"1" * 40 + b" %s"
CODES = [".M", "M.", "MM", "A.", "AM", ".D", "D.", ".T", "T.", ".A"]
NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name)


@given(st.lists(st.tuples(st.sampled_from(CODES), NAMES), max_size=5), st.lists(NAMES, max_size=3))
def test_every_entry_is_read_whatever_its_name(ordinary, untracked):
    entries = [b"# branch.oid " + b"0" * 40]
    entries += [ORDINARY % (code.encode(), name) for code, name in ordinary]
    entries += [b"? " + name for name in untracked]
    changes = parse_changes(b"\0".join(entries) + b"\0")
    shown = [(code, name.decode("utf-8", "backslashreplace")) for code, name in ordinary]
    shown += [("??", name.decode("utf-8", "backslashreplace")) for name in untracked]
    assert [(change.code, change.path) for change in changes] == shown


def test_a_rename_names_both_paths():
    entry = b"2 R. N... 100644 100644 100644 " + b"0" * 40 + b" " + b"1" * 40 + b" R100 new name\0old name\0"
    assert parse_changes(entry) == [Change("D.", "old name"), Change("R.", "new name")]


def test_a_conflict_and_a_submodule():
    conflict = b"u UU N... 100644 100644 100644 100644 " + b" ".join([b"0" * 40] * 3) + b" both.py\0"
    submodule = b"1 .M S..U 160000 160000 160000 " + b"0" * 40 + b" " + b"0" * 40 + b" sub\0"
    assert parse_changes(conflict + submodule) == [Change("UU", "both.py"), Change(".M", "sub")]


def test_another_form_is_not_guessed_at():
    with pytest.raises(ValueError, match="not an entry"):
        parse_changes(b" M x.py\0")


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/o/r.git", "https://github.com/o/r"),
        ("git@github.com:o/r.git", "https://github.com/o/r"),
        ("github.com:o/r", "https://github.com/o/r"),
        ("ssh://git@host.org:2222/o/r.git/", "https://host.org/o/r"),
        ("https://bob:s3cret@host.org:8443/o/r", "https://host.org:8443/o/r"),
        ("https://token@host.org/o/r.git?access_token=s3cret#x", "https://host.org/o/r"),
        ("git://host.org/r.git", "https://host.org/r"),
        ("http://localhost:3000/o/r.git", "http://localhost:3000/o/r"),
        ("https://[::1]/r", "https://::1/r"),
        ("/srv/git/r.git", None),
        ("../r", None),
        ("file:///srv/r.git", None),
        ("C:\\repos\\r", None),
        ("", None),
    ],
)
def test_remotes_become_addresses(remote, address):
    assert web_url(remote) == address


@given(st.sampled_from(["https", "ssh", "http", "git+ssh"]), st.from_regex(r"[a-z0-9]{6,12}", fullmatch=True))
def test_no_credential_survives(scheme, secret):
    for remote in (f"{scheme}://u:{secret}!@h.org/o/r.git", f"{scheme}://{secret}!@h.org/o/r.git?k={secret}!"):
        assert f"{secret}!" not in web_url(remote)


C = "0123456789ab" + "c" * 28


@pytest.mark.parametrize(
    ("described", "version"),
    [
        (f"v1.2.3-0-g{C}", "1.2.3"),
        (f"1.2-0-g{C}", "1.2"),
        (f"v1.2.3-5-g{C}", "1.2.4.dev5+g0123456789ab"),
        (f"v1.2.0rc1-2-g{C}", "1.2.0.dev2+g0123456789ab"),
        (f"pkg-v0.1-1-g{C}", "0.2.dev1+g0123456789ab"),
        (f"year-2024-spring-0-g{C}", "year-2024-spring"),
        (f"year-2024-spring-3-g{C}", "year-2024-spring-3-g0123456789ab"),
        (C, "0+g0123456789ab"),
    ],
)
def test_versions_come_from_the_last_tag(described, version):
    assert version_of(described) == version


def test_versions_agree_with_setuptools_scm(tmp_path):
    import setuptools_scm as scm

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    git("tag", "v1.4.1")
    for _ in range(3):
        described = subprocess.run(
            ["git", "-C", str(tmp_path), "describe", "--tags", "--long", "--abbrev=40"], capture_output=True, check=True
        ).stdout.decode()
        ours = version_of(described.strip())
        theirs = scm.get_version(root=str(tmp_path), local_scheme="node-and-date")
        assert ours.partition("+")[0] == theirs.partition("+")[0]
        git("commit", "-q", "--allow-empty", "-m", "more")
