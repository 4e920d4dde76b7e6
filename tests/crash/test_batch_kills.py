"""Killed at every crash point, a map in batches makes each batch once (Done-when 7 of the third issue; P2, P3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from typing import Any

import pytest

from po_jupyter.testing.model_server.batches import BatchServer
from tests.support.paths import ROOT, TESTS

HERE = TESTS / "crash"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
NAMES = {
    "batch.prepare.before", "batch.prepare.after", "batch.upload.after", "batch.create.after", "batch.submitted.after",
    "batch.look.after", "batch.collect.before", "batch.collect.after", "batch.close.before", "batch.close.after",
}  # fmt: skip


def reply(body: dict[str, Any], custom_id: str) -> dict[str, Any]:
    """Row 1 has to be asked twice: so there are two batches."""
    _, row, _, last = custom_id.split("-")
    return {"label": "bad" if (row, last) == ("1", "0i") else "good"}


@pytest.mark.parametrize("model", ["openai:gpt-4o", "anthropic:claude-haiku-4-5"])
def test_no_kill_makes_a_second_batch(model: str) -> None:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with BatchServer(reply) as server, tempfile.TemporaryDirectory(dir=memory, prefix="po-batch-") as base:
        sweep = subprocess.run(
            [sys.executable, str(HERE / "batch_sweep.py"), server.root_url, model, f"{base}/at"],
            capture_output=True, text=True, timeout=110, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        reports = [json.loads(line) for line in sweep.stdout.splitlines()]
        assert sweep.returncode == 0, f"{sweep.stderr[-3000:]} after {reports[-1:]}"
        killed = [report for report in reports if report["killed"]]
        assert {report["point"].partition(":")[0] for report in killed} >= NAMES
        for report in reports:
            assert report["state"] == "done", report
            assert report["outputs"] == [{"label": "good"}] * 4, report
            assert report["items"] == {str(n): 1 for n in range(4)}, report
            assert (report["calls"], report["most"], report["usage"], report["unknown"]) == (5, 1, 5, 0), report
            assert report["open"] == []
            made = server.batches(report["key"])
            assert [len(batch.requests) for batch in made] == [4, 1], report
            rows = Counter(custom_id.split("-", 1)[1] for batch in made for custom_id, _ in batch.requests)
            assert max(rows.values()) == 1, report
