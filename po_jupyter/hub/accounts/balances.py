"""Balances: what users, groups and all have used and reserved, held against their limits. Memory only, no clock.

Money is in nano-dollars (1e-9 USD), as integers, so that sums are exact. A call belongs to the day and the month in
which it was reserved, whenever it is settled. The ledger has the same on disk; these are made from it at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

from po_jupyter.hub.accounts.periods import Calendar, MinuteEntry, Period, SlidingMinute
from po_jupyter.hub.config import LimitBook, Limits
from po_jupyter.hub.problems import GatewayProblem, iso

NANO = 1_000_000_000
ALL = "all"
_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Demand:
    """The most that a call may take: what is reserved before it goes out.

    `model` is a ref; `nano` is None for a model without a price; `is_batch`: it may be hours until it is settled;
    `thinks`: the request may make the model think.
    """

    user: str
    groups: tuple[str, ...]
    model: str
    input_tokens: int
    output_tokens: int
    nano: int | None
    is_batch: bool = False
    thinks: bool = False

    @property
    def provider(self) -> str:
        """The name of the provider."""
        return self.model.partition(":")[0]

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(slots=True)
class Reservation:
    """A reservation, from the admission of a call to its settlement."""

    id: str
    demand: Demand
    period: Period
    at: float
    entries: list[tuple[SlidingMinute, MinuteEntry]] = field(default_factory=list)


class Permitted(NamedTuple):
    """There is room for the call."""


class Waiting(NamedTuple):
    """There will be room: after `seconds` (None: when a call ends). `scope` is whose limit it is."""

    scope: str
    reason: str
    seconds: float | None


class UsageWindow(TypedDict):
    """One limit and how much of it is used."""

    scope: str
    window: str
    unit: str
    used: float
    reserved: float
    limit: float | None
    resets_at: str


class _Tally:
    """What a scope has used in a day or a month: settled, reserved by calls that run, and by batches."""

    __slots__ = ("batch_nano", "batch_tokens", "calls", "held_nano", "held_tokens", "nano", "tokens")

    def __init__(self) -> None:
        self.calls = self.tokens = self.nano = 0
        self.held_tokens = self.held_nano = 0
        self.batch_tokens = self.batch_nano = 0

    def hold(self, demand: Demand, sign: int) -> None:
        if demand.is_batch:
            self.batch_tokens += sign * demand.tokens
            self.batch_nano += sign * (demand.nano or 0)
        else:
            self.held_tokens += sign * demand.tokens
            self.held_nano += sign * (demand.nano or 0)


class _Scope:
    """The limits of one scope at work."""

    __slots__ = ("in_flight", "minute", "tallies")

    def __init__(self) -> None:
        self.in_flight = 0
        self.minute = SlidingMinute()
        self.tallies: dict[str, _Tally] = {}

    def tally(self, name: str) -> _Tally:
        tally = self.tallies.get(name)
        if tally is None:
            # A new day: what is long over and has nothing reserved is not needed any more. The month before stays: a
            # clock may be set back.
            months = sorted({old[:7] for old in self.tallies} | {name[:7]})
            for old, then in list(self.tallies.items()):
                if old[:7] < min(months[-2:]) and not (then.held_tokens or then.batch_tokens):
                    del self.tallies[old]
            tally = self.tallies[name] = _Tally()
        return tally


class Balances:
    """The balances of all scopes: `user:NAME`, `group:NAME`, `all`, and `provider:NAME` for the team's accounts."""

    def __init__(
        self,
        calendar: Calendar,
        book: Callable[[], LimitBook],
        account: Callable[[str], Limits] = lambda provider: _NO_LIMITS,
    ) -> None:
        """`book()` has the limits as they are now, `account(provider)` those of the team's account with a provider."""
        self.calendar = calendar
        self._book = book
        self._account = account
        self._scopes: dict[str, _Scope] = {}

    # -- admission --------------------------------------------------------------------------------------
    def verdict(self, demand: Demand, now: float) -> Permitted | Waiting:
        """Whether there is room for a call now. Raises GatewayProblem when waiting would not help."""
        period = self.calendar.period(now)
        waiting: Waiting | None = None
        for name, limits in self._limits_of(demand):
            scope = self._scopes.get(name)
            if scope is None:
                scope = self._scopes[name] = _Scope()
            found = self._budgets(name, limits, scope, demand, period, now) or _pace(
                name, limits, scope, demand, now
            )
            # A limit that all share wins: whoever is behind it need not be looked at.
            if found is not None and (waiting is None or not _is_shared(waiting.scope)):
                waiting = found
        return waiting or Permitted()

    def reserve(self, id: str, demand: Demand, now: float) -> Reservation:
        """Reserve what a call may take, whether or not there is room."""
        hold = Reservation(id, demand, self.calendar.period(now), now)
        for name, _ in self._limits_of(demand):
            scope = self._scope(name)
            scope.in_flight += not demand.is_batch
            if not demand.is_batch:
                hold.entries.append((scope.minute, scope.minute.add(now, demand.tokens)))
        self._hold(hold, 1)
        return hold

    def settle(self, hold: Reservation, tokens: int, nano: int) -> None:
        """Put what a call took in the place of its reservation."""
        for minute, entry in hold.entries:
            minute.settle(entry, tokens)
        for name, _ in self._limits_of(hold.demand):
            self._scope(name).in_flight -= not hold.demand.is_batch
        self._hold(hold, -1)
        self.count(hold.demand.user, hold.demand.groups, hold.period, 1, tokens, nano)

    # -- what the ledger had ------------------------------------------------------------------------------
    def count(
        self, user: str, groups: tuple[str, ...], period: Period, calls: int, tokens: int, nano: int
    ) -> None:
        """Count calls that are settled."""
        for name in scopes_of(user, groups):
            for when in period:
                tally = self._scope(name).tally(when)
                tally.calls += calls
                tally.tokens += tokens
                tally.nano += nano

    def restore(self, hold: Reservation) -> None:
        """Take over the reservation of a batch that was made before this process."""
        self._hold(hold, 1)

    # -- views ------------------------------------------------------------------------------------------
    def windows(self, user: str, groups: tuple[str, ...], now: float) -> list[UsageWindow]:
        """The limits of a user and how much of them is used."""
        book, period = self._book(), self.calendar.period(now)
        ends = {"day": self.calendar.day_ends(now), "month": self.calendar.month_ends(now)}
        rows: list[UsageWindow] = []
        for name in scopes_of(user, groups):
            limits, scope = _limits(book, name), self._scope(name)
            calls = scope.minute.calls(now)
            minute = iso(now + (scope.minute.next_room(now) or 60.0))
            rows += (
                UsageWindow(scope=name, window="minute", unit=unit, used=used, reserved=0, limit=limit,
                            resets_at=minute)
                for unit, used, limit in (
                    ("calls", calls, limits.calls_per_minute),
                    ("tokens", scope.minute.tokens, limits.tokens_per_minute),
                )
            )  # fmt: skip
            for window, when in zip(("day", "month"), period, strict=True):
                tally = scope.tally(when)
                tokens, usd = _budgets_of(limits, window)
                rows += (
                    UsageWindow(scope=name, window=window, unit="usd", used=tally.nano / NANO,
                                reserved=(tally.held_nano + tally.batch_nano) / NANO, limit=usd,
                                resets_at=iso(ends[window])),
                    UsageWindow(scope=name, window=window, unit="tokens", used=tally.tokens,
                                reserved=tally.held_tokens + tally.batch_tokens, limit=tokens,
                                resets_at=iso(ends[window])),
                )  # fmt: skip
        return rows

    def in_flight(self) -> int:
        """The calls that run now."""
        scope = self._scopes.get(ALL)
        return scope.in_flight if scope is not None else 0

    # -- inside -----------------------------------------------------------------------------------------
    def _scope(self, name: str) -> _Scope:
        scope = self._scopes.get(name)
        if scope is None:
            scope = self._scopes[name] = _Scope()
        return scope

    def _hold(self, hold: Reservation, sign: int) -> None:
        for name in scopes_of(hold.demand.user, hold.demand.groups):
            scope = self._scope(name)
            for when in hold.period:
                scope.tally(when).hold(hold.demand, sign)

    def _limits_of(self, demand: Demand) -> Iterator[tuple[str, Limits]]:
        book = self._book()
        for name in scopes_of(demand.user, demand.groups):
            yield name, _limits(book, name)
        yield f"provider:{demand.provider}", self._account(demand.provider)

    def _budgets(
        self, name: str, limits: Limits, scope: _Scope, demand: Demand, period: Period, now: float
    ) -> Waiting | None:
        """Tokens and money of the day and the month."""
        waiting: Waiting | None = None
        for window, when in zip(("day", "month"), period, strict=True):
            most_tokens, usd = _budgets_of(limits, window)
            if most_tokens is None and usd is None:
                continue
            tally = scope.tally(when)
            if most_tokens is not None:
                if demand.tokens > most_tokens:
                    raise _too_large(name, window, f"{demand.tokens:,} tokens", f"{most_tokens:,}")
                used = tally.tokens + tally.batch_tokens
                if used + demand.tokens > most_tokens:
                    of = f"{used:,} of {most_tokens:,} tokens"
                    raise self._spent(name, window, of, f"{demand.tokens:,} tokens", now)
                if used + tally.held_tokens + demand.tokens > most_tokens:
                    waiting = Waiting(name, f"calls that run hold the rest of the {window}'s tokens", None)
            if usd is not None:
                if demand.nano is None:
                    raise GatewayProblem(
                        403, "model_not_allowed",
                        f"{demand.model} has no price, and {name} has a limit in dollars: an administrator can give "
                        "its price in `prices`",
                    )  # fmt: skip
                used, most = tally.nano + tally.batch_nano, round(usd * NANO)
                if demand.nano > most:
                    raise _too_large(name, window, f"${demand.nano / NANO:.4f}", f"${usd:g}")
                if used + demand.nano > most:
                    of = f"${used / NANO:.4f} of ${usd:.2f}"
                    raise self._spent(name, window, of, f"${demand.nano / NANO:.4f}", now)
                if used + tally.held_nano + demand.nano > most:
                    waiting = Waiting(name, f"calls that run hold the rest of the {window}'s money", None)
        return waiting

    def _spent(self, name: str, window: str, used: str, need: str, now: float) -> GatewayProblem:
        ends = self.calendar.day_ends(now) if window == "day" else self.calendar.month_ends(now)
        return GatewayProblem(
            429, "budget_exceeded",
            f"the {window}'s budget of {name}: {used} are used, and this call may take {need}. "
            f"A new {window} begins at {iso(ends)}",
            retry_after=ends - now, resets_at=ends,
        )  # fmt: skip


