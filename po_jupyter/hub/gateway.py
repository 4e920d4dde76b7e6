"""The gateway as an HTTP server: which request is for whom, and problems as answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from po_jupyter.hub.calls import call
from po_jupyter.hub.identity import Authenticator, HubUser, RememberedTokens, user_of
from po_jupyter.hub.operations import Operation, find_operation
from po_jupyter.hub.problems import GatewayProblem, not_found, response_of
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.upstreams import Upstream

log = structlog.get_logger(__name__)
Action = Callable[[web.BaseRequest, HubUser], Awaitable[web.StreamResponse]]
# What every answer of the gateway's own says to a browser.
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}


class Gateway:
    """The requests of a gateway. `handle` is for `aiohttp.web.Server`."""

    def __init__(
        self, state: GatewayState, authenticator: Authenticator, *, prefix: str = "/services/po/"
    ) -> None:
        """`prefix` begins and ends with a slash."""
        self.state = state
        self.prefix = prefix
        self.authenticator = RememberedTokens(authenticator)
        self.actions: dict[tuple[str, str], Action] = {
            ("GET", "api/models"): self._models,
            ("GET", "api/usage"): self._usage,
        }

    async def start(self) -> None:
        """Open the ledger and the connections. Raises StoreUnusable."""
        await self.state.start()

    async def stop(self) -> None:
        """Close them."""
        await self.state.stop()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        upstream: Upstream | None = None
        try:
            # The path as it came in: nothing is decoded, joined or climbed.
            target = request.raw_path
            if not target.startswith(self.prefix):
                raise not_found()
            rest = target[len(self.prefix) :]
            name = rest.partition("/")[0]
            upstream = self.state.upstreams.get(name)
            if upstream is not None:
                return await self._vendor(request, upstream, rest[len(name) :])
            return await self._own(request, rest)
        except GatewayProblem as problem:
            return response_of(problem, upstream.wire if upstream is not None else "")
        except Exception as error:
            log.error("unexpected", error=type(error).__name__, exc_info=True)
            failure = GatewayProblem(500, "gateway_unavailable", "the gateway failed; its log says more")
            return response_of(failure, upstream.wire if upstream is not None else "")

    async def _vendor(self, request: web.BaseRequest, upstream: Upstream, target: str) -> web.StreamResponse:
        user = await user_of(request.headers, self.authenticator)
        operation = find_operation(upstream.wire, request.method, target)
        if operation is None:
            raise not_found("this operation")
        if operation.kind == "call":
            return await call(self.state, request, user, upstream, operation)
        if operation.kind == "models":
            return as_json(self._vendor_models(user, upstream, operation))
        raise not_found("this operation")

    async def _own(self, request: web.BaseRequest, rest: str) -> web.StreamResponse:
        path = rest.partition("?")[0]
        action = self.actions.get((request.method, path))
        user = await user_of(request.headers, self.authenticator)
        if action is None:
            raise not_found()
        return await action(request, user)

    # -- actions ----------------------------------------------------------------------------------------
    async def _models(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        rows = []
        for ref in self.state.models.of_user(user):
            price = self.state.prices.per_million(ref)
            rows.append(
                {
                    "model": ref,
                    "input_per_million": price["input"] if price else None,
                    "output_per_million": price["output"] if price else None,
                }
            )
        return as_json({"models": rows, "own_keys": self.state.config.own_keys})

    async def _usage(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        windows = self.state.balances.windows(user.name, user.groups, self.state.clock())
        return as_json({"user": user.name, "groups": list(user.groups), "windows": windows})

    def _vendor_models(self, user: HubUser, upstream: Upstream, operation: Operation) -> dict[str, object]:
        """The models of a user in a vendor's shape."""
        names = [
            ref.partition(":")[2]
            for ref in self.state.models.of_user(user)
            if ref.startswith(f"{upstream.name}:")
        ]
        if operation.api == "gemini":
            return {"models": [{"name": f"models/{name}"} for name in names]}
        if operation.api == "messages":
            data = [{"type": "model", "id": name, "display_name": name} for name in names]
            return {"data": data, "has_more": False}
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "owned_by": "team"} for name in names],
        }


def as_json(value: object, status: int = 200) -> web.Response:
    """An answer of the gateway's own."""
    body = json.dumps(value).encode()
    return web.Response(body=body, status=status, content_type="application/json", headers=SAFE)
