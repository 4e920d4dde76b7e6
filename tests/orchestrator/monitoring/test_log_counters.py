"""Counting from logs: each record once, and nothing of what was there before."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.monitoring import log_counters
from po_jupyter.orchestrator.monitoring.log_counters import LogCounters
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, Lease
from po_jupyter.telemetry.metrics import Metrics
from tests.support.shards import Family
from tests.support.stored_runs import RUN, store_run


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def total(metrics: Metrics, name: str, **labels: str) -> float:
    samples = [sample for metric in metrics.registry.collect() for sample in metric.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def counted_run() -> tuple[MemoryStore, Metrics, LogCounters, Lease]:
    """A run that began after its counters did."""
    store, metrics = MemoryStore(), Metrics()
    counters = LogCounters(store, metrics)
    counters.begin()
    store_run(store)
    return store, metrics, counters, store.claim(RUN, {"pid": 1, "created": 1.0, "boot": "b", "host": "h"})


def test_each_record_once_in_pieces_too() -> None:
    store, metrics, counters, lease = counted_run()
    for _ in range(5):
        store.commit(lease, Commit(events=[draft("task.waiting", "one", reason="a limit")]))
    while counters.count(RUN, 2):
        pass
    assert value(metrics, "po_waits_total") == 5
    lost = [draft("call.unknown", "one", usage={"calls": 1, "unknown": 1})]
    # An event may be of many calls, answered ones among them: each was one.
    lost += [draft("call.unknown", "one", usage={"calls": 9, "unknown": n}, covers="all") for n in (0, 4)]
    store.commit(lease, Commit(events=[*lost, draft("run.done")], state="done"))
    counters.count(RUN, 100)
    assert value(metrics, "po_unknown_calls_total") == 5
    assert value(metrics, "po_runs_ended_total", state="done") == 1
    assert counters.count(RUN, 100) == 0


def test_what_was_there_before_is_not_counted() -> None:
    store, metrics = MemoryStore(), Metrics()
    store_run(store)
    lease = store.claim(RUN, {"pid": 1, "created": 1.0, "boot": "b", "host": "h"})
    store.commit(lease, Commit(events=[draft("task.waiting", "one", reason="a limit")]))
    counters = LogCounters(store, metrics)
    counters.begin()
    store.commit(lease, Commit(events=[draft("task.waiting", "one", reason="a limit")]))
    counters.count(RUN, 100)
    assert value(metrics, "po_waits_total") == 1


def test_a_run_that_is_gone_counts_nothing() -> None:
    counters = LogCounters(MemoryStore(), Metrics())
    assert counters.count(RUN, 100) == 0


def test_a_price_that_nobody_knows_is_no_zero() -> None:
    store, metrics, counters, lease = counted_run()
    for cost in (0.5, None):
        usage = {"input_tokens": 3, "output_tokens": 2, "cost": cost, "calls": 1}
        response = {"usage": usage, "model": "m", "seconds": 0.2}
        key = f"one/1/{cost}"
        store.commit(lease, Commit(calls=[{"key": key, "kind": "response", "ok": True, "response": response}]))
    counters.count(RUN, 100)
    assert value(metrics, "po_cost_usd_total", model="m") == 0.5
    assert value(metrics, "po_calls_without_price_total", model="m") == 1
    assert value(metrics, "po_tokens_total", model="m", kind="input") == 6


def test_a_call_that_failed_is_one_of_its_model() -> None:
    """No answer says which: all were `other`, which is for models beyond the first."""
    store, metrics, counters, lease = counted_run()
    for key in ("one/1/x", "one/1/y"):
        intent = {"key": key, "kind": "intent", "model": "ollama:llama3:8b", "stage": "inference"}
        store.commit(lease, Commit(calls=[intent]))
        counters.count(RUN, 100)  # between them
        failed = {"key": key, "kind": "response", "ok": False, "error": {"code": "model_refused"}}
        store.commit(lease, Commit(calls=[failed]))
        counters.count(RUN, 100)
    assert value(metrics, "po_calls_total", model="llama3:8b", outcome="failed") == 2
    assert total(metrics, "po_calls_total") == 2
    assert counters._requested == {}


def test_the_answer_of_a_batch_took_no_time_that_is_measured() -> None:
    """It has 0 seconds: the median of its model was below a tenth of a second."""
    store, metrics, counters, lease = counted_run()
    answered = {"kind": "response", "ok": True, "response": {"usage": {}, "model": "m", "seconds": 0.0}}
    store.commit(lease, Commit(calls=[{"key": "one/1/x", "batch": "b1", "model": "openai:m", **answered}]))
    counters.count(RUN, 100)
    assert value(metrics, "po_calls_total", model="m", outcome="done") == 1
    assert value(metrics, "po_call_seconds_count", model="m") is None


def test_a_model_may_be_called_anything() -> None:
    """By the answer of a vendor: half a pair of surrogates was an error 500 of every scrape from then on."""
    metrics = Metrics()
    metrics.calls.labels(metrics.model('m\ud83d"\n{}' + "x" * 5000), "done").inc()
    (sample,) = [
        sample
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name == "po_calls_total"
    ]
    assert sample.labels["model"].startswith('m?"\n{}x') and len(sample.labels["model"]) == 200


def test_a_long_run_is_not_counted_again_behind_many_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was the first to be seen, and forgotten first although it changed all the time."""
    monkeypatch.setattr(log_counters, "_KEPT", 3)
    store, metrics, counters, lease = counted_run()
    for n in range(8):
        store_run(store, run=f"1123456789abcdef01234{n}")
        store.commit(lease, Commit(events=[draft("task.waiting", "one", reason="a limit")]))
        for run in (RUN, f"1123456789abcdef01234{n}"):
            counters.count(run, 100)
    assert value(metrics, "po_waits_total") == 8


