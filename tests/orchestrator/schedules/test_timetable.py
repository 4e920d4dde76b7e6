"""Slots of cron expressions: each wall time once, in every zone, whatever its clocks do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.errors import InvalidInput
from po_jupyter.orchestrator.schedules.timetable import Timetable

YEARS = range(2023, 2028)
SECOND = timedelta(seconds=1)


def slots(cron: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    return Timetable(cron, zone).latest(begin, end, 100_000)[0]


def offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found


@cache
def transitions() -> list[tuple[str, datetime]]:
    """A zone and the first moment of another offset in it, for each change of clocks that is like no other's."""
    found: dict[tuple[datetime, timedelta, timedelta], str] = {}
    for name in sorted(available_timezones() - {"localtime", "Factory"}):
        zone = ZoneInfo(name)
        day = datetime(YEARS[0], 1, 1, tzinfo=UTC)
        while day.year in YEARS:
            following = day + timedelta(days=1)
            if offset(zone, day) != offset(zone, following):
                low, high = day, following
                while high - low > SECOND:
                    middle = low + (high - low) / 2
                    middle = middle.replace(microsecond=0)
                    low, high = (middle, high) if offset(zone, middle) == offset(zone, day) else (low, middle)
                found.setdefault((high, offset(zone, low), offset(zone, high)), name)
            day = following
    return [(name, moment) for (moment, *_), name in found.items()]


def walls(zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every minute that a clock on the wall shows or skips meanwhile."""
    wall = begin.astimezone(zone).replace(tzinfo=None, fold=0) - timedelta(hours=26)
    until = end.astimezone(zone).replace(tzinfo=None, fold=0) + timedelta(hours=26)
    while wall <= until:
        yield wall
        wall += timedelta(minutes=1)


def moment_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """By PEP 495 alone: the first moment that shows it, or the end of the gap that it is in."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
        return moment
    low, high = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment
    assert offset(zone, low) != offset(zone, high)
    while high - low > SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if offset(zone, middle) == offset(zone, high) else (middle, high)
    return high


def expected(
    minutes: set[int], hours: set[int], zone: ZoneInfo, begin: datetime, end: datetime
) -> list[datetime]:
    found = {
        moment_of(wall, zone)
        for wall in walls(zone, begin, end)
        if wall.minute in minutes and wall.hour in hours
    }
    return sorted(moment for moment in found if begin < moment <= end)


def test_there_are_changes_of_clocks_to_look_at() -> None:
    assert len(transitions()) > 100
    gaps = [1 for name, at in transitions() if offset(ZoneInfo(name), at) > offset(ZoneInfo(name), at - SECOND)]
    assert 30 < len(gaps) < len(transitions()) - 30


@pytest.mark.parametrize(
    ("cron", "minutes", "hours"),
    [
        ("30 2 * * *", {30}, {2}), ("0,20,40 0-3 * * *", {0, 20, 40}, {0, 1, 2, 3}),
        ("*/30 1-2 * * *", {0, 30}, {1, 2}), ("15 */2 * * *", {15}, set(range(0, 24, 2))), ("0 0 * * *", {0}, {0}),
    ],
)  # fmt: skip
def test_each_wall_time_comes_once_in_every_zone(cron: str, minutes: set[int], hours: set[int]) -> None:
    """What does not exist comes at the next valid moment, what comes twice comes once; nothing else is lost."""
    for name, at in transitions():
        begin, end = at - timedelta(hours=7, minutes=11), at + timedelta(hours=9)
        zone = ZoneInfo(name)
        assert slots(cron, name, begin, end) == expected(minutes, hours, zone, begin, end), (name, at)


def test_an_expression_of_every_hour_goes_by_real_hours() -> None:
    for name, at in transitions():
        begin, end = at - timedelta(hours=5), at + timedelta(hours=5)
        for cron in ("*/30 * * * *", "0,30 0-23 * * *", "*/30 */1 * * *"):
            found = slots(cron, name, begin, end)
            assert {later - earlier for earlier, later in pairwise(found)} <= {
                timedelta(minutes=30), timedelta(minutes=15), timedelta(minutes=45), timedelta(minutes=60),
            }, (name, at)  # fmt: skip
            assert len(found) in (19, 20, 21)


@given(st.data())
def test_wherever_one_begins_the_slots_that_follow_are_the_same(data: st.DataObject) -> None:
    """A position in the middle of the hour that comes twice loses nothing and repeats nothing."""
    name, at = data.draw(st.sampled_from(transitions()))
    cron = data.draw(
        st.sampled_from(["30 2 * * *", "*/15 1-3 * * *", "5 */2 * * *", "* * * * *", "0 3 * * *", "10 * * * *"])
    )
    begin = at + timedelta(seconds=data.draw(st.integers(-14_400, 14_400)))
    end = at + timedelta(hours=5)
    table = Timetable(cron, name)
    whole = slots(cron, name, at - timedelta(hours=30), end)
    assert slots(cron, name, begin, end) == [slot for slot in whole if slot > begin]
    following = table.after(begin)
    assert following is not None
    assert following > begin
    assert [slot for slot in whole if begin < slot < following] == []


@given(st.integers(1, 120), st.integers(0, 4000))
def test_the_latest_slots_are_the_end_of_all(most: int, hours: int) -> None:
    end = datetime(2026, 4, 1, 0, 30, tzinfo=UTC)
    begin = end - timedelta(hours=hours)
    table = Timetable("0 */6 * * *", "Europe/Berlin")
    whole, _ = table.latest(begin, end, 100_000)
    assert table.latest(begin, end, most) == (whole[-most:], len(whole) > most)


def test_years_of_minutes_are_not_counted_through() -> None:
    """A clock that jumps by years: it is the time of a hundred slots, not of two million."""
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    found, more = Timetable("* * * * *", "UTC").latest(begin, begin + timedelta(days=2000), 100)
    assert (len(found), more) == (100, True)
    assert found[-1] == begin + timedelta(days=2000)


@pytest.mark.parametrize(
    ("cron", "place", "text"),
    [
        ("30 7 * *", "cron", "4 fields and not five"), ("0 30 7 * * *", "cron", "6 fields and not five"),
        ("61 * * * *", "cron", "minute"), ("0 0 30 2 *", "cron", "day-of-month"), ("a b c d e", "cron", "is no cron"),
        ("0 0 * * L/2", "cron", "is no cron"), ("", "cron", "0 fields"), ("@daily", "cron", "1 fields"),
        ("0 0 1-31/40 2 8", "cron", "day-of-week"), ("0 0 L/0 * *", "cron", "is no cron"),
    ],
)  # fmt: skip
def test_what_is_no_expression_is_told(cron: str, place: str, text: str) -> None:
    """P11."""
    with pytest.raises(InvalidInput) as caught:
        Timetable(cron, "UTC")
    (violation,) = caught.value.violations
    assert violation.where == place
    assert text in violation.message


@pytest.mark.parametrize(
    "name", ["Europe/Berlln", "", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b", "x" * 9000]
)
def test_what_is_no_zone_is_told_with_the_rest(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Timetable("x", name)
    assert [violation.where for violation in caught.value.violations] == ["timezone", "cron"]
