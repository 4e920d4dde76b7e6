"""Batches: they belong to who made them, are reserved when they are made, and settled when their results are there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

import aiohttp
import structlog
from aiohttp import web

from po_jupyter.errors import PoError
from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger import Charge
from po_jupyter.hub.accounts.owned_objects import ObjectState, OwnedObject, OwnedObjects
from po_jupyter.hub.batch_settlement import BatchResults, settle_batch, settle_holds
from po_jupyter.hub.calls import prepare
from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.problems import GatewayProblem, invalid, not_found
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.vendor_answers import RefusedByVendor, send_whole, vendor_stream
from po_jupyter.hub.wires.batch_inputs import BatchInput, bound_file, bound_requests, read_upload
from po_jupyter.hub.wires.bodies import read_body
from po_jupyter.hub.wires.operations import Operation
from po_jupyter.hub.wires.request_bounds import read_json
from po_jupyter.hub.wires.upstreams import NeverSent, Upstream
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.whole_numbers import whole_number

log = structlog.get_logger(__name__)
_FORM = 64 * 1024  # bytes of an upload beside its file
_PAGE = 100
_MOST_PAGES = 20
_MARK = "po_gateway"  # in the metadata of a batch: by it one is found whose answer was lost
_OPENAI_FIELDS = frozenset({"input_file_id", "endpoint", "completion_window", "metadata"})


class UserBatches:
    """The files and batches of one upstream, for one user's request."""

    def __init__(
        self, state: GatewayState, upstream: Upstream, request: web.BaseRequest, user: HubUser
    ) -> None:
        """For a request of a user."""
        self._state = state
        self._upstream = upstream
        self._request = request
        self._user = user
        self._objects = OwnedObjects(state.ledger, upstream.name)

    async def answer(self, operation: Operation) -> web.StreamResponse:
        """Answer an operation. Raises GatewayProblem."""
        kind = operation.kind
        if kind == "upload":
            return await self._upload(operation)
        if kind == "create":
            return await (self._create_messages(operation) if self._is_anthropic else self._create(operation))
        if kind in ("files", "batches"):
            return await self._list(operation, "file" if kind == "files" else "batch")
        if kind in ("file", "content", "delete_file"):
            return await self._file(operation)
        return await self._batch(operation)

    @property
    def _is_anthropic(self) -> bool:
        return self._upstream.wire == "anthropic"

    # -- files ------------------------------------------------------------------------------------------
    async def _upload(self, operation: Operation) -> web.StreamResponse:
        config, bodies = self._state.config, self._state.bodies
        await self._count_upload()
        kept = await self._objects.size_of(self._user.name)
        with bodies.place(self._user.name, self._request, config.max_batch + _FORM):
            data = await read_upload(self._request, config.max_batch)
            if kept + len(data) > config.max_kept:
                raise invalid(f"your files would be more than {config.max_kept:,} bytes: delete some")
            work = partial(bound_file, data, self._upstream.fields, self._prepare)
            input = await bodies.parse(work, len(data))
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", input.data, filename="batch.jsonl", content_type="application/jsonl")
        answer = await send_whole(
            self._state, self._upstream, self._request, "POST", operation.path, data=form(), content_type=""
        )
        if answer.value is not None and (id := as_text(answer.value.get("id"))):
            demands = [
                (demand.model, lines, demand.input_tokens, demand.output_tokens, demand.nano)
                for demand, lines in zip(input.demands, input.counts, strict=True)
            ]
            state = ObjectState(endpoint=input.endpoint, demands=demands, size=len(input.data))
            await self._keep(id, "file", state)
        return answer.response

    async def _count_upload(self) -> None:
        """An upload is a call, as far as calls are limited. Raises GatewayProblem."""
        state, user = self._state, self._user
        demand = Demand(user.name, user.groups, f"{self._upstream.name}:", 0, 0, 0)
        state.admission.settle(await state.admission.admit(state.new_id(), demand), 0, 0)

    async def _file(self, operation: Operation) -> web.StreamResponse:
        owned = await self._objects.of(self._user.name, operation.id, "file")
        if operation.kind == "content":
            return await vendor_stream(self._state, self._upstream, self._request, operation.path)
        if operation.kind == "delete_file":
            batch = owned.state.get("batch")
            if batch and f"{self._upstream.name}/{batch}" in self._state.batches:
                raise GatewayProblem(
                    409, "invalid_request", "what this batch used is not counted yet: try again later"
                )
            answer = await send_whole(self._state, self._upstream, self._request, "DELETE", operation.path)
            if answer.response.status == 200:
                await self._objects.forget(owned.id)
            return answer.response
        return (await send_whole(self._state, self._upstream, self._request, "GET", operation.path)).response

    # -- making a batch -----------------------------------------------------------------------------------
    async def _create(self, operation: Operation) -> web.StreamResponse:
        """OpenAI's: of a file that was uploaded through here."""
        with self._state.bodies.place(self._user.name, self._request, 2**20):
            body = read_json(await read_body(self._request, 2**20))
        if unknown := set(body) - _OPENAI_FIELDS:
            raise invalid(f"the field {sorted(unknown)[0]!r:.60} of a batch is not passed on")
        metadata = body.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise invalid("`metadata` must be an object")
        file = await self._objects.of(self._user.name, as_text(body.get("input_file_id")), "file")
        if body.get("endpoint") != file.state.get("endpoint"):
            raise invalid(f"the file is for {file.state.get('endpoint')}")
        rows = file.state.get("demands", [])
        user, dearer = self._user, self._dearer
        demands = tuple(
            Demand(user.name, user.groups, ref, input, output, dearer(ref, input, output, nano), True)
            for ref, _, input, output, nano in rows
        )
        for demand in demands:  # it may have been taken from the user's list since
            self._state.models.resolve(self._user, self._upstream.name, demand.model.partition(":")[2])
        token = self._state.new_id()
        body["metadata"] = {**(metadata or {}), _MARK: token}
        counts = {ref: lines for ref, lines, *_ in rows}
        return await self._make(operation, json.dumps(body).encode(), demands, counts, token)

    def _dearer(self, ref: str, input: int, output: int, nano: int | None) -> int | None:
        """The most that the lines of a file cost: by the prices of now, or by those of its upload."""
        now = self._state.pricer.worst(ref, input, output)
        return None if now is None else max(now, nano or 0)

    async def _create_messages(self, operation: Operation) -> web.StreamResponse:
        """Anthropic's: with its requests."""
        most, bodies = self._state.config.max_batch, self._state.bodies
        with bodies.place(self._user.name, self._request, most):
            raw = await read_body(self._request, most)
            work = partial(bound_requests, raw, self._upstream.fields, self._prepare)
            input: BatchInput = await bodies.parse(work, len(raw))
        counts = {demand.model: lines for demand, lines in zip(input.demands, input.counts, strict=True)}
        return await self._make(operation, input.data, input.demands, counts, self._state.new_id())

    async def _make(
        self, operation: Operation, data: bytes, demands: tuple[Demand, ...], counts: dict[str, int], token: str
    ) -> web.StreamResponse:
        """Reserve what a batch may take, and make it. One whose answer is lost stays reserved in full."""
        state, name = self._state, f"{self._upstream.name}/?{token}"
        holds: list[Reservation] = []
        try:
            for demand in demands:
                holds.append(await state.admission.admit(state.new_id(), demand))
            await state.ledger.reserve(holds, name)
        except BaseException:
            for hold in holds:
                state.admission.settle(hold, 0, 0)
            raise
        state.batches[name] = holds
        try:
            answer = await send_whole(state, self._upstream, self._request, "POST", operation.path, data=data)
        except (NeverSent, RefusedByVendor):
            await settle_holds(state, name, [(hold, Charge(calls=0)) for hold in holds])
            raise
        id = as_text(answer.value.get("id")) if answer.value is not None else ""
        if answer.response.status == 200 and id:
            await self._adopt(name, id, counts, self._user.name)
        elif answer.response.status < 500:
            await settle_holds(state, name, [(hold, Charge(calls=0)) for hold in holds])
        return answer.response

    async def _adopt(self, name: str, id: str, counts: dict[str, int], user: str) -> None:
        """A batch is there: its reservations get its name, and it its owner."""
        state = ObjectState(counts=counts, settled=False)
        await self._objects.keep(id, user, "batch", state, self._state.clock(), token=name)
        self._state.batches[f"{self._upstream.name}/{id}"] = self._state.batches.pop(name, [])

    # -- looking at batches -------------------------------------------------------------------------------
    async def _batch(self, operation: Operation) -> web.StreamResponse:
        owned = await self._objects.of(self._user.name, operation.id, "batch")
        method = self._request.method
        if operation.kind == "results":
            await self._settle(owned)
            return await vendor_stream(self._state, self._upstream, self._request, operation.path)
        if operation.kind == "delete_batch" and not await self._settle(owned):
            raise GatewayProblem(
                409, "invalid_request", "what this batch used is not counted yet: try again later"
            )
        answer = await send_whole(
            self._state, self._upstream, self._request, method, operation.path, change=_with_own_address
        )
        if answer.value is not None and answer.response.status == 200:
            if operation.kind == "delete_batch":
                await self._objects.forget(owned.id)
                return answer.response
            for name in ("output_file_id", "error_file_id"):
                if file := as_text(answer.value.get(name)):
                    await self._keep(file, "file", ObjectState(batch=owned.id))
            if BatchResults.has_ended(answer.value):
                await self._settle(owned, answer.value)
        return answer.response

    async def _settle(self, owned: OwnedObject, batch: Mapping[str, object] | None = None) -> bool:
        """Settle a batch if it has ended; True when it is settled."""
        try:
            return await settle_batch(self._state, self._upstream, owned, batch)
        except (GatewayProblem, PoError) as error:
            log.warning("a batch cannot be settled yet", batch=owned.id, error=str(error)[:200])
            return False

    async def _list(self, operation: Operation, kind: str) -> web.StreamResponse:
        """The user's own in the vendor's list, page by page until there are enough of them."""
        query = dict(operation.query)
        own = await self._objects.ids_of(self._user.name, kind)
        limit = min(whole_number(query.get("limit", "")) or 20, _PAGE)
        cursor = "after_id" if self._is_anthropic else "after"
        if (after := query.pop(cursor, "")) and after not in own:
            raise not_found(f"the {kind} {after!r:.80}")
        items: list[JsonObject] = []
        more = True
        for _ in range(_MOST_PAGES):
            page = {**query, "limit": str(_PAGE), **({cursor: after} if after else {})}
            answer = await send_whole(
                self._state,
                self._upstream,
                self._request,
                "GET",
                operation.path,
                query=page,
                change=_with_own_address,
            )
            if answer.value is None or answer.response.status != 200:
                return answer.response
            listed = mappings_in(answer.value.get("data"))
            for item in listed:
                id = as_text(item.get("id"))
                if id in own or (kind == "batch" and await self._find_lost(id, item)):
                    items.append(_with_own_address(item))
            more = bool(answer.value.get("has_more"))
            if not listed or not more or len(items) > limit:
                break
            after = as_text(listed[-1].get("id"))
        return self._as_list(items[:limit], more or len(items) > limit)

    def _as_list(self, items: list[JsonObject], more: bool) -> web.Response:
        ends = {"first_id": items[0]["id"] if items else None, "last_id": items[-1]["id"] if items else None}
        body: JsonObject = {"data": items, "has_more": more and bool(items), **ends}
        if not self._is_anthropic:
            body["object"] = "list"
        return web.Response(body=json.dumps(body).encode(), content_type="application/json",
                            headers={"X-Po-From": "vendor"})  # fmt: skip

    async def _find_lost(self, id: str, batch: JsonObject) -> bool:
        """Take over a batch of this user whose answer was lost when it was made, by the mark in its metadata."""
        mark = as_text(mapping_at(batch, "metadata").get(_MARK))
        name = f"{self._upstream.name}/?{mark}"
        holds = self._state.batches.get(name) if mark else None
        if not holds or holds[0].demand.user != self._user.name:
            return False
        total = mapping_at(batch, "request_counts").get("total")
        counts = {hold.demand.model: total if isinstance(total, int) else 1 for hold in holds}
        await self._adopt(name, id, counts, self._user.name)
        return True

    # -- small ------------------------------------------------------------------------------------------
    @property
    def _prepare(self) -> Callable[..., tuple[Demand, bytes]]:
        return partial(prepare, self._state, self._user, self._upstream, is_batch=True)

    async def _keep(self, id: str, kind: str, state: ObjectState) -> None:
        await self._objects.keep(id, self._user.name, kind, state, self._state.clock())


def _with_own_address(batch: JsonObject) -> JsonObject:
    """A batch of Anthropic's whose results are at the gateway: what asks for them sends the user's token there."""
    if batch.get("results_url"):
        batch["results_url"] = f"/v1/messages/batches/{batch.get('id')}/results"
    return batch
