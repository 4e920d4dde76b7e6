"""Maps: rows, their outcomes, thresholds and resumes (R2.6, P12)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.errors import ModelKeyError, ModelRefused
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.model.run.events import draft
from tests.support.engine import RUN, Bench, WidestWindow

ODD = """
def inference(ctx):
    if ctx.item["n"] % 2:
        raise ValueError(f"odd {ctx.item['n']}")
    return {"n": ctx.item["n"], "index": ctx.index}
"""
ROWS = {"rows": [{"n": i} for i in range(10)]}


def odd(**more: Any) -> dict[str, Any]:
    return {"name": "m", "source": ODD, "for_each": "{{ seed.rows }}", "retry": {"max_attempts": 1}, **more}


async def test_a_rows_failure_is_data(bench: Bench) -> None:
    """R2.6: never a hole, never a lost neighbour; output in row order."""
    bench.create([odd()], ROWS)
    assert await bench.go() == "done"
    rows = bench.output("m")
    assert [r["index"] for r in rows] == list(range(10))
    assert [r["ok"] for r in rows] == [True, False] * 5
    assert rows[2] == {"index": 2, "ok": True, "output": {"n": 2, "index": 2}, "error": None}
    assert "odd 3" in rows[3]["error"]["message"]
    assert rows[3]["error"]["details"]["index"] == 3
    items = bench.state.tasks["m"].items
    assert items is not None
    assert (items.total, items.done, items.failed, items.in_flight) == (10, 5, 5, 0)
    assert [e["item"] for e in bench.events("item.failed")] == [1, 3, 5, 7, 9]


async def test_the_threshold_stops_new_rows_and_keeps_finished_ones(bench: Bench) -> None:
    """DESIGN 7, Maps."""
    bench.create([odd(failure_threshold=0.1, max_concurrency=1)], ROWS)
    assert await bench.go() == "failed"
    error = bench.state.error
    assert error is not None
    assert error["code"] == "failure_threshold"
    assert "2 of 10 rows" in error["message"]
    items = bench.state.tasks["m"].items
    assert items is not None
    assert (items.done, items.failed) == (2, 2)


async def test_resume_tries_failed_rows_again_and_keeps_done_ones(bench: Bench) -> None:
    flag = bench.tmp / "fixed"
    body = (
        "from pathlib import Path\n"
        "def inference(ctx):\n"
        "    ctx.io.write_log(f'{ctx.index}-{ctx.meta[\"attempt\"]}', '')\n"
        f"    if ctx.item['n'] % 2 and not Path({str(flag)!r}).exists():\n"
        "        raise ValueError('odd')\n"
        "    return ctx.item['n']\n"
    )
    bench.create(
        [odd(source=body, failure_threshold=0.2), {"name": "z", "prompt": "{{ tasks.m | length }}"}], ROWS
    )
    assert await bench.go() == "failed"
    done = {i for i, r in bench.session.history.table("m").items() if r.ok}
    flag.touch()
    bench.resume("m")
    assert await bench.go() == "done"
    assert [r["output"] for r in bench.output("m")] == list(range(10))
    items = bench.state.tasks["m"].items
    assert items is not None
    assert (items.done, items.failed) == (10, 0)
    again = [r["index"] for rec in bench.records() for r in rec["items"]]
    assert all(again.count(i) == 1 for i in done)


async def test_a_cleared_map_runs_every_row_again(bench: Bench) -> None:
    bench.create([{"name": "m", "prompt": "{{ item }}", "for_each": "[1, 2]"}])
    assert await bench.go() == "done"
    bench.resume("m", clear=["m"])
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 4
    assert bench.state.usage.calls == 4


async def test_limit_runs_the_first_rows_only(bench: Bench) -> None:
    """G17"""
    bench.create([{"name": "m", "prompt": "{{ item }}", "for_each": "range(100)"}], options={"limit": 3})
    assert await bench.go() == "done"
    assert len(bench.output("m")) == 3
    assert len(bench.fake.requests) == 3


async def test_the_window_is_as_wide_as_asked(bench: Bench) -> None:
    bench.create([{"name": "m", "prompt": "{{ item }}", "for_each": "range(50)", "max_concurrency": 7}])
    window = WidestWindow(bench, 7)
    assert await bench.go() == "done"
    assert window.most == 7


async def test_rows_are_retried_by_themselves(bench: Bench) -> None:
    body = (
        "def inference(ctx):\n    if ctx.meta['attempt'] < 3:\n        raise ValueError\n    return ctx.index\n"
    )
    bench.create([odd(source=body, retry={"initial_delay": 0})], ROWS)
    assert await bench.go() == "done"
    assert all(r["ok"] for r in bench.output("m"))
    assert "task.retrying" not in bench.types()


async def test_usage_of_rows_is_in_outcomes_and_progress(bench: Bench) -> None:
    bench.create([{"name": "m", "prompt": "{{ item }}", "for_each": "range(20)"}])
    assert await bench.go() == "done"
    rows = [r for rec in bench.records() for r in rec["items"]]
    assert sum(r["usage"]["calls"] for r in rows) == 20
    assert bench.state.usage.calls == 20
    assert len({r["key"] for r in rows}) == 20
    assert "call.done" not in bench.types()


async def test_equal_rows_of_equal_definitions_have_equal_keys(bench: Bench, tmp_path: Any) -> None:
    """DESIGN 7: content of the row + definition + code."""

    async def keys(i: int, **change: Any) -> list[str]:
        other = Bench(tmp_path / str(i))
        task = {
            "name": "m",
            "prompt": "{{ item }}",
            "for_each": "[{'a': 1, 'b': 2}, {'a': 1, 'b': 2}, 3]",
            **change,
        }
        other.create([task])
        assert await other.go() == "done"
        rows = sorted((r for rec in other.records() for r in rec["items"]), key=lambda r: r["index"])
        return [r["key"] for r in rows]

    first = await keys(1)
    assert first[0] == first[1] != first[2]
    assert await keys(2) == first
    assert await keys(3, max_concurrency=9, failure_threshold=0.5, retry={"max_attempts": 1}) == first
    for i, change in enumerate(
        [{"system": "s"}, {"prompt": "{{ item }}!"}, {"llm": {"temperature": 0.5}}, {"config": {"a": 1}}], 4
    ):
        assert not set(await keys(i, **change)) & set(first)


async def test_a_missing_key_stops_the_map_at_once(bench: Bench) -> None:
    """50,000 rows would all fail alike: none of them is marked as failed."""
    bench.fake._replies = [ModelKeyError("no key")] * 100
    bench.create([{"name": "m", "prompt": "{{ item }}", "for_each": "range(100)", "max_concurrency": 4}])
    assert await bench.go() == "failed"
    assert bench.state.error is not None
    assert bench.state.error["code"] == "model_key"
    assert len(bench.fake.requests) <= 4
    bench.fake._replies = []
    bench.resume("m")
    assert await bench.go() == "done"
    assert all(r["ok"] for r in bench.output("m"))


@pytest.mark.parametrize(
    ("expression", "said"), [("{{ seed.text }}", "text"), ("{{ seed }}", "a mapping"), ("{{ 3 }}", "3")]
)
async def test_for_each_must_be_a_list(bench: Bench, expression: str, said: str) -> None:
    bench.create([{"name": "m", "prompt": "x", "for_each": expression}], {"text": "abc"})
    assert await bench.go() == "failed"
    error = bench.state.error
    assert error is not None
    assert error["code"] == "template_failed"
    assert said in error["message"]


async def test_no_rows_are_a_finished_map(bench: Bench) -> None:
    bench.create([{"name": "m", "prompt": "x", "for_each": "[]"}, {"name": "z", "prompt": "{{ tasks.m }}"}])
    assert await bench.go() == "done"
    assert bench.output("m") == []
    assert bench.fake.prompts == ["[]"]


async def test_cancel_in_the_middle_keeps_finished_rows(bench: Bench) -> None:
    """P12, and what was in flight is counted."""
    bench.create([{"name": "m", "prompt": "{{ item }}", "for_each": "range(10)", "max_concurrency": 2}])
    real = bench.fake.chat

    async def some(request: ChatRequest, **more: Any) -> Any:
        if len(bench.fake.answered) >= 4:
            bench.fake.hold = True
        return await real(request, **more)

    bench.fake.chat = some
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        bench.store.request(RUN, [draft("run.cancel_requested", by="me")])
        session.signals.cancel_hint()
        assert await driving == "cancelled"
        assert session.log.state.usage.unknown == 2
    rows = [r["index"] for rec in bench.records() for r in rec["items"]]
    assert len(rows) >= 4
    bench.fake.hold = False
    bench.fake.chat = real
    bench.resume("m")
    assert await bench.go() == "done"
    done = [r["index"] for rec in bench.records() for r in rec["items"]]
    assert sorted(done) == list(range(10))


async def test_a_drained_map_goes_on_where_it_was(bench: Bench) -> None:
    bench.create([{"name": "m", "prompt": "{{ item }}", "for_each": "range(10)", "max_concurrency": 3}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        session.signals.drain()
        bench.fake.gate.set()
        assert await driving == "released"
    bench.fake.hold = False
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 10
    assert bench.state.usage.calls == 10
    assert bench.state.usage.unknown == 0


async def test_a_refused_row_fails_alone(bench: Bench) -> None:
    bench.fake._replies = [ModelRefused("not this one")]
    bench.create([{"name": "m", "prompt": "{{ item }}", "for_each": "range(3)"}])
    assert await bench.go() == "done"
    assert [r["ok"] for r in bench.output("m")] == [False, True, True]


async def test_rows_are_validated_and_asked_again(bench: Bench) -> None:
    """DESIGN 8: the error says what is wrong and how often was asked."""
    bench.fake._replies = ["{}", "{}", "{}"]
    schema = {"type": "object", "required": ["label"], "properties": {"label": {"type": "string"}}}
    bench.create(
        [{"name": "m", "prompt": "{{ item }}", "for_each": "range(2)", "output": schema, "max_concurrency": 1}]
    )
    assert await bench.go() == "done"
    first, second = bench.output("m")
    assert first["error"]["message"] == 'validate_structure: answer has no "label" (asked 3 times)'
    assert second["ok"]
