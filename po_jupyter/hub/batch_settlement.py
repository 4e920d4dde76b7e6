"""Settlement of batches: their results are read at the vendor's, whether or not their owner asks for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp
import structlog

from po_jupyter.errors import PoError
from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger import Charge, in_full
from po_jupyter.hub.accounts.owned_objects import OwnedObject, OwnedObjects
from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.wires.batch_shapes import SHAPES, BatchShape
from po_jupyter.hub.wires.bodies import MAX_ANSWER, read_answer
from po_jupyter.hub.wires.meters import Meter, within_bounds
from po_jupyter.hub.wires.upstreams import Upstream, unavailable
from po_jupyter.llm.money.service_tiers import BATCH
from po_jupyter.model.values.json import JsonObject

log = structlog.get_logger(__name__)
_LOOK = 300.0  # seconds between two looks at the batches that nobody asked for
# Seconds after which a batch counts in full whose making was never answered, or that its vendor has no more.
_FORGOTTEN = 26 * 3600.0


class BatchGone(GatewayProblem):
    """A batch, or its results, that the vendor says it does not have."""


class BatchResults:
    """The results of a batch while they are read: what each model used, and how many lines were answered."""

    def __init__(
        self, state: GatewayState, holds: Sequence[Reservation], counts: Mapping[str, int], shape: BatchShape
    ) -> None:
        """`holds` are the reservations, one for each model; `counts` their lines; `shape` is the vendor's."""
        self._state = state
        self._holds = {hold.demand.model: hold for hold in holds}
        self._counts = counts
        self._shape = shape
        self._amounts = {ref: Charge(calls=0) for ref in self._holds}
        self._seen: dict[str, int] = dict.fromkeys(self._holds, 0)
        self._ids: set[str] = set()

    def add(self, line: JsonObject) -> None:
        """Count a line of the results, once."""
        custom_id, answer = self._shape.result(line)
        if custom_id in self._ids:
            return
        self._ids.add(custom_id)
        meter = Meter("responses" if self._shape.api == "chat" and "output" in answer else self._shape.api)
        meter.read(answer)
        ref = self._ref_of(meter.model)
        self._seen[ref] += 1
        if meter.usage is not None:
            demand = self._holds[ref].demand
            part = None if demand.nano is None else _part(demand, 1, max(1, self._counts.get(ref, 1))).nano
            used = self._state.pricer.amounts(meter.usage, ref, tier=BATCH, reserved=part)
            self._amounts[ref] = plus(self._amounts[ref], used)

    def settled(self, *, whole: bool) -> list[tuple[Reservation, Charge]]:
        """What each reservation used. Lines without a result count in full when the batch is `whole`, and nothing
        when it ended before them: a vendor bills no line that it did not begin."""
        rows = []
        for ref, hold in self._holds.items():
            amounts = within_bounds(hold.demand, self._amounts[ref])
            lines = max(1, self._counts.get(ref, 1))
            if whole and (missing := max(0, lines - self._seen[ref])):
                amounts = plus(amounts, _part(hold.demand, missing, lines))
            rows.append((hold, amounts))
        return rows

    def _ref_of(self, model: str) -> str:
        """The reservation that an answer belongs to: a vendor may add a date to the name of a model. One that is of
        none belongs to the dearest."""
        refs = [ref for ref in self._holds if model.startswith(ref.partition(":")[2])]
        if refs:
            return max(refs, key=len)
        return max(self._holds, key=lambda ref: (self._state.pricer.worst(ref, 1000, 1000) or 0, len(ref)))


def plus(one: Charge, other: Charge) -> Charge:
    """The sum of two amounts."""
    return Charge(*(a + b for a, b in zip(one, other, strict=True)))


