from __future__ import annotations

from typing import Any

from po_jupyter.engine.maps.shards.pieces import ChildLog
from po_jupyter.model.run.events import draft
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, NewRun

USAGE = {"input_tokens": 3, "output_tokens": 2, "calls": 1}


def response(key: str) -> Any:
    return {"key": key, "kind": "response", "ok": True, "answer": 0, "response": {"usage": USAGE}}


def test_a_log_is_read_once_piece_by_piece() -> None:
    store = MemoryStore()
    store.create_run(NewRun("c", "me", "p", "1.0.0", "n", 0, {}, [], parent="r"))
    lease = store.claim("c", {"pid": 1})
    intent: Any = {
        "key": "m/4/100/x",
        "kind": "intent",
        "model": "fake:echo",
        "stage": "x",
        "reserved": [0.0, 50],
    }
    store.commit(lease, Commit(calls=[intent]))
    log = ChildLog(store, "c", "m", "4-9", 1)
    piece = log.next_piece(2)
    assert piece is not None
    assert (piece.n, piece.calls, piece.used.tokens) == (2, ({**intent, "shard": True},), 50), (
        "a call in flight counts as it may cost"
    )
    item: Any = {"task": "m", "index": 4, "ok": True, "key": "k", "output": 0, "row": 17}
    events = [
        draft("map.progress", "m", done=1, failed=0, in_flight=2),
        draft("call.unknown", "m", stage=None, usage={"calls": 1, "unknown": 1}, covers="all"),
        draft("task.stage", "m", stage="inference", round=0),
    ]
    store.commit(lease, Commit(events, [item], [response("m/4/100/x")], ["the answer"]))
    piece = log.next_piece(store.head("c")["n"])
    assert piece is not None
    assert piece.payloads == ("the answer",), "an output that is its answer is kept once"
    assert piece.items == ({"task": "m", "index": 4, "ok": True, "key": "k", "output": 0},)
    assert piece.in_flight == 2
    assert [(e["type"], e["data"]["rows"]) for e in piece.events] == [("call.unknown", "4-9")]
    assert piece.used.tokens == 5 - 50
    assert log.next_piece(3) is None
    again = ChildLog(store, "c", "m", "4-9", 3)
    again.read_again()
    assert again.spent.tokens == log.spent.tokens == 5


def log_of(store: MemoryStore, *commits: Commit) -> ChildLog:
    store.create_run(NewRun("c", "me", "p", "1.0.0", "n", 0, {}, [], parent="r"))
    lease = store.claim("c", {"pid": 1})
    for commit in commits:
        store.commit(lease, commit)
    return ChildLog(store, "c", "m", "4-9", 1)


def test_what_comes_after_a_report_of_lost_calls_is_another_piece() -> None:
    """In a record calls come before events: the report would be one of the call that was sent again, too."""
    intent: Any = {"key": "m/4/100/x", "kind": "intent", "model": "fake:echo", "stage": "x"}
    lost = draft("call.unknown", "m", stage=None, usage={"calls": 1, "unknown": 1}, covers="all")
    store = MemoryStore()
    log = log_of(store, Commit(calls=[intent]), Commit([lost]), Commit(calls=[intent]))
    pieces = [log.next_piece(store.head("c")["n"]) for _ in range(3)]
    assert [piece and (len(piece.calls), len(piece.events)) for piece in pieces] == [(1, 1), (1, 0), None]


def test_a_piece_of_long_answers_is_short() -> None:
    store = MemoryStore()
    calls: list[Any] = [response(f"m/{row}/100/x") for row in range(4, 8)]
    log = log_of(store, *(Commit(calls=[call], payloads=["x" * 3_000_000]) for call in calls))
    pieces = [log.next_piece(store.head("c")["n"]) for _ in range(3)]
    assert [piece and len(piece.payloads) for piece in pieces] == [2, 2, None]
