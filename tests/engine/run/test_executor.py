"""Runs from their first event to their last."""

from __future__ import annotations

import asyncio

import pytest

from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.errors import ModelUnavailable, StaleFence
from po_jupyter.model.run.events import draft
from po_jupyter.store.protocol import Commit
from tests.support.engine import RUN, Bench, Fake, wait_until

EMPTY = "def integration(ctx):\n    return 1\n"


def python(name: str, body: str, **more: object) -> dict[str, object]:
    return {"name": name, "source": body, **more}


async def test_a_chain_of_tasks_ends_done(bench: Bench) -> None:
    """B1: tasks in order, each seeing the outputs of those before it."""
    bench.create(
        [
            {"name": "a", "prompt": "hi {{ seed.x }}"},
            python("b", "def integration(ctx):\n    return [ctx.tasks['a'], ctx.seed['x']]\n"),
            {"name": "c", "prompt": "{{ tasks.b[0] }}"},
        ],
        {"x": "you"},
    )
    assert await bench.go() == "done"
    assert bench.output("b") == ["echo: hi you", "you"]
    assert bench.output("c") == "echo: echo: hi you"
    head = bench.store.head(RUN)
    assert (head["state"], head["holder"]) == ("done", None)
    assert [e["offset"] for e in bench.events()] == list(range(1, head["offset"] + 1))


async def test_independent_tasks_run_at_the_same_time(bench: Bench) -> None:
    bench.fake.hold = True
    bench.create(
        [
            {"name": "a", "prompt": "a", "needs": []},
            {"name": "b", "prompt": "b", "needs": []},
            {"name": "c", "prompt": "{{ tasks.a }} {{ tasks.b }}", "needs": ["a", "b"]},
        ]
    )
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        await wait_until(lambda: len(session.signals.running) == 2)
        assert session.signals.running == {"a", "b"}
        bench.fake.gate.set()
        assert await driving == "done"
        assert session.outputs.output("c") == "echo: echo: a echo: b"


async def test_a_failure_lets_independent_branches_finish(bench: Bench) -> None:
    """DESIGN 7, Order: dependents stay pending, the run is failed."""
    bench.create(
        [
            python(
                "bad",
                "def integration(ctx):\n    raise RuntimeError('no')\n",
                needs=[],
                retry={"max_attempts": 1},
            ),
            python("good", EMPTY, needs=[]),
            python("after", EMPTY, needs=["bad"]),
        ]
    )
    assert await bench.go() == "failed"
    states = {name: t.state for name, t in bench.state.tasks.items()}
    assert states == {"bad": "failed", "good": "done", "after": "pending"}
    error = bench.state.error
    assert error is not None
    assert error["code"] == "stage_failed"
    assert "RuntimeError: no" in error["message"]
    assert "raise RuntimeError" in error["details"]["traceback"]
    assert "po_jupyter/engine" not in error["details"]["traceback"]


