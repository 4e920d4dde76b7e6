"""`ctx.llm.parallel` (R2.6): results with their place, successes and failures, one layer of retries, no hole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.errors import ModelKeyError, ModelRefused, ModelUnavailable
from tests.support.engine import Bench, WidestWindow

ASYNC = """
async def inference(ctx):
    results = await ctx.llm.parallel({requests}, **{options})
    return results.to_json()
"""
SYNC = ASYNC.replace("async ", "").replace("await ", "")
PROMPTS = [f"p{i}" for i in range(6)]
ONCE = {"max_attempts": 1}


def task(body: str = ASYNC, requests: Any = PROMPTS, **options: Any) -> dict[str, Any]:
    return {"name": "a", "source": body.format(requests=requests, options=options), "retry": ONCE}


def error_of(bench: Bench) -> dict[str, Any]:
    error = bench.state.error
    assert error is not None
    return error


@pytest.mark.parametrize("body", [ASYNC, SYNC])
async def test_results_are_in_the_order_of_the_requests(bench: Bench, body: str) -> None:
    bench.create([task(body, max_concurrency=3)])
    assert await bench.go() == "done"
    found = bench.output("a")
    assert [r["output"] for r in found] == [f"echo: {p}" for p in PROMPTS]
    assert [r["index"] for r in found] == list(range(6))
    assert bench.state.usage.calls == 6


async def test_a_failure_is_data_and_its_neighbours_stay(bench: Bench) -> None:
    """R2.6: never a hole, never a lost neighbour, never a swallowed error."""
    bench.fake._replies = [ModelRefused("not this")]
    bench.create([task(max_concurrency=1)])
    assert await bench.go() == "done"
    found = bench.output("a")
    assert [r["ok"] for r in found] == [False, *[True] * 5]
    assert found[0]["error"]["code"] == "model_refused"
    assert found[0]["error"]["details"]["request"] == 0


async def test_only_what_failed_is_asked_again_by_one_layer(bench: Bench) -> None:
    """P7: `retry` stands for `llm.retry`, it is not on top of it."""
    bench.fake._replies = [ModelUnavailable("busy")] * 2
    bench.create([task(max_concurrency=1, retry={"max_attempts": 3, "initial_delay": 0})])
    assert await bench.go() == "done"
    assert all(r["ok"] for r in bench.output("a"))
    assert bench.fake.prompts == ["p0", "p0", *PROMPTS]
    bench2 = Bench(bench.tmp / "2", replies=[ModelUnavailable("busy")] * 2)
    bench2.create([task(max_concurrency=1, retry=2)], llm={"model": "fake:echo", "retry": {"initial_delay": 0}})
    assert await bench2.go() == "done"


async def test_too_many_failures_stop_new_calls_and_keep_what_was_answered(bench: Bench) -> None:
    bench.fake._replies = ["one", ModelRefused("no"), ModelRefused("no")]
    body = """
async def inference(ctx):
    try:
        await ctx.llm.parallel({requests}, **{options})
    except Exception as error:
        return [type(error).__name__, error.results.outputs, [r.error.message for r in error.results.failures]]
"""
    bench.create([task(body, max_concurrency=1, failure_threshold=0.2)])
    assert await bench.go() == "done"
    name, outputs, errors = bench.output("a")
    assert name == "ThresholdExceeded"
    assert outputs == ["one", None, None, None, None, None]
    assert errors[0] == "no"
    assert all(e.startswith("not asked: 2 of 6 calls failed") for e in errors[2:])
    assert len(bench.fake.requests) == 3


async def test_a_threshold_that_nobody_catches_fails_the_task(bench: Bench) -> None:
    bench.fake._replies = [ModelRefused("no")]
    bench.create([task(max_concurrency=1, failure_threshold=0)])
    assert await bench.go() == "failed"
    assert error_of(bench)["code"] == "failure_threshold"


async def test_a_missing_key_stops_all(bench: Bench) -> None:
    bench.fake._replies = [ModelKeyError("no key")] * 6
    bench.create([task(max_concurrency=2)])
    assert await bench.go() == "failed"
    assert error_of(bench)["code"] == "model_key"
    assert len(bench.fake.requests) <= 2


async def test_requests_of_every_shape(bench: Bench) -> None:
    schema = {"type": "object", "required": ["n"]}
    requests = [
        "text",
        [{"role": "user", "content": "messages"}],
        {"prompt": "fields", "system": "be brief", "schema": schema},
    ]
    bench.fake._replies = ["a", "b", "{}", '{"n": 1}']
    bench.create([task(requests=requests, max_concurrency=1)])
    assert await bench.go() == "done"
    assert [r["output"] for r in bench.output("a")] == ["a", "b", {"n": 1}]
    assert bench.fake.requests[2].messages[0].content == "be brief"


@pytest.mark.parametrize(
    ("requests", "options", "said"),
    [
        (["a", {"promt": "b"}], {}, "request 1: it has no `prompt`|request 1: `promt`"),
        (["a", 3], {}, "request 1: a prompt is text"),
        ([{"prompt": "a", "colour": "red"}], {}, "request 0: `colour` is not a field"),
        (["a"], {"max_concurrency": 0}, "`max_concurrency` is 1 to 1000"),
        (["a"], {"failure_threshold": 2}, "`failure_threshold` is 0 to 1"),
        (["a"], {"retry": {"attempts": 2}}, "llm.parallel:"),
        (["a"], {"retry": 0}, "llm.parallel:"),
    ],
)
async def test_a_mistake_is_found_before_anything_is_sent(
    bench: Bench, requests: Any, options: Any, said: str
) -> None:
    """P11"""
    import re

    bench.create([task(requests=requests, **options)])
    assert await bench.go() == "failed"
    assert re.search(said, error_of(bench)["message"])
    assert bench.fake.requests == []


async def test_no_requests_are_no_results(bench: Bench) -> None:
    bench.create([task(requests=[])])
    assert await bench.go() == "done"
    assert bench.output("a") == []


async def test_the_window_is_bounded(bench: Bench) -> None:
    bench.create([task(requests=[f"p{i}" for i in range(30)], max_concurrency=4)])
    window = WidestWindow(bench, 4)
    assert await bench.go() == "done"
    assert window.most == 4


async def test_after_a_drain_only_what_was_not_answered_is_asked(bench: Bench) -> None:
    """P3: the journal answers the calls that were."""
    bench.create([task(max_concurrency=2)])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        session.signals.drain()
        bench.fake.gate.set()
        assert await driving == "released"
    assert len(bench.fake.answered) == 2
    bench.fake.hold = False
    assert await bench.go() == "done"
    assert sorted(bench.fake.prompts) == PROMPTS
    assert bench.state.usage.unknown == 0
    assert bench.state.usage.calls == 6
