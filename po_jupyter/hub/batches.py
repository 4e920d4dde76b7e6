"""Batches: they belong to who made them, are reserved when they are made, and settled when their results are there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import quote

import structlog
from aiohttp import web

from po_jupyter.errors import PoError
from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger import Charge
from po_jupyter.hub.accounts.owned_objects import ObjectState, OwnedObject, OwnedObjects
from po_jupyter.hub.batch_settlement import settle_batch, settle_holds
from po_jupyter.hub.calls import prepare
from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.problems import GatewayProblem, invalid, not_found
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.vendor_answers import RefusedByVendor, send_whole, vendor_stream
from po_jupyter.hub.wires.batch_inputs import BatchInput, bound_file, bound_requests, bound_rows
from po_jupyter.hub.wires.batch_shapes import SHAPES
from po_jupyter.hub.wires.batch_uploads import read_upload, upload_of
from po_jupyter.hub.wires.bodies import read_body
from po_jupyter.hub.wires.operations import Operation
from po_jupyter.hub.wires.request_bounds import read_json
from po_jupyter.hub.wires.upstreams import NeverSent, Upstream
from po_jupyter.llm.bounds import model_limit
from po_jupyter.model.values.json import JsonObject

log = structlog.get_logger(__name__)
_FORM = 64 * 1024  # bytes of an upload beside its file
_MOST_PAGES = 20


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
        self._shape = SHAPES[upstream.wire]

    async def answer(self, operation: Operation) -> web.StreamResponse:
        """Answer an operation. Raises GatewayProblem."""
        kind = operation.kind
        if kind == "upload":
            return await self._upload(operation)
        if kind == "create":
            is_whole = self._upstream.wire == "anthropic"  # its requests come along, not in a file
            return await (self._create_messages(operation) if is_whole else self._create(operation))
        if kind in ("files", "batches"):
            return await self._list(operation, "file" if kind == "files" else "batch")
        if kind in ("file", "content", "delete_file"):
            return await self._file(operation)
        return await self._batch(operation)

    # -- files ------------------------------------------------------------------------------------------
    async def _upload(self, operation: Operation) -> web.StreamResponse:
        config, bodies = self._state.config, self._state.bodies
        await self._count_upload()
        hours = self._shape.file_hours
        since = self._state.clock() - hours * 3600 if hours is not None else 0.0
        kept = await self._objects.size_of(self._user.name, since=since)
        with bodies.place(self._user.name, self._request, config.max_batch + _FORM):
            data = await read_upload(self._request, self._upstream.wire, config.max_batch)
            if kept + len(data) > config.max_kept:
                raise invalid(
                    f"your files at {self._upstream.name} would be more than {config.max_kept:,} bytes: "
                    "delete some (DELETE .../files/ID)"
                )
            input = await bodies.parse(partial(self._bound, data), len(data))
        sent, kind, headers = upload_of(self._upstream.wire, input.data)
        answer = await send_whole(
            self._state, self._upstream, self._request, "POST", operation.path, data=sent, content_type=kind,
            headers=headers,
        )  # fmt: skip
        if answer.value is not None and (id := self._shape.file_of(answer.value)):
            demands = [
                (demand.model, lines, demand.input_tokens, demand.output_tokens, demand.nano)
                for demand, lines in zip(input.demands, input.counts, strict=True)
            ]
            state = ObjectState(endpoint=input.endpoint, demands=demands, size=len(input.data))
            await self._keep(id, "file", state)
        return answer.response

    def _bound(self, data: bytes) -> BatchInput:
        """The input in an uploaded file; where a batch names the model, for each that the user has. Blocks."""
        state, upstream, user = self._state, self._upstream, self._user
        if upstream.wire == "openai":
            return bound_file(data, upstream.fields, self._prepare)
        refs = [ref for ref in state.models.of_user(user) if ref.partition(":")[0] == upstream.name]
        if not refs:
            state.models.resolve(user, upstream.name, "")
        limit = min(model_limit(ref) or state.config.default_max_tokens for ref in refs)
        return bound_rows(
            upstream.wire,
            data,
            upstream.fields,
            self._prepare,
            refs=refs,
            limit=limit,
            worst=state.pricer.worst,
        )

    async def _count_upload(self) -> None:
        """An upload is a call, as far as calls are limited. Raises GatewayProblem."""
        state, user = self._state, self._user
        demand = Demand(user.name, user.groups, f"{self._upstream.name}:", 0, 0, 0)
        state.admission.settle(await state.admission.admit(state.new_id(), demand), 0, 0)

    async def _file(self, operation: Operation) -> web.StreamResponse:
        owned = await self._objects.of(self._user.name, operation.id, "file")
        if operation.kind == "content":
            path = self._shape.content(owned.id)
            return await vendor_stream(self._state, self._upstream, self._request, path)
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
        """Of a file that was uploaded through here."""
        with self._state.bodies.place(self._user.name, self._request, 2**20):
            body = read_json(await read_body(self._request, 2**20))
        job = self._shape.job(body, operation.id)
        models, user, dearer = self._state.models, self._user, self._dearer
        file = await self._objects.of(user.name, job.file, "file")
        if job.endpoint != file.state.get("endpoint"):
            raise invalid(f"the file is for {file.state.get('endpoint')}")
        rows, path = file.state.get("demands", []), operation.path
        if job.model:
            model = models.resolve(user, self._upstream.name, job.model)
            rows = [row for row in rows if row[0] == model]
            if not rows:
                raise invalid(f"the file was uploaded before {model} was yours to use: upload it again")
            name = model.partition(":")[2]
            path = path.replace(f"/models/{operation.id}:", f"/models/{quote(name, safe='')}:")
        else:
            name = ""
        demands = tuple(
            Demand(user.name, user.groups, ref, input, output, dearer(ref, input, output, nano), True)
            for ref, _, input, output, nano in rows
        )
        for demand in demands:  # it may have been taken from the user's list since
            models.resolve(user, self._upstream.name, demand.model.partition(":")[2])
        token = self._state.new_id()
        counts = {ref: lines for ref, lines, *_ in rows}
        data = json.dumps(self._shape.marked(body, name, token)).encode()
        return await self._make(path, data, demands, counts, token)

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
        return await self._make(operation.path, input.data, input.demands, counts, self._state.new_id())

    async def _make(
        self, path: str, data: bytes, demands: tuple[Demand, ...], counts: dict[str, int], token: str
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
            answer = await send_whole(
                state, self._upstream, self._request, "POST", path, data=data, change=self._shape.shown
            )
        except (NeverSent, RefusedByVendor):
            await settle_holds(state, name, [(hold, Charge(calls=0)) for hold in holds])
            raise
        id = self._shape.id_of(answer.value) if answer.value is not None else ""
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
            self._state, self._upstream, self._request, method, operation.path, change=self._shape.shown
        )
        if answer.value is not None and answer.response.status == 200:
            if operation.kind == "delete_batch":
                await self._objects.forget(owned.id)
                return answer.response
            for file in self._shape.result_files(answer.value):
                await self._keep(file, "file", ObjectState(batch=owned.id))
            if self._shape.has_ended(answer.value):
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
        shape, query = self._shape, dict(operation.query)
        page = shape.own_page(query)
        own = await self._objects.ids_of(self._user.name, kind)
        if page.after and page.after not in own:
            raise not_found(f"the {kind} {page.after!r:.80}")
        items: list[JsonObject] = []
        cursor, most = page.after, page.skip + page.limit
        for _ in range(_MOST_PAGES):
            answer = await send_whole(
                self._state, self._upstream, self._request, "GET", operation.path,
                query=shape.vendor_page(query, cursor),
            )  # fmt: skip
            if answer.value is None or answer.response.status != 200:
                return answer.response
            for item in shape.listed(answer.value):
                id = shape.id_of(item)
                if id in own or (kind == "batch" and await self._find_lost(id, item)):
                    items.append(shape.shown(item))
            cursor = shape.following(answer.value, cursor)
            if not cursor or len(items) > most:
                break
        more = bool(cursor) or len(items) > most
        body = json.dumps(shape.as_list(items[page.skip : most], page, more=more)).encode()
        return web.Response(body=body, content_type="application/json", headers={"X-Po-From": "vendor"})

    async def _find_lost(self, id: str, batch: JsonObject) -> bool:
        """Take over a batch of this user whose answer was lost when it was made, by the mark in it."""
        mark = self._shape.mark_of(batch)
        name = f"{self._upstream.name}/?{mark}"
        holds = self._state.batches.get(name) if mark else None
        if not holds or holds[0].demand.user != self._user.name:
            return False
        counts = {hold.demand.model: self._shape.total_of(batch) for hold in holds}
        await self._adopt(name, id, counts, self._user.name)
        return True

    # -- small ------------------------------------------------------------------------------------------
    @property
    def _prepare(self) -> Callable[..., tuple[Demand, bytes]]:
        return partial(prepare, self._state, self._user, self._upstream, is_batch=True)

    async def _keep(self, id: str, kind: str, state: ObjectState) -> None:
        await self._objects.keep(id, self._user.name, kind, state, self._state.clock())
