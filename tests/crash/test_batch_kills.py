"""Killed at its crash points, a map in batches makes each batch once (Done-when 7 of the third issue; P2, P3)."""

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
from po_jupyter.testing.model_server.wire import Reply
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


def sweep(server: BatchServer, model: str, *more: str) -> list[dict[str, Any]]:
    """The reports of `batch_sweep.py`."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="po-batch-") as base:
        ran = subprocess.run(
            [sys.executable, str(HERE / "batch_sweep.py"), server.root_url, model, f"{base}/at", *more],
            capture_output=True, text=True, timeout=800, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    reports: list[dict[str, Any]] = [
        json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")
    ]
    assert ran.returncode == 0, f"{ran.stderr[-3000:]} after {reports[-1:]}"
    return reports


@pytest.mark.parametrize("point", ["batch.collect.after", "batch.close.before", "batch.close.after"])
def test_a_row_asked_for_again_after_a_kill_gets_an_answer_of_its_own(point: str) -> None:
    """Killed between the outcomes of a batch and its end: the failure that the batch had for the row is used up."""
    asked = Counter[str]()

    def refuses_once(body: dict[str, Any], custom_id: str) -> Any:
        row = custom_id.split("-")[1]
        asked[row] += 1
        return Reply(status=400, error="no") if row == "1" and asked[row] == 1 else {"label": "good"}

    with BatchServer(refuses_once) as server:
        (report,) = sweep(server, "openai:gpt-4o", point)
        assert report["killed"] and report["state"] == "done"
        assert report["outputs"] == [{"label": "good"}] * 4
        assert report["items"] == {"0": 1, "1": 2, "2": 1, "3": 1}
        assert report["open"] == []
        assert [len(batch.requests) for batch in server.batches("key")] == [4, 1]


ALIKE = ["anthropic:claude-haiku-4-5", "gemini:gemini-2.5-flash", "mistral:mistral-small-latest"]


@pytest.mark.parametrize("model", ALIKE)
def test_a_batch_that_was_made_and_not_recorded_is_found_again(model: str) -> None:
    """The whole sweep of these is slow; this is the gap that only the vendor's list closes."""
    with BatchServer(reply) as server:
        (report,) = sweep(server, model, "batch.create.after", "on")
        assert report["killed"]
        assert_once(server, [report])


def test_no_first_kill_makes_a_second_batch() -> None:
    once_each("openai:gpt-4o", "first")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", ["openai:gpt-4o", *ALIKE])
def test_no_kill_makes_a_second_batch(model: str) -> None:
    once_each(model)


def once_each(model: str, *more: str) -> None:
    """Killed at every kind of point, and never a batch made twice."""
    with BatchServer(reply) as server:
        reports = sweep(server, model, *more)
        killed = [report for report in reports if report["killed"]]
        assert {report["point"].partition(":")[0] for report in killed} >= NAMES
        assert_once(server, reports)


def assert_once(server: BatchServer, reports: list[dict[str, Any]]) -> None:
    """Each run is done, and each of its rows was in one batch of each round."""
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
