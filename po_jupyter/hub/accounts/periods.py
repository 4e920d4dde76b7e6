"""Days and months in the team's time zone, and the minute that slides."""

from __future__ import annotations

from collections import deque
from datetime import datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

MINUTE = 60.0


class Period(NamedTuple):
    """The day (`2026-11-27`) and the month (`2026-11`) that a call belongs to: those in which it was reserved."""

    day: str
    month: str


class Calendar:
    """The days and months of a time zone. Times are in seconds since 1970."""

    def __init__(self, time_zone: str) -> None:
        """`time_zone` is one of the IANA's names."""
        self._zone = ZoneInfo(time_zone)
        self._since = self._until = 0.0
        self._period = Period("", "")

    def period(self, now: float) -> Period:
        """The period of a time."""
        if not self._since <= now < self._until:
            local = datetime.fromtimestamp(now, self._zone)
            midnight = datetime.combine(local.date(), time(), self._zone)
            self._since, self._until = midnight.timestamp(), self.day_ends(now)
            self._period = Period(local.strftime("%Y-%m-%d"), local.strftime("%Y-%m"))
        return self._period

    def day_ends(self, now: float) -> float:
        """The next midnight."""
        day = datetime.fromtimestamp(now, self._zone).date() + timedelta(days=1)
        return datetime.combine(day, time(), self._zone).timestamp()

    def month_ends(self, now: float) -> float:
        """The midnight that begins the next month."""
        day = datetime.fromtimestamp(now, self._zone).date().replace(day=1) + timedelta(days=32)
        return datetime.combine(day.replace(day=1), time(), self._zone).timestamp()


class MinuteEntry:
    """A call of the last minute; its tokens become fewer when it is settled."""

    __slots__ = ("at", "tokens")

    def __init__(self, at: float, tokens: int) -> None:
        """A call at `at`."""
        self.at = at
        self.tokens = tokens


class SlidingMinute:
    """The calls and tokens of the last sixty seconds."""

    __slots__ = ("_entries", "tokens")

    def __init__(self) -> None:
        """None yet."""
        self._entries: deque[MinuteEntry] = deque()
        self.tokens = 0

    def calls(self, now: float) -> int:
        """The number of calls; forgets older ones."""
        entries = self._entries
        if entries and entries[-1].at > now:  # the clock was set back
            for entry in entries:
                entry.at = min(entry.at, now)
        while entries and entries[0].at <= now - MINUTE:
            self.tokens -= entries.popleft().tokens
        return len(entries)

    def add(self, now: float, tokens: int) -> MinuteEntry:
        """Count a call."""
        entry = MinuteEntry(now, tokens)
        self._entries.append(entry)
        self.tokens += tokens
        return entry

    def settle(self, entry: MinuteEntry, tokens: int) -> None:
        """A call took `tokens`, as is known now."""
        if self._entries and self._entries[0].at <= entry.at:
            self.tokens += tokens - entry.tokens
            entry.tokens = tokens

    def next_room(self, now: float) -> float:
        """Seconds until the oldest call leaves the minute; 0 when there is none."""
        return max(0.0, self._entries[0].at + MINUTE - now) if self._entries else 0.0
