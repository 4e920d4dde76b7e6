"""The one handler behind every route: auth, scope, rate, validation, the call, JSON, once for all of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from http.client import responses
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote

import structlog
from jupyter_server._tz import utcnow
from jupyter_server.base.call_context import CallContext
from jupyter_server.base.handlers import JupyterHandler
from pydantic import BaseModel, SecretStr, ValidationError
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, stream_request_body

from po_jupyter.errors import (
    DetailField,
    Forbidden,
    InvalidInput,
    NotFound,
    PoError,
    RateLimited,
    Unauthenticated,
)
from po_jupyter.model.pipeline.violations import violations_of
from po_jupyter.server import auth
from po_jupyter.server import json_bodies as bodies
from po_jupyter.server.routing.request import Answer, Call, File, Streamed
from po_jupyter.server.routing.table import Route, Table
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.logging import redactor

if TYPE_CHECKING:
    from po_jupyter.server.routing.context import Hosting

_log = structlog.get_logger("po_jupyter.server")
_CODES = {401: Unauthenticated, 403: Forbidden, 404: NotFound}


class WrongMethod(NotFound):
    """The path exists, but not with this method; `allowed` are those that it has."""

    status = 405
    allowed = DetailField[Sequence[str]]("allowed", (list, tuple), ())


class TooLarge(InvalidInput):
    """The body is larger than `max_request_bytes`."""

    status = 413


@stream_request_body  # prepare runs before the body is read: nobody unknown makes the server hold a large one
class ApiHandler(JupyterHandler):
    """Every request under `po/api/v1/`, unknown paths included."""

    def initialize(self, extension: Hosting, table: Table) -> None:
        self._extension = extension
        self._table = table
        self._chunks: list[bytes] = []
        self._size = 0
        self._refusal: Exception | None = None
        self._pump: asyncio.Task[None] | None = None
        self._upload: Any = None

    def set_default_headers(self) -> None:
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
            self._upload.drop()  # nothing is left to drop when it was kept
        super().on_finish()
        say = _log.debug if self.request.method in ("GET", "HEAD") else _log.info
        principal = getattr(self, "_principal", None)
        say(
            "request",
            method=self.request.method,
            path=str(self.path_kwargs.get("path") or ""),
            status=self.get_status(),
            seconds=round(time.monotonic() - self._began, 3),
            owner=principal.owner if principal is not None else None,
            request=self._request_id,
        )

    def set_cors_headers(self) -> None:
        """None: no other site reads these answers."""

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return value.decode("utf-8", "replace")  # bytes that are no text find no route; strangers get their 401

    def compute_etag(self) -> None:
        """None: answers are not stored, and hashing a large one would hold the loop."""

    # -- before the body ------------------------------------------------------------------------
    async def prepare(self) -> None:  # type: ignore[override]  # the base redirects to a login page; an API never does
        # A refusal is kept until the body has passed by (and was dropped): the web server closes the connection
        # of an answer that overtakes its request, and the caller might see a reset instead of the reason.
        correlation.request_id.set(self._request_id)
        try:
            await self._admit()
        except Exception as error:
            self._refusal = error

    async def _admit(self) -> None:
        CallContext.set(CallContext.JUPYTER_HANDLER, self)  # providers and authorizers of others look here
        self.current_user = self._jupyter_current_user = None
        self._principal = await auth.authenticate(self, self._extension.po_settings)
        self.current_user = self._jupyter_current_user = self._principal.user
        method = str(self.request.method)
        if not self._principal.by_token:
            if method not in ("GET", "HEAD"):
                auth.check_xsrf(self)
            _ = self.xsrf_token  # gives the cookie to whoever has no token, for the next change
        self._extension.limiter.take(self._principal.key)
        path = str(self.path_kwargs.get("path") or "")
        self._route, self._path = self._find(method, path)
        for scope in self._route.scopes:
            if not await auth.allowed(self, self.authorizer, self._principal, scope):
                raise Forbidden(
                    f"you may not do this: it needs the scope {scope}",
                    hint="Ask whoever runs this server for it.",
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

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        found = self._table.match(method, path)
        if isinstance(found, tuple):
            return found
        if found:
            raise WrongMethod(
                f"{method} is not possible here",
                hint=f"Possible: {', '.join(found)}.",
                details={"allowed": found},
            )
        raise NotFound(
            f"there is no {path!r} here{self._table.suggest(path)}", hint="GET openapi.json lists all."
        )

    @property
    def _bound(self) -> tuple[str, int]:
        """The setting that bounds this request's body, and its value."""
        settings = self._extension.po_settings
        upload = getattr(self, "_route", None) is not None and self._route.receive is not None
        name = "max_upload_bytes" if upload else "max_request_bytes"
        return name, int(getattr(settings, name))

    def _check_size(self, size: int) -> None:
        name, limit = self._bound
        if size > limit:
            raise TooLarge(
                f"the request has {size} bytes; at most {limit} are taken",
                hint=f"Split it into several runs, or raise the setting {name}.",
                details={"limit": limit},
            )

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._size += len(chunk)
        if self._upload is not None and self._refusal is None:
            return self._receive(chunk)
        if self._refusal is None and self._size <= self._bound[1]:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()
        return None

    async def _receive(self, chunk: bytes) -> None:
        try:
            self._check_size(self._size)
            await self._upload.write(chunk)
        except Exception as error:
            self._refusal = error

    # -- the call -------------------------------------------------------------------------------
    async def _serve(self, path: str | None = None) -> None:
        if self._refusal is not None:
            raise self._refusal
        route = self._route
        self._check_size(self._size)
        query = _check(route.query, self._arguments(), "the query")
        body = _check(route.body, await self._json(), "the request") if route.body else None
        orchestrator = await self._extension.host.ready() if route.needs_orchestrator else None
        code = "code:run" if route.asks_code else None
        call = Call(
            orchestrator=orchestrator,
            owner=self._principal.owner,
            path=self._path,
            query=query,
            body=body,
            code_allowed=code is not None and await auth.allowed(self, self.authorizer, self._principal, code),
            extension=self._extension,
            accept=self.request.headers.get("Accept", ""),
            last_event_id=self.request.headers.get("Last-Event-ID"),
            upload=self._upload,
        )
        result = await route.run(call)
        if route.audited:
            await asyncio.to_thread(self._audit, call, result)
        if isinstance(result, Streamed):
            await self._stream(result)
            return
        if isinstance(result, File):
            self.set_header("Content-Type", "application/octet-stream")
            name = quote(result.name, safe="")
            self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{name}")
            self.set_header("Content-Security-Policy", "default-src 'none'; sandbox")
            self.finish(result.content)
            return
        answer = result if isinstance(result, Answer) else Answer(result)
        self.set_status(answer.status)
        if answer.status == 204:
            self.clear_header("Content-Type")
            self.finish()
        else:
            self.finish(await bodies.write(answer.value))

    def _audit(self, call: Call, result: Any) -> None:
        """A line about the change that was just made: who, what, on which thing, as what was asked."""
        value = result.value if isinstance(result, Answer) else result
        about: dict[str, Any] = dict(call.path)
        if isinstance(value, dict) and isinstance(value.get("run"), dict):
            run = value["run"]
            about.update(run=run["id"], pipeline=run["pipeline"], name=run["name"], state=run["state"])
            about.pop("id", None)
        asked = call.body.model_fields_set if call.body is not None else ()
        for field, given in ((name, getattr(call.body, name)) for name in asked):
            # Only what is small and no secret: neither definitions nor data.
            left_out = isinstance(given, dict | list | BaseModel | SecretStr)
            if field not in (*about, "by", "action", "at") and not left_out:
                about[field] = given[:500] if isinstance(given, str) else given
        self._extension.audit.append(by=call.owner, action=self._route.run.__name__, **about)

    # Read by a server that allows no unauthenticated access: these have a rule of their own, `prepare`.
    setattr(_serve, "__allow_unauthenticated", False)
    get = post = put = delete = patch = head = options = _serve

    def _arguments(self) -> dict[str, str]:
        return {
            name: values[-1].decode("utf-8", "replace") for name, values in self.request.query_arguments.items()
        }

    async def _json(self) -> dict[str, Any]:
        text = b"".join(self._chunks)
        self._chunks.clear()
        return await bodies.read(text)

    # -- streams --------------------------------------------------------------------------------
    async def _stream(self, streamed: Streamed) -> None:
        self.set_header("Content-Type", f"{streamed.media}; charset=utf-8")
        self.set_header("Cache-Control", "no-cache, no-transform")
        self.set_header("X-Accel-Buffering", "no")
        # Says "already encoded" to the server's gzip filter, which would hold a compressor for every stream.
        self.set_header("Content-Encoding", "identity")

        async def pump() -> None:
            try:
                async for part in streamed.source:
                    self.write(part)
                    await self.flush()  # backpressure: goes on when the socket took it
            except StreamClosedError:
                pass
            except (
                PoError
            ) as error:  # the headers are gone: the reader is told in the stream, and may come back
                self.log.warning("po_jupyter: a stream ended early: %s", error.message)
            finally:
                await streamed.source.aclose()

        # A task of its own, because a cancelled request coroutine is an error to the web server.
        self._pump = asyncio.create_task(pump())
        self._extension.streams.add(self._pump)
        self._pump.add_done_callback(self._extension.streams.discard)
        await asyncio.wait({self._pump})
        if not self._pump.cancelled() and self._pump.exception() is not None:
            self.log.error("po_jupyter: a stream failed", exc_info=self._pump.exception())
        if not self._finished:
            with suppress(StreamClosedError):
                self.finish()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._upload is not None:
            self._upload.drop()
        if self._pump is not None:
            self._pump.cancel()

    # -- errors ---------------------------------------------------------------------------------
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as `{"error": {code, message, hint, details}}`."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, HTTPError):
            kind = _CODES.get(status_code, InvalidInput if status_code < 500 else PoError)
            error = kind(str(error.log_message or error.reason or responses.get(status_code, "error"))[:500])
        elif not isinstance(error, PoError):
            # What went wrong inside may hold paths or values: it is in the log, not in the answer.
            error = PoError(
                "something went wrong inside of the orchestrator", hint="The server's log says what."
            )
        self.set_header("Content-Type", "application/json; charset=utf-8")
        if status_code == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="po_jupyter"')
        if isinstance(error, RateLimited) and error.retry_after is not None:
            self.set_header("Retry-After", str(error.retry_after))
        if isinstance(error, WrongMethod):
            self.set_header("Allow", ", ".join(error.allowed))
        self.finish(_dumps({"error": redactor.value(error.to_json())}))

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        super().send_error(error.status if isinstance(error, PoError) else status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Our own errors are answers, not accidents; only the 5xx among them are worth a line."""
        if not isinstance(value, PoError | HTTPError):
            # Not the base's line, which shows the whole address: `?token=` may be in it (P10).
            where = f"{self.request.method} {self.request.path}"
            self.log.error("po_jupyter: %s failed", where, exc_info=(typ, value, tb))
        elif not isinstance(value, PoError):
            super().log_exception(typ, value, tb)
        elif value.status >= 500:
            self.log.warning("po_jupyter: %s %s: %s", self.request.method, self.request.path, value.message)


def _check(model: type[BaseModel], value: Any, what: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = violations_of(error, known=lambda place: _fields(model, place, what))
        raise InvalidInput(violations=found) from None


def _fields(model: type[BaseModel], place: tuple[int | str, ...], what: str) -> tuple[list[str], str]:
    """The fields at a place inside of a body, and what that place is called."""
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        inner = [kind for kind in inner if issubclass(kind, BaseModel)]
        if not inner:
            return [], f"`{part}`"
        model, what = inner[0], f"`{part}`"
    return list(model.model_fields), what


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
