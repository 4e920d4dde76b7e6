"""A fake of the gateway's contract: `/{provider}/...`, `api/models`, `api/usage`, and faults that a test chooses.

In a thread of a test, before a model server, with tokens that the test knows; or as a hub's service
(`python -m tests.support.fake_gateway`), which asks the hub whose a token is and has `PO_TEST_UPSTREAM`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

TEAM_KEY = "sk-team-0123456789abcdefghijklmnop"


@dataclass
class Fault:
    """An answer in the place of the vendor's. `error` becomes X-Po-Error and the code of a JSON body."""

    status: int
    error: str = ""
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    def response(self) -> web.Response:
        headers = {**({"X-Po-Error": self.error} if self.error else {}), **self.headers}
        if self.body is not None:
            return web.Response(status=self.status, text=self.body, content_type="text/html", headers=headers)
        error = {"code": self.error, "type": self.error, "message": self.message or self.error}
        return web.json_response({"error": error}, status=self.status, headers=headers)


class FakeGateway:
    """See the module. `prefix` is the service's, with a slash at its end."""

    def __init__(self, upstream: str, *, prefix: str = "/services/po/", key: str = TEAM_KEY) -> None:
        self.upstream, self.prefix, self.key = upstream.rstrip("/"), prefix, key
        self.tokens: set[str] = set()
        self.models: list[dict[str, Any]] = [
            {"model": "openai:gpt-5-mini", "input_per_million": 0.25, "output_per_million": 2.0}
        ]
        self.own_keys = False
        self.windows: list[dict[str, Any]] = []
        self.faults: deque[Fault] = deque()
        self.standing: Fault | None = None  # the answer to everything, while it is set
        self.requests: list[tuple[str, str]] = []  # path, token
        self.url = ""

    async def user_of(self, token: str) -> str | None:
        """Whose a token is; overridden by a service."""
        return "ada" if token in self.tokens else None

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", self.prefix + "{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if not path:
            return web.Response(text="po")
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").removeprefix("token ")
        token = bearer or request.headers.get("x-api-key", "") or request.headers.get("x-goog-api-key", "")
        self.requests.append((path, token))
        if self.standing is not None:
            return self.standing.response()
        user = await self.user_of(token)
        if user is None:
            return Fault(401, "unauthorized", "the token is not known to the hub").response()
        if path == "api/models":
            return web.json_response({"models": self.models, "own_keys": self.own_keys})
        if path == "api/usage":
            return web.json_response({"user": user, "groups": [], "windows": self.windows})
        if self.faults:
            return self.faults.popleft().response()
        provider, _, rest = path.partition("/")
        body = await request.read()
        model = (await request.json()).get("model") if body else None
        allowed = [entry["model"] for entry in self.models]
        if model is not None and f"{provider}:{model}" not in allowed:
            return Fault(403, "model_not_allowed", f"not on the list: {', '.join(allowed)}").response()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, f"{self.upstream}/{rest}", data=body, headers=headers) as answer,
        ):
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


class GatewayThread:
    """A fake gateway in a thread; `stop` and `start` as one that is away for a while, on the same port."""

    def __init__(self, gateway: FakeGateway) -> None:
        self.gateway = gateway
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    async def _serve(self, ready: threading.Event) -> None:
        runner = web.AppRunner(self.gateway.app(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        self.gateway.url = f"http://127.0.0.1:{self.port}{self.gateway.prefix.rstrip('/')}"
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def stop(self) -> None:
        if self._thread is None or self._loop is None or self._stop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._thread = None

    def __enter__(self) -> FakeGateway:
        self.start()
        return self.gateway

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Service(FakeGateway):
    async def user_of(self, token: str) -> str | None:
        if not token:
            return None
        url = os.environ["JUPYTERHUB_API_URL"] + "/user"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Authorization": f"token {token}"}) as answer,
        ):
            if answer.status != 200:
                return None
            user = await answer.json()
            return str(user["name"]) if "access:services!service=po" in user["scopes"] else None


async def serve(run: Callable[[], Awaitable[None]] | None = None) -> None:
    """The service, until it is ended."""
    gateway = _Service(
        os.environ["PO_TEST_UPSTREAM"],
        prefix=os.environ["JUPYTERHUB_SERVICE_PREFIX"],
        key=os.environ.get("OPENAI_API_KEY", ""),
    )
    where = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    runner = web.AppRunner(gateway.app())
    await runner.setup()
    await web.TCPSite(runner, where.hostname or "127.0.0.1", where.port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
