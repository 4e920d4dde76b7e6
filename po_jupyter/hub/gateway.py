"""The gateway as an HTTP server: which request is for whom, and problems as answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from po_jupyter.hub.accounts.balances import UsageWindow
from po_jupyter.hub.accounts.usage_report import By, UsageRow, summed
from po_jupyter.hub.admin import Administration, query_of
from po_jupyter.hub.batch_settlement import watch_batches
from po_jupyter.hub.batches import UserBatches
from po_jupyter.hub.browser_sessions import BrowserLogin, BrowserSessions
from po_jupyter.hub.calls import call
from po_jupyter.hub.identity import HubUser, RememberedTokens, TokenAuthority, user_of
from po_jupyter.hub.own_answers import as_json, as_page
from po_jupyter.hub.pages import STYLE_DIGEST, problem_page, usage_page
from po_jupyter.hub.problems import GatewayProblem, not_found, response_of
from po_jupyter.hub.server_starts import HubServers, ServerStarts
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.wires.operations import Operation, find_operation
from po_jupyter.hub.wires.upstreams import Upstream
from po_jupyter.platform.concurrency import BackgroundTasks

log = structlog.get_logger(__name__)
Action = Callable[[web.BaseRequest, HubUser], Awaitable[web.StreamResponse]]


class Gateway:
    """The requests of a gateway. `handle` is for `aiohttp.web.Server`."""

    def __init__(
        self,
        state: GatewayState,
        authenticator: TokenAuthority,
        *,
        login: BrowserLogin | None = None,
        servers: HubServers | None = None,
        prefix: str = "/services/po/",
    ) -> None:
        """`login` is of browsers, None: there is no page. `servers` are users', None: none is started.
        `prefix` begins and ends with a slash."""
        self.state = state
        self.prefix = prefix
        self.authenticator = RememberedTokens(authenticator)
        self._sessions = BrowserSessions(login, self.authenticator, prefix) if login is not None else None
        self._watch = BackgroundTasks()
        self._admin = admin = Administration(state)
        self._actions: dict[tuple[str, str], Action] = {
            ("GET", "api/models"): self._models,
            ("GET", "api/usage"): self._usage,
            ("GET", "api/admin/usage"): admin.usage,
            ("GET", "api/admin/metrics"): admin.metrics,
            ("GET", "api/admin/limits"): admin.limits,
            ("PUT", "api/admin/limits"): admin.change_limits,
        }
        self._starts = ServerStarts(state, servers) if servers is not None else None
        if self._starts is not None:
            self._actions["PUT", "api/work"] = self._starts.note

    async def start(self) -> None:
        """Open the ledger and the connections. Raises StoreUnusable."""
        await self.state.start()
        self._watch.start(watch_batches(self.state), "batches")
        if self._starts is not None:
            self._watch.start(self._starts.watch(), "servers")

    async def stop(self) -> None:
        """Close them."""
        await self._watch.cancel()
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
        return await UserBatches(self.state, upstream, request, user).answer(operation)

    async def _own(self, request: web.BaseRequest, rest: str) -> web.StreamResponse:
        path = rest.partition("?")[0]
        if path == "health" and request.method == "GET":
            return as_json({})
        if path in ("", "oauth_callback") and self._sessions is not None and request.method == "GET":
            return await self._page(request, self._sessions, path)
        action = self._actions.get((request.method, path))
        user = await self._user_of(request, path)
        if action is None:
            raise not_found()
        return await action(request, user)

    async def _user_of(self, request: web.BaseRequest, path: str) -> HubUser:
        """Who asks: by a token, or for a file of the page by going to its address."""
        if path == "api/admin/usage" and self._sessions is not None and "Authorization" not in request.headers:
            user = await self._sessions.user_of(request)
            if user is not None and user.may_use:
                return user
        return await user_of(request.headers, self.authenticator)

    # -- the page ---------------------------------------------------------------------------------------
    async def _page(self, request: web.BaseRequest, sessions: BrowserSessions, path: str) -> web.StreamResponse:
        if path:
            try:
                return await sessions.finish(
                    request, query_of(request, {"code", "state", "error", "error_description"})
                )
            except GatewayProblem as problem:
                page = as_page(problem_page(problem.message), STYLE_DIGEST)
                page.set_status(problem.status)
                return page
        user = await sessions.user_of(request)
        if user is None:
            if request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate":
                raise GatewayProblem(401, "unauthorized", "this page is for browsers that go to it")
            return sessions.begin(request)
        if not user.may_use:
            page = as_page(problem_page(f"{user.name} may not use this service."), STYLE_DIGEST)
            page.set_status(403)
            return page
        windows = self._windows(user)
        tables: list[tuple[str, list[UsageRow]]] = []
        if user.is_admin:
            rows = await self._admin.totals(self._admin.this_month(), "9999-12-31")
            kinds: tuple[By, ...] = ("user", "group", "model")
            tables = [(by, summed(rows, by)) for by in kinds]
        return as_page(usage_page(user, windows, tables), STYLE_DIGEST)

    # -- actions ----------------------------------------------------------------------------------------
    async def _models(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        rows = []
        for ref in self.state.models.of_user(user):
            price = self.state.prices.per_million(ref)
            own = self.state.config.prices.get(ref)
            rows.append(
                {
                    "model": ref,
                    "input_per_million": price["input"] if price else None,
                    "output_per_million": price["output"] if price else None,
                    "price": own.model_dump(exclude_none=True) if own is not None else None,
                }
            )
        return as_json({"models": rows, "own_keys": self.state.config.own_keys})

    async def _usage(self, request: web.BaseRequest, user: HubUser) -> web.StreamResponse:
        windows = self._windows(user)
        return as_json({"user": user.name, "groups": list(user.groups), "windows": windows})

    def _windows(self, user: HubUser) -> list[UsageWindow]:
        """The limits of a user. Of what others used, who is no administrator sees what limits them too."""
        windows = self.state.balances.windows(user.name, user.groups, self.state.clock())
        own = f"user:{user.name}"
        return [row for row in windows if user.is_admin or row["scope"] == own or row["limit"] is not None]

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
