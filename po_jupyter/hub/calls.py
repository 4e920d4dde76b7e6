"""One call: bounded, reserved, sent with the team's key, passed on while it comes, and settled by what it used."""

from __future__ import annotations

from urllib.parse import quote

import aiohttp
from aiohttp import web

from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger import Charge, in_full
from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.problems import GatewayProblem, invalid
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.vendor_answers import pass_on, vendor_answer
from po_jupyter.hub.wires.bodies import read_answer, read_body
from po_jupyter.hub.wires.embedding_requests import bound_embeddings
from po_jupyter.hub.wires.meters import Meter
from po_jupyter.hub.wires.operations import Operation
from po_jupyter.hub.wires.request_bounds import BoundedRequest, bound_request, read_json
from po_jupyter.hub.wires.upstreams import NeverSent, Upstream

_NOTHING = Charge()
_NOT_SENT = Charge(calls=0)
# Between us and the vendor's model somebody gave up: it may have answered.
_UNKNOWN = frozenset({502, 504, *range(520, 526)})


async def call(
    state: GatewayState, request: web.BaseRequest, user: HubUser, upstream: Upstream, operation: Operation
) -> web.StreamResponse:
    """Make a call for a user. Raises GatewayProblem."""
    demand, data = await _read(state, request, user, upstream, operation)
    hold = await state.admission.admit(state.new_id(), demand)
    meter = Meter(operation.api, says_cost=upstream.says_cost)
    settlement = _Settlement(in_full(demand))
    try:
        _check_presence(request, settlement)
        await _make_durable(state, hold, settlement)
        _check_presence(request, settlement)
        path = operation.path
        if operation.api in ("gemini", "gemini_embeddings"):
            head, method = path.partition("/models/")[0], path.rpartition(":")[2]
            path = f"{head}/models/{quote(demand.model.partition(':')[2], safe='')}:{method}"
        response = await state.vendors.send(
            upstream,
            "POST",
            upstream.url(path, operation.query),
            headers=upstream.headers(request.headers),
            data=data,
        )
        try:
            return await _pass_on(state, request, upstream, response, meter, demand, settlement)
        finally:
            response.close() if not response.content.at_eof() else response.release()
    except NeverSent:
        settlement.amounts = _NOT_SENT
        raise
    finally:
        amounts = settlement.amounts
        state.admission.settle(hold, amounts.tokens, amounts.nano)
        state.ledger.settle(hold, amounts)


async def _read(
    state: GatewayState, request: web.BaseRequest, user: HubUser, upstream: Upstream, operation: Operation
) -> tuple[Demand, bytes]:
    most = state.config.max_body
    with state.bodies.place(user.name, request, most):
        raw = await read_body(request, most)

        def work() -> tuple[Demand, bytes]:
            api, body = operation.api, read_json(raw)
            if api in ("embeddings", "gemini_embeddings"):
                bounded = bound_embeddings(api, body, path_model=operation.id, fields=upstream.fields)
            else:
                bounded = bound_request(
                    api,
                    body,
                    path_model=operation.id,
                    stream=":stream" in operation.path,
                    fields=upstream.fields,
                )
            return prepare(state, user, upstream, bounded)

        return await state.bodies.parse(work, len(raw))


class _Settlement:
    """What a call counts as, as far as it is known; in full until something is."""

    __slots__ = ("amounts",)

    def __init__(self, amounts: Charge) -> None:
        self.amounts = amounts


def prepare(
    state: GatewayState, user: HubUser, upstream: Upstream, bounded: BoundedRequest, *, is_batch: bool = False
) -> tuple[Demand, bytes]:
    """What a request may take, and its body as it goes out. Raises GatewayProblem when the model is not allowed."""
    ref = state.models.resolve(user, upstream.name, bounded.model)
    if bounded.image_urls and not (upstream.is_vendor or upstream.image_urls):
        raise invalid(
            f"images by their addresses are not passed on to {upstream.name}, whose server would fetch them from "
            "within the team's network: send them as base64, or an administrator allows it (`image_urls`)"
        )
    bounded.set_model(ref)
    bounded.ask_for_usage(upstream.name)
    output = bounded.output_bound(ref, state.config.default_max_tokens)
    data = bounded.encoded()
    input = bounded.input_bound(ref, len(data), at_vendor=upstream.is_vendor)
    nano = state.pricer.worst(ref, input, output)
    return Demand(user.name, user.groups, ref, input, output, nano, is_batch, bounded.thinks), data


def _check_presence(request: web.BaseRequest, settlement: _Settlement) -> None:
    """Whoever left while they waited gets no answer that they would pay for."""
    if request.transport is None or request.transport.is_closing():
        settlement.amounts = _NOT_SENT
        raise GatewayProblem(408, "invalid_request", "the connection was closed before the call was sent")


async def _make_durable(state: GatewayState, hold: Reservation, settlement: _Settlement) -> None:
    sent_as, settlement.amounts = settlement.amounts, _NOT_SENT
    try:
        await state.ledger.reserve([hold])
        settlement.amounts = sent_as
    except Exception:
        raise GatewayProblem(
            503, "gateway_unavailable", "the ledger cannot be written, so nothing was sent", retry_after=5
        ) from None


async def _pass_on(
    state: GatewayState,
    request: web.BaseRequest,
    upstream: Upstream,
    response: aiohttp.ClientResponse,
    meter: Meter,
    demand: Demand,
    settlement: _Settlement,
) -> web.StreamResponse:
    if response.status == 200 and response.content_type == "text/event-stream":
        try:
            return await pass_on(request, upstream, response, state.config.timeout, meter.feed)
        finally:
            settlement.amounts = state.pricer.settlement(demand, meter)
    if response.status >= 300 and response.status not in _UNKNOWN:
        settlement.amounts = _NOTHING
    body = await read_answer(response)
    if response.status < 300:
        meter.whole(body)
        settlement.amounts = state.pricer.settlement(demand, meter)
    return vendor_answer(upstream, response, body)
