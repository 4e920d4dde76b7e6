"""`po usage` and the limit of a day count a call on the same day: the one on which it was set aside and sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from po_jupyter.engine.budgets import daily_ledger, daily_share
from po_jupyter.engine.budgets import daily_usage as daily
from po_jupyter.engine.replay.spent_from_log import spent_from_records
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.errors import ModelRateLimited, ModelUnavailable
from po_jupyter.store.keyed import run_log
from tests.support.engine import RUN, Bench

KEY = "m/-/1/0/inference/h/0"
EVENING, MORNING = "2026-11-21", "2026-11-22"


def record(
    n: int, day: str, *calls: dict[str, Any], events: tuple[dict[str, Any], ...] = (), fence: int = 1
) -> Any:
    return {
        "n": n, "at": f"{day}T12:00:00.000Z", "fence": fence, "first": 1, "events": list(events), "items": [],
        "calls": list(calls),
    }  # fmt: skip


def intent(key: str = KEY, **more: Any) -> dict[str, Any]:
    return {"key": key, "kind": "intent", "model": "x:y", "stage": "inference", "reserved": [0.5, 100], **more}


def answer(key: str = KEY, tokens: int = 7, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": tokens, "output_tokens": 0, "calls": 1, "cost": 0.25}
    response = {"model": "y", "usage": usage}
    return {"key": key, "kind": "response", "ok": True, "response": response, "answer": [1, 0], **more}


def failure(key: str = KEY, tokens: int = 7) -> dict[str, Any]:
    usage = {"input_tokens": tokens, "output_tokens": 0, "calls": 1, "cost": 0.25}
    return {"key": key, "kind": "response", "ok": False, "error": {"code": "x", "details": {"usage": usage}}}


def withdrawn(key: str = KEY, tokens: int = 7) -> dict[str, Any]:
    usage = {"input_tokens": tokens, "output_tokens": 0, "calls": 1, "cost": 0.25}
    return {"key": key, "kind": "withdrawn", "usage": usage}


PREPARED = {"type": "batch.prepared", "task": "m", "data": {"token": "t", "count": 2, "reserved": [1.0, 200]}}
CLOSED = {"type": "batch.closed", "task": "m", "data": {"token": "t"}}
OF_BATCH = {"batch": "t", "model": "x:y"}
CLEAR = {"type": "run.resumed", "data": {"reset": ["m"], "clear_usage": True}}
CACHED = {"cached": True, "model": "x:y", "response": {"model": "y", "usage": {"cached_calls": 1, "cost": 0.0}}}

LOGS = {
    "answered the next day": [record(1, EVENING, intent()), record(2, MORNING, answer())],
    "failed the next day": [record(1, EVENING, intent()), record(2, MORNING, failure())],
    "withdrawn the next day": [record(1, EVENING, intent()), record(2, MORNING, withdrawn())],
    "set aside before midnight and sent after it": [record(1, MORNING, intent(day=EVENING), answer())],
    "a further try was set aside on the next day": [
        record(1, EVENING, intent(day=EVENING)),
        record(2, MORNING, answer(day=MORNING)),
    ],
    "sent again after a crash": [
        record(1, EVENING, intent()),
        record(2, MORNING, intent(), fence=2),
        record(3, MORNING, answer()),
    ],
    "a batch that takes the night": [
        record(1, EVENING, events=(PREPARED,)),
        record(2, MORNING, answer("m/0/101/0/inference/h/0", **OF_BATCH)),
        record(3, MORNING, answer("m/1/101/0/inference/h/0", **OF_BATCH), events=(CLOSED,)),
    ],
    "a start with a clean account": [
        record(1, EVENING, intent()),
        record(2, MORNING, answer()),
        record(3, MORNING, events=(CLEAR,)),
    ],
    "an answer from the cache": [record(1, EVENING, answer(tokens=0, **CACHED))],
    "many at once": [
        record(1, EVENING, intent("a/-/1/0/i/h/0"), intent("b/-/1/0/i/h/0")),
        record(2, MORNING, answer("b/-/1/0/i/h/0", 5), intent("c/-/1/0/i/h/0")),
        record(3, MORNING, answer("a/-/1/0/i/h/0", 3), answer("c/-/1/0/i/h/0", 2)),
    ],
}


@pytest.mark.parametrize("name", LOGS)
def test_usage_and_limit_count_on_the_same_day(name: str) -> None:
    log = LOGS[name]
    spent = spent_from_records(log)
    entry = daily.advanced(None, log)
    for split in range(len(log) + 1):
        assert daily.advanced(daily.advanced(None, log[:split]), log[split:]) == entry
    head = {"state": "running", "fence": log[-1]["fence"]}
    days = daily.settled(entry, head)
    for day in (EVENING, MORNING):
        counts = list(days.get(day, {}).values())
        tokens = sum(c.get("input_tokens", 0) for c in counts) + 100 * sum(c.get("unknown", 0) for c in counts)
        cost = sum(c.get("cost", 0) for c in counts) + 0.5 * sum(c.get("unknown", 0) for c in counts)
        assert tuple(spent.of_day(day)) == (cost, tokens), day


def test_the_day_is_that_of_the_sending() -> None:
    for name in ("answered the next day", "failed the next day", "withdrawn the next day"):
        assert spent_from_records(LOGS[name]).of_day(EVENING).tokens == 7, name
    assert spent_from_records(LOGS["a batch that takes the night"]).of_day(EVENING).tokens == 14
    assert spent_from_records(LOGS["a further try was set aside on the next day"]).of_day(MORNING).tokens == 7


class Clock:
    """The days of the ledger and of the store's records, turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = self.store = EVENING
        monkeypatch.setattr(daily_share.DailyShare, "_today", lambda share: self.ledger)
        monkeypatch.setattr(run_log, "now", lambda: f"{self.store}T12:00:00.000Z")


