"""The rate limiter: admits calls to models within their limits, fairly between runs (G3, P7). No clock, no I/O.

    enqueue ──► queue of its run and model ──► turn ──► room by the provider's limits and by the model's ──► a ticket
    a ticket ──► settled with what was used, cancelled, or refused by the server

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

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.chat import ServerLimits
from po_jupyter.llm.rate_limits.demands import Demands, LimitDemand, Shares, add_up
from po_jupyter.llm.rate_limits.limit_state import LimitState
from po_jupyter.llm.rate_limits.provider_queue import Flow, ProviderQueue, QueuedCall
from po_jupyter.llm.rate_limits.sliding_window import Amounts, Cost
from po_jupyter.llm.rate_limits.tickets import Block, Ticket, span
from po_jupyter.model.run.rate_limit import RateLimit

_ANSWER = 1000  # tokens of an answer without a bound, before the first one came
_TOO_LARGE = 1.25


@dataclass(slots=True)
class _ModelState:
    """One model: the limits that it is under (its provider's, its own), and the usual size of its calls."""

    provider: str
    keys: tuple[LimitState, ...]
    ratio: float = 1.0  # input tokens: counted / estimated
    mean: float = 0.0  # of the answers' tokens
    deviation: float = 0.0
    seen: int = 0

    def guess(self, input: int, max_output: int | None) -> Cost:
        """The cost of a call with an estimated `input` and a bounded answer."""
        prompt = int(input * self.ratio) + 1
        if self.seen < 3:
            return Cost(prompt, _ANSWER if max_output is None else max_output)
        answer = int(self.mean + 2 * self.deviation) + 1
        return Cost(prompt, answer if max_output is None else min(answer, max_output))

    def learn(self, estimated: int, used: Cost) -> None:
        """Correct the guesses, as TCP does its round trips (RFC 6298): by an eighth of each answer."""
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


class Admitted(NamedTuple):
    """Calls that may be sent now, and the time at which it is worth asking again (None: when something changes)."""

    tickets: list[Ticket]
    again: float | None


class WaitingCalls(NamedTuple):
    """Calls of one run to one model that wait: how many, seconds until the next may be sent (None: not known), seconds
    that the oldest waits, and for what (`openai (requests per minute)`)."""

    run: str
    model: str
    calls: int
    seconds: float | None
    waited: float
    reason: str


class Limiter:
    """The rate limiter of all runs; see the module. Every `now` is of the same clock, in seconds."""

    def __init__(self, limits: Mapping[str, RateLimit] | None = None, *, window: float = 60.0) -> None:
        """`limits` are those of the settings by key (a provider or a model ref), `window` is in seconds."""
        self._limits = dict(limits or {})
        self._window = window
        self._keys: dict[str, LimitState] = {}
        self._models: dict[str, _ModelState] = {}
        self._queues: dict[str, ProviderQueue] = {}
        self._queued: dict[tuple[str, int], QueuedCall] = {}
        self._tickets: dict[tuple[str, int], tuple[Ticket, int]] = {}  # with the estimate of its input
        for name in self._limits:
            self._key(name)

    def set_shares(self, shares: Shares) -> None:
        """Use so much of each limit of the settings from now on, nothing of those that are not named."""
        for name in self._limits:
            self._key(name).set_share({kind: n for (key, kind), n in shares.items() if key == name})

    def demands(self, now: float) -> Demands:
        """What the calls here used and need of each limit of the settings. What waits is counted up to the limit."""
        return {
            (name, kind): LimitDemand(key.used(kind, now), *add_up(self._amounts(key, kind), limit))
            for name, key in [(name, self._key(name)) for name in self._limits]
            for kind, limit in key.configured().items()
        }

    def _amounts(self, key: LimitState, kind: str) -> Iterator[Iterator[int]]:
        """Of each flow under a limit what its calls take, the next one first."""
        for queue in self._queues.values():
            for (_, model), calls in queue.flows.items():
                state = self._model(model)
                if key in state.keys:
                    guess = state.guess
                    yield (guess(c.input, c.max_output).of(kind) for c in calls if not c.cancelled)

    @property
    def busy(self) -> bool:
        """True while calls wait."""
        return bool(self._queued)

    # -- names --------------------------------------------------------------------------------------
    def limited_keys(self) -> frozenset[str]:
        """The keys, providers and models, whose calls need admission."""
        return frozenset(name for name, key in self._keys.items() if key.limited)

    def limits(self) -> dict[str, dict[str, int]]:
        """The limits by key and kind, from settings, servers and refusals."""
        return {name: limits for name, key in self._keys.items() if (limits := key.limits())}

    def _key(self, name: str) -> LimitState:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = LimitState(name, self._limits.get(name), window=self._window)
        return key

    def _model(self, ref: str) -> _ModelState:
        model = self._models.get(ref)
        if model is None:
            provider = ref.partition(":")[0]
            model = self._models[ref] = _ModelState(provider, (self._key(provider), self._key(ref)))
        return model

    def _queue(self, model: str) -> ProviderQueue:
        return self._queues.setdefault(self._model(model).provider, ProviderQueue())

    # -- admission ----------------------------------------------------------------------------------
    def enqueue(self, run: str, id: int, model: str, *, input: int, max_output: int | None, now: float) -> None:
        """Put a call into the queue that `admit` serves. `input` is the estimate of its prompt, `max_output` the bound
        of its answer, in tokens. The same call again changes nothing.

        Raises ModelRefused when its prompt is larger than everything that is allowed in a window.
        """
        if (run, id) in self._queued or (run, id) in self._tickets:
            return
        state = self._model(model)
        for key in state.keys:
            for kind in ("tokens", "input_tokens"):
                limit = key.declared(kind)
                if limit is not None and input * state.ratio > _TOO_LARGE * limit:
                    raise _too_large(model, int(input * state.ratio), key, kind, limit)
        call = self._queued[run, id] = QueuedCall(run, id, model, input, max_output, now)
        queue = self._queue(model)
        queue.add(run)
        queue.flows.setdefault((run, model), deque()).append(call)

    def is_admitted(self, run: str, id: int) -> bool:
        """True for a call that was admitted and is not over."""
        return (run, id) in self._tickets

    def cancel(self, run: str, id: int, now: float) -> None:
        """Take a call out that is not to be sent; one that was admitted has not been sent."""
        call = self._queued.pop((run, id), None)
        if call is not None:
            call.cancelled = True
            self._queue(call.model).remove(run)
        elif (ticket := self._finish(run, id, None, now)) is not None:
            self._model(ticket.model).keys[-1].no_verdict(ticket)

    def admit(self, now: float) -> Admitted:
        """Admit the calls that may be sent now."""
        tickets: list[Ticket] = []
        times: list[float] = []
        for queue in self._queues.values():
            times += self._serve(queue, now, tickets)
        return Admitted(tickets, min((t for t in times if t != float("inf")), default=None))

    def _serve(self, queue: ProviderQueue, now: float, tickets: list[Ticket]) -> Iterator[float]:
        """Admit calls in turn; the times at which those that stay are worth another look."""
        stuck: set[str] = set()
        while True:
            flow = self._next_flow(queue, stuck)
            if flow is None:
                return
            run, model = flow
            call = queue.flows[flow][0]
            state = self._model(model)
            cost = state.guess(call.input, call.max_output)
            block = self._block(state, cost, now)
            if block is not None:
                yield block.until
                if block.key == model:
                    stuck.add(model)  # other models of the provider may go on
                    continue
                return
            queue.flows[flow].popleft()
            self._queued.pop((run, call.id), None)
            ticket = Ticket(run, call.id, model, cost, now)
            self._start(state, queue, ticket, call.input)
            tickets.append(ticket)

    def _start(self, state: _ModelState, queue: ProviderQueue, ticket: Ticket, input: int) -> None:
        self._tickets[ticket.run, ticket.id] = (ticket, input)
        for key in state.keys:
            key.start(ticket, learns=key is state.keys[-1])
        queue.served[ticket.run] += _share(state, ticket.cost.amounts)

    def _next_flow(self, queue: ProviderQueue, stuck: set[str]) -> Flow | None:
        """The run and model whose turn it is."""
        best: Flow | None = None
        least = (0.0, 0.0)
        for flow, calls in list(queue.flows.items()):
            while calls and calls[0].cancelled:
                calls.popleft()
            if not calls:
                del queue.flows[flow]
            elif flow[1] not in stuck:
                order = (queue.served.get(flow[0], 0.0), calls[0].since)
                if best is None or order < least:
                    best, least = flow, order
        return best

    def _block(self, state: _ModelState, cost: Cost, now: float) -> Block | None:
        longest: Block | None = None
        for key in state.keys:
            block = key.block(cost, now)
            if block is not None and (longest is None or block.until > longest.until):
                longest = block
        return longest

    # -- results ------------------------------------------------------------------------------------
    def _finish(self, run: str, id: int, used: Cost | None, now: float, sent_at: float = 0.0) -> Ticket | None:
        entry = self._tickets.pop((run, id), None)
        if entry is None:
            return None
        ticket = entry[0]
        state = self._model(ticket.model)
        for key in state.keys:
            key.finish(ticket, used, sent_at, now)
        queue = self._queue(ticket.model)
        share = _share(state, used.amounts) if used is not None else 0.0
        queue.served[run] += share - _share(state, ticket.cost.amounts)
        queue.remove(run)
        return ticket

    def settle(
        self,
        run: str,
        id: int,
        *,
        used: Cost | None,
        now: float,
        ago: float = 0.0,
        limits: ServerLimits | None = None,
    ) -> None:
        """Count what an answered call used; None: it ended with an error that does not say.

        `ago`: seconds since it was sent. `limits`: those that the server reported.
        """
        entry = self._tickets.get((run, id))
        if entry is None:
            return
        ticket, estimated = entry
        state = self._model(ticket.model)
        sent_at = max(ticket.at, now - max(0.0, ago))
        self._finish(run, id, used or Cost(ticket.cost.input, 0), now, sent_at)
        if used is not None:
            state.learn(estimated, used)
            state.keys[-1].succeeded(ticket, now)
        else:
            state.keys[-1].no_verdict(ticket)
        if limits:
            state.keys[-1].report(limits, now)

    def refused(
        self,
        run: str,
        id: int,
        *,
        now: float,
        after: float | None = None,
        limits: ServerLimits | None = None,
    ) -> bool:
        """Slow down after a refusal (429); `after` is the server's `Retry-After` in seconds.

        False when it is no news: one more of many calls that were in flight when the first was refused.
        """
        ticket = self._finish(run, id, None, now)
        if ticket is None:
            return False
        key = self._model(ticket.model).keys[-1]
        if limits:
            key.report(limits, now)
        return key.refused(ticket, after, now)

    # -- workers that come and go ---------------------------------------------------------------------
    def adopt(
        self,
        run: str,
        model: str,
        *,
        past: Iterable[tuple[float, Amounts]],
        open: Iterable[tuple[int, float, int, int | None]],
        now: float,
        limits: ServerLimits | None = None,
    ) -> None:
        """Count what a worker did without admission: `past` (seconds ago, amounts), and the calls in flight, `open`
        (id, seconds since it was sent, input, bound of the answer)."""
        state = self._model(model)
        for ago, amounts in past:
            for key in state.keys:
                key.count(now - ago, amounts)
        for id, ago, input, max_output in open:
            if (run, id) not in self._tickets:
                ticket = Ticket(run, id, model, state.guess(input, max_output), now - ago)
                queue = self._queue(model)
                queue.add(run)
                self._start(state, queue, ticket, input)
        if limits:
            state.keys[-1].report(limits, now)

    def disconnect(self, run: str, now: float) -> None:
        """Forget the calls of a worker that cannot be heard any more. What they may have used stays counted."""
        for _, id in [name for name in self._queued if name[0] == run]:
            self.cancel(run, id, now)
        for name in [name for name in self._tickets if name[0] == run]:
            ticket = self._tickets[name][0]
            self._finish(run, name[1], ticket.cost, now, ticket.at)
            self._model(ticket.model).keys[-1].no_verdict(ticket)

    def waiting(self, now: float) -> list[WaitingCalls]:
        """The calls that wait, and for what."""
        waiting = []
        for queue in self._queues.values():
            for (run, model), queued in queue.flows.items():
                calls = [call for call in queued if not call.cancelled]
                if not calls:
                    continue
                state = self._model(model)
                block = self._block(state, state.guess(calls[0].input, calls[0].max_output), now)
                seconds = None if block is None or block.until == float("inf") else max(0.0, block.until - now)
                reason = f"{block.key} ({block.reason})" if block is not None else f"{model} (its turn)"
                waiting.append(WaitingCalls(run, model, len(calls), seconds, now - calls[0].since, reason))
        return waiting


def _share(state: _ModelState, amounts: Amounts) -> float:
    """The largest part of any limit that a call takes; a small one of none where no rate is known."""
    parts = [key.share(amounts) for key in state.keys]
    return max(parts) or 0.001


def _too_large(model: str, input: int, key: LimitState, kind: str, limit: int) -> ModelRefused:
    return ModelRefused(
        f"the prompt of about {input:,} tokens is larger than {key.name} allows at all: "
        f"{limit:,} {kind.replace('_', ' ')} {span(key.window)}",
        hint="Shorten the prompt, use another model, or correct `rate_limits` in the settings.",
        details={"model": model, "reason": "larger_than_limit", "limit": limit, "kind": kind},
    )
