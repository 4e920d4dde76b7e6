"""Kill the process at every crash point: the state is the one before or the one after (R2.3; issue 2, done when 2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]

from crash_scenarios import SCENARIOS  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")

# What each scenario passes at least: a sweep that finds nothing to kill has shown nothing.
AT_LEAST = {"move": 12, "move-complete": 9, "move-rejected": 10, "migration": 10, "artifact": 20, "gate": 15}


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_killed_at_every_point(name: str, tmp_path: Path) -> None:
    """R2.3, P1-P3, P12."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    sweep = subprocess.run(
        [sys.executable, str(HERE / "crash_sweep.py"), name, str(tmp_path / "sweep")],
        capture_output=True, text=True, timeout=110, env=environment, check=False,
    )  # fmt: skip
    found = [json.loads(line) for line in sweep.stdout.splitlines()]
    after = f" (after {found[-1]['point']})" if found else ""
    assert sweep.returncode == 0, f"{sweep.stderr}{after}"
    scenario = SCENARIOS[name]
    assert {said["state"] for said in found} == scenario.states, found
    # How many small commits a run makes depends a little on time: the last ones may not come to pass again.
    assert sum(said["killed"] for said in found) >= max(AT_LEAST.get(name, 3), len(found) - 3)
    if scenario.nested:
        assert sum(said["again"] for said in found) >= 5
