"""The choice of what a schedule runs, of the slots that came due: now, or while nobody was up."""

from __future__ import annotations

from datetime import datetime, timedelta

from po_jupyter.orchestrator.schedules.records import (
    KEPT,
    MissedPolicy,
    ScheduleRecord,
    SlotOutcome,
    WaitingSlot,
    iso,
    moment_of,
)
from po_jupyter.orchestrator.schedules.timetable import Timetable

GRACE = timedelta(minutes=2)  # so late a slot is still on time: servers start, and take over from each other
MOST = 100  # slots that are made up for, and that wait


def with_due_slots(record: ScheduleRecord, now: datetime) -> ScheduleRecord:
    """The record with the slots up to `now` in `waiting` or among its outcomes, and its position behind them; the very
    same record when none is due. A clock that went back finds none: positions do not go back."""
    position = moment_of(record["position"])
    if record["paused"] is not None or now <= position:
        return record
    due, more = Timetable(record["cron"], record["timezone"]).latest(position, now, MOST)
    if not due:
        return record
    chosen, passed = _choice(due, now, record["missed"])
    fresh: list[WaitingSlot] = [
        {"slot": iso(slot), "late": len(chosen) > 1 or now - slot > GRACE} for slot in chosen
    ]
    waiting = record["waiting"] + fresh
    outcomes = list(record["outcomes"])
    if passed or more:
        outcomes.append(_missed(passed or due[:1], now, record["missed"], more=more))
    if len(waiting) > MOST:
        left_out = [moment_of(entry["slot"]) for entry in waiting[:-MOST]]
        outcomes.append(_missed(left_out, now, record["missed"], more=False))
        waiting = waiting[-MOST:]
    return {**record, "waiting": waiting, "outcomes": outcomes[-KEPT:], "position": iso(due[-1])}


def next_slot(record: ScheduleRecord, now: datetime) -> datetime | None:
    """When the schedule comes due next; None while it is paused."""
    if record["paused"] is not None:
        return None
    return Timetable(record["cron"], record["timezone"]).after(max(now, moment_of(record["position"])))


def _choice(due: list[datetime], now: datetime, policy: MissedPolicy) -> tuple[list[datetime], list[datetime]]:
    """The slots that run, and those that do not."""
    if policy == "all":
        return due, []
    if policy == "last" or now - due[-1] <= GRACE:
        return due[-1:], due[:-1]
    return [], due


def _missed(slots: list[datetime], now: datetime, policy: MissedPolicy, *, more: bool) -> SlotOutcome:
    note = f"nobody was up at the time, and the schedule says --missed {policy}"
    if more:
        note += f"; there were more: {MOST} are looked at"
    return {"slot": iso(slots[-1]), "at": iso(now), "outcome": "missed", "note": note, "count": len(slots)}