def _part(demand: Demand, lines: int, of: int) -> Charge:
    """That many lines of a demand, in full."""
    whole = in_full(demand)
    return Charge(
        -(-whole.input * lines // of), -(-whole.output * lines // of), nano=-(-whole.nano * lines // of), lost=lines,
        unpriced=whole.unpriced, calls=lines,
    )  # fmt: skip


async def settle_batch(
    state: GatewayState, upstream: Upstream, owned: OwnedObject, batch: Mapping[str, object] | None = None
) -> bool:
    """Settle a batch that has ended; `batch` is how its vendor describes it. True when it is settled.

    Raises GatewayProblem when its results cannot be read now, BatchGone where they never will.
    """
    name = f"{upstream.name}/{owned.id}"
    holds = state.batches.get(name)
    if holds is None:
        return True
    shape = SHAPES[upstream.wire]
    if batch is None:
        batch = await _fetch(state, upstream, shape.path(owned.id))
    if not shape.has_ended(batch):
        return False
    results = BatchResults(state, holds, owned.state.get("counts", {}), shape)
    for path in shape.result_paths(owned.id, batch):
        async for line in _lines(state, upstream, path):
            results.add(line)
    await settle_holds(state, name, results.settled(whole=shape.is_whole(batch)))
    return True


async def settle_holds(state: GatewayState, name: str, settled: Sequence[tuple[Reservation, Charge]]) -> None:
    """Settle the reservations of a batch, once; durable when this returns."""
    holds = state.batches.pop(name, None)
    if holds is None:
        return
    try:
        await state.ledger.settle_batch(settled)
    except BaseException:
        state.batches[name] = holds
        raise
    for hold, amounts in settled:
        state.admission.settle(hold, amounts.tokens, amounts.nano)


async def _fetch(state: GatewayState, upstream: Upstream, path: str) -> Mapping[str, object]:
    response = await state.vendors.send(upstream, "GET", upstream.url(path), headers=_headers(upstream))
    try:
        body = await read_answer(response)
    finally:
        response.release()
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if response.status != 200 or not isinstance(value, dict):
        raise _unread(response.status, f"{upstream.name} does not say what became of a batch")
    return value


async def _lines(state: GatewayState, upstream: Upstream, path: str) -> AsyncIterator[JsonObject]:
    """The JSON objects in the lines of a file at the vendor's."""
    response = await state.vendors.send(upstream, "GET", upstream.url(path), headers=_headers(upstream))
    rest = b""
    try:
        if response.status != 200:
            raise _unread(response.status, f"{upstream.name} has not the results of a batch")
        async for piece in response.content.iter_any():
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > MAX_ANSWER:
                raise unavailable("a line of the results is too long")
            for line in lines:
                if (value := _object(line)) is not None:
                    yield value
        if (value := _object(rest)) is not None:
            yield value
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        raise unavailable("the results broke off") from None
    finally:
        response.close()


def _unread(status: int, message: str) -> GatewayProblem:
    problem = unavailable(f"{message} ({status})")
    return BatchGone(problem.status, problem.code, problem.message) if status in (404, 410) else problem


def _object(line: bytes) -> JsonObject | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _headers(upstream: Upstream) -> dict[str, str]:
    return upstream.headers({"anthropic-version": "2023-06-01"} if upstream.wire == "anthropic" else {}, "")


async def watch_batches(state: GatewayState) -> None:
    """Look at every open batch again and again."""
    while True:
        await asyncio.sleep(_LOOK)
        await look_at_batches(state)


async def look_at_batches(state: GatewayState) -> None:
    """Settle every open batch that has ended, and in full those of which the vendor will never say more."""
    for name in list(state.batches):
        try:
            await _look_at(state, name)
        except (GatewayProblem, PoError) as error:
            id = name.partition("/")[2]
            log.warning("a batch cannot be settled yet", batch=id, error=str(error)[:200])


async def _look_at(state: GatewayState, name: str) -> None:
    provider, _, id = name.partition("/")
    holds, upstream = state.batches.get(name, []), state.upstreams.get(provider)
    is_old = bool(holds) and holds[0].at < state.clock() - _FORGOTTEN
    if not id.startswith("?"):  # its making was answered
        owned = await OwnedObjects(state.ledger, provider).find(id)
        if upstream is None or owned is None:
            return
        try:
            await settle_batch(state, upstream, owned)
            return
        except BatchGone:
            if not is_old:
                raise
    if is_old:
        await settle_holds(state, name, [(hold, in_full(hold.demand)) for hold in holds])
