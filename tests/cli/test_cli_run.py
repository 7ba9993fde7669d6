"""The command line of ``deriva-ml-run``: what is ours, what is Hydra's, and where configurations are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deriva_ml.cli.hydra_flags import split_hydra
from deriva_ml.cli.run import main, parser


def test_flags_and_overrides_may_stand_in_any_order() -> None:
    words = ["model_config.lr=1", "--host", "h", "+experiment=a", "--cfg", "job", "-m", "b=2", "--debug"]
    flags, rest = parser().parse_known_args(words)
    assert (flags.host, flags.multirun, flags.debug) == ("h", True, True)
    hydra = split_hydra(rest)
    assert (hydra.flags, hydra.overrides) == (("--cfg", "job"), ("model_config.lr=1", "+experiment=a", "b=2"))


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
