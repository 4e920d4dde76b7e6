"""P3 over a run's log: a worker that is gone, and the next one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.budgets import daily_usage as daily
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.errors import ModelRateLimited, StaleFence
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, Lease
from tests.support.engine import RUN, Bench, wait_until

pytestmark = pytest.mark.integration  # a kill at every commit: it takes seconds

THREE_CALLS = """
async def ingestion(ctx):
    return (await ctx.llm.chat("one")).text
async def inference(ctx):
    same = [await ctx.llm.chat("two"), await ctx.llm.chat("two")]
    return [ctx.data["ingestion"], *map(str, same)]
"""


class Dying(MemoryStore):
    """Dies like a killed worker: after `left` more commits none is written, and nothing is said."""

    left = 10**9

    def commit(self, lease: Lease, commit: Commit) -> Any:
        if self.left <= 0:
            raise StaleFence("this process is dead")
        self.left -= 1
        return super().commit(lease, commit)


PIPELINES: dict[str, list[dict[str, Any]]] = {
    "chain": [
        {"name": "a", "prompt": "a {{ seed.x }}"},
        {"name": "b", "source": THREE_CALLS},
        {"name": "c", "prompt": "{{ tasks.b }}"},
    ],
    "dag": [
        {"name": "a", "prompt": "a", "needs": []},
        {"name": "b", "source": THREE_CALLS, "needs": []},
        {"name": "c", "prompt": "{{ tasks.a }} {{ tasks.b }}", "needs": ["a", "b"]},
    ],
    "map": [
        {"name": "a", "prompt": "a"},
        {
            "name": "m",
            "prompt": "row {{ item }} of {{ tasks.a }}",
            "for_each": "[1, 2, 3, 4, 5]",
            "max_concurrency": 2,
        },
        {"name": "z", "prompt": "{{ tasks.m[4].output }}"},
    ],
    "rows that call": [{"name": "m", "source": THREE_CALLS, "for_each": "[1, 2]"}],
    "refined": [
        {
            "name": "a",
            "prompt": "x",
            "output": {"type": "object", "required": ["k"]},
            "refine": {"max_attempts": 3, "critique": "what? {{ output }}"},
        }
    ],
}


async def outcome(bench: Bench) -> tuple[str, dict[str, Any], int]:
    state = await bench.go()
    tasks = bench.session.log.pipeline.tasks
    return state, {t.name: bench.output(t.name) for t in tasks}, bench.state.usage.calls


@pytest.mark.parametrize("name", PIPELINES)
async def test_a_kill_at_every_commit_sends_no_recorded_call_again(tmp_path: Path, name: str) -> None:
    """P3, R3.3: at each point the run ends as it would have, and only calls in flight repeat."""
    tasks = PIPELINES[name]

    def make(i: int) -> Bench:
        replies = ["{}", "bad", "{}", "worse", '{"k": 1}'] if name == "refined" else []
        bench = Bench(tmp_path / str(i), Dying(), replies)
        return bench.create(tasks, {"x": 1})

    calm = make(0)
    expected = await outcome(calm)
    assert expected[0] == "done"
    commits = calm.store.head(RUN)["n"] - 1
    calls = len(calm.fake.requests)
    for left in range(commits + 1):
        bench = make(left + 1)
        assert isinstance(bench.store, Dying)
        bench.store.left = left
        try:
            await bench.go()
        except StaleFence:
            recorded = read_history(bench.store, RUN)
            lost = sum(
                1
                for items in recorded.calls.values()
                for calls_ in items.values()
                for call in calls_.values()
                if call.response is None
            )
        else:
            lost = 0
        bench.store.left = 10**9
        if name == "refined":  # the script goes on where the recorded answers end
            answered = sum(1 for r in bench.records() for c in r["calls"] if c["kind"] == "response")
            bench.fake._replies = ["{}", "bad", "{}", "worse", '{"k": 1}'][answered:]
        state, outputs, used = await outcome(bench)
        assert (state, outputs) == expected[:2]
        assert used == calls + lost, "each call is counted once, an unknown outcome as one more"
        assert bench.state.usage.unknown == lost
        assert len(bench.fake.requests) <= calls + lost
        offsets = [e["offset"] for e in bench.events()]
        assert offsets == list(range(1, len(offsets) + 1))
        folded = read_history(bench.store, RUN).state
        assert folded.usage == bench.state.usage


async def test_a_retry_asks_anew(bench: Bench) -> None:
    """P3: a crash keeps the attempt, a retry is a new one."""
    body = """
async def inference(ctx):
    answer = await ctx.llm.chat("same question")
    if ctx.meta["attempt"] < 2:
        raise ValueError("not this answer")
    return answer.text
"""
    bench.create([{"name": "a", "source": body, "retry": {"initial_delay": 0}}])
    assert await bench.go() == "done"
    assert bench.fake.prompts == ["same question"] * 2


async def test_a_recorded_failure_replays_as_the_same_failure(tmp_path: Path) -> None:
    from po_jupyter.errors import ModelRefused

    body = """
