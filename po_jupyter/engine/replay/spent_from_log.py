"""Amounts spent by the calls of a run, summed up from its journal: the one source for budgets after a crash (P3).

A call with a recorded answer counts with the usage of the answer. A call that was about to be sent and has no answer
may have been billed: it counts as the worst case that was set aside for it (`reserved` of its intent). A withdrawn
call counts with the usage of its broken tries. A batch that was not collected counts as its worst case.

A call counts on the day (UTC) on which it was set aside and sent, whenever its answer comes, and an answer of a batch
on the day of the batch: that is the day whose limit let it go. A call of a child run counts on the day in the log of
that one alone: its own worker asked the limit of the day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import NamedTuple, TypedDict

from po_jupyter.errors import NotFound
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import CallResponse, CallResponseDraft, CallWithdrawn, LogStore, Record, Store

_OF_CHILD = ""  # the day of a call that is in the log of a child run too


class AmountJson(TypedDict):
    """An `Amount` in events and documents."""

    usd: float
    tokens: int


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

    def change_since(self, earlier: Amount) -> Amount:
        """What it is more than before: less than nothing where a call cost less than was feared."""
        return Amount(self.usd - earlier.usd, self.tokens - earlier.tokens)

    def minus(self, other: Amount) -> Amount:
        """The difference, never below nothing: sums of floats drift."""
        return Amount(max(0.0, self.usd - other.usd), max(0, self.tokens - other.tokens))

    def to_json(self) -> AmountJson:
        """The amount in JSON."""
        return {"usd": self.usd, "tokens": self.tokens}

    def share(self, parts: int, whole: int) -> Amount:
        """`parts` of `whole` equal parts."""
        return Amount(self.usd * parts / whole, self.tokens * parts // whole)


ZERO = Amount()


class LostCalls(NamedTuple):
    """Calls that were about to be sent and have no answer: `amount` is the worst case of them, which stays reserved."""

    calls: int = 0
    amount: Amount = ZERO

    def plus(self, calls: int, amount: Amount) -> LostCalls:
        """With so many more of them."""
        return LostCalls(self.calls + calls, self.amount.plus(amount))

    def clause(self, amount: str) -> str:
        """The part of a sentence about a budget that says so, with `amount` in its unit; "" when there are none."""
        if not self.calls:
            return ""
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        return f"{amount} only reserved for {calls} of unknown outcome, "


NONE_LOST = LostCalls()


class _UncollectedBatch:
    __slots__ = ("answered", "count", "day", "reserved", "task")

    def __init__(self, task: str, day: str, data: JsonObject) -> None:
        self.task, self.day = task, day
        self.reserved = Amount(*data.get("reserved") or ())
        self.count = max(1, int(data.get("count") or 1))
        self.answered = 0

    @property
    def remaining(self) -> Amount:
        """The worst case of the rows without an answer."""
        return self.reserved.share(max(0, self.count - self.answered), self.count)


def amount_of(usage: JsonObject | None, worst: Amount | None = None) -> Amount:
    """The amount of a usage in JSON. `worst` stands for an unknown cost, and is added for an unknown outcome."""
    if not usage:
        return ZERO
    if usage.get("unknown"):
        known = amount_of({**usage, "unknown": 0})
        return known.plus(worst) if worst is not None else known
    cost = usage.get("cost")
    if cost is None:
        cost = worst.usd if worst is not None else 0.0
    return Amount(float(cost), usage.get("input_tokens", 0) + usage.get("output_tokens", 0))


def usage_of_end(call: CallResponse | CallResponseDraft | CallWithdrawn) -> JsonObject | None:
    """The usage in the record that ends a call, None where it has none."""
    if call["kind"] == "withdrawn":
        return call.get("usage")
    details: JsonObject = call["response"] if call["ok"] else call["error"].get("details") or {}
    usage: JsonObject | None = details.get("usage")
    return usage


class SpentFromLog:
    """Amounts by task and by day (UTC, `2026-11-22`), fed with the records of a run in order."""

    def __init__(self) -> None:
        """Nothing spent."""
        self._tasks: defaultdict[str, Amount] = defaultdict(Amount)
        self._days: defaultdict[str, Amount] = defaultdict(Amount)
        # The part of them that is only reserved, for calls that ended without anybody knowing their outcome.
        self._lost_by_task: defaultdict[str, LostCalls] = defaultdict(LostCalls)
        self._lost_by_day: defaultdict[str, LostCalls] = defaultdict(LostCalls)
        self._unanswered: dict[str, list[tuple[str, Amount]]] = {}  # sent calls: (day, worst case), by key
        self._batches: dict[str, _UncollectedBatch] = {}  # by token

    def apply(self, record: Record) -> None:
        """Count one record."""
        day = record["at"][:10]
        for call in record["calls"]:
            if call["kind"] == "intent":
                intents = self._unanswered.setdefault(call["key"], [])
                sent_on = _OF_CHILD if call.get("shard") else call.get("day", day)
                intents.append((sent_on, _worst_case(call.get("reserved"))))
            else:
                self._end_call(call, day)
        for event in record["events"]:
            data = event.get("data") or {}
            if event["type"] == "run.resumed" and data.get("clear_usage"):
                self._clear(frozenset(data.get("reset") or ()))
            elif event["type"] == "batch.prepared":
                self._batches[data["token"]] = _UncollectedBatch(event["task"], day, data)
            elif event["type"] in ("batch.closed", "batch.dropped"):
                self._batches.pop(data["token"], None)

    def _end_call(self, call: CallResponse | CallWithdrawn, day: str) -> None:
        intents = self._unanswered.get(call["key"])
        token = call.get("batch") if call["kind"] == "response" else None
        batch = self._batches.get(token) if token else None
        row = ZERO if batch is None else batch.reserved.share(1, batch.count)
        sent_on, worst = intents.pop() if intents else (day if batch is None else batch.day, row)
        if call.get("shard"):
            sent_on = _OF_CHILD
        elif call["kind"] == "response":
            sent_on = call.get("day", sent_on)
        if batch is not None:
            batch.answered += 1
        if intents == []:
            del self._unanswered[call["key"]]
        usage = usage_of_end(call)
        used = amount_of(usage, worst)
        task = call["key"].partition("/")[0]
        if usage and usage.get("unknown"):
            self._lost_by_task[task] = self._lost_by_task[task].plus(1, worst)
            self._lost_by_day[sent_on] = self._lost_by_day[sent_on].plus(1, worst)
        self._tasks[task] = self._tasks[task].plus(used)
        self._days[sent_on] = self._days[sent_on].plus(used)

    def _clear(self, tasks: frozenset[str]) -> None:
        """Start tasks over with a clean account. What they cost that day stays in the sum of the day."""
        for task in tasks:
            self._tasks.pop(task, None)
            self._lost_by_task.pop(task, None)
        for key in [k for k in self._unanswered if k.partition("/")[0] in tasks]:
            for day, worst in self._unanswered.pop(key):
                self._days[day] = self._days[day].plus(worst)
        for token in [t for t, batch in self._batches.items() if batch.task in tasks]:
            batch = self._batches.pop(token)
            self._days[batch.day] = self._days[batch.day].plus(batch.remaining)

    def of_batch(self, token: str) -> Amount:
        """The worst case of the rows of an uncollected batch that have no answer; nothing for another batch."""
        batch = self._batches.get(token)
        return ZERO if batch is None else batch.remaining

    def of_tasks(self) -> dict[str, Amount]:
        """Amounts by task, with what may have been billed."""
        amounts = dict(self._tasks)
        for key, intents in self._unanswered.items():
            task = key.partition("/")[0]
            for _, worst in intents:
                amounts[task] = amounts.get(task, ZERO).plus(worst)
        for batch in self._batches.values():
            amounts[batch.task] = amounts.get(batch.task, ZERO).plus(batch.remaining)
        return amounts

    def lost_of_tasks(self) -> dict[str, LostCalls]:
        """Lost calls by task: the part of `of_tasks` that nobody knows to be spent."""
        lost = dict(self._lost_by_task)
        for key, intents in self._unanswered.items():
            task = key.partition("/")[0]
            for _, worst in intents:
                lost[task] = lost.get(task, NONE_LOST).plus(1, worst)
        return lost

    def lost_of_day(self, day: str) -> LostCalls:
        """Lost calls of one day."""
        lost = self._lost_by_day.get(day, NONE_LOST)
        for intents in self._unanswered.values():
            for sent_on, worst in intents:
                if sent_on == day:
                    lost = lost.plus(1, worst)
        return lost

    def of_day(self, day: str) -> Amount:
        """The amount of one day, with what may have been billed."""
        amount = self._days.get(day, ZERO)
        for intents in self._unanswered.values():
            for sent_on, worst in intents:
                if sent_on == day:
                    amount = amount.plus(worst)
        for batch in self._batches.values():
            if batch.day == day:
                amount = amount.plus(batch.remaining)
        return amount


def _worst_case(reserved: Sequence[float] | None) -> Amount:
    return Amount(reserved[0], int(reserved[1])) if reserved else ZERO


def spent_from_records(records: Iterable[Record]) -> SpentFromLog:
    """The amounts of a whole log."""
    spent = SpentFromLog()
    for record in records:
        spent.apply(record)
    return spent


def spent_on_day(store: LogStore, run: str, day: str) -> Amount:
    """The amount of a run on a day. Reads its whole log. Blocks. Raises NotFound."""
    return spent_from_records(store.records(run)).of_day(day)


def lost_on_day(store: Store, owner: str, day: str) -> LostCalls:
    """Lost calls of all runs of an owner on a day. Reads the logs of runs that wrote since. Blocks."""
    lost = NONE_LOST
    cursor: str | None = None
    while True:
        page = store.runs(owner=owner, cursor=cursor, limit=200, children=True)
        for head in page.heads:
            if head["updated_at"][:10] >= day:
                with suppress(NotFound):
                    lost = lost.plus(*spent_from_records(store.records(head["run"])).lost_of_day(day))
        cursor = page.next
        if cursor is None:
            return lost
