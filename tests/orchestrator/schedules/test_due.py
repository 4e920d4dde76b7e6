"""Which of the slots that came due run, as values alone."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.orchestrator.schedules.due import MOST, next_slot, with_due_slots
from po_jupyter.orchestrator.schedules.records import ScheduleRecord, iso, moment_of, paused
from tests.support.schedules import START, record_of


def settled(record: ScheduleRecord) -> ScheduleRecord:
    """Nothing waits any more."""
    return {**record, "waiting": []}


def test_what_is_not_due_changes_nothing() -> None:
    record = record_of()
    assert with_due_slots(record, START + timedelta(minutes=59)) is record
    assert with_due_slots(record, START - timedelta(days=1)) is record


def test_a_paused_schedule_has_no_slots() -> None:
    record = paused(record_of(), {"at": iso(START), "reason": "", "by": "person"})
    assert with_due_slots(record, START + timedelta(days=1)) is record
    assert next_slot(record, START) is None


@given(
    st.lists(st.integers(-7200, 7200), min_size=1, max_size=40),
    st.sampled_from(["skip", "last", "all"]),
    st.sampled_from(["0 * * * *", "*/7 * * * *", "30 2 * * *"]),
)
def test_whatever_the_clock_does_no_slot_comes_twice_and_never_many(
    jumps: list[int], missed: str, cron: str
) -> None:
    """A clock that goes back and forth: slots come in order, each once, and no more than are kept."""
    record, now = record_of(cron=cron, missed=missed, timezone="Europe/Berlin"), START
    seen: list[str] = []
    for seconds in jumps:
        now += timedelta(seconds=seconds)
        record = with_due_slots(record, now)
        chosen = [entry["slot"] for entry in record["waiting"]]
        assert len(chosen) <= (MOST if missed == "all" else 1)
        assert all(moment_of(slot) <= now for slot in chosen)
        seen += chosen
        record = settled(record)
    assert seen == sorted(set(seen))


@given(st.integers(0, 400), st.integers(1, 400))
def test_all_of_what_was_missed_is_every_slot(first: int, second: int) -> None:
    """However the time is cut into pieces."""
    record, seen = record_of(cron="*/5 * * * *", missed="all"), []
    for minutes in (first, first + second):
        record = with_due_slots(record, START + timedelta(minutes=minutes))
        seen += [entry["slot"] for entry in record["waiting"]]
        record = settled(record)
    assert seen == [iso(START + timedelta(minutes=m)) for m in range(5, first + second + 1, 5)]
