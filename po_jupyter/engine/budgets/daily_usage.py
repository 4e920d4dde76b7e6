"""Usage by day (UTC) and model, summed up from the journals of runs: one document for each owner.

    {"days": {DAY: {MODEL: {...}}}, "runs": {RUN: {"n", "open", "days", "pipeline"}}, "pipelines": {NAME: {DAY: ...}}}

`pipelines` has the days of deleted runs once more, by their pipeline; those that were deleted before that was kept are
in `days` alone. `runs` are those that still exist: the sums of their records up to `n`, in absolute numbers, so that
counting one twice changes nothing. `days` are the sums of deleted runs: a run moves there once it is gone. A sum has
the fields of a `Usage` that are not zero, but its `cost` is the part that is known; `unpriced` calls are not in it.
`open` calls are sent and not answered: `{KEY: [fence, day, model]}`. While their worker holds the run, and their
attempt or row has no end, they are in flight; from then on nobody knows what became of them, and they count as
`unknown`. A call counts on the day on which it was sent, as the limit of a day counts it
(`engine.replay.spent_from_log`); `batches` are the days of those that are not closed.

Everything here is pure; `orchestrator.views.daily_usage` reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, NotRequired, TypeAlias, TypedDict

from po_jupyter.model.run.row_spans import parse_spans
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import CallResponse, CallWithdrawn, Head, Record

KIND = "daily-usage"
UsageCounts: TypeAlias = dict[str, float]
DailySums: TypeAlias = dict[str, dict[str, UsageCounts]]


class RunUsage(TypedDict):
    """The entry of a run: its sums up to record `n`, its open calls as `{KEY: [fence, day, model]}`, the days of its
    open batches by token, and its pipeline."""

    n: int
    open: dict[str, list[int | str]]
    days: DailySums
    batches: NotRequired[dict[str, str]]
    pipeline: NotRequired[str]


class UsageDocument(TypedDict):
    """The document of an owner."""

    days: DailySums
    runs: dict[str, RunUsage]
    pipelines: NotRequired[dict[str, DailySums]]


class _OpenCall(NamedTuple):
    fence: int
    day: str
    model: str


_TASK_ENDED = frozenset({"task.done", "task.failed", "task.cancelled"})
_COUNTS = tuple(name for name in Usage.model_fields if name != "cost")
_LOST: UsageCounts = {"calls": 1, "unknown": 1}


def name_of(owner: str) -> str:
    """The name of an owner's document."""
    return f"of/{owner[:400]}"


def owner_of(name: str) -> str:
    """The owner of the document of that name."""
    return name.removeprefix("of/")


def empty() -> UsageDocument:
    """The document of an owner without calls."""
    return {"days": {}, "runs": {}}


