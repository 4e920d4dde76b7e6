"""A large map in a worker that is killed in the middle, twice: each row exactly once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from po_jupyter.model.run.row_file_ref import RowFileRef
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.files.row_files import RowFiles
from tests.support.orchestrator import orchestrator, settings, wait_for_holder, wait_for_state


async def enough_rows(service: RunningOrchestrator, run: str, count: int) -> None:
    async with service.changes.subscribe(run) as notes, asyncio.timeout(60):
        while True:
            view = await service.runs.get(run, None)
            items = view.tasks[0].items
            if items is not None and items.done >= count:
                return
            await notes.get(0.5)


@pytest.mark.parametrize("rows", [10_000, pytest.param(50_000, marks=pytest.mark.slow)])
async def test_a_map_killed_in_the_middle_has_each_outcome_once(tmp_path: Path, rows: int) -> None:
    """P2, P3, P12: what was durable is kept, what was not is done, nothing twice."""
    lines = b"".join(json.dumps({"i": i}).encode() + b"\n" for i in range(rows))
    digest = hashlib.sha256(lines).hexdigest()
    receiver = RowFiles(settings(tmp_path).data_dir).receive("local", digest)
    receiver.write(lines)
    receiver.finish()
    task = {"name": "m", "prompt": "row {{ item.i }}", "for_each": "{{ seed.rows }}", "max_concurrency": 100}
    body = {
        "pipeline": {"name": "large", "llm": {"model": "fake:echo"}, "tasks": [task]},
        "seed": {"name": "s", "data": {"rows": RowFileRef(digest, rows).to_json()}},
    }
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body, owner="local")
        for part in (0.3, 0.6):
            await enough_rows(service, view.id, int(part * rows))
            os.kill(await wait_for_holder(tmp_path, view.id), signal.SIGKILL)
        view = await wait_for_state(service, view.id, patience=90)
        assert view.state == "done", view.error
        items = view.tasks[0].items
        assert items is not None
        assert (items.done, items.failed) == (rows, 0)
        page, after = await service.results.items(view.id, None, "m", cursor=str(rows - 2))
        assert [(r["index"], r["output"]) for r in page] == [
            (i, f"echo: row {i}") for i in (rows - 2, rows - 1)
        ]
        assert after is None
    store = DiskStore(tmp_path / "store")
    outcomes = Counter(item["index"] for record in store.records(view.id) for item in record["items"])
    crashes = [e for e in store.events(view.id, limit=10**6) if e["type"] == "worker.crashed"]
    answered = Counter(c["key"] for r in store.records(view.id) for c in r["calls"] if c["kind"] == "response")
    store.close()
    assert outcomes == Counter(range(rows))
    assert len(crashes) == 2
    assert max(answered.values()) == 1, "no recorded call was answered twice"
