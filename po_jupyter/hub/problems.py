"""Answers of the gateway's own: each is in the error shape of the wire that was spoken, with a code for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Literal, TypeAlias

from aiohttp import web

Code: TypeAlias = Literal[
    "rate_limited", "budget_exceeded", "model_not_allowed", "no_access", "unauthorized", "vendor_unavailable",
    "answer_lost", "invalid_request", "not_found", "gateway_unavailable",
]  # fmt: skip

# What the vendors' clients know an error by.
_ANTHROPIC: Mapping[int, str] = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
}  # fmt: skip
_GEMINI: Mapping[int, str] = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE",
}  # fmt: skip


class GatewayProblem(Exception):
    """A request that is answered by the gateway itself.

    `retry_after` is in seconds, `resets_at` a time in seconds since 1970.
    """

    def __init__(
        self,
        status: int,
        code: Code,
        message: str,
        *,
        retry_after: float | None = None,
        resets_at: float | None = None,
    ) -> None:
        """`message` is for people; it never has a key or a token in it."""
        super().__init__(message)
        self.status = status
        self.code: Code = code
        self.message = message
        self.retry_after = retry_after
        self.resets_at = resets_at


def invalid(message: str, status: int = 400) -> GatewayProblem:
    """A request that is not passed on as it is."""
    return GatewayProblem(status, "invalid_request", message)


def not_found(what: str = "this path") -> GatewayProblem:
    """Something that is not there, or not the caller's: both look alike."""
    return GatewayProblem(404, "not_found", f"{what} is not known to the gateway")


def iso(seconds: float) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def response_of(problem: GatewayProblem, wire: str = "") -> web.Response:
    """The answer for a problem, in the shape of `wire` ("": the gateway's own, which is OpenAI's)."""
    headers: dict[str, str] = {"X-Po-Error": problem.code}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(problem.retry_after)))
    if problem.resets_at is not None:
        headers["X-Po-Resets-At"] = iso(problem.resets_at)
    if problem.code == "budget_exceeded":
        headers["x-should-retry"] = "false"  # the vendors' SDKs would knock again
    body = json.dumps(_shape(problem, wire)).encode()
    return web.Response(body=body, status=problem.status, headers=headers, content_type="application/json")


def _shape(problem: GatewayProblem, wire: str) -> dict[str, object]:
    if wire == "anthropic":
        kind = _ANTHROPIC.get(problem.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": problem.message, "code": problem.code}}
    if wire == "gemini":
        status = _GEMINI.get(problem.status, "INTERNAL")
        return {"error": {"code": problem.code, "message": problem.message, "status": status}}
    return {"error": {"message": problem.message, "type": problem.code, "param": None, "code": problem.code}}
