"""Guesses about a server that refuses without saying why: all calls for a time, a bound of calls in flight, a rate.

A refusal (429) alone says nothing of its reason, so it stops nobody but its own call, which waits for itself. A guess
holds other calls only on evidence, and gives way to it:

    ClosedServer      all that was sent since the first refusal was refused: everybody waits, then few go, then more
    ConcurrencyBound  what was in flight beside the refused call is kept; calls beyond it test the bound and raise it
    LearnedRate       the server closed after as many calls in as much time, twice; calls beyond it test it
"""

from __future__ import annotations

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # s, as the backoff of the vendors' SDKs
_MANY, _FEW = 6, 3  # refusals in a row that close a server: at first, and one that was closed before
_TRUE = 2  # closed times whose `Retry-After` was true, before nobody looks earlier
_LARGEST_STEP = 16  # calls at once after a pause, until a window has passed without another
_ALIKE = 1.35  # two measurements of one rate or time, at most so many times each other
_LOOKS = 2  # at a closed server, before it is waited for as long as before: a gap between places may be short
_EXPECTED = 0.85  # of the time for which it was closed before
_LEAST, _LONG_ENOUGH = 5, 0.9  # calls and windows that measure a rate
_OFTEN = (20, 6)  # calls, and times that the server closed meanwhile: they measure one in less time
_BACK_OFF, _GROW = 0.97, 0.01  # of a rate, when a call is refused, and each half window without one
_REFUTED = 0.6  # of what was learned: a rate is not that wrong
_KEPT = 0.8  # of what is owed, each time that it is not found
_DOUBTS = 2  # refusals within a bound that refute it
_SURE = 3  # calls taken above a bound that prove a trial right


class BoundTrial:
    """The schedule of calls that break a guess, one at a time. Waits and times are seconds."""

    __slots__ = ("_first", "_longest", "_wait", "due", "pending", "step")

    def __init__(self, first: float, longest: float) -> None:
        """The first may come at once; each refused one doubles the wait for the next."""
        self._first = self._wait = first
        self._longest = longest
        self.due = float("-inf")
        self.pending = 0
        self.step = 1

    def restart(self, now: float) -> None:
        """The guess is new: the first call that breaks it comes after the first wait."""
        self._wait, self.step = self._first, 1
        self.due = now + self._first

    def passed(self, now: float) -> None:
        """The server took the call: the next comes at once, and raises the guess by twice as much."""
        self._wait, self.step = max(self._first, self._wait / 2), min(2 * self.step, _LARGEST_STEP)
        self.due = now

    def refused(self, now: float) -> None:
        """The server refused the call: the guess is confirmed, and the next comes later. Several that are refused
        before that are one piece of news."""
        self.step = 1
        if now >= self.due:
            self.due = now + self._wait
            self._wait = min(2 * self._wait, self._longest)


class ConcurrencyBound:
    """The calls in flight that a server seems to take; `calls` None: no bound is guessed."""

    __slots__ = (
        "_above", "_distrust", "_distrusted_until", "_doubts", "_sure", "_window", "calls", "drawn_at", "trial",
    )  # fmt: skip

    def __init__(self, window: float) -> None:
        """No bound. `window` is in seconds."""
        self.calls: int | None = None
        self.drawn_at = float("-inf")
        self._sure = self._above = 0  # of them, not only raised by trials; calls that were taken above that
        self.trial = BoundTrial(1.0, _LONGEST_WAIT)
        self._window = window
        self._doubts = 0
        self._distrust = 1  # windows
        self._distrusted_until = float("-inf")

    def refused(self, in_flight: int, now: float, *, within: bool) -> None:
        """A call was refused while `in_flight` others were not; `within`: it was sent within the bound."""
        if self.calls is None:
            if now >= self._distrusted_until:
                self.calls = self._sure = max(1, in_flight)
                self._doubts, self.drawn_at = 0, now
                self.trial.restart(now)
            return
        self.calls = max(1, min(self.calls, in_flight))
        if within and in_flight >= self._sure:  # it was raised too far
            self._above = 0
            self.trial.refused(now)
            return
        self._sure = min(self._sure, self.calls)
        self._doubts += within
        if self._doubts >= _DOUBTS:  # refusals that come at any number are about something else
            self.calls = None
            self._distrusted_until = now + self._distrust * self._window
            self._distrust = min(2 * self._distrust, 8)

    def passed(self, in_flight: int) -> None:
        """A call was taken while so many were in flight, itself among them."""
        if self.calls is not None and in_flight > self._sure:
            self._above += 1
            if self._above >= _SURE:
                self._sure, self._above = self.calls, 0

    def trial_passed(self, now: float) -> None:
        """A call beyond the bound was taken."""
        if self.calls is not None:
            self.calls += self.trial.step
        self.trial.passed(now)

    def trial_refused(self, now: float) -> None:
        """A call beyond the bound was refused."""
        self._doubts = 0
        self.trial.refused(now)


