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
    policy = record["missed"]
    fresh: list[WaitingSlot] = [
        {"slot": iso(slot), "late": policy == "all" and (len(chosen) > 1 or now - slot > GRACE)}
        for slot in chosen
    ]
    waiting = record["waiting"] + fresh
    outcomes = list(record["outcomes"])
    if passed:
        outcomes.append(_missed(passed[-1], now, policy, len(passed), more=more))
    elif more:
        outcomes.append(_missed(position, now, policy, 0, more=True))
    if len(waiting) > MOST:
        left_out = waiting[:-MOST]
        outcomes.append(_missed(moment_of(left_out[-1]["slot"]), now, policy, len(left_out), more=False))
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


def _missed(slot: datetime, now: datetime, policy: MissedPolicy, count: int, *, more: bool) -> SlotOutcome:
    """`count` slots up to `slot` that do not run, 0 for an unknown number."""
    note = f"they were not made up for in time: --missed {policy}"
    if more:
        note += f"; there were more, of which the last {MOST} are looked at"
    outcome: SlotOutcome = {"slot": iso(slot), "at": iso(now), "outcome": "missed", "note": note}
    return {**outcome, "count": count} if count else outcome
