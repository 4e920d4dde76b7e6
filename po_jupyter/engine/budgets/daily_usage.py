"""What calls used by day (UTC) and model, as journals say it: a document for each owner.

    {"days": {DAY: {MODEL: {...}}}, "runs": {RUN: {"n", "open", "days"}}}

`runs` are those that still exist: what their records up to `n` say, in absolute numbers, so that counting one
twice changes nothing. `days` are those that were deleted: a run moves there once it is gone. A sum is a `Usage`
without what is zero, but its `cost` is what is known of it; `unpriced` calls are not in it. `open` calls are
sent and not answered: `{KEY: [fence, day, model]}`. As long as their worker holds the run they are in flight;
from then on nobody knows what became of them, and they count as `unknown`.

Everything here is pure; `orchestrator.daily` does the reading and writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from po_jupyter.model.run.usage import Usage
from po_jupyter.store.protocol import Head, Record

KIND = "daily-usage"
UsageDocument: TypeAlias = Mapping[str, Any]
UsageCounts: TypeAlias = dict[str, Any]
DailySums: TypeAlias = dict[str, dict[str, UsageCounts]]

_COUNTS = tuple(name for name in Usage.model_fields if name != "cost")
_LOST = {"calls": 1, "unknown": 1}


def name_of(owner: str) -> str:
    """The name of an owner's document."""
    return f"of/{owner[:400]}"


def owner_of(name: str) -> str:
    """The owner whose document it is."""
    return name.removeprefix("of/")


def empty() -> dict[str, Any]:
    """The document of somebody who never asked anything."""
    return {"days": {}, "runs": {}}


def add(total: UsageCounts, more: Mapping[str, Any]) -> None:
    """Add a sum to a sum."""
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def add_days(total: DailySums, more: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Add days to days."""
    for day, models in more.items():
        for model, used in models.items():
            add(total.setdefault(day, {}).setdefault(model, {}), used)


def advanced(entry: Mapping[str, Any] | None, records: Iterable[Record]) -> dict[str, Any]:
    """A run's entry with the records after its `n`."""
    n, days, open_ = 0, DailySums(), {}
    if entry is not None:
        n, open_ = entry["n"], dict(entry["open"])
        add_days(days, entry["days"])
    for record in records:
        n, day = record["n"], record["at"][:10]
        for call in record["calls"]:
            before = open_.pop(call["key"], None)
            if call["kind"] == "intent":
                if before is not None:  # sent again: what became of the first is never known
                    add(days.setdefault(before[1], {}).setdefault(before[2], {}), _LOST)
                open_[call["key"]] = [record["fence"], day, call["model"]]
            else:
                said = _said(call)
                model: Any = before[2] if before is not None else call.get("model") or said.get("model")
                if used := _sum_of(said["usage"]):
                    add(days.setdefault(day, {}).setdefault(model or "unknown", {}), used)
    return {"n": n, "open": open_, "days": days}


def _said(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the end of a call says of its usage, and perhaps of its model."""
    if call["kind"] == "withdrawn":  # nothing of it was in flight
        return {"usage": call.get("usage") or {}}
    said = call["response"] if call["ok"] else call["error"].get("details") or {}
    return {**said, "usage": said.get("usage") or {"calls": 1}}


def _sum_of(usage: Mapping[str, Any]) -> UsageCounts:
    found = {name: usage[name] for name in _COUNTS if usage.get(name)}
    cost = usage.get("cost", 0.0)
    if cost is None:
        found["unpriced"] = max(1, usage.get("calls", 0))
    elif cost:
        found["cost"] = cost
    return found


def settled(entry: Mapping[str, Any], head: Head | None) -> DailySums:
    """What a run used; `head` (None: it is gone) tells calls in flight from lost ones."""
    days = DailySums()
    add_days(days, entry["days"])
    fence = head["fence"] if head is not None and head["state"] == "running" else None
    for held, day, model in entry["open"].values():
        if held != fence:
            add(days.setdefault(day, {}).setdefault(model, {}), _LOST)
    return days


def without(document: UsageDocument, runs: Iterable[str]) -> dict[str, Any]:
    """The document once `runs` are deleted: what they used stays."""
    gone = set(runs)
    days = DailySums()
    add_days(days, document["days"])
    for run in gone & document["runs"].keys():
        add_days(days, settled(document["runs"][run], None))
    return {"days": days, "runs": {r: e for r, e in document["runs"].items() if r not in gone}}


def shown(used: Mapping[str, Any]) -> dict[str, Any]:
    """A sum as people see it: every count; `cost` None where no price is known at all."""
    counts = {name: used.get(name, 0) for name in (*_COUNTS, "unpriced")}
    cost = used.get("cost", 0.0)
    known = cost or not counts["calls"] or counts["calls"] > counts["unknown"] + counts["unpriced"]
    return {**counts, "cost": cost if known else None}


def report(days: DailySums, since: str) -> dict[str, Any]:
    """`{days: [{day, ..., by_model}], total}` of the days from `since` on, the newest first."""
    rows, whole = [], UsageCounts()
    for day in sorted(days, reverse=True):
        if day < since:
            continue
        total = UsageCounts()
        for used in days[day].values():
            add(total, used)
        add(whole, total)
        by_model = {model: shown(used) for model, used in sorted(days[day].items())}
        rows.append({"day": day, **shown(total), "by_model": by_model})
    return {"days": rows, "total": shown(whole)}