def counted(bench: Bench) -> dict[str, tuple[int, int]]:
    """Tokens by day: (as `po usage` has them, as the limit has them after a restart)."""
    records = bench.records()
    days = daily.settled(daily.advanced(None, records), bench.store.head(RUN))
    spent = spent_from_records(records)
    tokens = {
        day: int(sum(c.get("input_tokens", 0) + c.get("output_tokens", 0) for c in days.get(day, {}).values()))
        for day in (EVENING, MORNING)
    }
    return {day: (tokens[day], spent.of_day(day).tokens) for day in tokens}


def in_ledger(bench: Bench) -> dict[str, int]:
    documents = {
        name[:10]: bench.store.get(daily_ledger.KIND, name) for name in bench.store.names(daily_ledger.KIND)
    }
    return {day: document["ended"]["tokens"] for day, document in documents.items() if document is not None}


async def test_a_call_over_midnight_is_of_the_evening_everywhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    bench.settings = {"daily_tokens": 100_000}
    bench.create([{"name": "a", "prompt": "a"}, {"name": "b", "prompt": "{{ tasks.a }}"}])
    bench.fake.hold = True
    async with bench.worker() as session:
        driving = asyncio.ensure_future(RunExecutor(session).run())
        await bench.fake.waiting.wait()
        clock.ledger = clock.store = MORNING
        bench.fake.hold = False
        bench.fake.gate.set()
        assert await driving == "done"
    days = counted(bench)
    assert days[EVENING][0] == days[EVENING][1] > 0 and days[MORNING][0] == days[MORNING][1] > 0
    ledger = in_ledger(bench)
    assert ledger[MORNING] == days[MORNING][0], "only the second call"
    assert ledger[EVENING] >= days[EVENING][0]


async def test_a_call_that_was_set_aside_in_the_evening_and_sent_in_the_morning_is_of_one_day(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for a rate limit in between."""
    clock = Clock(monkeypatch)
    bench.settings = {"daily_tokens": 100_000}
    bench.create([{"name": "a", "prompt": "a"}])
    clock.store = MORNING  # the ledger had its say before midnight
    assert await bench.go() == "done"
    days = counted(bench)
    assert days[EVENING][0] == days[EVENING][1] == in_ledger(bench)[EVENING] > 0
    assert days[MORNING] == (0, 0)


@pytest.mark.parametrize("error", [ModelRateLimited("slow down"), ModelUnavailable("gone", outcome="unknown")])
async def test_a_try_after_midnight_is_of_the_morning_everywhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    clock = Clock(monkeypatch)

    def midnight(request: Any) -> Any:
        clock.ledger = clock.store = MORNING
        raise error

    bench.settings = {"daily_tokens": 100_000}
    bench.create([{"name": "a", "prompt": "a", "llm": {"retry": {"initial_delay": 0.01}}}])
    bench.fake.enqueue(midnight)
    assert await bench.go() == "done"
    ledger, days = in_ledger(bench), counted(bench)
    for day in (EVENING, MORNING):
        assert days[day][1] == ledger.get(day, days[day][1]), day
