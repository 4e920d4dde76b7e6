"""The limiter: who may call which model when, fairly between runs (G3, P7). No clock and no I/O in here.

    ask ──► queue of its run and model ──► turn ──► room by the provider's key and by the model's ──► a ticket
    a ticket ──► settled with what was used, given back, or refused by the server

*Turns.* Each run has its own queue. Served is the run that has had the least, measured in the largest share of
any limit that its calls took; one that comes later starts level with the others (after start-time fair queueing:
Goyal, Vin, Cheng, 1996). So 1,000 waiting calls of one run do not hold up two of another.

*Guesses.* Tokens are counted before they are known: the input as estimated, corrected by how wrong the estimate
was for that model so far; the answer by the mean and twice the mean deviation of its answers so far, at first
`max_tokens`. Both are replaced by what was used once that is known.

*Larger than the whole limit.* A call whose guess does not fit at all goes alone, when nothing else counts: the
guess may be wrong. One whose prompt alone is a quarter larger than the limit is refused with a clear error,
because its server would refuse it again and again and make everybody wait for it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.rate_limits.headers import Told
from po_jupyter.llm.rate_limits.limit_state import Block, RateKey, Ticket, span
from po_jupyter.llm.rate_limits.sliding_window import Amounts, Cost
from po_jupyter.model.run.rate_limit import RateLimit

_ANSWER = 1000  # tokens of an answer nobody bounded, before one came
_TOO_LARGE = 1.25
_CREDIT = 0.25  # of a window's limit, that a run may be behind the others
Flow: TypeAlias = tuple[str, str]  # (run, model)


@dataclass(slots=True)
class _Ask:
    run: str
    id: int
    model: str
    input: int
    most: int | None  # tokens that the answer may have
    since: float
    dropped: bool = False


@dataclass(slots=True)
class _Model:
    """What is known of one model: its keys, and how large its calls are."""

    provider: str
    keys: tuple[RateKey, ...]
    ratio: float = 1.0  # input tokens: counted / estimated
    mean: float = 0.0  # of the answers' tokens
    deviation: float = 0.0
    seen: int = 0

    def guess(self, input: int, most: int | None) -> Cost:
        given = int(input * self.ratio) + 1
        if self.seen < 3:
            return Cost(given, _ANSWER if most is None else most)
        answer = int(self.mean + 2 * self.deviation) + 1
        return Cost(given, answer if most is None else min(answer, most))

    def learn(self, estimated: int, used: Cost) -> None:
        """As TCP learns its round trips (RFC 6298): an eighth of each answer."""
        if estimated > 0 and used.input > 0:
            part = 1.0 if self.seen == 0 else 0.125
            self.ratio += part * (min(8.0, max(0.1, used.input / estimated)) - self.ratio)
        if self.seen == 0:
            self.mean, self.deviation = float(used.output), used.output / 2
        else:
            error = used.output - self.mean
            self.mean += error / 8
            self.deviation += (abs(error) - self.deviation) / 4
        self.seen += 1


@dataclass(slots=True)
class _Group:
    """The models of one provider: they share its key, so their runs take turns together."""

    flows: dict[Flow, deque[_Ask]] = field(default_factory=dict)
    had: dict[str, float] = field(
        default_factory=dict
    )  # by run with calls that wait or are under way, in shares
    calls: Counter[str] = field(default_factory=Counter)  # how many those are

    def come(self, run: str) -> None:
        """A call more. A run that comes anew starts level with the others; one whose calls were all under way
        keeps what it has to get, but not for ever."""
        if not self.calls[run] or not any(flow[0] == run for flow in self.flows):
            least = min((had for other, had in self.had.items() if other != run), default=0.0)
            self.had[run] = max(self.had[run], least - _CREDIT) if self.calls[run] else least
        self.calls[run] += 1

    def leave(self, run: str) -> None:
        """A call less."""
        self.calls[run] -= 1
        if self.calls[run] <= 0:
            del self.calls[run]
            self.had.pop(run, None)


class Pumped(NamedTuple):
    """Calls that may go now, and when it is worth asking again (None: when something changes)."""

    tickets: list[Ticket]
    again: float | None


class Waiting(NamedTuple):
    """Calls of one run to one model that wait: how many, how long until the next may go (None: nobody knows),
    since when the oldest waits (seconds), and for what (`openai (requests per minute)`)."""

    run: str
    model: str
    calls: int
    seconds: float | None
    waited: float
    reason: str


class Limiter:
    """See the module. `limits` are by key, `window` in seconds; every `now` is of the same clock."""

    def __init__(self, limits: Mapping[str, RateLimit] | None = None, *, window: float = 60.0) -> None:
        self._limits = dict(limits or {})
        self._window = window
        self._keys: dict[str, RateKey] = {}
        self._models: dict[str, _Model] = {}
        self._groups: dict[str, _Group] = {}
        self._asks: dict[tuple[str, int], _Ask] = {}
        self._tickets: dict[tuple[str, int], tuple[Ticket, int]] = {}  # with the estimate of its input
        for name in self._limits:
            self._key(name)

    @property
    def busy(self) -> bool:
        """Whether somebody waits."""
        return bool(self._asks)

    # -- names --------------------------------------------------------------------------------------
    def limited(self) -> frozenset[str]:
        """The keys, providers and models, whose calls have to ask."""
        return frozenset(name for name, key in self._keys.items() if key.limited)

    def known(self) -> dict[str, dict[str, int]]:
        """What is allowed, by key and kind: from settings, servers and refusals."""
        found: dict[str, dict[str, int]] = {}
        for name, key in self._keys.items():
            said = key.now()
            if said:
                found[name] = said
        return found

    def _key(self, name: str) -> RateKey:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = RateKey(name, self._limits.get(name), window=self._window)
        return key

    def _model(self, ref: str) -> _Model:
        model = self._models.get(ref)
        if model is None:
            provider = ref.partition(":")[0]
            model = self._models[ref] = _Model(provider, (self._key(provider), self._key(ref)))
        return model

    def _group(self, model: str) -> _Group:
        return self._groups.setdefault(self._model(model).provider, _Group())

    # -- asking -------------------------------------------------------------------------------------
    def ask(self, run: str, id: int, model: str, *, input: int, most: int | None, now: float) -> None:
        """A call wants to go; `pump` says when. `input` is the estimate of its prompt, `most` the bound of its
        answer, in tokens. Asking again for the same call changes nothing.

        Raises ModelRefused when its prompt is larger than everything that is allowed in a window.
        """
        if (run, id) in self._asks or (run, id) in self._tickets:
            return
        known = self._model(model)
        for key in known.keys:
            for kind in ("tokens", "input_tokens"):
                limit = key.said(kind)
                if limit is not None and input * known.ratio > _TOO_LARGE * limit:
                    raise _too_large(model, int(input * known.ratio), key, kind, limit)
        asked = self._asks[run, id] = _Ask(run, id, model, input, most, now)
        group = self._group(model)
        group.come(run)
        group.flows.setdefault((run, model), deque()).append(asked)

    def let_go(self, run: str, id: int) -> bool:
        """Whether the call was let go, and is not over."""
        return (run, id) in self._tickets

    def drop(self, run: str, id: int, now: float) -> None:
        """The call does not want to go any more; if it was let go, it was not sent."""
        asked = self._asks.pop((run, id), None)
        if asked is not None:
            asked.dropped = True
            self._group(asked.model).leave(run)
        else:
            self._back(run, id, None, now)

    def pump(self, now: float) -> Pumped:
        """Let go who can."""
        tickets: list[Ticket] = []
        times: list[float] = []
        for group in self._groups.values():
            times += self._serve(group, now, tickets)
        return Pumped(tickets, min((t for t in times if t != float("inf")), default=None))

    def _serve(self, group: _Group, now: float, tickets: list[Ticket]) -> Iterator[float]:
        stuck: set[str] = set()
        while True:
            ready = self._ready(group, stuck)
            if ready is None:
                return
            run, model = ready
            asked = group.flows[ready][0]
            known = self._model(model)
            cost = known.guess(asked.input, asked.most)
            block = self._block(known, cost, now)
            if block is not None:
                yield block.until
                if block.key == model:
                    stuck.add(model)  # other models of the provider may go on
                    continue
                return
            group.flows[ready].popleft()
            self._asks.pop((run, asked.id), None)
            ticket = Ticket(run, asked.id, model, cost, now, any(k.rated for k in known.keys))
            self._tickets[run, asked.id] = (ticket, asked.input)
            for key in known.keys:
                key.go(ticket)
            group.had[run] += _share(known, cost.amounts)
            tickets.append(ticket)

    def _ready(self, group: _Group, stuck: set[str]) -> Flow | None:
        """Whose turn it is."""
        best: Flow | None = None
        least = (0.0, 0.0)
        for flow, queue in list(group.flows.items()):
            while queue and queue[0].dropped:
                queue.popleft()
            if not queue:
                del group.flows[flow]
            elif flow[1] not in stuck:
                mine = (group.had.get(flow[0], 0.0), queue[0].since)
                if best is None or mine < least:
                    best, least = flow, mine
        return best

    def _block(self, model: _Model, cost: Cost, now: float) -> Block | None:
        found: Block | None = None
        for key in model.keys:
            block = key.wait(cost, now)
            if block is not None and (found is None or block.until > found.until):
                found = block
        return found

    # -- what came of it ----------------------------------------------------------------------------
    def _back(self, run: str, id: int, used: Cost | None, now: float, sent_at: float = 0.0) -> Ticket | None:
        found = self._tickets.pop((run, id), None)
        if found is None:
            return None
        ticket = found[0]
        model = self._model(ticket.model)
        for key in model.keys:
            key.back(ticket, used, sent_at, now)
        group = self._group(ticket.model)
        after = _share(model, used.amounts) if used is not None else 0.0
        group.had[run] += after - _share(model, ticket.cost.amounts)
        group.leave(run)
        return ticket

    def settle(
        self, run: str, id: int, *, used: Cost | None, now: float, ago: float = 0.0, told: Told | None = None
    ) -> None:
        """A call was answered; `used` None: with an error that does not say what it used. `ago`: seconds since
        it was sent. `told`: what the server says of its limits."""
        found = self._tickets.get((run, id))
        if found is None:
            return
        ticket, estimated = found
        model = self._model(ticket.model)
        sent_at = max(ticket.at, now - max(0.0, ago))
        self._back(run, id, used or Cost(ticket.cost.input, 0), now, sent_at)
        if used is not None:
            model.learn(estimated, used)
            for key in model.keys:
                key.went_well(ticket, now)
        if told:
            model.keys[-1].tells(told, now)

    def refused(
        self, run: str, id: int, *, now: float, after: float | None = None, told: Told | None = None
    ) -> bool:
        """The server said 429 and to come back `after` seconds. Whether that is news, and not one more of many
        calls that were under way when the first was refused."""
        ticket = self._back(run, id, None, now)
        if ticket is None:
            return False
        key = self._model(ticket.model).keys[-1]
        if told:
            key.tells(told, now)
        return key.refused(ticket, after, now)

    # -- workers that come and go ---------------------------------------------------------------------
    def recall(
        self,
        run: str,
        model: str,
        *,
        past: Iterable[tuple[float, Amounts]],
        open: Iterable[tuple[int, float, int, int | None]],
        now: float,
        told: Told | None = None,
    ) -> None:
        """What a worker did without asking here: `past` (seconds ago, amounts), and the calls that are under
        way, `open` (id, seconds since it was sent, input, bound of the answer)."""
        known = self._model(model)
        for ago, amounts in past:
            for key in known.keys:
                key.count(now - ago, amounts)
        for id, ago, input, most in open:
            if (run, id) not in self._tickets:
                ticket = Ticket(run, id, model, known.guess(input, most), now - ago)
                group = self._group(model)
                group.come(run)
                group.had[run] += _share(known, ticket.cost.amounts)
                self._tickets[run, id] = (ticket, input)
                for key in known.keys:
                    key.go(ticket)
        if told:
            known.keys[-1].tells(told, now)

    def gone(self, run: str, now: float) -> None:
        """A worker cannot be heard any more: its calls do not wait, and none is under way. What they may have
        used stays counted."""
        for of, id in [name for name in self._asks if name[0] == run]:
            self.drop(of, id, now)
        for name in [name for name in self._tickets if name[0] == run]:
            ticket = self._tickets[name][0]
            self._back(run, name[1], ticket.cost, now, ticket.at)

    def waiting(self, now: float) -> list[Waiting]:
        """Who waits, and for what."""
        found = []
        for group in self._groups.values():
            for (run, model), queue in group.flows.items():
                asks = [asked for asked in queue if not asked.dropped]
                if not asks:
                    continue
                known = self._model(model)
                block = self._block(known, known.guess(asks[0].input, asks[0].most), now)
                seconds = None if block is None or block.until == float("inf") else max(0.0, block.until - now)
                reason = f"{block.key} ({block.reason})" if block is not None else f"{model} (its turn)"
                found.append(Waiting(run, model, len(asks), seconds, now - asks[0].since, reason))
        return found


def _share(model: _Model, amounts: Amounts) -> float:
    """The largest part of any limit that a call takes; a small one of none where no rate is known."""
    parts = [key.share(amounts) for key in model.keys]
    return max(parts) or 0.001


def _too_large(model: str, input: int, key: RateKey, kind: str, limit: int) -> ModelRefused:
    words = kind.replace("_", " ")
    return ModelRefused(
        f"the prompt of about {input:,} tokens is larger than {key.name} allows at all: "
        f"{limit:,} {words} {span(key.window)}",
        hint="Shorten the prompt, use another model, or correct `rate_limits` in the settings.",
        details={"model": model, "reason": "larger_than_limit", "limit": limit, "kind": kind},
    )
