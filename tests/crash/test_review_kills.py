"""Killed between a correction and its answer: what was said is there, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance
SOURCE = "def ingestion(ctx):\n    return 'bug'\n"
TASK = {
    "name": "label",
    "source": SOURCE,
    "for_each": "{{ seed.rows }}",
    "output": {"enum": ["bug", "question"]},
}
BODY = {"pipeline": {"name": "labels", "tasks": [TASK]}, "seed": {"name": "s", "data": {"rows": [1, 2]}}}


def test_a_correction_is_recorded_once_although_its_answer_was_lost(tmp_path: Path) -> None:
    """P2: the server dies behind the record, and the client asks the next one again with the same request."""
    armed = {"PO_TESTING": "1", "PO_CRASHPOINT": "review.after:1"}
    server = JupyterProcess(tmp_path, orchestrator=None, env=armed)
    run = ended_run(server)
    body = {"task": "label", "index": 0, "decision": "correct", "output": "question", "request": "r1"}
    with server.http() as http, pytest.raises(httpx.TransportError):
        http.post(f"runs/{run}/review", json=body)
    server.process.wait(30)
    server = JupyterProcess(tmp_path, orchestrator=None)
    try:
        with server.http() as http:
            answer = http.post(f"runs/{run}/review", json=body)
            assert answer.status_code == 200, answer.text
            (review,) = http.get(f"runs/{run}/reviews", params={"task": "label"}).json()["reviews"]
            assert (review["index"], review["output"], review["recorded"]) == (0, "question", "bug")
            events = http.get(f"runs/{run}/events", headers={"Accept": "application/json"}).json()["events"]
            assert [e["type"] for e in events].count("item.reviewed") == 1
    finally:
        server.stop()


def ended_run(server: JupyterProcess) -> str:
    with server.http() as http:
        run: dict[str, Any] = http.post("runs", json=BODY).json()["run"]
        for line in follow(http, run["id"]):
            if line.startswith("event: end"):
                break
    return str(run["id"])


def follow(http: httpx.Client, run: str) -> Any:
    with http.stream(
        "GET", f"runs/{run}/events", headers={"Accept": "text/event-stream"}, timeout=60
    ) as stream:
        yield from stream.iter_lines()
