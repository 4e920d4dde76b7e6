"""Amounts that a log has as used: answers, calls that were lost, batches on their way."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.replay.spent_from_log import (
    Amount,
    LostCalls,
    SpentFromLog,
    amount_of,
    dollars,
    spent_from_records,
)

KEY = "m/0/101/0/inference/h/0"


def _record(day: str, *events: dict[str, Any], calls: tuple[dict[str, Any], ...] = ()) -> Any:
    return {"at": f"{day}T00:00:00Z", "events": list(events), "calls": list(calls), "items": []}


def test_what_a_batch_holds_becomes_what_it_used() -> None:
    """G1: an equal part for each answer, nothing once it is closed."""
    spent = SpentFromLog()
    data = {"token": "t", "count": 4, "reserved": [0.4, 400]}
    spent.apply(_record("2026-11-22", {"type": "batch.prepared", "task": "m", "data": data}))
    assert spent.of_tasks()["m"].tokens == 400
    usage = {"input_tokens": 5, "output_tokens": 5, "cost": 0.01}
    answer = {
        "key": "m/0/101/0/inference/h/0",
        "kind": "response",
        "ok": True,
        "batch": "t",
        "response": {"usage": usage},
    }
    spent.apply(_record("2026-11-23", calls=(answer,)))
    assert spent.of_batch("t").tokens == 300
    assert spent.of_tasks()["m"].tokens == 310
    assert spent.of_day("2026-11-22").tokens == 310 and spent.of_day("2026-11-23").tokens == 0
    spent.apply(_record("2026-11-23", {"type": "batch.closed", "task": "m", "data": {"token": "t"}}))
    assert spent.of_tasks()["m"].tokens == 10 and spent.of_day("2026-11-22").tokens == 10


def intent(tokens: int, key: str = KEY) -> dict[str, Any]:
    return {"key": key, "kind": "intent", "model": "x:y", "stage": "inference", "reserved": [0.0, tokens]}


def test_a_call_without_an_answer_counts_as_its_worst_case() -> None:
    """P3: it may have been billed."""
    spent = spent_from_records([_record("2026-11-22", calls=(intent(100), intent(120)))])
    assert spent.of_tasks() == {"m": Amount(0.0, 220)}
    usage = {"input_tokens": 1, "output_tokens": 2, "cost": 0.0}
    answer = {"key": KEY, "kind": "response", "ok": True, "response": {"usage": usage}, "answer": [1, 0]}
    spent.apply(_record("2026-11-22", calls=(answer,)))
    assert spent.of_tasks() == {"m": Amount(0.0, 103)}, "one of the two is still without one"


def test_a_call_that_failed_with_an_unknown_outcome_is_a_lost_one() -> None:
    usage = {"calls": 1, "unknown": 1, "cost": 0.0}
    failed = {"key": KEY, "kind": "response", "ok": False, "error": {"details": {"usage": usage}}}
    spent = spent_from_records([_record("2026-11-22", calls=(intent(120), intent(100), failed))])
    both = LostCalls(2, Amount(0.0, 220))
    assert spent.of_tasks() == {"m": both.amount}
    assert spent.lost_of_tasks() == {"m": both}
    assert spent.lost_of_day("2026-11-22") == both
    clear = {"type": "run.resumed", "data": {"reset": ["m"], "clear_usage": True}}
    spent.apply(_record("2026-11-23", clear))
    assert spent.lost_of_tasks() == {}


def test_a_withdrawn_call_counts_with_its_broken_tries() -> None:
    spent = spent_from_records([_record("2026-11-22", calls=(intent(100), {"key": KEY, "kind": "withdrawn"}))])
    assert spent.of_day("2026-11-22") == Amount()


def test_a_task_that_starts_over_has_a_clean_account_and_the_day_has_not() -> None:
    clear = {"type": "run.resumed", "data": {"reset": ["m"], "clear_usage": True}}
    spent = spent_from_records([_record("2026-11-22", calls=(intent(100),)), _record("2026-11-23", clear)])
    assert spent.of_tasks() == {}
    assert spent.of_day("2026-11-22") == Amount(0.0, 100)


def test_what_is_unknown_of_a_usage_is_its_worst_case() -> None:
    worst = Amount(0.5, 100)
    assert amount_of(None, worst) == Amount()
    assert amount_of({"input_tokens": 5, "cost": None}, worst) == Amount(0.5, 5)
    assert amount_of({"input_tokens": 5, "cost": 0.1, "unknown": 1}, worst) == Amount(0.6, 105)


def test_an_amount_is_never_below_nothing_and_is_written_as_people_write_it() -> None:
    assert Amount(0.1, 5).minus(Amount(0.2, 9)) == Amount()
    assert Amount(0.4, 10).share(1, 4) == Amount(0.1, 2)
    assert dollars(0.000001) == "$0.000001"
