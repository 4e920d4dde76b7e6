"""The one typed HTTP client. Everything that talks to an orchestrator goes through it.

It is bound to the event loop that it is first used on. Errors come back as the exceptions of `errors.py`, as the
orchestrator raised them; when nothing answers it is `Unavailable`, which says what to do.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx

from po_jupyter.client.sse import Message, Parser
from po_jupyter.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PoError,
    RateLimited,
    Unauthenticated,
    Unavailable,
    from_json,
)
from po_jupyter.model.run import ENDED, RunView

PREFIX = "po/api/v1/"
START_HINT = "`po start` starts an orchestrator; `po doctor` looks for the reason."
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SILENCE = 45.0  # seconds; the server says something every 15
_PAUSES = (0.1, 0.4, 1.0)  # seconds before each further try of a request that got no answer


class Endpoint(NamedTuple):
    """Where an orchestrator is: the server's base URL, its token, and the Unix socket when it has one."""

    url: str
    token: str = ""
    socket: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"  # never the token (P10)

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, where paths and interpreters mean the same."""
        return self.socket is not None or (urlsplit(self.url).hostname or "") in _LOOPBACK


class Text(NamedTuple):
    """A piece of an answer while it is being written. `round` counts re-asks; nothing of this is stored."""

    run: str
    task: str
    item: int | None
    text: str
    round: int


class AsyncClient:
    """One orchestrator.

    `relocate`, when given, is called in a thread after the connection was lost and answers where the
    orchestrator is now, or None: a headless one gets a new port when it is started again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = 30.0,
        relocate: Callable[[], Endpoint | None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._timeout = timeout
        self._relocate = relocate
        self._http = self._open(endpoint)

    def __repr__(self) -> str:
        return f"AsyncClient({self.endpoint.url!r})"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _open(self, endpoint: Endpoint) -> httpx.AsyncClient:
        parts = urlsplit(endpoint.url)
        verify: ssl.SSLContext | bool = True
        if parts.scheme == "http" or endpoint.is_local:
            # A loopback server's certificate is its own; loading the machine's list of authorities for
            # plain HTTP would cost 30 ms for nothing.
            verify = False
        transport = httpx.AsyncHTTPTransport(uds=endpoint.socket) if endpoint.socket else None
        base = endpoint.url.rstrip("/") + "/"
        if not base.endswith(PREFIX):
            base += PREFIX
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if endpoint.token:
            headers["Authorization"] = f"token {endpoint.token}"
        return httpx.AsyncClient(
            base_url=base,
            headers=headers,
            timeout=httpx.Timeout(self._timeout, connect=5.0),
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=10),
            trust_env=False,
            verify=verify,
            transport=transport,
        )

    # -- the orchestrator -----------------------------------------------------------------------
    async def health(self) -> dict[str, Any]:
        """`{"status": "ok"}`."""
        return await self._json("GET", "health")

    async def ready(self) -> dict[str, Any]:
        """Whether runs can be started: `{ready, orchestrator, store}`."""
        answer = await self._send("GET", "ready")
        if answer.status_code in (200, 503):
            with suppress(ValueError):
                data = answer.json()
                if isinstance(data, dict) and "ready" in data:
                    return data
        return self._decode(answer)

    async def meta(self) -> dict[str, Any]:
        """Version, user, data directory, providers; see HTTP.md."""
        return await self._json("GET", "meta")

    # -- pipelines ------------------------------------------------------------------------------
    async def pipelines(self) -> list[dict[str, Any]]:
        """The registered pipelines: `{name, version, revision, updated_at, tasks}` each."""
        data = await self._json("GET", "pipelines")
        return list(data["pipelines"])

    async def pipeline(self, name: str) -> dict[str, Any]:
        """A registered definition. NotFound."""
        data = await self._json("GET", f"pipelines/{_part(name)}")
        return dict(data["pipeline"])

    async def put_pipeline(self, name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
        """Register a definition; the same content again changes nothing. InvalidPipeline."""
        data = await self._json("PUT", f"pipelines/{_part(name)}", body=dict(definition))
        return dict(data["pipeline"])

    async def delete_pipeline(self, name: str) -> None:
        """Forget a registered pipeline; its runs keep their copy. NotFound."""
        await self._json("DELETE", f"pipelines/{_part(name)}")

    async def validate(self, pipeline: Any, seed: Any = None) -> dict[str, Any]:
        """Check without starting anything: `{ok, pipeline, warnings}`. InvalidPipeline, InvalidSeed."""
        body = {"pipeline": pipeline} if seed is None else {"pipeline": pipeline, "seed": seed}
        return await self._json("POST", "pipelines/validate", body=body, safe=True)

    # -- runs -----------------------------------------------------------------------------------
    async def submit(self, body: Mapping[str, Any]) -> RunView:
        """Start a run; `body` as in POST runs. When this returns the run is durable.

        Without an idempotency key it gets one, so that a lost answer can be asked for again
        without starting the run twice.
        """
        body = {"idempotency_key": f"auto-{secrets.token_hex(12)}", **body}
        return _run(await self._json("POST", "runs", body=body, safe=True))

    async def run(self, run_id: str, *, quiet: bool = False) -> RunView:
        """One run, by its id or a unique part of it. `quiet` requests do not count as the user's activity."""
        return _run(await self._json("GET", f"runs/{_part(run_id)}", params=_quiet(quiet)))

    async def runs(
        self,
        *,
        states: tuple[str, ...] | list[str] = (),
        pipeline: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[RunView], str | None]:
        """Runs from the newest to the oldest, and the cursor of the next page or None."""
        params = _params(state=",".join(states) or None, pipeline=pipeline, cursor=cursor, limit=limit)
        data = await self._json("GET", "runs", params=params)
        return [RunView.model_validate(run) for run in data["runs"]], data.get("next")

    async def delete(self, run_id: str) -> None:
        """Remove an ended run. Conflict while it has not ended."""
        await self._json("DELETE", f"runs/{_part(run_id)}")

    async def cancel(self, run_id: str) -> RunView:
        """Ask the run to stop; what is finished is kept."""
        return _run(await self._json("POST", f"runs/{_part(run_id)}/cancel", body={}, safe=True))

    async def resume(
        self,
        run_id: str,
        *,
        from_task: str | None = None,
        only_failed: bool = False,
        budget: Mapping[str, Any] | None = None,
    ) -> RunView:
        """Go on with an ended run. Conflict when there is nothing to go on with."""
        body = _params(from_task=from_task, only_failed=only_failed or None, budget=budget and dict(budget))
        return _run(await self._json("POST", f"runs/{_part(run_id)}/resume", body=body))

    async def gate(self, run_id: str, decision: str, note: str = "") -> RunView:
        """Decide the open gate: `approve` or `reject`. Conflict when it was decided before."""
        body = {"decision": decision, **({"note": note} if note else {})}
        return _run(await self._json("POST", f"runs/{_part(run_id)}/gate", body=body))

    async def outputs(self, run_id: str, task: str | None = None) -> dict[str, Any]:
        """Outputs of the finished tasks, or of one."""
        data = await self._json("GET", f"runs/{_part(run_id)}/outputs", params=_params(task=task))
        return dict(data["outputs"])

    async def items(
        self, run_id: str, task: str, *, state: str | None = None, cursor: str | None = None, limit: int = 1000
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Rows of a map: `{index, ok, output, error, usage}` each; `state` is `done` or `failed`."""
        params = _params(task=task, state=state, cursor=cursor, limit=limit)
        data = await self._json("GET", f"runs/{_part(run_id)}/items", params=params)
        return list(data["items"]), data.get("next")

    async def calls(
        self, run_id: str, *, task: str | None = None, cursor: str | None = None, limit: int = 200
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Calls to models, from the journal."""
        params = _params(task=task, cursor=cursor, limit=limit)
        data = await self._json("GET", f"runs/{_part(run_id)}/calls", params=params)
        return list(data["calls"]), data.get("next")

    async def history(self, run_id: str, since: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Stored events with an offset above `since`, at most `limit`."""
        params = {**_params(since=since, limit=limit), **_quiet(True)}
        data = await self._json("GET", f"runs/{_part(run_id)}/events", params=params)
        return list(data["events"])

    # -- streams --------------------------------------------------------------------------------
    async def events(self, run_id: str, since: int = 0) -> AsyncGenerator[Message, None]:
        """Every event of a run with an offset above `since`, in order and without gaps, then `end`.

        A lost connection is made again from the last offset seen. Texts come in between.
        """
        offset = since

        def params() -> dict[str, Any]:
            return {"since": offset}

        async with aclosing(self._stream(f"runs/{_part(run_id)}/events", params)) as messages:
            async for message in messages:
                if message.id is not None:
                    if message.id <= offset:
                        continue
                    offset = message.id
                yield message
                if message.event in ("end", "gone"):
                    return

    async def follow_all(self) -> AsyncGenerator[Message, None]:
        """All my runs: `snapshot`, then `run`, `gone` and `text`; a new `snapshot` after a reconnect. Endless."""
        async with aclosing(self._stream("events", dict)) as messages:
            async for message in messages:
                yield message

    async def follow(self, run_id: str, *, every: float = 0.15) -> AsyncGenerator[RunView | Text, None]:
        """The run now and after each change, at most once in `every` seconds, with texts in between.

        The last value is the ended run. Raises NotFound when the run is deleted meanwhile.
        """
        view = await self.run(run_id, quiet=True)
        yield view
        if view.state in ENDED:
            return
        arrived: asyncio.Queue[Message | Exception] = asyncio.Queue(1000)

        async def read(start: int) -> None:
            try:
                async with aclosing(self.events(view.id, start)) as messages:
                    async for message in messages:
                        await arrived.put(message)
            except Exception as error:  # handed to the reader below, who raises it
                await arrived.put(error)

        reader = asyncio.get_running_loop().create_task(read(view.last_event))
        try:
            stale, over, shown = False, False, time.monotonic()
            while True:
                wait = shown + every - time.monotonic() if stale else None
                if wait is not None and wait <= 0:
                    view = await self.run(view.id, quiet=True)
                    stale, shown = False, time.monotonic()
                    yield view
                    if view.state in ENDED:
                        return
                    if over:  # resumed between the end of the stream and our question
                        over = False
                        reader = asyncio.get_running_loop().create_task(read(view.last_event))
                    continue
                try:
                    message = await asyncio.wait_for(arrived.get(), wait)
                except TimeoutError:
                    continue
                if isinstance(message, Exception):
                    raise message
                if message.event == "gone":
                    raise NotFound(f"run {view.id} was deleted while it was followed")
                if message.event == "text":
                    yield _text(view.id, message.data)
                    continue
                stale = True
                if message.event == "end":
                    over, shown = True, 0.0  # the last word is not held back
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reader

    async def wait_end(self, run_id: str) -> RunView:
        """The run after it ended. A waiting gate keeps it waiting."""
        while True:
            view = await self.run(run_id, quiet=True)
            if view.state in ENDED:
                return view
            async with aclosing(self.events(view.id, view.last_event)) as messages:
                async for message in messages:
                    if message.event == "gone":
                        raise NotFound(f"run {view.id} was deleted while it was waited for")

    async def _stream(self, path: str, params: Callable[[], dict[str, Any]]) -> AsyncGenerator[Message, None]:
        """Messages of a stream that is opened again, with growing pauses, until `_timeout` passes without one."""
        timeout = httpx.Timeout(self._timeout, connect=5.0, read=_SILENCE)
        headers = {"Accept": "text/event-stream"}
        lost_at: float | None = None
        pause = 0.1
        while True:
            try:
                query = {**params(), **_quiet(True)}
                async with self._http.stream(
                    "GET", path, params=query, headers=headers, timeout=timeout
                ) as answer:
                    if answer.status_code != 200:
                        await answer.aread()
                        self._decode(answer)
                        raise Unavailable(f"the stream {path} answered {answer.status_code}", hint=START_HINT)
                    lost_at, pause = None, 0.1
                    parser = Parser()
                    async for chunk in answer.aiter_bytes():
                        for message in parser.feed(chunk):
                            yield message
                reason: Exception = Unavailable("the server closed the stream")
            except (httpx.TransportError, Unavailable) as error:
                reason = error
            now = time.monotonic()
            lost_at = now if lost_at is None else lost_at
            if now - lost_at > self._timeout:
                raise self._lost(reason) from None
            await asyncio.sleep(
                pause * random.uniform(0.5, 1.5)
            )  # so that many followers do not return at once
            pause = min(pause * 2, 3.0)
            await self._look_again()

    # -- one request ----------------------------------------------------------------------------
    async def _json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        safe: bool = False,
    ) -> dict[str, Any]:
        return self._decode(await self._send(method, path, params=params, body=body, safe=safe))

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        safe: bool = False,
    ) -> httpx.Response:
        """The answer. What got none is sent again when that can do no harm: reads, and what is `safe` to repeat."""
        headers: dict[str, str] = {}
        content: bytes | None = None
        if body is not None:
            try:
                content = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
            except (TypeError, ValueError) as error:
                raise InvalidInput(f"this request cannot be written as JSON: {error}") from None
            headers["Content-Type"] = "application/json"
        if method != "GET" and not self.endpoint.token:
            await self._take_xsrf()
            headers["X-XSRFToken"] = self._http.cookies.get("_xsrf") or ""
        repeat = safe or method != "POST"
        pauses = iter(_PAUSES)
        while True:
            try:
                answer = await self._http.request(method, path, params=params, content=content, headers=headers)
            except httpx.TransportError as error:
                pause = next(pauses, None)
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if pause is None or not (repeat or unsent):
                    raise self._lost(error) from None
                await asyncio.sleep(pause)
                await self._look_again()
                continue
            except httpx.InvalidURL as error:
                raise Unavailable(
                    f"{self.endpoint.url} is not a usable address: {error}", hint=START_HINT
                ) from None
            if answer.status_code == 429:
                pause = next(pauses, None)
                if pause is not None:
                    await asyncio.sleep(min(10.0, max(pause, _seconds(answer.headers.get("Retry-After")))))
                    continue
            return answer

    async def _take_xsrf(self) -> None:
        # Only a server without a token asks for this; its first answer carries the cookie.
        if "_xsrf" not in self._http.cookies:
            with suppress(httpx.TransportError):
                await self._http.get("health")

    async def _look_again(self) -> None:
        if self._relocate is None:
            return
        found = await asyncio.to_thread(self._relocate)
        if found is not None and found != self.endpoint:
            old, self._http, self.endpoint = self._http, self._open(found), found
            with suppress(Exception):
                await old.aclose()

    def _lost(self, error: Exception) -> Unavailable:
        url = self.endpoint.url
        if isinstance(error, httpx.TimeoutException):
            return Unavailable(f"the orchestrator at {url} did not answer in time", hint=START_HINT)
        return Unavailable(f"no orchestrator answers at {url}", hint=START_HINT)

    def _decode(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code == 204:
            return {}
        data: Any = None
        with suppress(ValueError):
            data = answer.json()
        if answer.is_success and isinstance(data, dict):
            return data
        if isinstance(data, dict) and isinstance(data.get("error"), dict) and "code" in data["error"]:
            raise from_json(data["error"])
        raise self._foreign(answer)

    def _foreign(self, answer: httpx.Response) -> PoError:
        """The error for an answer that is not ours: a proxy's, a hub's, a Jupyter server without po_jupyter."""
        url, status = self.endpoint.url, answer.status_code
        if status == 401:
            return Unauthenticated(f"{url} wants a token", hint="Set PO_JUPYTER_TOKEN, or restart the kernel.")
        if status == 403 or status in (301, 302, 303, 307, 308):
            # An expired token of a hub comes back as "'_xsrf' argument missing".
            return Forbidden(
                f"{url} does not accept this token",
                hint="It may have expired: restart the server, or set PO_JUPYTER_TOKEN to a new one.",
            )
        if status == 404:
            return NotFound(
                f"the server at {url} has no po_jupyter",
                hint="Install po_jupyter where the server runs, then restart it; or start one of your own: `po start`.",
                details={"foreign": True},
            )
        if status == 409:
            return Conflict(f"{url} answered 409")
        if status == 429:
            return RateLimited(f"{url} answered 429: too many requests", hint="Wait a moment.")
        return Unavailable(f"{url} answered {status} without saying why", hint=START_HINT)


def _part(text: str) -> str:
    if not text or text in (".", ".."):
        raise InvalidInput(
            f"{text!r} is not a name", hint="Run ids and pipeline names are never empty or dots."
        )
    return quote(text, safe="")


def _params(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _quiet(quiet: bool) -> dict[str, Any]:
    # Jupyter's idle culler must not take our polling for a person at work.
    return {"no_track_activity": "1"} if quiet else {}


def _run(data: Mapping[str, Any]) -> RunView:
    return RunView.model_validate(data["run"])


def _seconds(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _text(run: str, data: Mapping[str, Any]) -> Text:
    item = data.get("item")
    return Text(
        run=str(data.get("run", run)),
        task=str(data.get("task", "")),
        item=item if isinstance(item, int) else None,
        text=str(data.get("text", "")),
        round=int(data.get("round") or 0),
    )
