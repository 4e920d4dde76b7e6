"""The one handler behind every route: auth, scope, rate, validation, the call, JSON, once for all of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from jupyter_server._tz import utcnow
from jupyter_server.base.call_context import CallContext
from jupyter_server.base.handlers import JupyterHandler
from pydantic import BaseModel, SecretStr
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, stream_request_body

from po_jupyter.errors import Forbidden, NotFound, PoError, RateLimited
from po_jupyter.model.values.json import JsonObject
from po_jupyter.server import auth, json_bodies
from po_jupyter.server.error_response import TooLarge, WrongMethod, error_response, exhaustion
from po_jupyter.server.file_response import send_file
from po_jupyter.server.input_validation import validate_input
from po_jupyter.server.lifecycle import stop_or_exhaustion
from po_jupyter.server.routing.request import (
    ActionResult,
    ApiRequest,
    FileResponse,
    JsonResponse,
    StreamResponse,
    TextResponse,
)
from po_jupyter.server.routing.table import AnyRoute, Table
from po_jupyter.server.sse.pump import pump
from po_jupyter.telemetry import correlation, tracing

if TYPE_CHECKING:
    from po_jupyter.server.routing.api import UploadApi
    from po_jupyter.server.routing.context import ServerContext

_log = structlog.get_logger(__name__)
_TOKEN_CHECK = 5.0  # s between two looks at whether the token of a stream is still valid
AnyRequest = ApiRequest[Any, Any]


@stream_request_body  # prepare runs before the body is read: nobody unknown makes the server hold a large one
class ApiHandler(JupyterHandler):
    """Every request under `po/api/v1/`, unknown paths included."""

    def initialize(self, extension: ServerContext, table: Table) -> None:
        """Before each request."""
        self._extension = extension
        self._table = table
        self._body = json_bodies.ReceivedBody(extension.bodies)
        self._size = 0
        self._serving = False
        self._refusal: Exception | None = None
        self._stream: asyncio.Task[None] | None = None
        self._upload: UploadApi | None = None
        # Tornado would refuse a method that it does not know before anybody is asked who they are. It is handled as
        # OPTIONS, which no route has, until all that is checked.
        self._method = str(self.request.method)
        if self._method not in self.SUPPORTED_METHODS:
            self.request.method = "OPTIONS"

    def set_default_headers(self) -> None:
        """JSON that is not stored, and the request's id."""
        super().set_default_headers()
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        if not hasattr(self, "_request_id"):
            self._request_id = correlation.accepted(self.request.headers.get(correlation.HEADER))
            self._began = time.monotonic()
        self.set_header(correlation.HEADER, self._request_id)

    def on_finish(self) -> None:
        """A line for each request; for those that change nothing only when DEBUG is asked for."""
        if self._upload is not None:
            self._upload.drop()  # nothing is left to drop when it was finished
        super().on_finish()
        write = _log.debug if self._method in ("GET", "HEAD") else _log.info
        principal = getattr(self, "_principal", None)
        write(
            "request",
            method=self._method,
            path=self._relative_path,
            status=self.get_status(),
            seconds=round(time.monotonic() - self._began, 3),
            owner=principal.owner if principal is not None else None,
            request=self._request_id,
        )

    def set_cors_headers(self) -> None:
        """None: no other site reads these answers."""

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """As text, whatever the bytes are."""
        return value.decode("utf-8", "replace")  # bytes that are no text find no route; strangers get their 401

    def compute_etag(self) -> None:
        """None: answers are not stored, and hashing a large one would hold the loop."""

    @property
    def _relative_path(self) -> str:
        """The path below the prefix, without the slash in front; empty for the prefix alone."""
        kwargs = getattr(self, "path_kwargs", {})  # none yet where the web server itself refuses
        return str(kwargs.get("path") or "").removeprefix("/")

    # -- before the body ------------------------------------------------------------------------
    async def prepare(self) -> None:  # type: ignore[override]  # the base redirects to a login page; an API never does
        """Check what can be checked without the body."""
        # A refusal is kept until the body has passed by (and was dropped): the web server closes the connection
        # of an answer that overtakes its request, and the caller might see a reset instead of the reason.
        correlation.request_id.set(self._request_id)
        tracing.accept(self.request.headers.get(tracing.HEADER))
        try:
            await self._admit()
        except Exception as error:
            self._refusal = exhaustion(error) or error

    async def _admit(self) -> None:
        CallContext.set(CallContext.JUPYTER_HANDLER, self)  # providers and authorizers of others look here
        self.current_user = self._jupyter_current_user = None
        self._principal = await self._extension.authenticator.authenticate(self)
        self.current_user = self._jupyter_current_user = self._principal.user
        if not self._principal.by_token:
            if self._method not in ("GET", "HEAD"):
                auth.check_xsrf(self)
            _ = self.xsrf_token  # gives the cookie to whoever has no token, for the next change
        self._extension.limiter.count(self._principal.key)
        self._route, self._path = self._match(self._method, self._relative_path)
        self._principal = await self._extension.authenticator.acting(self, self._principal, self._run)
        correlation.actor.set(self._principal.person)
        for scope in self._route.scopes:
            if not await auth.allowed(self, self.authorizer, self._principal, scope):
                raise Forbidden(
                    f"you may not do this: it needs the scope {scope}",
                    hint="Ask the administrator of this server for it.",
                    details={"scope": scope},
                )
        declared = self.request.headers.get("Content-Length", "")
        if declared.isdecimal():
            self._check_size(int(declared))
        # SameSite fetches of the panel say so when nobody is at the keyboard.
        if self.get_query_argument("no_track_activity", None) is None:
            self.settings["api_last_activity"] = utcnow()
        if self._route.receive is not None:
            orchestrator = await self._extension.host.ready()
            self._upload = await self._route.receive(orchestrator, self._principal.owner, self._path)
            # The web server has a bound of its own, for bodies that are held in memory.
            set_bound = getattr(self.request.connection, "set_max_body_size", None)
            if set_bound is not None:
                set_bound(self._extension.po_settings.max_upload_bytes)

    @property
    def _run(self) -> str | None:
        """The run that the request is about."""
        return self._path.get("id") if self._route.path.startswith(("runs/", "dead-letters/")) else None

    def _match(self, method: str, path: str) -> tuple[AnyRoute, dict[str, str]]:
        match = self._table.match(method, path)
        if isinstance(match, tuple):
            return match
        if match:
            raise WrongMethod(
                f"{method} is not possible here",
                hint=f"Possible: {', '.join(match)}.",
                details={"allowed": match},
            )
        raise NotFound(
            f"there is no {path!r} here{self._table.suggest(path)}", hint="GET openapi.json lists all."
        )

    @property
    def _bound(self) -> tuple[str, int]:
        """The setting that bounds this request's body, and its value."""
        upload = getattr(self, "_route", None) is not None and self._route.receive is not None
        name = "max_upload_bytes" if upload else "max_request_bytes"
        return name, int(getattr(self._extension.po_settings, name))

    def _check_size(self, size: int) -> None:
        name, limit = self._bound
        if size > limit:
            raise TooLarge(
                f"the request has {size} bytes; at most {limit} are taken",
                hint=f"Split it into several runs, or raise the setting {name}.",
                details={"limit": limit},
            )

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Keep a part of the body, or hand it to the upload; nothing of a request that is refused."""
        self._size += len(chunk)
        if self._upload is not None and self._refusal is None:
            return self._receive(self._upload, chunk)
        try:
            if self._refusal is None and self._size <= self._bound[1]:
                self._body.append(chunk, self._principal.key)
            else:
                self._body.clear()
        except RateLimited as error:
            self._refusal = error
        return None

    async def _receive(self, upload: UploadApi, chunk: bytes) -> None:
        try:
            self._check_size(self._size)
            await upload.write(chunk)
        except Exception as error:
            self._refusal = error

    # -- the action -----------------------------------------------------------------------------
    async def _serve(self, path: str = "") -> None:
        self.request.method = self._method
        self._serving = True
        try:
            await self._respond()
        except (Exception, asyncio.CancelledError) as error:
            known = stop_or_exhaustion(error, self._extension.host)
            if known is None:
                raise
            raise known from error
        finally:
            self._body.release()

    async def _respond(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        route = self._route
        self._check_size(self._size)
        query = validate_input(route.query, self._arguments(), "the query")
        body = validate_input(route.body, await self._json(), "the request") if route.body else None
        running = await self._extension.host.ready() if route.needs_orchestrator else None
        code_allowed = route.asks_code and await auth.allowed(
            self, self.authorizer, self._principal, "code:run"
        )
        request: AnyRequest = ApiRequest(
            owner=self._principal.owner,
            path=self._path,
            query=query,
            body=body,
            extension=self._extension,
            running=running,
            code_allowed=code_allowed,
            accept=self.request.headers.get("Accept", ""),
            last_event_id=self.request.headers.get("Last-Event-ID"),
            upload=self._upload,
            user=self._principal.user.username,
            token_id=self._principal.token_id,
            may=partial(auth.allowed, self, self.authorizer, self._principal),
            groups=self._principal.groups,
        )
        about = {"http.request.method": route.method, "http.route": route.path}
        traced = tracing.span(f"{route.method} {route.path}", "SERVER", **about)
        with traced if route.method != "GET" else nullcontext():
            result = await route.action(request)
        if route.audited:
            await self._append_to_audit_log(request, result)
        match result:
            case StreamResponse():
                await self._send_stream(result)
            case TextResponse(content, media):
                self.set_header("Content-Type", media)
                self.finish(content)
            case FileResponse(file, name):
                await send_file(self, file, name)
            case JsonResponse(value, status):
                self.set_status(status)
                if status == 204:
                    self.clear_header("Content-Type")
                    self.finish()
                else:
                    self.finish(await json_bodies.write(value))

    async def _append_to_audit_log(self, request: AnyRequest, result: ActionResult) -> None:
        """Write a line about the change that was just made."""
        entries, by = deque([self._audit_entry(request, result)]), self._principal.person or request.owner

        def append() -> None:
            with suppress(IndexError):  # written already
                self._extension.audit.append(by=by, action=self._route.name, **entries.popleft())

        try:
            await asyncio.to_thread(append)
        except RuntimeError:  # no thread can be started; the change is made, and its line is not lost
            append()

    def _audit_entry(self, request: AnyRequest, result: ActionResult) -> dict[str, object]:
        """What was changed: which thing, with which small fields."""
        about: dict[str, object] = dict(request.path)
        value = result.value if isinstance(result, JsonResponse) else None
        run = value.get("run") if value is not None else None
        if isinstance(run, Mapping):
            about.update(run=run["id"], pipeline=run["pipeline"], name=run["name"], state=run["state"])
            about.pop("id", None)
        if isinstance(token := value.get("token") if value is not None else None, Mapping):
            about.update(id=token["id"], scopes=" ".join(token["scopes"]))
        body: BaseModel | None = request.body
        for field in body.model_fields_set if body is not None else ():
            content = getattr(body, field)
            # Only what is small and no secret: neither definitions nor data.
            left_out = isinstance(content, dict | list | BaseModel | SecretStr)
            if field not in (*about, "by", "action", "at") and not left_out:
                about[field] = content[:500] if isinstance(content, str) else content
        return about

    # Read by a server that allows no unauthenticated access: these have a rule of their own, `prepare`.
    setattr(_serve, "__allow_unauthenticated", False)
    get = post = put = delete = patch = head = options = _serve

    def _arguments(self) -> dict[str, str]:
        return {
            name: values[-1].decode("utf-8", "replace") for name, values in self.request.query_arguments.items()
        }

    async def _json(self) -> JsonObject:
        return await json_bodies.read(self._body.take())

    # -- streams --------------------------------------------------------------------------------
    async def _send_stream(self, response: StreamResponse) -> None:
        self.set_header("Content-Type", f"{response.media}; charset=utf-8")
        self.set_header("Cache-Control", "no-cache, no-transform")
        self.set_header("X-Accel-Buffering", "no")
        # Says "already encoded" to the server's gzip filter, which would hold a compressor for every stream.
        self.set_header("Content-Encoding", "identity")

        async def send(part: bytes) -> None:
            self.write(part)
            await self.flush()  # backpressure: goes on when the socket took it

        # A task of its own, because a cancelled request coroutine is an error to the web server.
        stream = self._stream = asyncio.create_task(pump(response.source, send, self.log))
        self._extension.streams.add(stream)
        stream.add_done_callback(self._extension.streams.discard)
        people, principal = self._extension.authenticator, self._principal
        may_end = people.may_end(principal)  # a token that is revoked or expires ends its streams, too
        while not stream.done():
            await asyncio.wait({stream}, timeout=_TOKEN_CHECK if may_end else None)
            if may_end and not await people.is_valid(self, principal, self._run):
                stream.cancel()
        if not stream.cancelled() and stream.exception() is not None:
            self.log.error("po_jupyter: a stream failed", exc_info=stream.exception())
        if not self._finished:
            with suppress(StreamClosedError):
                self.finish()

    def on_connection_close(self) -> None:
        """The caller is gone: nobody takes the rest."""
        super().on_connection_close()
        if not self._serving:  # else what was made of the body is still there
            self._body.release()
        if self._upload is not None:
            self._upload.drop()
        if self._stream is not None:
            self._stream.cancel()

    # -- errors ---------------------------------------------------------------------------------
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as `{"error": {code, message, hint, details}}`."""
        headers, body = error_response(status_code, kwargs.get("exc_info", (None, None, None))[1])
        for name, value in headers.items():
            self.set_header(name, value)
        self.finish(body)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """With the status of the error, where it is one of ours."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        super().send_error(error.status if isinstance(error, PoError) else status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Our own errors are answers, not accidents; only the 5xx among them are worth a line."""
        if not isinstance(value, PoError | HTTPError):
            # Not the base's line, which shows the whole address: `?token=` may be in it (P10).
            endpoint = f"{self.request.method} {self.request.path}"
            self.log.error("po_jupyter: %s failed", endpoint, exc_info=(typ, value, tb))
        elif not isinstance(value, PoError):
            super().log_exception(typ, value, tb)
        elif value.status >= 500:
            self.log.warning("po_jupyter: %s %s: %s", self.request.method, self.request.path, value.message)
