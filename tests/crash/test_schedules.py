"""G12: killed between a slot that is due and what is written of it, over PostgreSQL (over the disk: test_sweep)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT, TESTS
from tests.support.postgres import postgres_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork"),
]


def test_killed_at_every_point_over_postgres_a_slot_has_one_run(tmp_path: Path) -> None:
    with postgres_server() as server:
        sweep = subprocess.run(
            [sys.executable, str(TESTS / "crash" / "schedule_sweep.py"), server.database, str(tmp_path)],
            capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
    found = [json.loads(line) for line in sweep.stdout.splitlines()]
    assert sweep.returncode == 0, f"{sweep.stderr}{found[-1:]}"
    assert [one for one in found if not one["killed"]] == []
    assert len(found) >= 8
    assert {one["state"] for one in found} == {"before", "after"}
    assert {"schedule.due", "schedule.planned", "schedule.created", "schedule.marked", "schedule.settled"} <= {
        one["point"].partition(":")[0] for one in found
    }
