"""Secrets are never written down: what a secret looks like, and how text, arguments and data are freed of it.

Three things give a secret away, and each is enough:

1. Its name: ``password``, ``api_key``, ``HF_TOKEN``, ... in ``name=value``, ``name: value``, an option or a mapping.
2. Its shape: a token as GitHub, GitLab, Hugging Face, OpenAI, Slack and AWS make them, a JSON web token, a private key,
   the user part of a URL.
3. Its value: that of an environment variable whose name gives it away. Hence a secret that the configuration took from
   the environment under a harmless name is masked too.

What only refers to a secret (``${oc.env:HF_TOKEN}``, ``null``, ``???``) is kept, because it tells where it came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["MASK", "Mask", "is_secret_name"]

MASK = "***"

_SHORTEST_VALUE = 6
"""Values of secret environment variables that are shorter are too likely to be ordinary words."""

_ALWAYS = ("password", "passwd", "passphrase", "secret", "apikey", "credential")
_LAST = frozenset({"auth", "authorization", "bearer", "cookie", "pat", "pwd", "token"})
_KINDS_OF_KEY = frozenset({"access", "account", "api", "deploy", "encryption", "private", "signing", "ssh"})
_KINDS_OF_TOKEN = frozenset(  # tokens of language models, which are no secrets
    {
        "bos",
        "cls",
        "decoder",
        "end",
        "eos",
        "image",
        "mask",
        "max",
        "min",
        "next",
        "num",
        "pad",
        "per",
        "sep",
        "special",
    }
    | {"start", "stop", "unk"}
)
_WORKING_DIRECTORY = frozenset({"pwd", "oldpwd"})

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAME = r"[A-Za-z_][\w.\-]*"
_ASSIGNED = re.compile(rf"(?<![\w.\-])(?P<name>{_NAME})=(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&'\"\]}}]+)")
_QUOTED_ASSIGNED = re.compile(rf"(?P<quote>[\"'])(?P<name>[+~]*{_NAME})=(?P<value>[^\n]*?)(?P=quote)")
_JSON_MEMBER = re.compile(rf"\"(?P<name>{_NAME})\"\s*:\s*(?P<value>\"(?:[^\"\\]|\\.)*\"|[^\s,\]}}]+)")
_YAML_MEMBER = re.compile(rf"^(?P<lead>[ \t]*(?:- )?)(?P<name>{_NAME}):[ \t]+(?P<value>\S.*)$", re.MULTILINE)
_LITERAL = re.compile(rf"(?<![\w.\-])(?P<name>{_NAME})[\"']?\s*(?:=|:)\s*(?P<value>\"[^\"\n]+\"|'[^'\n]+')")
"""A text in source that is assigned to a name: what is computed (``token=read_token()``) is no secret."""

_OPTION = re.compile(rf"^--?(?P<name>{_NAME})$")

_SHAPES = (
    ("gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}")),
    ("github_pat_", re.compile(r"\bgithub_pat_\w{20,}")),
    ("glpat-", re.compile(r"\bglpat-[\w\-]{16,}")),
    ("hf_", re.compile(r"\bhf_[A-Za-z0-9]{20,}")),
    ("sk-", re.compile(r"\bsk-[A-Za-z0-9_\-]{20,}")),
    ("xox", re.compile(r"\bxox[abeoprs]-[\w\-]{10,}")),
    ("akia", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    ("eyj", re.compile(r"\beyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*")),
    (
        "private key",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
    ),
    ("bearer ", re.compile(r"(?<=\bBearer )[^\s\"']{8,}", re.IGNORECASE)),
    ("://", re.compile(r"(?<=://)[^/\s@\"']+(?=@)")),
)
"""With each shape a part that every such secret has, in small letters: much is written down, and most has none."""

_MEMBERS = (("=", _QUOTED_ASSIGNED), ("=", _ASSIGNED), (":", _JSON_MEMBER), (":", _YAML_MEMBER))


def is_secret_name(name: str) -> bool:
    """Whether something of this name is likely a secret: ``HF_TOKEN`` is, ``pad_token`` and ``max_tokens`` are not."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or name.lower() in _WORKING_DIRECTORY:
        return False
    if any(stem in "".join(words) for stem in _ALWAYS):
        return True
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "key":
        return before in _KINDS_OF_KEY
    return last in _LAST and before not in _KINDS_OF_TOKEN


def _is_reference(value: str) -> bool:
    bare = value.strip().strip("'\"")
    return not bare or bare.startswith("${") or bare.lower() in {"null", "none", "~", "???", "true", "false", MASK}


def _mask_member(match: re.Match[str]) -> str:
    value = match["value"]
    if _is_reference(value) or not is_secret_name(match["name"]):
        return match[0]
    quote = value[0] if value[0] in "\"'" and value[-1] == value[0] else ""
    start = match.start("value") - match.start()
    end = match.end("value") - match.start()
    return f"{match[0][:start]}{quote}{MASK}{quote}{match[0][end:]}"


def _without_shapes(text: str, masked: Callable[[re.Match[str]], str]) -> str:
    small = text.lower()
    for part, shape in _SHAPES:
        if part in small:
            text = shape.sub(masked, text)
    return text


class Mask:
    """Masks secrets in whatever a run writes down.

    Args:
        environ: Environment variables; the values of those with a secret's name are masked wherever they occur.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        values = {
            value
            for name, value in (environ or {}).items()
            if len(value) >= _SHORTEST_VALUE and is_secret_name(name) and not _is_reference(value)
        }
        self._values = sorted(values, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with every secret in it replaced."""
        for value in self._values:
            text = text.replace(value, MASK)
        text = _without_shapes(text, lambda _match: MASK)
        for sign, member in _MEMBERS:
            if sign in text:
                text = member.sub(_mask_member, text)
        return text

    def code(self, content: bytes) -> bytes:
        """Source, or a patch of it, with every secret in it replaced; nothing else is changed.

        A name alone gives away only what is written out as a text, or the code would not be what ran.
        """
        text = content.decode("utf-8", "surrogateescape")
        for value in self._values:
            text = text.replace(value, MASK)
        text = _without_shapes(text, lambda match: match[0] if match[0] == "git" else MASK)
        return _LITERAL.sub(_mask_member, text).encode("utf-8", "surrogateescape")

    def line(self, content: bytes) -> bytes:
        """A line of what a program prints, with every secret in it replaced; any bytes are a line."""
        return self.text(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def argv(self, arguments: Iterable[str]) -> list[str]:
        """Arguments of a command; the one after an option with a secret's name is masked too."""
        masked: list[str] = []
        hide = False
        for argument in arguments:
            masked.append(MASK if hide else self._argument(argument))
            option = _OPTION.match(argument)
            hide = option is not None and is_secret_name(option["name"])
        return masked

    def _argument(self, argument: str) -> str:
        name, equals, value = argument.partition("=")
        if equals and is_secret_name(name) and not _is_reference(value):
            return f"{name}={MASK}"
        return self.text(argument)

    def data(self, value: Any, name: str = "") -> Any:
        """Data of JSON's kinds with every secret in it replaced.

        Args:
            value: The data.
            name: The member of a mapping that it is.
        """
        if isinstance(value, Mapping):
            return {key: self.data(item, str(key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item, name) for item in value]
        if isinstance(value, str):
            if is_secret_name(name) and not _is_reference(value):
                return MASK
            return self.text(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and any(s in name.lower() for s in _ALWAYS):
            return MASK
        return value
