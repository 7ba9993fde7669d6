"""Hydra's own flags: told apart from ours, checked, and answered by Hydra."""

from __future__ import annotations

from pathlib import Path

import pytest

from deriva_ml.cli.hydra_flags import options_of, search_override, split_hydra
from deriva_ml.cli.run import parser
from deriva_ml.core.exceptions import DerivaMLConfigurationError


@pytest.mark.parametrize(
    ("rest", "info", "flags", "overrides"),
    [
        (["--cfg=job", "a=1"], False, ("--cfg", "job"), ("a=1",)),
        (["-c", "job", "--resolve", "-p", "x"], False, ("--cfg", "job", "--resolve", "--package", "x"), ()),
        (["defaults"], True, ("--info", "defaults"), ()),
        (["a=1"], True, (), ("a=1",)),
        (["--hydra-help"], False, ("--hydra-help",), ()),
        (["--run", "a=1"], False, (), ("a=1",)),
        (["~a", "+b=c", "d='-e'"], False, (), ("~a", "+b=c", "d='-e'")),
    ],
)
def test_hydras_own_flags_go_to_hydra(
    rest: list[str], info: bool, flags: tuple[str, ...], overrides: tuple[str, ...]
) -> None:
    found = split_hydra(rest, info=info)
    assert (found.flags, found.overrides) == (flags, overrides)


def test_what_hydra_calls_otherwise_is_translated(tmp_path: Path) -> None:
    found = split_hydra(["-cn", "other", "-cd", str(tmp_path), "-sc", "install=bash", "a=1"])
    assert (found.config_name, found.folders, found.shell) == ("other", (tmp_path,), "install=bash")
    assert (found.flags, found.overrides) == ((), ("a=1",))
    assert search_override(found.folders) == [f"hydra.searchpath=['file://{tmp_path}']"]
    assert search_override(()) == []


@pytest.mark.parametrize(
    ("rest", "info", "said", "allowed"),
    [
        (["--multrun"], False, "no flag --multrun", "--multirun"),
        (["--cfg", "jobs"], False, "--cfg does not take 'jobs'", "job"),
        (["--cfg"], False, "--cfg needs a value", "hydra"),
        (["default"], True, "--info does not take 'default'", "defaults"),
        (["--resolve"], False, "--cfg is missing", "--cfg job --resolve"),
        (["--cfg", "job", "--hydra-help"], False, "One question at a time", "--hydra-help"),
        (["-sc"], False, "needs a step and a shell", "install=bash"),
        (["--config-path", "x"], False, "would replace what the configuration modules store", "-cd DIR"),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused_with_what_does(
    rest: list[str], info: bool, said: str, allowed: str
) -> None:
    with pytest.raises(DerivaMLConfigurationError, match=said) as caught:
        split_hydra(rest, options_of(parser()), info=info)
    assert allowed in caught.value.allowed
    assert caught.value.exit_code == 2


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    for flag in ("-cd", "--experimental-rerun"):
        with pytest.raises(DerivaMLConfigurationError, match="nowhere"):
            split_hydra([flag, str(tmp_path / "nowhere")])
