"""P3, Done-when 4: kill -9 at random instants. No run is lost, and no call that was recorded is sent again.

The instants come from a seed that is printed. `-m chaos` repeats it 50 times.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import Server, orchestrator, processes_of, wait_for_exit, wait_for_state

ROWS = 12


def paid() -> dict[str, Any]:
    """Four prompt tasks and a map, every prompt a different one."""
    tasks: list[dict[str, Any]] = [
        {"name": f"t{i}", "prompt": f"task {i}: {{{{ seed.text }}}}"} for i in range(4)
    ]
    rows = {"name": "rows", "prompt": "row {{ item }}", "for_each": "{{ seed.rows }}", "max_concurrency": 3}
    tasks.insert(2, rows)
    return {
        "pipeline": {"name": "paid", "llm": {"model": "openai:test", "max_tokens": 50}, "tasks": tasks},
        "seed": {"name": "seed", "data": {"text": "x", "rows": list(range(ROWS))}},
    }


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    with ModelServer(latency=0.04) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        yield server


async def check(service: RunningOrchestrator, run: str, model: ModelServer, kills: int) -> None:
    """The run is done and whole, and the journal and the model's server agree that nothing was paid twice."""
    view = await wait_for_state(service, run, patience=40)
    assert view.state == "done", view.error
    outputs = await service.results.outputs(run, None)
    assert outputs["t3"] == "echo: task 3: x"
    assert [row["output"] for row in outputs["rows"]] == [f"echo: row {i}" for i in range(ROWS)]
    calls, _ = await service.results.calls(run, None, limit=10_000)
    answered: set[str] = set()
    intents: Counter[str] = Counter()
    for call in calls:  # in the order of the log
        if call["kind"] == "intent":
            assert call["key"] not in answered, f"sent again although its answer was recorded: {call['key']}"
            intents[call["key"]] += 1
        else:
            answered.add(call["key"])
    assert len(answered) == 4 + ROWS
    assert max(intents.values()) <= 1 + kills
    requests = Counter(r.prompt for r in model.requests)
    assert len(requests) == 4 + ROWS
    assert sum(requests.values()) <= sum(intents.values()), "every request had a durable intent before it"
    items = [i for r in await asyncio.to_thread(lambda: list(service.store.records(run))) for i in r["items"]]
    assert sorted(i["index"] for i in items) == list(range(ROWS)), "one outcome for each row"
    offsets = [e["offset"] for e in await service.runs.events(run, None, limit=10_000)]
    assert offsets == list(range(1, len(offsets) + 1))
    unknown = sum(e["type"] == "call.unknown" for e in await service.runs.events(run, None, limit=10_000))
    assert view.usage.unknown >= unknown > 0 or sum(intents.values()) == 4 + ROWS


async def kill_workers(data_dir: Path, run: str, dice: random.Random, kills: int) -> int:
    """Kill the run's worker at random instants; how often it was hit."""
    hits = 0
    store = DiskStore(data_dir / "store")
    try:
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.0, 0.5))
            head = store.head(run)
            if head["state"] == "done":
                break
            holder = head["holder"]
            if holder is not None and holder["pid"] != os.getpid():
                try:
                    os.kill(holder["pid"], signal.SIGKILL)
                    hits += 1
                except ProcessLookupError:
                    pass
    finally:
        store.close()
    return hits


async def workers_die(tmp_path: Path, model: ModelServer, seed: int) -> None:
    dice = random.Random(seed)
    async with orchestrator(tmp_path, max_crashes=20) as service:
        view, _ = await service.submissions.submit(paid(), owner="local")
        hits = await kill_workers(tmp_path, view.id, dice, 3)
        await check(service, view.id, model, hits)
    await wait_for_exit(processes_of(tmp_path))  # a zygote that was just loading notices a little later


async def servers_die(tmp_path: Path, model: ModelServer, seed: int) -> None:
    dice = random.Random(seed)
    server = Server(tmp_path, max_crashes=20, orphan_timeout=5.0)
    run = server.submit(paid())
    await asyncio.sleep(dice.uniform(0.0, 0.8))
    if dice.random() < 0.5:  # the whole machine, so to speak; else its workers live on
        server.process.send_signal(signal.SIGSTOP)
        for pid in processes_of(tmp_path):
            os.kill(pid, signal.SIGKILL)
    server.kill()
    await asyncio.sleep(dice.uniform(0.0, 0.3))
    async with orchestrator(tmp_path, max_crashes=20, orphan_timeout=5.0) as service:
        await check(service, run, model, 1)
    # A shared worker whose runs ended before the second server looked for it leaves after `orphan_timeout`.
    await wait_for_exit(processes_of(tmp_path), 20.0)


@pytest.mark.parametrize("n", range(5))
async def test_killed_workers_pay_nothing_twice(tmp_path: Path, model: ModelServer, n: int) -> None:
    await workers_die(tmp_path, model, _seed(n))


@pytest.mark.parametrize("n", range(5))
async def test_a_killed_server_loses_no_run_and_pays_nothing_twice(
    tmp_path: Path, model: ModelServer, n: int
) -> None:
    await servers_die(tmp_path, model, _seed(n))


@pytest.mark.chaos
@pytest.mark.parametrize("n", range(50))
async def test_fifty_times(tmp_path: Path, model: ModelServer, n: int) -> None:
    await (workers_die if n % 2 else servers_die)(tmp_path, model, _seed(1000 + n))


def _seed(n: int) -> int:
    base = int(os.environ.get("PO_CHAOS_SEED") or random.SystemRandom().randrange(2**31))
    print(f"PO_CHAOS_SEED={base}")
    return base + n
