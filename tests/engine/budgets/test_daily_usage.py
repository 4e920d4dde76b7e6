"""Usage rolled up per user and day ("Tokens and money"), from the logs of runs alone (P1)."""

from __future__ import annotations

import asyncio
from typing import Any

from po_jupyter.engine.budgets import daily_usage as daily
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.state.fold import fold
from po_jupyter.store.protocol import Head, Record
from tests.support.engine import Bench

KEY = "a/-/1/0/inference/0000/0"


def record(n: int, *calls: dict[str, Any], at: str = "2026-11-21", fence: int = 1) -> Record:
    return {
        "n": n, "at": f"{at}T23:59:00.000Z", "fence": fence, "first": 1, "events": [], "items": [],
        "calls": list(calls),
    }  # fmt: skip


def head_of_a_test(state: str, fence: int) -> Head:
    return {
        "run": "r", "owner": "me", "pipeline": "p", "version": "1.0.0", "name": "s", "state": state,
        "created_at": "", "updated_at": "", "priority": 0, "fence": fence, "n": 1, "offset": 1, "holder": None,
    }  # fmt: skip


def intent(key: str = KEY, model: str = "openai:gpt-5-mini") -> dict[str, Any]:
    return {"key": key, "kind": "intent", "model": model, "stage": "inference"}


def answer(key: str = KEY, cost: float | None = 0.5, **usage: int) -> dict[str, Any]:
    used = {"input_tokens": 10, "output_tokens": 2, "calls": 1, "cost": cost, **usage}
    return {"key": key, "kind": "response", "ok": True, "response": {"model": "x", "usage": used}, "answer": 0}


def test_a_call_counts_on_the_day_it_was_sent_and_under_the_model_that_was_asked() -> None:
    entry = daily.advanced(None, [record(1, intent()), record(2, answer(), at="2026-11-22")])
    assert entry["n"] == 2
    assert not entry["open"]
    assert entry["days"] == {
        "2026-11-21": {"openai:gpt-5-mini": {"input_tokens": 10, "output_tokens": 2, "calls": 1, "cost": 0.5}}
    }


def test_a_price_that_nobody_knows_is_no_zero_and_does_not_hide_what_is_known() -> None:
    """Unknown stays unknown, and is counted."""
    calls = [
        intent("a"),
        answer("a"),
        intent("b", "x:y"),
        answer("b", None),
        intent("c", "x:y"),
        answer("c", None),
    ]
    days = daily.advanced(None, [record(1, *calls)])["days"]
    said = daily.report(days, "2026-01-01")
    (day,) = said["days"]
    assert (day["cost"], day["unpriced"], day["calls"]) == (0.5, 2, 3)
    assert day["by_model"]["x:y"]["cost"] is None
    assert day["by_model"]["openai:gpt-5-mini"]["cost"] == 0.5
    assert said["total"] == {k: v for k, v in day.items() if k not in ("day", "by_model")}


def test_a_free_or_cached_call_costs_nothing_and_that_is_known() -> None:
    assert daily.sum_to_json({"calls": 1, "input_tokens": 4})["cost"] == 0
    assert daily.sum_to_json({})["cost"] == 0
    used = {"calls": 0, "cached_calls": 1, "cost": 0.0, "input_tokens": 0, "output_tokens": 0}
    cached = {**answer(), "response": {"model": "m-1", "usage": used}, "cached": True, "model": "x:m"}
    days = daily.advanced(None, [record(1, cached)])["days"]
    assert days == {"2026-11-21": {"x:m": {"cached_calls": 1}}}, "an answer from the cache is no call"
    assert daily.sum_to_json(days["2026-11-21"]["x:m"])["cost"] == 0


def test_going_on_from_any_record_is_the_same_as_from_the_first() -> None:
    """Crashes between: a run is counted up to a record, and goes on from there."""
    log = [
        record(1, intent("a"), intent("b")),
        record(2, answer("a")),
        record(3, intent("b"), at="2026-11-22", fence=2),  # sent again after a crash
        record(4, answer("b", None), intent("c"), at="2026-11-22", fence=2),
    ]
    whole = daily.advanced(None, log)
    for split in range(len(log) + 1):
        entry = daily.advanced(daily.advanced(None, log[:split]), log[split:])
        assert entry == whole
    assert whole["days"]["2026-11-21"]["openai:gpt-5-mini"]["unknown"] == 1
    assert list(whole["open"]) == ["c"]


def test_a_call_is_in_flight_while_its_worker_holds_the_run_and_then_unknown() -> None:
    """P3: an unknown outcome is counted."""
    entry = daily.advanced(None, [record(1, intent(), fence=3)])
    head = head_of_a_test(state="running", fence=3)
    assert daily.settled(entry, head) == {}
    for gone in (head_of_a_test(state="running", fence=4), head_of_a_test(state="failed", fence=3), None):
        (used,) = daily.settled(entry, gone)["2026-11-21"].values()
        assert used == {"calls": 1, "unknown": 1}
        assert daily.sum_to_json(used)["cost"] is None


def test_deleted_runs_keep_their_days_and_are_taken_over_once() -> None:
    entry = daily.advanced(None, [record(1, intent("a"), answer("a"), intent("b"))])
    document = {"days": {}, "runs": {"r1": entry, "r2": entry}}
    once = daily.without(document, ["r1"])
    assert list(once["runs"]) == ["r2"]
    assert daily.without(once, ["r1"]) == once
    (used,) = once["days"]["2026-11-21"].values()
    assert used == {"input_tokens": 10, "output_tokens": 2, "calls": 2, "unknown": 1, "cost": 0.5}
    assert document["days"] == {}


async def test_the_days_of_a_run_are_what_its_usage_says(bench: Bench) -> None:
    """The same numbers everywhere: also for maps, retries of tasks and a lost call."""
    rows = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(5)"}
    bench.create([{"name": "a", "prompt": "a"}, rows])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
    bench.fake.hold = False
    assert await bench.go() == "done"
    entry = daily.advanced(None, bench.store.records(bench.run))
    days = daily.settled(entry, bench.store.head(bench.run))
    used = daily.report(days, "2026-01-01")["total"]
    usage = fold(type(bench.state)(bench.run), bench.events()).usage
    assert usage.unknown == 1
    for name in ("calls", "unknown", "input_tokens", "output_tokens"):
        assert used[name] == getattr(usage, name), name
    assert list(days.popitem()[1]) == ["fake:echo"]
