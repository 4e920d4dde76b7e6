"""The shares of the settings' rate limits that the nodes have: a document of the store, divided by what they need.

    ("rates", "shares")  {"entries": {TOKEN: {"turn": n, "limits": {"openai requests": [share, needs, next]}}}}

Each node writes its own entry, by compare and swap, and never more than what the others' entries leave of a limit. A
share bounds what a node has used in the trailing window. So it is lowered here before the document says so, never
below what still counts in the window, and it is raised once the document has it: at each moment all nodes together
stay under the limit, whatever they see late. An entry whose node is gone stays until what that used counts no more.

`divide` is the rule: every node applies it to the same document, and gives up or takes what is missing to its part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from po_jupyter.llm.rate_limits.demands import Demands, LimitDemand, Shares
from po_jupyter.model.run.rate_limit import RateLimit
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.protocol import DocumentStore

DOCUMENT = "rates", "shares"  # kind and name
_IDLE = 50  # a node without calls has one part in so many, divided by the number of nodes
_AHEAD = 10  # and what nobody needs is held for calls to come, by each up to one part in so many
_TRIES = 3
_NOTHING = LimitDemand(0, 0, 0)


class NodeDemand(NamedTuple):
    """What a node `needs` of a limit, with what it used, and what its next call takes, 0 for none."""

    needs: int
    next: int


class ShareServer(Protocol):
    """Whoever admits the calls of a node."""

    def demands(self) -> Demands:
        """What the calls here used and need."""
        ...

    def set_shares(self, shares: Shares, until: float) -> None:
        """Admit so much, and nothing from `until` on (of `time.monotonic`)."""
        ...


def divide(limit: int, claims: Sequence[NodeDemand]) -> list[int]:
    """The parts of a limit, in the order of the claims, whose turn comes first.

    Room for one call goes before all, for a call cannot be divided; a little to each; the rest as evenly as the needs
    are (max-min fair); what is left then is for calls to come.
    """
    parts, left = [], limit
    for claim in claims:
        parts.append(claim.next if claim.next <= left else 0)
        left -= parts[-1]
    idle = max(1, limit // (_IDLE * max(1, len(claims))))
    left = _fill(parts, [idle] * len(claims), left)
    left = _fill(parts, [claim.needs for claim in claims], left)
    _fill(parts, [claim.needs + limit // _AHEAD for claim in claims], left)
    return parts


def _fill(parts: list[int], wanted: Sequence[int], left: int) -> int:
    """Raise the smallest parts first, each up to what is wanted; what is left."""

    def missing(level: int) -> list[int]:
        return [max(0, min(want, level) - part) for want, part in zip(wanted, parts, strict=True)]

    low, high = 0, max(wanted, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(missing(middle)) <= left else (low, middle - 1)
    for index, more in enumerate(missing(low)):
        parts[index] += more
        left -= more
    for index, more in enumerate(missing(low + 1)):
        if more and left:
            parts[index] += 1
            left -= 1
    return left


class SharePlan(NamedTuple):
    """What a node may use `now`, the document that it wants to write (None: it is right already), and what it may use
    once that is written."""

    now: dict[tuple[str, str], int]
    document: Mapping[str, Any] | None
    then: dict[tuple[str, str], int]


class RateShare:
    """The share of one node. `token` is new for each time that a process becomes a node: what an earlier one used is
    not known to it, and has an entry of its own."""

    def __init__(
        self,
        token: str,
        limits: Mapping[str, RateLimit],
        window: float,
        term: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limits` and `window` are those of the settings; a node is gone after `term` seconds without a sign of it."""
        self.token = token
        self._limits = {
            (key, kind): amount
            for key, limit in limits.items()
            for kind, amount in limit.model_dump(exclude_none=True).items()
        }
        self._memory = 1.02 * window + 0.1 + 2 * term
        self._clock = clock
        self._gone: dict[str, float] = {}  # since when
        self._used: dict[tuple[str, str], int] = {}  # as of the last plan

    async def step(
        self,
        server: ShareServer,
        store: DocumentStore,
        to_thread: ToThread,
        alive: Collection[str],
        until: float,
    ) -> None:
        """Give up and take what is due. `alive` are the tokens of the nodes that are not gone; `until` then the others
        take this one for gone, if they do not hear of it. Raises StoreError."""
        if self.token not in alive:  # they do not know yet
            server.set_shares({}, float("inf"))
            return
        for _ in range(_TRIES):
            document = await to_thread(store.get, *DOCUMENT)
            plan = self.plan(document, server.demands(), alive)
            server.set_shares(plan.now, until)
            if plan.document is None:
                return
            if await to_thread(store.swap, *DOCUMENT, document, plan.document):
                server.set_shares(plan.then, until)
                return

    def plan(self, document: Mapping[str, Any] | None, demands: Demands, alive: Collection[str]) -> SharePlan:
        """What to do, given what the document says."""
        entries = self._remembered((document or {}).get("entries", {}), alive)
        turns = {token: int(entry["turn"]) for token, entry in entries.items()}
        mine = entries.pop(self.token, None)
        latest = max(turns.values(), default=0)
        turns.setdefault(self.token, 0)
        before = _shares(mine)
        now, then, kept, own = {}, {}, {}, {}
        for item, limit in self._limits.items():
            demand = demands.get(item, _NOTHING)
            others = {token: _numbers(entry, item) for token, entry in entries.items()}
            lost = sum(others[token][0] for token in self._gone)
            claims = {
                token: NodeDemand(*numbers[1:]) for token, numbers in others.items() if token not in self._gone
            }
            claims[self.token] = own[item] = NodeDemand(min(limit, demand.used + demand.queued), demand.next)
            order = sorted(claims, key=lambda token: (turns[token], token))
            parts = divide(max(0, limit - lost), [claims[token] for token in order])
            part = parts[order.index(self.token)]
            had, wanted = before.get(item, 0), max(part, demand.used)
            free = limit - sum(numbers[0] for numbers in others.values())
            share = wanted if wanted <= had else max(had, min(wanted, free))
            now[item], then[item], kept[item] = min(had, part), min(share, part), share
        if self._has_sent(demands) and (turns[self.token] == 0 or turns[self.token] < latest):
            turns[self.token] = latest + 1  # who sent nothing for longest comes first
        limits = {" ".join(item): [kept[item], *own[item]] for item in kept}
        entries[self.token] = {"turn": turns[self.token], "limits": limits}
        changed = {"entries": entries}
        return SharePlan(now, None if changed == document else changed, then)

    def _remembered(self, entries: Mapping[str, Any], alive: Collection[str]) -> dict[str, Any]:
        """The entries without those whose nodes are gone for so long that what they used counts no more."""
        moment = self._clock()
        gone = entries.keys() - set(alive) - {self.token}
        over = {token for token in gone if moment - self._gone.get(token, moment) > self._memory}
        self._gone = {token: self._gone.get(token, moment) for token in gone - over}
        return {token: entry for token, entry in entries.items() if token not in over}

    def _has_sent(self, demands: Demands) -> bool:
        """Whether calls were sent since this was last asked."""
        before, self._used = self._used, {item: demand.used for item, demand in demands.items()}
        return any(used > before.get(item, 0) for item, used in self._used.items())


def _numbers(entry: Mapping[str, Any], item: tuple[str, str]) -> tuple[int, int, int]:
    share, needs, next_call = entry["limits"].get(" ".join(item), (0, 0, 0))
    return share, needs, next_call


def _shares(entry: Mapping[str, Any] | None) -> dict[tuple[str, str], int]:
    if entry is None:
        return {}
    found = {}
    for name, (share, *_) in entry["limits"].items():
        key, _, kind = name.rpartition(" ")
        found[key, kind] = share
    return found
