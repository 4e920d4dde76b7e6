"""Vectors and kill -9: what was answered is not asked for again, and the rows are the same in the end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import orchestrator, wait_for_holder, wait_for_state

pytestmark = pytest.mark.integration

ROWS = [{"text": f"{'the very same words' if n % 3 == 0 else f'text number{n} alone{n}'}"} for n in range(12)]
BODY = {
    "pipeline": {
        "name": "vectors",
        "llm": {"model": "openai:text-embedding-3-small"},
        "tasks": [
            {
                "name": "unique",
                "for_each": "{{ seed.rows }}",
                "embed": "{{ item.text }} {{ '' if item.text != 'the very same words' else 'row%s' % index }}",
                "distinct": {"similarity": 0.75},
                "max_concurrency": 2,
            }
        ],
    },
    "seed": {"name": "s", "data": {"rows": ROWS}},
}


async def test_a_distinct_that_is_killed_asks_only_for_what_has_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2, P3."""
    with ModelServer(latency=0.03) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        async with orchestrator(tmp_path) as service:
            view, _ = await service.submissions.submit(BODY, owner="local")
            await asyncio.to_thread(server.wait_for, 5, answered=True)
            os.kill(await wait_for_holder(tmp_path, view.id), signal.SIGKILL)
            view = await wait_for_state(service, view.id, patience=40)
            assert view.state == "done", view.error
            outputs = await service.results.outputs(view.id, None)
            calls, _ = await service.results.calls(view.id, None, limit=1000)
    assert [row["text"] for row in outputs["unique"]] == [
        ROWS[0]["text"],
        *(r["text"] for n, r in enumerate(ROWS) if n % 3),
    ]
    answered: set[str] = set()
    for call in calls:
        if call["kind"] == "intent":
            assert call["key"] not in answered, "sent again although its answer was recorded"
        else:
            answered.add(call["key"])
    assert len(answered) == len(ROWS)
    assert len(server.requests) <= len(ROWS) + 2, "only what was in flight is asked for again"