def _too_large(name: str, window: str, need: str, limit: str) -> GatewayProblem:
    """The problem of a call that is over a whole budget: no new day or month has room for it."""
    return GatewayProblem(
        400, "invalid_request",
        f"this call may take {need}, and the whole {window}'s budget of {name} is {limit}: set a smaller `max_tokens`",
    )  # fmt: skip


def scopes_of(user: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the scopes whose budgets a user's calls count for."""
    return (f"user:{user}", *(f"group:{group}" for group in groups), ALL)


def _is_shared(scope: str) -> bool:
    return scope == ALL or scope.startswith("provider:")


def _limits(book: LimitBook, scope: str) -> Limits:
    kind, _, name = scope.partition(":")
    if kind == "user":
        return book.users.get(name, book.each_user)
    return book.groups.get(name, _NO_LIMITS) if kind == "group" else book.all


def _budgets_of(limits: Limits, window: str) -> tuple[int | None, float | None]:
    if window == "day":
        return limits.tokens_per_day, limits.usd_per_day
    return limits.tokens_per_month, limits.usd_per_month


def _pace(name: str, limits: Limits, scope: _Scope, demand: Demand, now: float) -> Waiting | None:
    """Concurrency, and calls and tokens of the last minute. A call larger than a minute's tokens goes alone."""
    if demand.is_batch:
        return None
    if limits.concurrency is not None and scope.in_flight >= limits.concurrency:
        return Waiting(name, f"{scope.in_flight} calls of {name} run, which is its limit", None)
    calls = scope.minute.calls(now)
    if limits.calls_per_minute is not None and calls >= limits.calls_per_minute:
        return Waiting(
            name, f"{name} has {limits.calls_per_minute} calls a minute", scope.minute.next_room(now)
        )
    most = limits.tokens_per_minute
    if most is not None and calls and scope.minute.tokens + demand.tokens > most:
        return Waiting(name, f"{name} has {most:,} tokens a minute", scope.minute.next_room(now))
    return None
