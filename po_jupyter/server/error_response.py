"""The response to a failed request: `{"error": {code, message, hint, details}}`, whatever was raised."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from http.client import responses
from typing import NamedTuple

from tornado.web import HTTPError

from po_jupyter.errors import (
    DetailField,
    Forbidden,
    InvalidInput,
    NotFound,
    PoError,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from po_jupyter.telemetry.redaction import redactor

_CODES = {401: Unauthenticated, 403: Forbidden, 404: NotFound}
_NO_MORE = {
    errno.EMFILE: "open files",
    errno.ENFILE: "open files",
    errno.ENOMEM: "memory",
    errno.EAGAIN: "processes",
}
_MOMENT = 2  # s, after which a machine that had nothing left is asked again


class WrongMethod(NotFound):
    """The path exists, but not with this method; `allowed` are those that it has."""

    status = 405
    allowed = DetailField[Sequence[str]]("allowed", (list, tuple), ())


class TooLarge(InvalidInput):
    """The body is larger than the setting that bounds it."""

    status = 413


class ErrorResponse(NamedTuple):
    """Headers and body of the response."""

    headers: dict[str, str]
    body: bytes


def error_response(status: int, raised: BaseException | None) -> ErrorResponse:
    """The response with this status to what was raised."""
    error = _as_po_error(status, raised)
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="po_jupyter"'
    if isinstance(error, RateLimited | Unavailable) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, WrongMethod):
        headers["Allow"] = ", ".join(error.allowed)
    body = json.dumps({"error": redactor.value(error.to_json())}, ensure_ascii=False, separators=(",", ":"))
    return ErrorResponse(headers, body.encode("utf-8", "surrogatepass"))


def exhaustion(raised: BaseException) -> Unavailable | None:
    """The error to answer with when the machine had no thread, file, process or memory left; None for others."""
    if isinstance(raised, MemoryError):
        what: str | None = "memory"
    elif isinstance(raised, RuntimeError):
        what = "threads" if "can't start new thread" in str(raised) else None
    else:
        what = _NO_MORE.get(raised.errno or 0) if isinstance(raised, OSError) else None
    if what is None:
        return None
    return Unavailable(
        f"the server's machine has no more {what} for it",
        hint="Try again in a moment. If it stays so, raise the limit (`ulimit -a`, or the container's).",
        details={"retry_after": _MOMENT},
    )


def _as_po_error(status: int, raised: BaseException | None) -> PoError:
    if isinstance(raised, PoError):
        return raised
    if isinstance(raised, HTTPError):
        kind = _CODES.get(status, InvalidInput if status < 500 else PoError)
        return kind(str(raised.log_message or raised.reason or responses.get(status, "error"))[:500])
    # What went wrong inside may hold paths or values: it is in the log, not in the response.
    return PoError("something went wrong inside of the orchestrator", hint="The server's log says what.")
