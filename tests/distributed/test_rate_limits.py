"""One rate limit over three nodes: all load at one of them, and at another when that dies."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.distributed.test_dispatcher import workers
from tests.support.nodes import api_node
from tests.support.orchestrator import wait_for_state

pytestmark = [pytest.mark.integration]

LIMIT, WINDOW = 40, 4.0
ROWS = 6 * LIMIT


def most_in_a_window(times: list[float]) -> int:
    return max((sum(at <= other < at + WINDOW for other in times) for at in times), default=0)


async def test_three_nodes_use_one_limit_wherever_the_load_is(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One map needs all of it and is on one node: a third of the limit would take three times as long."""
    log = tmp_path / "calls.jsonl"
    with ModelServer(log=log) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        await _one_map(tmp_path, place)
    times = sorted(
        call["at"] for call in map(json.loads, log.read_text().splitlines()) if call["event"] == "request"
    )
    assert len(times) == ROWS
    assert most_in_a_window(times) <= LIMIT
    used = LIMIT * (times[-1] - times[0]) / WINDOW
    assert 0.9 * used <= ROWS, f"{ROWS} calls in {times[-1] - times[0]:.1f} s"


async def _one_map(tmp_path: Path, place: str) -> None:
    limits = f'{{"openai": {{"requests": {LIMIT}}}}}'
    task = {"name": "m", "prompt": "row {{ item }}", "for_each": "{{ seed.rows }}", "max_concurrency": 50}
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 5}
    pipeline = {"name": "p", "llm": llm, "tasks": [task]}
    with workers(tmp_path, place, "a", "b", "c", PO_RATE_LIMITS=limits, PO_RATE_WINDOW=str(WINDOW)):
        async with api_node(tmp_path / "api", place) as api:
            seed = {"name": "s", "data": {"rows": list(range(ROWS))}}
            run = (await api.submissions.submit({"pipeline": pipeline, "seed": seed}, owner="local"))[0].id
            view = await wait_for_state(api, run, patience=90)
            assert view.state == "done", view.error
            entries = (await asyncio.to_thread(api.store.get, "rates", "shares"))["entries"]
            assert len(entries) == 3
