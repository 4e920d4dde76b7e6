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

from tests.crash import row_scenarios  # noqa: F401  # which are among SCENARIOS
from tests.crash.crash_scenarios import SCENARIOS
from tests.support.paths import ROOT, TESTS
from tests.support.postgres import PostgresServer, postgres_server

HERE = TESTS / "crash"
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork"),
    # Twenty seconds of forks where there is nothing else; a machine with other work made a hundred of them.
    pytest.mark.timeout(400),
]

# What each scenario passes at least: a sweep that finds nothing to kill has shown nothing.
AT_LEAST = {
    "move": 12, "move-complete": 9, "move-rejected": 10, "migration": 10, "artifact": 14, "shared-artifact": 20,
    "gate": 14, "inbox": 20, "shards": 60, "shards-briefly": 7, "schedule": 20, "schedule-sql": 6,
    "operators": 60, "operators-briefly": 15,
    "selections": 40, "selections-briefly": 10, "answers": 60, "answers-briefly": 12,
    "sure-labels": 30, "sure-labels-briefly": 6, "learned-threshold": 6, "files": 20, "files-briefly": 7,
    "subpipeline": 30, "subpipeline-briefly": 4,
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


def run(
    name: str, place: Path, database: str | None = None, timeout: float = 380
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [name, str(place), *([database] if database else [])]
    return subprocess.run(
        [sys.executable, str(HERE / "crash_sweep.py"), *arguments],
        capture_output=True, text=True, timeout=timeout, env=environment, check=False,
    )  # fmt: skip


SLOW = {name for name in SCENARIOS if f"{name}-briefly" in SCENARIOS}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in sorted(name for name, scenario in SCENARIOS.items() if scenario.sound)
    ],
)
def test_killed_at_every_point(name: str, place: Path) -> None:
    """R2.3, P1-P3, P12."""
    judge(name, run(name, place))


_SHORT = "commit"  # over PostgreSQL, by default
_STORED = sorted(name for name, scenario in SCENARIOS.items() if scenario.sound and name != "migration")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", [name if name == _SHORT else pytest.param(name, marks=pytest.mark.slow) for name in _STORED]
)
def test_killed_at_every_point_over_postgres(name: str, place: Path, server: PostgresServer) -> None:
    """The same with the store in a database (migrations there: `tests/crash/test_postgres.py`)."""
    judge(name, run(name, place, server.database, 590), over_postgres=True)


def judge(name: str, sweep: subprocess.CompletedProcess[str], *, over_postgres: bool = False) -> None:
    found = [json.loads(line) for line in sweep.stdout.splitlines()]
    after = f" (after {found[-1]['point']})" if found else ""
    assert sweep.returncode == 0, f"{sweep.stderr}{after}"
    scenario = SCENARIOS[name]
    assert {said["state"] for said in found} == scenario.states, found
    # Every point that was counted was hit. Beyond them, the first one that is not reached is the end.
    assert [said["point"] for said in found if not said["killed"] and not said["extra"]] == []
    least = AT_LEAST.get(name, 3)
    assert sum(said["killed"] for said in found) >= (least // 2 if over_postgres else least)
    if scenario.nested:
        assert sum(said.get("again", 0) for said in found) >= 5


def test_the_sweep_can_fail(place: Path) -> None:
    """What is not done under an intent is found out."""
    sweep = run("careless", place)
    assert sweep.returncode != 0
    assert "AssertionError" in sweep.stderr
