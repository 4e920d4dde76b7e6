"""Pages of a run's calls, and one call as a whole: what was sent, as far as it can be known, and what came back."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

from po_jupyter.engine.maps.map_state import ROW_ATTEMPTS
from po_jupyter.errors import CorruptRow, NotFound
from po_jupyter.llm.calls.journal import CallKey
from po_jupyter.model.run.names import short_id
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.inspection.call_table import CallState
from po_jupyter.orchestrator.views.inspection.tables import RunTables
from po_jupyter.store.protocol import CallRecord, Head, Record, Ref, Store


class CallView(TypedDict):
    """A call. `n` is its number, in the order of the journal; `kind` its stage; `error` the code of one that failed.

    What was never known is None: the tokens of a call without an answer, the cost without a price.
    """

    n: int
    key: str
    task: str
    row: int | None
    attempt: int
    round: int
    kind: str
    state: CallState
    model: str | None
    started_at: str
    seconds: float | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    cached: bool
    batch: bool
    finish: str | None
    error: str | None


class CallQuery(NamedTuple):
    """Calls of a task, of a row, in a state; of all where that is None."""

    task: str | None = None
    row: int | None = None
    state: CallState | None = None


class CallReader:
    """The calls of one run, as its tables have them. Blocks on the store."""

    def __init__(self, store: Store, head: Head, tables: RunTables) -> None:
        """Nothing is read yet."""
        self._store, self._head, self._tables = store, head, tables
        self._fence = head["fence"] if head["state"] == "running" else None
        self._records: dict[int, Record] = {}

    def find(self, query: CallQuery) -> list[int]:
        """Numbers of calls, in order."""
        return list(self._tables.calls.numbers(query.task, query.row, query.state, self._fence))

    def view(self, number: int) -> CallView:
        """A call without its bodies. NotFound."""
        begin, end = self._parts(number)
        record, call = begin or end or (None, None)
        if record is None or call is None:
            raise CorruptRow(f"call {number} of run {short_id(self._head['run'])} cannot be read")
        key = CallKey.parse(call["key"])
        last = end[1] if end is not None else None
        response = (last.get("response") or {}) if last is not None and last["kind"] == "response" else {}
        usage: JsonObject = response.get("usage") or {}
        answered = bool(usage)
        return {
            "n": number, "key": call["key"], "task": key.task, "row": key.item,
            "attempt": key.attempt if key.item is None else key.attempt % ROW_ATTEMPTS or 1,
            "round": key.round, "kind": key.stage, "state": self._tables.calls.state(number, self._fence),
            "model": _model(begin, end), "started_at": record["at"], "seconds": response.get("seconds"),
            "input_tokens": usage.get("input_tokens", 0) if answered else None,
            "cached_tokens": usage.get("cached_tokens", 0) if answered else None,
            "output_tokens": usage.get("output_tokens", 0) if answered else None,
            "reasoning_tokens": usage.get("reasoning_tokens", 0) if answered else None,
            "cost_usd": usage.get("cost"),
            "cached": bool(last is not None and last["kind"] == "response" and last.get("cached")),
            "batch": bool(last is not None and last["kind"] == "response" and last.get("batch")),
            "finish": response.get("finish"), "error": (error_of(last) or {}).get("code"),
        }  # fmt: skip

    def end(self, number: int) -> CallRecord | None:
        """The record that ended a call."""
        end = self._parts(number)[1]
        return None if end is None else end[1]

    def answer(self, number: int) -> JsonObject | None:
        """The response of a call as the journal keeps it, with its text; None without one."""
        call = self.end(number)
        if call is None or call["kind"] != "response" or not call["ok"]:
            return None
        ref = call.get("answer")
        text = None if ref is None else self._store.payload(self._head["run"], Ref(*ref))
        return {**(call.get("response") or {}), "text": text}

    def _parts(self, number: int) -> tuple[tuple[Record, CallRecord] | None, tuple[Record, CallRecord] | None]:
        if not 0 <= number < len(self._tables.calls):
            raise NotFound(f"run {short_id(self._head['run'])} has no call {number}")
        place = self._tables.calls.place(number)
        return self._read(place.begin), self._read(place.end)

    def _read(self, place: tuple[int, int] | None) -> tuple[Record, CallRecord] | None:
        if place is None:
            return None
        n, at = place
        if n not in self._records:
            (record,) = self._store.records(self._head["run"], after=n - 1, limit=1)
            self._records[n] = record
        record = self._records[n]
        return record, record["calls"][at]


def error_of(call: CallRecord | None) -> JsonObject | None:
    """The error that a call ended with."""
    return call["error"] if call is not None and call["kind"] == "response" and not call["ok"] else None


def _model(begin: tuple[Record, Any] | None, end: tuple[Record, Any] | None) -> str | None:
    """The model as the provider named it, else as the request did."""
    answered = (end[1].get("response") or {}).get("model") if end is not None else None
    asked = [part[1].get("model") for part in (begin, end) if part is not None]
    return answered or next((model for model in asked if model), None)
