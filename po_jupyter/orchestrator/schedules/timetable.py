"""The timetable of a schedule: the moments that a cron expression means in a time zone.

Five fields as Debian's cron reads them, by cronsim. Where clocks are changed, a wall time that does not exist is the
first moment that does, and one that comes twice is its first. An expression of every hour (`*`) goes by real hours: on
the day with 25 of them it comes 25 times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from po_jupyter.errors import InvalidInput, Violation

_WINDOW = timedelta(hours=1)  # the first that is looked at for the latest slots
_EVERY_HOUR = set(range(24))
# What cronsim raises for an expression that is none; beside its own error for some that are half right.
_REFUSALS = (CronSimError, ValueError, TypeError, AssertionError, OverflowError)


class Timetable:
    """The slots of one cron expression in one time zone."""

    def __init__(self, cron: str, timezone: str) -> None:
        """`timezone` is a name such as `Europe/Berlin`. Raises InvalidInput with every violation."""
        violations = []
        zone = _zone(timezone)
        if zone is None:
            problem = f"there is no time zone {timezone!r:.80}: write one such as Europe/Berlin or UTC"
            violations.append(Violation("timezone", problem))
        self._zone = zone or ZoneInfo("UTC")
        try:
            self._cron = _by_wall_clock(cron)
            next(CronSim(self._cron, datetime.now(UTC)))
        except _REFUSALS as error:
            problem = f"{cron!r:.80} is no cron expression: {str(error) or 'it cannot be read'}"
            violations.append(Violation("cron", problem))
        except StopIteration:
            violations.append(Violation("cron", f"{cron!r:.80} never comes due in the next fifty years"))
        if violations:
            raise InvalidInput(
                "the schedule cannot be used:", violations=violations,
                hint="Minute, hour, day of the month, month and weekday, as in `30 7 * * MON-FRI`.",
            )  # fmt: skip

    def after(self, moment: datetime) -> datetime | None:
        """The first slot after a moment, in UTC; None when none comes within fifty years."""
        return next(self._slots(moment), None)

    def latest(self, after: datetime, until: datetime, most: int) -> tuple[list[datetime], bool]:
        """The last slots with `after < slot <= until`, at most `most`, in order; whether there are more before them.

        Its time is that of `most` slots, however many there are.
        """
        window = _WINDOW
        while True:
            start = max(after, until - window)
            slots = list(self._between(start, until))
            if len(slots) > most or start == after:
                return slots[-most:], len(slots) > most
            window *= 4

    def _between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        for slot in self._slots(after):
            if slot > until:
                return
            yield slot

    def _slots(self, after: datetime) -> Iterator[datetime]:
        """Strictly later ones: cronsim counts by the wall, which can be behind the moment that it began with."""
        last = after
        for slot in CronSim(self._cron, after.astimezone(self._zone)):
            moment = slot.astimezone(UTC)
            if moment > last:
                last = moment
                yield moment


def _zone(name: str) -> ZoneInfo | None:
    # A name is a path for zoneinfo: what leaves its directory is refused by it, what is a directory is an OSError.
    with suppress(KeyError, ValueError, OSError):
        return ZoneInfo(name)
    return None


def _by_wall_clock(cron: str) -> str:
    """The expression so written that cronsim gives each wall time once, unless it is of every hour.

    Like Debian's cron it takes a field that begins with a star as one that has no fixed time.
    """
    fields = cron.split()
    if len(fields) != 5:
        raise CronSimError(f"it has {len(fields)} fields and not five")
    if CronSim(cron, datetime.now(UTC)).hours == _EVERY_HOUR:
        fields[1] = "*"
        return " ".join(fields)
    return " ".join((fields[0].replace("*", "0-59"), fields[1].replace("*", "0-23"), *fields[2:]))
