"""The shared runs of a hub, below the own ones: `po/api/v1/shared/runs/...` is asked of their service.

So a browser, which has no token of the hub, sees both kinds in one place. Who asks is checked as for the own runs, with
the scopes of the same route; then the request goes on with the user's token of the hub, which decides what they may.
Nothing else of it does: no cookie, no token of this server, no header but those named here.
"""

from __future__ import annotations

from urllib.parse import quote

import httpx
from tornado.iostream import StreamClosedError

from po_jupyter.errors import NotFound, PoError, Unavailable
from po_jupyter.server.handler import ApiHandler
from po_jupyter.server.routing.request import EVENTS, LINES
from po_jupyter.server.routing.table import PREFIX, AnyRoute

_SENT = ("Accept", "Last-Event-ID", "X-Po-Group", "Content-Type")
_KEPT = ("Content-Disposition", "Content-Length", "Content-Security-Policy", "Retry-After")
_MEDIA = frozenset({"application/json", "application/octet-stream", EVENTS, LINES})
_PATHS = ("runs", "dead-letters")
_SCOPES = frozenset({"runs:read", "runs:write", "gates"})
_TIMEOUT = httpx.Timeout(30.0, read=60.0)  # a stream says something every 15 s


class SharedRunsHandler(ApiHandler):
    """Every request under `po/api/v1/shared/`."""

    def _match(self, method: str, path: str) -> tuple[AnyRoute, dict[str, str]]:
        route, parts = super()._match(method, path)
        if (
            route.path.split("/")[0] not in _PATHS
            or not _SCOPES.issuperset(route.scopes)
            or route.name == "move"
            or not {".", ".."}.isdisjoint(
                path.split("/")
            )  # they lead out of the service, to whatever the hub has
        ):
            raise NotFound(f"there is no {path!r:.80} among shared runs")
        return route, parts

    async def _respond(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        self._check_size(self._size)
        running = await self._extension.host.ready()
        url, token = await running.handovers.shared_runs(self._principal.owner)
        headers = {name: value for name in _SENT if (value := self.request.headers.get(name))}
        headers |= {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        target = address_of(url, self._relative_path, self.request.query)
        body = self._body.take()
        try:
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as client,
                client.stream(self._method, target, content=body, headers=headers) as response,
            ):
                await self._pass_on(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if self._headers_written:
                self.finish()  # whoever reads a stream comes back
                return
            raise _away(type(error).__name__) from None
        except StreamClosedError:
            pass

    async def _pass_on(self, response: httpx.Response) -> None:
        media = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if response.status_code != 204 and (media not in _MEDIA or response.is_redirect):
            raise _away(f"status {response.status_code}")  # a page of the hub's or its proxy's
        self.set_status(response.status_code)
        if response.status_code == 204:
            self.clear_header("Content-Type")
        else:
            self.set_header("Content-Type", response.headers["Content-Type"])
        for name in _KEPT:
            if name in response.headers:
                self.set_header(name, response.headers[name])
        if media in (EVENTS, LINES):
            self.set_header("X-Accel-Buffering", "no")
            self.set_header("Content-Encoding", "identity")
        async for piece in response.aiter_raw():
            self.write(piece)
            await self.flush()
        self.finish()


def address_of(service: str, path: str, query: str) -> str:
    """The address of a path of the table, which is decoded, and of a query as it was sent: it is of no other path."""
    return f"{service}/{PREFIX}/{quote(path, safe='/')}" + (f"?{query}" if query else "")


def _away(why: str) -> PoError:
    return Unavailable(
        f"the hub's service of shared runs does not answer now ({why})",
        hint="Shared runs go on all the same. Your own are not touched.",
        details={"retry_after": 15},
    )
