"""The provenance of a map's rows: which call each outcome is from, asked of which model, when and at which attempt.

It is read from the log alone, in one pass over its records and without an answer of a model.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from po_jupyter.engine.maps.map_state import ROW_ATTEMPTS
from po_jupyter.errors import NotFound, StoreError
from po_jupyter.llm.calls.journal import CallKey
from po_jupyter.store.protocol import CallRecord, Head, LogStore, Record


class RowProvenance(TypedDict):
    """Where the newest outcome of a row is from. `model` is as the server named it, or as it was asked for
    where that call failed; `prompt_hash` is the digest of the request as it was sent; `asked_at` is ISO 8601 UTC;
    `attempt` counts from 1. All four are None for a row that no model was asked for, and for one whose first run is
    gone. `reused_from` is `RUN/TASK/INDEX` of the row of an earlier run that paid for it; the others are then that
    row's."""

    index: int
    model: str | None
    prompt_hash: str | None
    asked_at: str | None
    attempt: int | None
    reused_from: str | None


class _Asked(NamedTuple):
    model: str | None
    prompt_hash: str
    asked_at: str
    attempt: int


class _Outcome(NamedTuple):
    """`asked`: the last call before it; `origin`: that it was reused from; `at`: when it was recorded."""

    at: str
    asked: _Asked | None
    origin: str | None


class _MapRows:
    """The calls and outcomes of one map's rows, as its log has them."""

    def __init__(self) -> None:
        self.asked: dict[int, _Asked] = {}  # last, so far
        self.outcomes: dict[int, _Outcome] = {}  # that count
        self.every: dict[int, list[_Outcome]] = {}  # also those that a restart made void

    def add(self, index: int, outcome: _Outcome) -> None:
        """Take in an outcome, after the calls that led to it."""
        self.outcomes[index] = outcome
        self.every.setdefault(index, []).append(outcome)

    def asked_for(self, index: int, reused_at: str) -> _Asked | None:
        """The call of the outcome that another run took over at that time."""
        before = [outcome for outcome in self.every.get(index, ()) if outcome.at <= reused_at]
        return before[-1].asked if before else None

    def forget(self) -> None:
        """A restart made the outcomes so far void."""
        self.asked.clear()
        self.outcomes.clear()


def row_provenance(store: LogStore, head: Head, task: str) -> list[RowProvenance]:
    """The provenance of every row of the map that has an outcome, in their order. Blocks on the store."""
    rows = _read(store, head["run"], task)
    earlier: dict[tuple[str, str], _MapRows | None] = {}
    return [_provenance(store, head, rows, index, earlier) for index in sorted(rows.outcomes)]


def _provenance(
    store: LogStore,
    head: Head,
    rows: _MapRows,
    index: int,
    earlier: dict[tuple[str, str], _MapRows | None],
) -> RowProvenance:
    at, asked, origin = rows.outcomes[index]
    if origin is not None:
        run, task, place = origin.split("/")
        if (run, task) not in earlier:
            earlier[run, task] = _read_earlier(store, head["owner"], run, task)
        there = earlier[run, task]
        asked = there.asked_for(int(place), at) if there is not None else None
    return {
        "index": index,
        "model": asked.model if asked is not None else None,
        "prompt_hash": asked.prompt_hash if asked is not None else None,
        "asked_at": asked.asked_at if asked is not None else None,
        "attempt": asked.attempt if asked is not None else None,
        "reused_from": origin,
    }


def _read_earlier(store: LogStore, owner: str, run: str, task: str) -> _MapRows | None:
    try:
        return _read(store, run, task) if store.head(run)["owner"] == owner else None
    except (NotFound, StoreError):  # deleted, or it cannot be read: this run can
        return None


def _read(store: LogStore, run: str, task: str) -> _MapRows:
    rows = _MapRows()
    sent: dict[str, tuple[str, str]] = {}  # when a call was sent, and to which model, by its key
    for record in store.records(run):
        if any(e["type"] == "run.resumed" and task in e["data"].get("clear", ()) for e in record["events"]):
            rows.forget()
        for call in record["calls"]:
            _apply(rows, sent, call, record, task)
        for item in record["items"]:
            if item["task"] == task:
                index = item["index"]
                rows.add(index, _Outcome(record["at"], rows.asked.get(index), item.get("reused")))
    return rows


def _apply(
    rows: _MapRows, sent: dict[str, tuple[str, str]], call: CallRecord, record: Record, task: str
) -> None:
    try:
        key = CallKey.parse(call["key"])
    except ValueError:
        return
    if key.task != task or key.item is None or not key.asks_for_output:
        return
    if call["kind"] == "intent":
        sent.setdefault(call["key"], (record["at"], call["model"]))
    elif call["kind"] == "response":
        # An answer of the cache was not asked for, and names its model itself; one that failed has no name of a server.
        asked_at, requested = sent.pop(call["key"], (record["at"], call.get("model")))
        named = (call.get("response") or {}).get("model") or requested
        attempt = key.attempt % ROW_ATTEMPTS or 1
        rows.asked[key.item] = _Asked(str(named) if named else None, key.request_hash, asked_at, attempt)
