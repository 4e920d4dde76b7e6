"""G23: where each row is from, as the log says it."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.inspection.provenance import RowProvenance, row_provenance
from po_jupyter.store.keyed import run_log
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from tests.support.stored_runs import RUN, store_run

EARLIER = "e" * 22


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record has a time of its own."""
    ticks = count()
    monkeypatch.setattr(run_log, "now", lambda: f"2026-01-01T00:00:{next(ticks):09.6f}Z")


class Log:
    """The log of a run with a map `m`."""

    def __init__(self, store: MemoryStore, run: str) -> None:
        self.store, self.run = store, run
        store_run(store, run=run)
        self.lease = store.claim(run, {"pid": 1})

    def write(self, *, calls: Any = (), items: Any = (), events: Any = ()) -> None:
        self.store.commit(self.lease, Commit(list(events), list(items), list(calls)))

    def call(
        self, index: int | str, attempt: int = 101, stage: str = "inference", model: str = "m-2026"
    ) -> None:
        key = f"m/{index}/{attempt}/0/{stage}/hash-{index}-{attempt}/0"
        self.write(calls=[{"key": key, "kind": "intent", "model": "openai:m", "stage": stage}])
        response = {"key": key, "kind": "response", "ok": True, "response": {"model": model}}
        self.write(calls=[response])

    def row(self, index: int, **more: Any) -> None:
        self.write(items=[{"task": "m", "index": index, "ok": True, **more}])

    def provenance(self) -> list[RowProvenance]:
        return row_provenance(self.store, self.store.head(self.run), "m")


def test_model_hash_time_and_attempt_are_those_of_the_call_that_counted() -> None:
    log = Log(MemoryStore(), RUN)
    log.call(1)
    log.call(0)
    log.call(0, attempt=102)
    log.call(0, attempt=102, stage="critique", model="critic")
    log.call(0, attempt=102, stage="score", model="judge")
    log.call("-")  # of the task itself
    log.row(1)
    log.row(0)
    first, second = log.provenance()
    assert (first["index"], first["model"], first["prompt_hash"], first["attempt"]) == (
        0,
        "m-2026",
        "hash-0-102",
        2,
    )
    assert (second["index"], second["attempt"], second["reused_from"]) == (1, 1, None)
    assert first["asked_at"] and second["asked_at"] and second["asked_at"] <= first["asked_at"]


def test_a_judge_asked_about_an_answer_and_a_call_that_failed_names_who_was_asked() -> None:
    log = Log(MemoryStore(), RUN)
    log.call(0)
    log.call(0, stage="score", model="judge")
    log.row(0)
    key = "m/1/101/0/inference/hash-1/0"
    log.call(1)
    log.write(calls=[{"key": key, "kind": "intent", "model": "openai:big", "stage": "inference"}])
    log.write(calls=[{"key": key, "kind": "response", "ok": False, "error": {}}])
    log.write(items=[{"task": "m", "index": 1, "ok": False, "error": {}}])
    assert [row["model"] for row in log.provenance()] == ["m-2026", "openai:big"]
    assert log.provenance()[1]["prompt_hash"] == "hash-1"


def test_a_row_of_python_asked_nobody_and_one_without_outcome_is_not_there() -> None:
    log = Log(MemoryStore(), RUN)
    log.row(0)
    log.call(1)
    (row,) = log.provenance()
    assert row == {"index": 0, "model": None, "prompt_hash": None, "asked_at": None, "attempt": None,
                   "reused_from": None}  # fmt: skip


def test_a_reused_row_names_who_paid_and_what_was_asked_then() -> None:
    store = MemoryStore()
    earlier, log = Log(store, EARLIER), Log(store, RUN)
    earlier.call(7)
    earlier.row(7)
    log.row(0, reused=f"{EARLIER}/m/7")
    (row,) = log.provenance()
    assert (row["reused_from"], row["model"], row["prompt_hash"]) == (f"{EARLIER}/m/7", "m-2026", "hash-7-101")
    earlier.write(events=[draft("run.done")])
    store.request(EARLIER, [], "done")
    store.delete_run(EARLIER)
    (row,) = log.provenance()
    assert (row["reused_from"], row["model"]) == (f"{EARLIER}/m/7", None), "the run that paid is gone"


def test_what_a_restart_made_void_is_forgotten() -> None:
    log = Log(MemoryStore(), RUN)
    log.call(0)
    log.row(0)
    log.write(events=[draft("run.resumed", by="me", clear=["m"], reset=["m"])])
    assert log.provenance() == []
    log.call(0, attempt=201)
    log.row(0)
    assert [row["prompt_hash"] for row in log.provenance()] == ["hash-0-201"]


def test_a_reused_row_is_from_the_call_before_the_outcome_that_was_reused() -> None:
    store = MemoryStore()
    earlier, log = Log(store, EARLIER), Log(store, RUN)
    earlier.call(7)
    earlier.row(7)
    earlier.row(8)  # of Python
    log.row(0, reused=f"{EARLIER}/m/7")
    log.row(1, reused=f"{EARLIER}/m/8")
    earlier.write(events=[draft("run.resumed", by="me", clear=["m"], reset=["m"])])
    for index in (7, 8):
        earlier.call(index, attempt=201)
        earlier.row(index)
    assert [row["prompt_hash"] for row in log.provenance()] == ["hash-7-101", None]


def test_a_call_after_the_outcome_is_not_the_one_it_is_from() -> None:
    log = Log(MemoryStore(), RUN)
    log.call(0)
    log.row(0)
    log.call(0, attempt=102)
    assert [row["prompt_hash"] for row in log.provenance()] == ["hash-0-101"]
