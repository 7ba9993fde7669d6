"""Secrets are found by their names, their shapes and their values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.execution.masking import MASK, Mask, is_secret_name

SECRETS = ["HF_TOKEN", "password", "db.password", "apiKey", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "private_key"]
SECRETS += ["model_config.api_token", "GITHUB_PAT", "DB_PWD", "clientSecret", "basic_auth", "SSH_KEY", "FAKE_TOKEN"]
HARMLESS = ["pad_token", "eosToken", "max_tokens", "tokenizer", "author", "key", "monkey", "PWD", "OLDPWD", "token_dim"]
HARMLESS += ["keys", "lr", "", "primary_key", "compass", "passes", "num_token"]


@pytest.mark.parametrize("name", SECRETS)
def test_names_that_give_a_secret_away(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_names_that_do_not(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("model.api_token=abc123", f"model.api_token={MASK}"),
        ("- 'model.password=a b c'", f"- 'model.password={MASK}'"),
        ("password: hello world", f"password: {MASK}"),
        ('{"api_key": "x\\"y", "n": 1}', f'{{"api_key": "{MASK}", "n": 1}}'),
        ("  - token: 'abc'\n    lr: 1", f"  - token: '{MASK}'\n    lr: 1"),
        ("https://bob:geheim@host/x.git", f"https://{MASK}@host/x.git"),
        ("git clone ssh://git@host/x", f"git clone ssh://{MASK}@host/x"),
        ("ghp_" + "a" * 36, MASK),
        ("Authorization: Bearer abcdefghijkl", f"Authorization: {MASK}"),
        ("-----BEGIN RSA PRIVATE KEY-----\nxx\n-----END RSA PRIVATE KEY-----", MASK),
    ],
)
def test_secrets_in_text_are_replaced(text, masked):
    assert Mask().text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "token: ${oc.env:HF_TOKEN}",
        "token: null",
        "api_key: ???",
        "pad_token: '[PAD]'",
        "JSON: unexpected token: } at line 3",
        "max_tokens=100",
        "who@example.org wrote this",
        "lr=0.1 steps=3",
    ],
)
def test_what_is_no_secret_stays(text):
    assert Mask().text(text) == text


def test_the_argument_after_an_option_is_masked():
    argv = ["run", "--token", "abc", "-p", "x", "--password=a b", "model.secret=s", "lr=1"]
    assert Mask().argv(argv) == [
        "run",
        "--token",
        MASK,
        "-p",
        "x",
        f"--password={MASK}",
        f"model.secret={MASK}",
        "lr=1",
    ]


def test_a_secret_of_the_environment_is_found_under_a_harmless_name():
    veil = Mask({"FAKE_TOKEN": "planted-value", "LANG": "english-text", "API_KEY": "abc"})
    assert veil.data({"endpoint": "x?k=planted-value", "who": "english-text", "abc": 1}) == {
        "endpoint": f"x?k={MASK}",
        "who": "english-text",
        "abc": 1,
    }


def test_data_keeps_its_shape():
    data = {"a": [1, True, None, {"password": 1234, "token": 5}], "token": "t", "b": ("x",)}
    assert Mask().data(data) == {"a": [1, True, None, {"password": MASK, "token": 5}], "token": MASK, "b": ["x"]}


@given(st.text(alphabet="abcXYZ0189-_/+", min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_value_of_a_secret_variable_survives_anywhere(secret, before, after):
    veil = Mask({"MY_TOKEN": secret})
    written = json.dumps(veil.data({"x": before + secret + after, "y": [secret]}), ensure_ascii=False)
    assert secret not in written.replace(MASK, "\0")


@given(st.text())
def test_masking_is_idempotent(text):
    once = Mask().text(text)
    assert Mask().text(once) == once


def test_code_is_freed_of_what_is_written_out_and_otherwise_stays_as_it_is():
    veil = Mask({"FAKE_TOKEN": "planted-value"})
    code = b"""token = read_token(path)
password='hunter2'
headers = {"api_key": "abc123", "n": 1}
key = "planted-value"
remote = "ssh://git@example.org/x"  \xff
"""
    assert veil.code(code) == (
        code.replace(b"hunter2", b"***").replace(b"abc123", b"***").replace(b"planted-value", b"***")
    )
