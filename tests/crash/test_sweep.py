"""Killed at every crash point, the state is the one before or the one after (R2.3; issue 2, done when 2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.crash_scenarios import SCENARIOS
from tests.support.paths import ROOT, TESTS

HERE = TESTS / "crash"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")

# What each scenario passes at least: a sweep that finds nothing to kill has shown nothing.
AT_LEAST = {
    "move": 12, "move-complete": 9, "move-rejected": 10, "migration": 10, "artifact": 14, "gate": 14,
    "inbox": 20, "schedule": 20,
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is to be had: a killed process leaves the same there as on a disk, only sooner."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path / "sweep"
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="po-sweep-") as base:
        yield Path(base) / "sweep"


def run(name: str, place: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(HERE / "crash_sweep.py"), name, str(place)],
        capture_output=True, text=True, timeout=110, env=environment, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(name for name, scenario in SCENARIOS.items() if scenario.sound))
def test_killed_at_every_point(name: str, place: Path) -> None:
    """R2.3, P1-P3, P12."""
    sweep = run(name, place)
    found = [json.loads(line) for line in sweep.stdout.splitlines()]
    after = f" (after {found[-1]['point']})" if found else ""
    assert sweep.returncode == 0, f"{sweep.stderr}{after}"
    scenario = SCENARIOS[name]
    assert {said["state"] for said in found} == scenario.states, found
    # Every point that was counted was hit. Beyond them, the first one that is not reached is the end.
    assert [said["point"] for said in found if not said["killed"] and not said["extra"]] == []
    assert sum(said["killed"] for said in found) >= AT_LEAST.get(name, 3)
    if scenario.nested:
        assert sum(said.get("again", 0) for said in found) >= 5


def test_the_sweep_can_fail(place: Path) -> None:
    """What is not done under an intent is found out."""
    sweep = run("careless", place)
    assert sweep.returncode != 0
    assert "AssertionError" in sweep.stderr
