"""Days, months and minutes."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from po_jupyter.hub.accounts.periods import Calendar, SlidingMinute


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"]
)
def test_a_day_begins_at_midnight_of_the_zone(zone: str) -> None:
    calendar = Calendar(zone)
    midnight = at("2026-12-01T00:00:00", zone)
    assert calendar.period(midnight - 0.001) == ("2026-11-30", "2026-11")
    assert calendar.period(midnight) == ("2026-12-01", "2026-12")
    assert calendar.day_ends(midnight - 1) == calendar.month_ends(midnight - 1) == midnight
    assert calendar.month_ends(midnight) == at("2027-01-01T00:00:00", zone)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-27", 24)])
def test_days_on_which_the_clock_changes_have_their_length(day: str, hours: int) -> None:
    calendar, begin = Calendar("Europe/Berlin"), at(f"{day}T00:00:00", "Europe/Berlin")
    assert calendar.day_ends(begin) - begin == hours * 3600
    for hour in range(hours):
        assert calendar.period(begin + hour * 3600).day == day


def test_a_day_without_a_midnight_begins_when_it_begins() -> None:
    """Beirut went from 23:59 to 1:00."""
    calendar = Calendar("Asia/Beirut")
    before = at("2024-03-30T23:59:59", "Asia/Beirut")
    assert calendar.period(before).day == "2024-03-30" and calendar.period(before + 1).day == "2024-03-31"


def test_a_month_ends_in_each_month() -> None:
    calendar = Calendar("UTC")
    for month in range(1, 13):
        end = at(f"{2027 if month == 12 else 2026}-{month % 12 + 1:02}-01T00:00:00", "UTC")
        for day in (1, 15, 28):
            assert calendar.month_ends(at(f"2026-{month:02}-{day:02}T12:00:00", "UTC")) == end


def test_a_minute_slides() -> None:
    minute = SlidingMinute()
    first = minute.add(0.0, 100)
    minute.add(30.0, 50)
    assert (minute.calls(59.9), minute.tokens, minute.next_room(40.0)) == (2, 150, 20.0)
    minute.settle(first, 20)
    assert minute.tokens == 70
    assert (minute.calls(60.0), minute.tokens) == (1, 50)
    minute.settle(first, 1000)  # it has left the minute already
    assert (minute.tokens, minute.calls(90.0), minute.tokens, minute.next_room(90.0)) == (50, 0, 0, 0.0)


def test_a_clock_that_is_set_back_holds_nobody_up_for_longer_than_a_minute() -> None:
    minute = SlidingMinute()
    for _ in range(5):
        minute.add(10_000.0, 7)
    assert (minute.calls(6400.0), minute.next_room(6400.0)) == (5, 60.0)
    assert minute.calls(6460.0) == 0 and minute.tokens == 0
