"""The command line of ``deriva-ml-run``: what is ours, what is Hydra's, and where configurations are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deriva_ml.cli.run import config_folder, main, parser, split_hydra
from deriva_ml.core.exceptions import DerivaMLConfigurationError


def test_flags_and_overrides_may_stand_in_any_order() -> None:
    words = ["model_config.lr=1", "--host", "h", "+experiment=a", "--cfg", "job", "-m", "b=2", "--debug"]
    flags, rest = parser().parse_known_args(words)
    assert (flags.host, flags.multirun, flags.debug) == ("h", True, True)
    assert split_hydra(rest) == (["--cfg", "job"], ["model_config.lr=1", "+experiment=a", "b=2"])


@pytest.mark.parametrize(
    ("rest", "info", "flags", "overrides"),
    [
        (["--cfg=job", "a=1"], False, ["--cfg=job"], ["a=1"]),
        (["-c", "job", "--resolve", "-p", "x"], False, ["-c", "job", "--resolve", "-p", "x"], []),
        (["defaults"], True, ["--info", "defaults"], []),
        (["a=1"], True, [], ["a=1"]),
        (["--hydra-help"], False, ["--hydra-help"], []),
        (["~a", "+b=c", "d='-e'"], False, [], ["~a", "+b=c", "d='-e'"]),
    ],
)
def test_hydras_own_flags_go_to_hydra(rest: list[str], info: bool, flags: list[str], overrides: list[str]) -> None:
    assert split_hydra(rest, info=info) == (flags, overrides)


def test_a_mistyped_flag_is_refused_with_the_nearest() -> None:
    with pytest.raises(DerivaMLConfigurationError) as caught:
        split_hydra(["--multrun"])
    assert caught.value.allowed[0] == "--multirun"


def test_the_configuration_package_is_src_configs_else_configs(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    assert config_folder(None, tmp_path) == tmp_path / "configs"
    (tmp_path / "src" / "configs").mkdir(parents=True)
    assert config_folder(None, tmp_path) == tmp_path / "src" / "configs"
    (tmp_path / "mine").mkdir()
    assert config_folder("mine", tmp_path) == tmp_path / "mine"
    with pytest.raises(DerivaMLConfigurationError, match=r"Config directory not found: .*nowhere"):
        config_folder("nowhere", tmp_path)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("deriva-ml ")


def test_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(f"{code} " in text for code in (0, 1, 2, 4, 5, 130))


@pytest.mark.parametrize("command", ["run", "show", "upload", "create_demo"])
def test_a_command_imports_nothing_heavy_until_it_works(command: str) -> None:
    heavy = ("hydra", "pydantic", "rich", "requests", "deriva", "sklearn", "numpy", "pandas", "sqlite3", "omegaconf")
    code = (
        f"import sys, deriva_ml.cli.{command} as module\n"
        "module.parser().format_help()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