class ClosedServer:
    """A server that refuses everything for a while: until a window turns, a bucket fills, a fault is over.

    until      everybody waits until then
    step       calls that may be sent together before it is known that they are taken; None: any number
    closed_at  nothing was taken since then; None: it is open
    proven     it was closed before, and a call that tried it was refused
    """

    __slots__ = (
        "_alike", "_alone", "_first_at", "_last", "_lasted", "_opens_at", "_refused", "_sent", "_true", "_waits",
        "_window", "closed_at", "proven", "step", "until",
    )  # fmt: skip

    def __init__(self, window: float) -> None:
        """Open. `window` is in seconds."""
        self._window = window
        self._last = 0.0  # when everybody had to wait
        self.until = float("-inf")
        self.step: int | None = None
        self.closed_at: float | None = None
        self.proven = False
        self._opens_at: float | None = None  # as the server says
        self._true = 0  # times in a row that what it says was true
        self._alone = True  # nothing was taken yet
        self._waits = 0
        self._lasted, self._alike = 0.0, False  # how long it was closed the last time; twice about as long
        self._first_at: float | None = None  # when the first of the calls that are refused in a row was sent
        self._refused = self._sent = 0

    def sent(self) -> None:
        """Count a call that is sent."""
        if self._first_at is not None:
            self._sent += 1

    def unsent(self, at: float) -> None:
        """A call that was sent `at` ended without a verdict."""
        if self._first_at is not None and at > self._first_at:
            self._sent -= 1

    def passed(self, at: float, now: float) -> None:
        """A call that was sent `at` was taken."""
        self._alone = False
        if self._first_at is not None and at <= self._first_at:
            return
        self._first_at = None
        if self.closed_at is not None:
            self._reopen(at)
        if self.step is not None:
            self.step = min(4 * self.step, _LARGEST_STEP)
            if now - self._last > self._window:
                self.step = None

    def _reopen(self, at: float) -> None:
        assert self.closed_at is not None
        lasted = max(0.0, at - self.closed_at)
        self._alike = self._lasted > 0 and 1 / _ALIKE <= lasted / self._lasted <= _ALIKE
        # It may have been open for a while already when nobody had tried it.
        self._lasted = lasted if self._waits > 1 else 0.9 * lasted
        if self._opens_at is not None:
            early = at < self.closed_at + 0.8 * (self._opens_at - self.closed_at)
            self._true = 0 if early else self._true + 1
            self._opens_at = None
        self.until, self.closed_at, self._waits = float("-inf"), None, 0

    def refused(
        self,
        at: float,
        after: float | None,
        now: float,
        *,
        others: int,
        trusted: bool = False,
        spent: bool = False,
    ) -> bool:
        """A call that was sent `at` was refused while it was not known of `others` whether they are taken. True when
        everybody has to wait from now on. `trusted`: a limit is known, so that `Retry-After` is about it; `spent`: the
        server says that nothing of it remains."""
        if self._first_at is None:
            self._first_at, self._refused, self._sent = at, 0, 0
        elif at > self._first_at:
            self._refused += 1
        if now < self.until:
            return False
        certain = self.step == 1 or (self._alone and others <= trusted)
        many = _FEW if self.proven else _MANY
        if trusted:
            many = 1 if spent else 2
        elif self.step is not None and self.step < _LARGEST_STEP:
            many = 2
        enough = self._refused >= many - 1 and max(others, self._sent - self._refused) <= self._refused + 1
        if not certain and not enough:
            return False
        if self.closed_at is None:
            self.closed_at = now
        else:
            self.proven = True
        if after and self._opens_at is None:
            self._opens_at = now + after
        self.until, self.step, self._last = now + self._wait(after, trusted), 1, now
        self._waits += 1
        return True

    def _wait(self, after: float | None, trusted: bool) -> float:
        looks = self._waits
        if self._alike and looks > _LOOKS:  # the time for which it was closed before is over: anew
            looks -= _LOOKS
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(looks, 8))
        if after:
            return after if self._true >= _TRUE or trusted else min(after, 2 * wait)
        if self._alike and looks == _LOOKS == self._waits:
            return max(wait, _EXPECTED * self._lasted - _FIRST_WAIT * (2.0**_LOOKS - 1))
        return wait