async def inference(ctx):
    try:
        await ctx.llm.chat("one")
    except Exception as error:
        first = str(error)
    return [first, (await ctx.llm.chat("two")).text]
"""
    store = Dying()
    bench = Bench(tmp_path, store, [ModelRefused("no, never")])
    bench.create([{"name": "a", "source": body}])
    store.left = 2  # intent; answer and intent; the rest is lost
    with pytest.raises(StaleFence):
        await bench.go()
    store.left = 10**9
    assert await bench.go() == "done"
    assert bench.fake.prompts == ["one", "two", "two"]
    assert bench.output("a") == ["no, never", "echo: two"]


async def test_each_crash_counts_an_unknown_outcome_once(tmp_path: Path) -> None:
    """P3: visible, counted, sent again once per crash."""
    bench = Bench(tmp_path)
    bench.create([{"name": "a", "prompt": "x"}])
    bench.fake.hold = True
    for crash in range(3):
        bench.fake.waiting.clear()
        async with bench.worker() as session:
            driving = asyncio.ensure_future(RunExecutor(session).run())
            await bench.fake.waiting.wait()
            session.log.abandon()  # a process that is gone says nothing
            driving.cancel()
            await asyncio.wait([driving])
        assert read_history(bench.store, RUN).state.usage.unknown == crash
    bench.fake.hold = False
    assert await bench.go() == "done"
    assert bench.state.usage.unknown == 3
    assert bench.state.usage.calls == 4
    assert len(bench.events("call.unknown")) == 3


async def test_an_output_that_is_an_answer_is_stored_once(bench: Bench) -> None:
    """DESIGN 6: step outputs are stored once by content."""
    bench.create([{"name": "a", "prompt": "{{ seed.x }}"}], {"x": "long text " * 500})
    assert await bench.go() == "done"
    stored = [p for r in bench.records() for p in bench.store.payloads(RUN, r["n"])]
    assert len(stored) == 1


@pytest.mark.integration
async def test_load_of_a_long_history_is_quick(tmp_path: Path) -> None:
    """R3.3: a run with 999 finished tasks goes on within 300 ms."""
    from po_jupyter.store.disk.store import DiskStore

    store = DiskStore(tmp_path / "store")
    bench = Bench(tmp_path, store)
    body = "def integration(ctx):\n    return {'text': 'x' * 200}\n"
    bench.create([*({"name": f"t{i}", "source": body} for i in range(999)), {"name": "end", "prompt": "x"}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await asyncio.wait_for(bench.fake.waiting.wait(), 60)
        session.log.abandon()
        driving.cancel()
        await asyncio.wait([driving])
    begun = time.perf_counter()
    async with bench.worker() as session:
        took = time.perf_counter() - begun
        assert session.log.state.tasks["t998"].state == "done"
    print(f"load of 999 tasks: {took * 1000:.0f} ms")
    assert took < 1.5  # 300 ms on a quiet machine; this one is shared
    store.close()


class SlowIntents(MemoryStore):
    """A disk on which the record of an intent takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = True

    def commit(self, lease: Lease, commit: Commit) -> Any:
        if self.slow and any(call["kind"] == "intent" for call in commit.calls):
            time.sleep(0.4)
        return super().commit(lease, commit)


async def test_a_call_stopped_while_its_intent_is_written_was_never_sent(tmp_path: Path) -> None:
    """P3: no unknown outcome is counted, in the log or in a budget, for what nobody was asked."""
    store = SlowIntents()
    bench = Bench(tmp_path, store)
    bench.create(
        [{"name": "a", "prompt": "x", "timeout": 0.1, "retry": {"max_attempts": 1}}], budget={"tokens": 9000}
    )
    assert await bench.go() == "failed"
    assert bench.fake.prompts == []
    assert [c["kind"] for r in bench.records() for c in r["calls"]] == ["intent", "withdrawn"]
    assert read_history(store, RUN).spent.of_tasks() == {"a": Amount()}
    shown = daily.settled(daily.advanced(None, bench.records()), store.head(RUN))
    assert daily.report(shown, "")["total"]["unknown"] == 0 == bench.state.usage.unknown


async def test_an_unknown_outcome_is_told_once_though_its_repetition_was_withdrawn(tmp_path: Path) -> None:
    """P3: once for each crash; a drain between two tries takes back the new intent, and not what was told."""
    bench = Bench(tmp_path, None, [ModelRateLimited("slowly", retry_after=30.0)])
    bench.create([{"name": "a", "prompt": "x"}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        session.log.abandon()  # a process that is gone says nothing
        driving.cancel()
        await asyncio.wait([driving])
    bench.fake.hold = False
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await wait_until(lambda: bench.events("call.retry"))
        session.signals.drain()
        await driving
    assert await bench.go() == "done"
    assert len(bench.events("call.unknown")) == 1
    assert (bench.state.usage.unknown, bench.state.usage.calls) == (1, 2)