def add(total: UsageCounts, more: Mapping[str, float]) -> None:
    """Add a sum to a sum."""
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def add_days(total: DailySums, more: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Add days to days."""
    for day, models in more.items():
        for model, counts in models.items():
            _add_to(total, day, model, counts)


def _add_to(total: DailySums, day: str, model: str, counts: Mapping[str, float]) -> None:
    add(total.setdefault(day, {}).setdefault(model, {}), counts)


def advanced(entry: RunUsage | None, records: Iterable[Record]) -> RunUsage:
    """The entry of a run with the records after its `n` counted."""
    n, days = 0, DailySums()
    calls: dict[str, list[int | str]] = {}
    batches: dict[str, str] = {}
    if entry is not None:
        n, calls, batches = entry["n"], dict(entry["open"]), dict(entry.get("batches", {}))
        add_days(days, entry["days"])
    for record in records:
        n, day = record["n"], record["at"][:10]
        for call in record["calls"]:
            before = calls.pop(call["key"], None)
            open_call = _open_call(before) if before is not None else None
            if call["kind"] == "intent":
                if open_call is not None:  # sent again: what became of the first is never known
                    _add_to(days, open_call.day, open_call.model, _LOST)
                calls[call["key"]] = [record["fence"], call.get("day", day), call["model"]]
            else:
                usage, model = _usage_and_model(call)
                if counts := _counts_of(usage):
                    sent_on = open_call.day if open_call is not None else _day_of_batch(call, batches, day)
                    if call["kind"] == "response":
                        sent_on = call.get("day", sent_on)
                    _add_to(
                        days,
                        sent_on,
                        (open_call.model if open_call is not None else model) or "unknown",
                        counts,
                    )
        _follow_batches(batches, record, day)
        if calls:
            for key in _over(record, calls):
                lost = _open_call(calls.pop(key))
                _add_to(days, lost.day, lost.model, _LOST)
    new: RunUsage = {"n": n, "open": calls, "days": days}
    if batches:
        new["batches"] = batches
    return new


def _day_of_batch(call: CallResponse | CallWithdrawn, batches: Mapping[str, str], day: str) -> str:
    """The day of the batch that an answer came with; `day` for one of no batch."""
    return batches.get(call.get("batch", ""), day) if call["kind"] == "response" else day


def _follow_batches(batches: dict[str, str], record: Record, day: str) -> None:
    for event in record["events"]:
        token = (event.get("data") or {}).get("token", "")
        if event["type"] == "batch.prepared":
            batches[token] = day
        elif event["type"] in ("batch.closed", "batch.dropped"):
            batches.pop(token, None)


def _over(record: Record, open_calls: Iterable[str]) -> list[str]:
    """Keys of those open calls that nobody waits for any more after this record: of rows with an outcome, of attempts
    that ended, and what an event reported as lost."""
    rows = {f"{item['task']}/{item['index']}" for item in record["items"]}
    tasks: set[str] = set()
    attempts: set[tuple[str, int]] = set()
    for event in record["events"]:
        name, covers = event.get("task"), event["data"].get("covers")
        if name is None:
            continue
        if event["type"] == "task.retrying":
            rows.add(f"{name}/-")
        elif event["type"] in _TASK_ENDED:
            tasks.add(name)
        elif event["type"] == "call.unknown" and covers is not None:
            place = f"{name}/{event.get('item', '-')}"
            if covers != "all":
                attempts.add((place, covers))
            elif (spans := event["data"].get("rows")) is not None:
                rows.update(f"{name}/{index}" for index in parse_spans(spans))
            elif event.get("item") is None:
                tasks.add(name)
            else:
                rows.add(place)
    if not (rows or tasks or attempts):
        return []
    over: list[str] = []
    for key in open_calls:
        task, item, attempt, _ = key.split("/", 3)
        place = f"{task}/{item}"
        if task in tasks or place in rows or (place, int(attempt)) in attempts:
            over.append(key)
    return over


def _open_call(call: list[int | str]) -> _OpenCall:
    fence, day, model = call
    return _OpenCall(int(fence), str(day), str(model))


def _usage_and_model(call: CallResponse | CallWithdrawn) -> tuple[JsonObject, str | None]:
    """The usage in the record that ends a call, and its model where the record has that."""
    if call["kind"] == "withdrawn":  # nothing of it was in flight
        return call.get("usage") or {}, None
    details: JsonObject = call["response"] if call["ok"] else call["error"].get("details") or {}
    return details.get("usage") or {"calls": 1}, call.get("model") or details.get("model")


def _counts_of(usage: Mapping[str, float | None]) -> UsageCounts:
    counts: UsageCounts = {name: value for name in _COUNTS if (value := usage.get(name))}
    cost = usage.get("cost", 0.0)
    if cost is None:
        counts["unpriced"] = max(1, usage.get("calls") or 0)
    elif cost:
        counts["cost"] = cost
    return counts


def settled(entry: RunUsage, head: Head | None) -> DailySums:
    """The sums of a run; `head` (None: it is gone) tells calls in flight from lost ones."""
    days = DailySums()
    add_days(days, entry["days"])
    fence = head["fence"] if head is not None and head["state"] == "running" else None
    for call in map(_open_call, entry["open"].values()):
        if call.fence != fence:
            _add_to(days, call.day, call.model, _LOST)
    return days


def without(document: UsageDocument, runs: Iterable[str]) -> UsageDocument:
    """The document once `runs` are deleted: their usage stays."""
    deleted = set(runs)
    days = DailySums()
    add_days(days, document["days"])
    pipelines: dict[str, DailySums] = {}
    for name, theirs in document.get("pipelines", {}).items():
        add_days(pipelines.setdefault(name, {}), theirs)
    for run in deleted & document["runs"].keys():
        entry = document["runs"][run]
        sums = settled(entry, None)
        add_days(days, sums)
        if "pipeline" in entry:
            add_days(pipelines.setdefault(entry["pipeline"], {}), sums)
    new: UsageDocument = {
        "days": days,
        "runs": {r: e for r, e in document["runs"].items() if r not in deleted},
    }
    if pipelines:
        new["pipelines"] = pipelines
    return new


def sum_to_json(counts: Mapping[str, float]) -> JsonObject:
    """A sum as people see it: every count; `cost` None where no price is known at all."""
    every = {name: counts.get(name, 0) for name in (*_COUNTS, "unpriced")}
    cost = counts.get("cost", 0.0)
    is_known = cost or not every["calls"] or every["calls"] > every["unknown"] + every["unpriced"]
    return {**every, "cost": cost if is_known else None}


def report(days: DailySums, since: str) -> JsonObject:
    """`{days: [{day, ..., by_model}], total}` of the days since `since`, the newest first; counts by `sum_to_json`."""
    rows: list[JsonObject] = []
    whole = UsageCounts()
    for day in sorted(days, reverse=True):
        if day < since:
            continue
        total = UsageCounts()
        for counts in days[day].values():
            add(total, counts)
        add(whole, total)
        by_model = {model: sum_to_json(counts) for model, counts in sorted(days[day].items())}
        rows.append({"day": day, **sum_to_json(total), "by_model": by_model})
    return {"days": rows, "total": sum_to_json(whole)}


def pipelines_to_json(pipelines: Mapping[str, DailySums], since: str) -> JsonObject:
    """The sum of each pipeline with calls on the days since `since`, by name."""
    found: JsonObject = {}
    for name, days in sorted(pipelines.items()):
        total = UsageCounts()
        for day, models in days.items():
            for counts in models.values() if day >= since else ():
                add(total, counts)
        if total:
            found[name] = sum_to_json(total)
    return found
