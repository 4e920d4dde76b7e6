"""The history of a run, as a worker reads it when it takes the run over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from po_jupyter.engine.replay.history import JournaledCall, read_history
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.control import fork
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from tests.support.engine import RUN, Bench, new_run

LOOKALIKE = {"$map": "a", "total": 3}


async def test_a_model_cannot_speak_for_a_map(tmp_path: Path) -> None:
    """P6: with a total of 10 ** 12 the orchestrator would have built that list."""
    bench = Bench(tmp_path, replies=[json.dumps(LOOKALIKE)]).create([
        {"name": "a", "prompt": "x", "output": {"type": "object"}},
        {"name": "b", "source": "def ingestion(ctx):\n    return ctx.tasks['a']\n"},
    ])  # fmt: skip
    assert await bench.go() == "done"
    views = RunProjections(bench.store)
    assert views.outputs(bench.store.head(RUN)) == {"a": LOOKALIKE, "b": LOOKALIKE}

    bench.resume("b", clear=["b"])
    assert await bench.go() == "done"
    assert views.outputs(bench.store.head(RUN), "b") == {"b": LOOKALIKE}, "read back, not at hand"

    copied = fork.copy_checkpoints(bench.store, views.state(bench.store.head(RUN)), ["a"])
    assert copied.payloads == [LOOKALIKE]
    assert [e["type"] for e in copied.events] == ["task.done"]


KEY = "m/0/101/0/inference/h/0"
TASK_KEY = "a/-/1/0/inference/h/0"


def stored(*commits: Commit) -> MemoryStore:
    store = MemoryStore()
    new_run(store, {"name": "p", "tasks": [{"name": "m", "prompt": "x", "for_each": "[]"}, "a"]}, {})
    lease = store.claim(RUN, {"pid": 1})
    for commit in commits:
        store.commit(lease, commit)
    return store


def intent(key: str = KEY) -> dict[str, Any]:
    return {"key": key, "kind": "intent", "model": "x:y", "stage": "inference"}


def answer(key: str = KEY, **more: Any) -> dict[str, Any]:
    return {"key": key, "kind": "response", "ok": True, "response": {}, "answer": 0, **more}


def row(index: int, **more: Any) -> dict[str, Any]:
    return {"task": "m", "index": index, "ok": True, **more}


def test_calls_may_answer_again_until_their_row_has_an_outcome() -> None:
    calls = Commit(calls=[intent(), intent(), answer()], payloads=["x"])
    call = read_history(stored(calls), RUN).call(KEY)
    assert call is not None
    assert (call.intents, call.reported, call.answer is not None) == (2, 1, True)
    assert read_history(stored(calls, Commit(items=[row(0)])), RUN).call(KEY) is None


def test_a_withdrawn_call_was_never_sent() -> None:
    call = read_history(stored(Commit(calls=[intent(), {"key": KEY, "kind": "withdrawn"}])), RUN).call(KEY)
    assert call == JournaledCall()


def test_the_end_of_an_attempt_forgets_its_calls_and_counts_answers_of_the_cache() -> None:
    calls = Commit(calls=[answer(TASK_KEY, cached=True, place=2)], payloads=["x"])
    done = Commit([draft("task.done", "a", output=0, seconds=1.0)], payloads=["x"])
    history = read_history(stored(calls, done), RUN)
    assert history.call(TASK_KEY) is None
    assert history.hits == {"h": 3}


def test_usage_of_rows_is_uncounted_until_a_progress_reports_it() -> None:
    usage = {"calls": 1, "input_tokens": 5}
    progress = draft("map.progress", "m", done=1, failed=0, in_flight=0, usage=usage)
    store = stored(Commit(items=[row(0, usage=usage), row(1, usage=usage)]), Commit([progress]))
    history = read_history(store, RUN)
    assert history.take_uncounted("m").to_json()["input_tokens"] == 5
    assert not history.take_uncounted("m"), "taken once"


def test_a_resume_forgets_what_it_starts_over() -> None:
    items = Commit(items=[row(0, reused="r/m/0"), row(1, ok=False, error={"code": "x"})])
    history = read_history(stored(items, Commit([draft("run.resumed", reset=["m"])])), RUN)
    assert list(history.table("m")) == [0] and history.reused["m"] == 1
    history = read_history(stored(items, Commit([draft("run.resumed", clear=["m"])])), RUN)
    assert len(history.table("m")) == 0 and history.reused["m"] == 0


def test_a_worker_remembers_and_forgets_calls_of_its_rows() -> None:
    history = read_history(stored(), RUN)
    history.remember_call(KEY, call := JournaledCall(1))
    assert history.call(KEY) is call
    history.forget_calls("m", 0)
    history.forget_calls("unknown", 0)
    assert history.call(KEY) is None