async def test_cancel_keeps_what_is_finished(bench: Bench) -> None:
    """P12; the call in flight is counted as unknown (P3)."""
    bench.create([python("a", EMPTY), {"name": "b", "prompt": "b"}, {"name": "c", "prompt": "c"}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        bench.store.request(RUN, [draft("run.cancel_requested", by="me")])
        session.signals.cancel_hint()
        assert await driving == "cancelled"
        assert {n: t.state for n, t in session.log.state.tasks.items()} == {
            "a": "done",
            "b": "cancelled",
            "c": "pending",
        }
        assert session.log.state.usage.unknown == 1
        assert session.outputs.output("a") == 1
    assert bench.store.head(RUN)["state"] == "cancelled"
    assert read_history(bench.store, RUN).state.usage.unknown == 1


SWALLOWS_ASYNC = """
import asyncio
async def integration(ctx):
    (ctx.io.task_dir / "on").touch()
    while not (ctx.io.task_dir / "off").exists():
        try:
            await asyncio.sleep(0.1)
        except BaseException:
            pass
"""
SWALLOWS_IN_A_THREAD = """
import time
def integration(ctx):
    (ctx.io.task_dir / "on").touch()
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            pass
"""


@pytest.mark.parametrize("body", [SWALLOWS_ASYNC, SWALLOWS_IN_A_THREAD], ids=["async", "thread"])
async def test_user_code_cannot_swallow_a_cancellation(
    bench: Bench, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("po_jupyter.engine.run.executor._CANCEL_AGAIN", 0.05)
    bench.create([python("a", body)])
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await wait_until(lambda: (session.inputs.run_dir / "tmp" / "a" / "on").exists())
        bench.store.request(RUN, [draft("run.cancel_requested", by="me")])
        session.signals.cancel_hint()
        assert await asyncio.wait_for(driving, 5) == "cancelled"
        (session.inputs.run_dir / "tmp" / "a").mkdir(parents=True, exist_ok=True)
        (session.inputs.run_dir / "tmp" / "a" / "off").touch()
        for left in [t for t in asyncio.all_tasks() if t.get_name() == "po a"]:
            await asyncio.wait([left])
    assert bench.store.head(RUN)["state"] == "cancelled"


async def test_a_gate_makes_the_run_wait_and_a_decision_goes_on(bench: Bench) -> None:
    """B12: the gate opens with the task's commit."""
    bench.create(
        [
            {"name": "a", "prompt": "a", "gate": {"message": "look", "artifacts": ["x"]}},
            {"name": "b", "prompt": "b"},
        ]
    )
    assert await bench.go() == "waiting"
    assert bench.types()[-3:] == ["task.done", "gate.opened", "run.waiting"]
    head = bench.store.head(RUN)
    assert (head["state"], head["holder"]) == ("waiting", None)
    bench.store.request(
        RUN,
        [draft("gate.decided", "a", decision="approve", note="", by="me"), draft("run.resumed", by="me")],
        state="pending",
    )
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 2


async def test_a_rejected_gate_cancels(bench: Bench) -> None:
    bench.create([python("a", EMPTY, gate="look"), python("b", EMPTY)])
    assert await bench.go() == "waiting"
    decided = draft("gate.decided", "a", decision="reject", note="no", by="me")
    bench.store.request(RUN, [decided, draft("run.resumed", by="me")], state="pending")
    assert await bench.go() == "cancelled"
    assert bench.state.error is not None
    assert bench.state.error["code"] == "gate_rejected"


async def test_a_decision_just_before_waiting_is_not_lost(bench: Bench) -> None:
    """The worker was not told: it looks at the log before it lets go."""
    bench.create([python("a", EMPTY, gate="look", needs=[]), {"name": "b", "prompt": "b", "needs": []}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        await wait_until(lambda: session.log.state.tasks["a"].gate == "open")
        bench.store.request(RUN, [draft("gate.decided", "a", decision="approve", note="", by="me")])
        bench.fake.gate.set()
        assert await driving == "done"


async def test_drain_finishes_the_call_in_flight_and_gives_the_run_back(bench: Bench) -> None:
    """DESIGN 5: a graceful stop; the next worker replays what was answered."""
    bench.create(
        [
            python(
                "a",
                "async def inference(ctx):\n"
                "    one = await ctx.llm.chat('one')\n"
                "    two = await ctx.llm.chat('two')\n"
                "    return [one.text, two.text]\n",
            ),
            {"name": "b", "prompt": "{{ tasks.a }}"},
        ]
    )
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        session.signals.drain()
        bench.fake.gate.set()
        assert await driving == "released"
    head = bench.store.head(RUN)
    assert (head["state"], head["holder"]) == ("running", None)
    assert bench.fake.prompts == ["one"]
    assert await bench.go() == "done"
    assert bench.fake.prompts == ["one", "two", '["echo: one", "echo: two"]']
    assert bench.state.usage.calls == 3
    assert bench.state.usage.unknown == 0


async def test_drain_does_not_wait_for_a_retry(bench: Bench) -> None:
    bench.create(
        [
            python(
                "a",
                "def integration(ctx):\n    raise ValueError\n",
                retry={"initial_delay": 600, "max_delay": 600},
            )
        ]
    )
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await wait_until(lambda: bench.events("task.retrying"))
        session.signals.drain()
        assert await asyncio.wait_for(driving, 2) == "released"


@pytest.mark.parametrize("end", ["drain", "cancel"])
async def test_a_wait_between_tries_of_a_call_is_cut_short_and_nothing_is_unknown(
    bench: Bench, end: str
) -> None:
    """DESIGN 5, P3: nothing is in flight in such a wait; the call is withdrawn, not lost, and asked anew."""
    busy = ModelUnavailable("busy", details={"usage": {"input_tokens": 7, "calls": 1}})
    bench.fake = Fake([busy])
    retry = {"max_attempts": 5, "initial_delay": 600, "max_delay": 600}
    bench.create([{"name": "a", "prompt": "hello"}], llm={"model": "fake:echo", "retry": retry})
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await wait_until(lambda: bench.events("call.retry"))
        if end == "drain":
            session.signals.drain()
            assert await asyncio.wait_for(driving, 2) == "released"
        else:
            bench.store.request(RUN, [draft("run.cancel_requested", by="me")])
            session.signals.cancel_hint()
            assert await asyncio.wait_for(driving, 2) == "cancelled"
    calls = [call for record in bench.records() for call in record["calls"]]
    assert [call["kind"] for call in calls] == ["intent", "withdrawn"]
    if end == "cancel":
        bench.resume("a")
    assert await bench.go() == "done"
    assert bench.fake.prompts == ["hello", "hello"]
    assert bench.events("call.unknown") == []
    usage = bench.state.usage
    assert (usage.calls, usage.unknown) == (1, 0)
    assert usage.input_tokens > 7  # what the broken try used is on the bill


async def test_a_call_in_flight_that_is_stopped_stays_unknown(bench: Bench) -> None:
    """P3: only a wait is withdrawn; what was sent may have been billed."""
    bench.create([{"name": "a", "prompt": "hello"}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        bench.store.request(RUN, [draft("run.cancel_requested", by="me")])
        session.signals.cancel_hint()
        assert await driving == "cancelled"
    assert [call["kind"] for record in bench.records() for call in record["calls"]] == ["intent"]


async def test_a_taken_over_worker_stops_without_another_word(bench: Bench) -> None:
    """P2: the late writer is refused."""
    bench.create([{"name": "a", "prompt": "a"}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        bench.store.claim(RUN, {"pid": 2})
        bench.fake.gate.set()
        with pytest.raises(StaleFence):
            await driving
    assert "task.done" not in bench.types()


async def test_text_is_streamed_only_while_watched(bench: Bench) -> None:
    """DESIGN 7, Events: ephemeral, and none from maps."""
    bench.create(
        [
            {"name": "a", "prompt": "one two"},
            {"name": "b", "prompt": "x", "for_each": "[1, 2]"},
        ]
    )
    bench.watched = True
    assert await bench.go() == "done"
    assert "".join(n["text"] for n in bench.said) == "echo: one two"
    assert {n["task"] for n in bench.said} == {"a"}


async def test_a_run_that_has_ended_is_left_alone(bench: Bench) -> None:
    bench.create([python("a", EMPTY)])
    assert await bench.go() == "done"
    n = bench.store.head(RUN)["n"]
    assert await bench.go() == "done"
    assert bench.store.head(RUN)["n"] == n


async def test_a_full_disk_is_raised_and_the_run_can_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: what was not durable is as if it had not happened."""
    from po_jupyter.errors import StoreUnusable

    bench.create([{"name": "a", "prompt": "a"}])
    real = bench.store.commit
    left = [1]  # the intent; the answer and the end are lost

    def commit(lease: object, said: Commit) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise StoreUnusable("the disk is full")
        return real(lease, said)

    monkeypatch.setattr(bench.store, "commit", commit)
    monkeypatch.setattr("po_jupyter.store.commit_lane.PATIENCE", 0.0)  # it would wait for space
    with pytest.raises(StoreUnusable):
        await bench.go()
    monkeypatch.undo()
    assert await bench.go() == "done"


async def test_a_worker_that_was_taken_over_notices_when_told_to_look(bench: Bench) -> None:
    """P2: not only at its next commit."""
    bench.create([{"name": "a", "prompt": "a"}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        bench.store.claim(RUN, {"pid": 2})
        session.signals.cancel_hint()
        with pytest.raises(StaleFence):
            await driving


async def test_each_new_head_is_told(bench: Bench) -> None:
    """P1: a hint for whoever watches; the store has the truth."""
    from po_jupyter.config import Settings
    from po_jupyter.engine.run.session import open_session
    from po_jupyter.llm.providers.registry import Providers

    heads = []
    bench.create([{"name": "a", "prompt": "a"}])
    session = await open_session(
        bench.store,
        bench.store.claim(RUN, {"pid": 1}),
        settings=Settings(data_dir=bench.tmp),
        providers=Providers({}, opened={"fake": bench.fake}),
        on_commit=heads.append,
    )
    assert await RunExecutor(session).run() == "done"
    await session.aclose()
    assert heads[-1] == bench.store.head(RUN)
    assert [h["n"] for h in heads] == [2, 3]