class LearnedRate:
    """The rate that a server seems to allow: a bucket that fills evenly and is empty whenever the server closes.

    A server that counts in windows gives places back as unevenly as they were taken. What it refuses of what was saved
    is owed, and single calls look for it: never more than the rate allows in all.
    """

    __slots__ = (
        "_at", "_before", "_closings", "_distrust", "_distrusted_until", "_grown_at", "_learned", "_level", "_since",
        "_taken", "_used_at", "_window", "grows", "owed", "per_second", "trial",
    )  # fmt: skip

    def __init__(self, window: float) -> None:
        """No rate. `window` is in seconds: what is not used of it is kept, and no more."""
        self.per_second: float | None = None
        self.grows = 1
        self.owed = 0.0  # calls
        self.trial = BoundTrial(_FIRST_WAIT, _LONGEST_WAIT)
        self._window = window
        self._before: float | None = None  # the measurement before
        self._since: float | None = None  # when the server closed
        self._taken = self._closings = 0
        self._level = self._at = 0.0
        self._grown_at = self._used_at = 0.0
        self._learned = 0.0
        self._distrust = 1  # windows
        self._distrusted_until = float("-inf")

    def sent(self, now: float, *, trial: bool) -> None:
        """Count a call that is sent; `trial`: of what is owed."""
        self._taken += 1
        if trial:
            self.trial.pending += 1
            self.owed -= 1
        elif self.per_second is not None:
            self._fill(now)
            self._level = max(0.0, self._level - 1)

    def untaken(self, now: float, *, trial: bool) -> None:
        """A call was refused, or not sent."""
        self._taken -= 1
        self._used_at = now
        if trial:
            self.trial.pending -= 1
            self.owed += 1
        else:
            self._level += 1

    def closed(self, now: float, pending: int) -> None:
        """The server closed; `pending` calls were sent since and have not come back."""
        taken, since = self._taken - pending, self._since
        self._closings += 1
        if since is not None and not self._is_measured(taken, now - since):
            return
        self._since, self._taken, self._closings = now, pending, 0
        if since is not None:
            measured, before = taken / (now - since), self._before
            self._before = measured
            alike = before is not None and 1 / _ALIKE <= measured / before <= _ALIKE
            if alike and (self.per_second is None or measured < self.per_second / _ALIKE):
                self.assume(max(measured, before or 0.0), now)
        self._grown_at, self.grows = now, 1

    def assume(self, per_second: float, now: float) -> None:
        """Take a rate for that of the server, whose bucket is empty now."""
        if now < self._distrusted_until:
            return
        self.per_second = self._learned = per_second
        self._level, self._at, self._grown_at, self.grows, self.owed = 0.0, now, now, 1, 0.0
        self._used_at = now
        self.trial.restart(now)

    def _is_measured(self, taken: int, seconds: float) -> bool:
        """True when so many calls in so much time are a rate, and not a burst."""
        if seconds >= _LONG_ENOUGH * self._window:
            return taken >= _LEAST
        return taken >= _OFTEN[0] and self._closings >= _OFTEN[1]

    def refused(self, at: float, now: float) -> None:
        """A call was refused that was sent `at` and kept to the rate."""
        if self.per_second is None:
            return
        self._fill(now)
        saved, self._level = self._level, 0.0
        if saved >= 2:  # it may be no bucket: the rate itself is not refuted
            if self.owed < 1:
                self.trial.restart(now)
            self.owed = _KEPT * (self.owed + saved)
        elif at > self._grown_at:
            self.per_second *= _BACK_OFF
            if self.per_second < _REFUTED * self._learned:  # refusals that do not stop are about something else
                self.per_second, self._distrusted_until = None, now + self._distrust * self._window
                self._distrust = min(2 * self._distrust, 8)
        else:
            return
        self._grown_at, self.grows = now, 1

    def rest(self, now: float) -> None:
        """The server is still closed: the rate does not grow meanwhile, and some of what is owed is given up."""
        self._grown_at, self.grows = now, 1
        self.owed *= _KEPT

    def trial_due(self) -> float | None:
        """The time from which on a call may look for what is owed; None: none may."""
        may = self.owed >= 1 and self.trial.pending < self.trial.step
        return self.trial.due if may else None

    def due(self, now: float) -> float | None:
        """The time at which the next call is due; None: now."""
        if self.per_second is None:
            return None
        self._fill(now)
        return None if self._level >= 1 else now + (1 - self._level) / self.per_second

    def _fill(self, now: float) -> None:
        if self.per_second is None or now <= self._at:
            return
        while now - self._grown_at > self._window / 2:
            self._grown_at += self._window / 2
            self.per_second *= 1 + _GROW * self.grows
            self.grows = min(2 * self.grows, 100)
        most = self.per_second * self._window
        self._level, self._at = min(self._level + (now - self._at) * self.per_second, most), now
        if self._level >= most and now - self._used_at > self._window:
            self.per_second = None  # nobody waited for it for a whole window