def test_what_is_no_run_is_passed_over() -> None:
    counters = LogCounters(MemoryStore(), Metrics())
    counters.begin()
    assert counters.count("'; no run", 100) == 0


async def test_what_a_child_run_did_is_counted_once(tmp_path: Path) -> None:
    """It is in the log of the child run, and in that of the whole."""
    family, metrics = Family(tmp_path), Metrics()
    counters = LogCounters(family.store, metrics)
    counters.begin()
    family.create([{"name": "m", "prompt": "row {{ item }}", "for_each": "range(6)", "shards": 2}])
    assert await family.go() == "done"
    for run in (family.run, *family.children()):
        while counters.count(run, 100):
            pass
    used = family.state.usage
    assert value(metrics, "po_rows_total", state="done") == 6
    assert (
        value(metrics, "po_tasks_total", state="done")
        == value(metrics, "po_runs_ended_total", state="done")
        == 1
    )
    assert value(metrics, "po_tasks_total", state="skipped") == 0
    assert total(metrics, "po_calls_total", outcome="done") == 6
    assert total(metrics, "po_tokens_total", kind="output") == used.output_tokens


async def test_rows_and_tasks_of_the_run_of_a_pipeline_are_counted_there(tmp_path: Path) -> None:
    """Of them only the calls and what they used is in the log of the whole: nobody counted its rows and lost calls."""
    family, metrics = Family(tmp_path), Metrics()
    counters = LogCounters(family.store, metrics)
    counters.begin()
    rows = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(4)", "shards": 2}
    inner = {"name": "inner", "llm": {"model": "fake:echo"}, "tasks": [rows]}
    family.create([{"name": "t", "pipeline": inner}])
    assert await family.go() == "done"
    (child,) = family.children()
    lost = draft("call.unknown", "m", usage={"calls": 1, "unknown": 1})
    family.store.commit(family.store.claim(child, {"pid": 1}), Commit(events=[lost]))
    for head in family.store.runs(limit=100, children=True).heads:
        while counters.count(head["run"], 100):
            pass
    assert (
        value(metrics, "po_rows_total", state="done") == total(metrics, "po_calls_total", outcome="done") == 4
    )
    assert value(metrics, "po_tasks_total", state="done") == 2
    assert value(metrics, "po_runs_ended_total", state="done") == 1
    assert value(metrics, "po_unknown_calls_total") == 1


async def test_child_runs_that_were_there_before_are_not_counted(tmp_path: Path) -> None:
    family, metrics = Family(tmp_path), Metrics()
    family.create([{"name": "m", "prompt": "row {{ item }}", "for_each": "range(6)", "shards": 2}])
    assert await family.go() == "done"
    counters = LogCounters(family.store, metrics)
    counters.begin()
    assert [counters.count(run, 100) for run in (family.run, *family.children())] == [0, 0, 0]
