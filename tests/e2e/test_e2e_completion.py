"""A completion that is installed in a real bash suggests our flags, Hydra's, groups, names and keys."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = """\
eval "$(deriva-ml-run --shell-completion install=bash)"
complete -p deriva-ml-run
complete_line() {{
    COMP_LINE="$1"; COMP_POINT=${{#COMP_LINE}}
    local words=($COMP_LINE)
    [[ "$COMP_LINE" == *" " ]] && words+=("")
    COMP_WORDS=("${{words[@]}}"); COMP_CWORD=$((${{#words[@]}} - 1)); COMPREPLY=()
    hydra_bash_completion 2>/dev/null
    echo "$1 -> ${{COMPREPLY[*]}}"
}}
{calls}
eval "$(deriva-ml-run --shell-completion uninstall=bash)"
declare -F hydra_bash_completion || echo "gone"
"""

LINES = {
    "deriva-ml-run --list": "--list-configs",
    "deriva-ml-run --cfg ": "all hydra job",
    "deriva-ml-run mod": "model_config= model_config.",
    "deriva-ml-run -m model_config=no_execution,d": "model_config=no_execution,default_model",
    "deriva-ml-run nonsense": "",
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_the_command(project: Any) -> None:
    calls = "\n".join(f'complete_line "{line}"' for line in LINES)
    environ = project.environ
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", DRIVER.format(calls=calls)],
        cwd=project.folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
    )
    installed, *answers, last = done.stdout.splitlines()
    assert "hydra_bash_completion deriva-ml-run" in installed, done.stderr
    found = dict(answer.split(" -> ", 1) if " -> " in answer else (answer[:-3], "") for answer in answers)
    assert {line: sorted(words.split()) for line, words in found.items()} == {
        line: sorted(words.split()) for line, words in LINES.items()
    }
    assert last == "gone"


def test_a_project_that_cannot_be_loaded_suggests_nothing_and_says_nothing(project: Any) -> None:
    (project.folder / "src" / "configs" / "broken.py").write_text("print('x')\nx = (\n")
    environ = {**project.environ, "COMP_LINE": "deriva-ml-run mod", "COMP_POINT": "17"}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "deriva-ml-run"), "-sc", "query=bash"],
        cwd=project.folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
