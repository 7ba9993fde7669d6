"""The public names of the rooms, and what importing the rooms costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import deriva_ml.asset
import deriva_ml.feature


@pytest.mark.parametrize("room", [deriva_ml.asset, deriva_ml.feature])
def test_every_public_name_is_there_and_no_other(room: object) -> None:
    for name in room.__all__:  # type: ignore[attr-defined]
        assert getattr(room, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        room.Nonsense  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "module", ["deriva_ml.asset", "deriva_ml.feature", "deriva_ml.workspace.manifest", "deriva_ml.workspace.journal"]
)
def test_importing_a_room_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}\nassert not {{'pydantic', 'hydra_zen', 'requests', 'pandas'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
