"""What the calls of a run used, as its journal says it: the one source for budgets after a crash (P3).

A call with a recorded answer used what the answer says. A call that was about to be sent and has no answer may
have been billed: it counts as the worst case that was set aside for it (`reserved` of its intent). One that was
withdrawn used what its broken tries used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from po_jupyter.store.protocol import LogStore, Record


def dollars(usd: float) -> str:
    """An exact sum as people write it: a tiny one without an exponent."""
    return f"${Decimal(f'{usd:.6g}'):f}"


class Amount(NamedTuple):
    """US dollars and tokens (input and output together)."""

    usd: float = 0.0
    tokens: int = 0

    def plus(self, other: Amount) -> Amount:
        """The sum."""
        return Amount(self.usd + other.usd, self.tokens + other.tokens)

    def minus(self, other: Amount) -> Amount:
        """The difference, never below nothing: sums of floats drift."""
        return Amount(max(0.0, self.usd - other.usd), max(0, self.tokens - other.tokens))

    def to_json(self) -> dict[str, Any]:
        """`{usd, tokens}`."""
        return self._asdict()

    def parts(self, part: int, whole: int) -> Amount:
        """`part` of `whole` equal parts."""
        return Amount(self.usd * part / whole, self.tokens * part // whole)


NOTHING = Amount()


class _Batch:
    """A batch that was not collected yet."""

    __slots__ = ("answered", "count", "day", "reserved", "task")

    def __init__(self, task: str, day: str, data: Mapping[str, Any]) -> None:
        self.task, self.day = task, day
        self.reserved = Amount(*data.get("reserved") or ())
        self.count = max(1, int(data.get("count") or 1))
        self.answered = 0

    @property
    def left(self) -> Amount:
        return self.reserved.parts(max(0, self.count - self.answered), self.count)


def amount_of(usage: Mapping[str, Any] | None, otherwise: Amount | None = None) -> Amount:
    """What a usage (JSON) comes to; `otherwise` where its cost is unknown, and in addition where its outcome is."""
    if not usage:
        return Amount()
    if usage.get("unknown"):
        known = amount_of({**usage, "unknown": 0})
        return known.plus(otherwise) if otherwise is not None else known
    cost = usage.get("cost")
    if cost is None:
        cost = otherwise.usd if otherwise is not None else 0.0
    return Amount(float(cost), usage.get("input_tokens", 0) + usage.get("output_tokens", 0))


class SpentFromLog:
    """Sums by task and by day (UTC, `2026-11-22`), fed with the records of a run in order."""

    def __init__(self) -> None:
        self._tasks: defaultdict[str, Amount] = defaultdict(Amount)
        self._days: defaultdict[str, Amount] = defaultdict(Amount)
        self._open: dict[str, list[tuple[str, Amount]]] = {}  # sent and not answered: (day, reserved), by key
        self._batches: dict[str, _Batch] = {}  # by token

    def take(self, record: Record) -> None:
        """Count one record."""
        day = record["at"][:10]
        for call in record["calls"]:
            if call["kind"] == "intent":
                self._open.setdefault(call["key"], []).append((day, Amount(*call.get("reserved") or ())))
            elif call["kind"] == "withdrawn":
                self._closed(call, day, call.get("usage"))
            else:
                said = call["response"] if call["ok"] else call["error"].get("details") or {}
                self._closed(call, day, said.get("usage"))
        for event in record["events"]:
            data = event.get("data") or {}
            if event["type"] == "run.resumed" and data.get("clear_usage"):
                self._forget(frozenset(data.get("reset") or ()))
            elif event["type"] == "batch.prepared":
                self._batches[data["token"]] = _Batch(event["task"], day, data)
            elif event["type"] in ("batch.closed", "batch.dropped"):
                self._batches.pop(data["token"], None)

    def _closed(self, call: Mapping[str, Any], day: str, usage: Mapping[str, Any] | None) -> None:
        open_ = self._open.get(call["key"])
        batch = self._batches.get(call.get("batch") or "")
        otherwise = Amount() if batch is None else batch.reserved.parts(1, batch.count)
        _, reserved = open_.pop() if open_ else (day, otherwise)
        if batch is not None:
            batch.answered += 1
        if open_ == []:
            del self._open[call["key"]]
        used = amount_of(usage, reserved)
        task = call["key"].partition("/")[0]
        self._tasks[task] = self._tasks[task].plus(used)
        self._days[day] = self._days[day].plus(used)

    def _forget(self, tasks: frozenset[str]) -> None:
        """Tasks start over with a clean account. What they cost that day is spent all the same."""
        for task in tasks:
            self._tasks.pop(task, None)
        for key in [k for k in self._open if k.partition("/")[0] in tasks]:
            for day, reserved in self._open.pop(key):
                self._days[day] = self._days[day].plus(reserved)
        for token in [t for t, batch in self._batches.items() if batch.task in tasks]:
            batch = self._batches.pop(token)
            self._days[batch.day] = self._days[batch.day].plus(batch.left)

    def left_of(self, token: str) -> Amount:
        """What is set aside for a batch that was not collected yet, and has not come back with an answer."""
        batch = self._batches.get(token)
        return Amount() if batch is None else batch.left

    def of_tasks(self) -> dict[str, Amount]:
        """By task, with what may have been billed."""
        found = dict(self._tasks)
        for key, open_ in self._open.items():
            task = key.partition("/")[0]
            for _, reserved in open_:
                found[task] = found.get(task, Amount()).plus(reserved)
        for batch in self._batches.values():
            found[batch.task] = found.get(batch.task, Amount()).plus(batch.left)
        return found

    def of_day(self, day: str) -> Amount:
        """On one day, with what may have been billed."""
        found = self._days.get(day, Amount())
        for open_ in self._open.values():
            for when, reserved in open_:
                if when == day:
                    found = found.plus(reserved)
        for batch in self._batches.values():
            if batch.day == day:
                found = found.plus(batch.left)
        return found


def spent_from_records(records: Iterable[Record]) -> SpentFromLog:
    """The spending that a log says."""
    spending = SpentFromLog()
    for record in records:
        spending.take(record)
    return spending


def spent_on(store: LogStore, run: str, day: str) -> Amount:
    """What a run used on a day. Reads its whole log. Raises NotFound."""
    return spent_from_records(store.records(run)).of_day(day)
