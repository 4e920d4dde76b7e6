"""Errors of providers as ours: the error class for a status, the wait it asks for, and no key in its text.

The table, from the vendors' references ("Error codes", OpenAI; "Errors", Anthropic; "Troubleshooting", Gemini;
"Error codes", DeepSeek, Moonshot, Z.ai, Model Studio), 2026-11:

    401, 403; Gemini's 400 API_KEY_INVALID                  ModelKeyError
    402; 429 of an account without credit                   ModelRefused: waiting does not help
    429                                                     ModelRateLimited, with the wait that was asked for
    408, 409, 425, 5xx (529 is Anthropic's "overloaded")    ModelUnavailable
    `x-should-retry: true` or `false`                       wins over the status: OpenAI and Anthropic send it
    everything else                                         ModelRefused

An error status is an answer, and nothing is billed for it. 502, 504 and Cloudflare's 52x come from a proxy: the
outcome of the request behind it is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

from po_jupyter.errors import (
    ModelError,
    ModelKeyError,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.wire.bodies import HttpResponse, decode_json
from po_jupyter.model.values.json import JsonObject

_SHOWN = 500
_KEYS = re.compile(
    r"\b(?:sk|pk|rk|key|xai|gsk)[-_][A-Za-z0-9_\-*.]{8,}|\bAIza[A-Za-z0-9_\-]{8,}"
    r"|(?i:bearer|x-api-key:?|x-goog-api-key:?)\s+[A-Za-z0-9_\-.=]{8,}"
)
_BETWEEN = frozenset({502, 504, *range(520, 526)})
_TRANSIENT = frozenset({408, 409, 425, 500, 502, 503, 504, 529})
# Codes of a 429 that waiting does not cure: the account is empty. By OpenAI, Moonshot and Z.ai, in this order.
_EMPTY = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "exceeded_current_quota_error",
        "1113",
    }
)
_TOO_LONG = frozenset({"context_length_exceeded", "request_too_large", "1261"})
# The types of errors inside a 200, and the status that each would have come with.
_STATUS_OF = {
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "timeout_error": 504,
    "api_error": 500,
    "server_error": 500,
    "vector_store_timeout": 504,
    "internal_server_error": 500,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "billing_error": 402,
    "not_found_error": 404,
    "request_too_large": 413,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
}
GATEWAY_ERROR = "x-po-error"
GATEWAY_RESET = "x-po-resets-at"
FROM_VENDOR = "x-po-from"
_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "x-goog-request-id",
    "x-ds-trace-id",
    "x-log-id",
    "cf-ray",
)


def redact(text: str, *secrets: str | None) -> str:
    """`text` without `secrets` (also as they look inside JSON) and without anything that looks like a key."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***").replace(json.dumps(secret)[1:-1], "***")
    return _KEYS.sub("***", text)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as an HTTP date.

    None when there is no such header that can be read; a date in the past is 0.0.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                then = parsedate_to_datetime(value)
            except ValueError:
                continue
            then = then if then.tzinfo else then.replace(tzinfo=UTC)
            seconds = (then - (now or datetime.now(UTC))).total_seconds()
        if isfinite(seconds):
            return max(seconds, 0.0)
    return None


def response_request_id(headers: Mapping[str, str]) -> str:
    """The provider's name for the request, at most 200 characters, or ""."""
    for name in _REQUEST_IDS:
        if value := headers.get(name):
            return value[:200]
    return ""


def status_of_error(error: object) -> int:
    """The status of an error that came inside a 200: its own number, or the one that its type means; else 502."""
    if not isinstance(error, Mapping):
        return 502
    for name in ("code", "status", "type"):
        value = error.get(name)
        if isinstance(value, int) and 400 <= value < 600:
            return value
        if isinstance(value, str) and value in _STATUS_OF:
            return _STATUS_OF[value]
    return 502


def error_from_response(
    response: HttpResponse, *, provider: str, model: str, key: str | None, key_env: str = ""
) -> ModelError:
    """The error for a response whose status is not 200.

    `key` is taken out of its text; `key_env` is the variable that its hint names, "" for none.
    """
    body = _ErrorBody(response, key)
    status = response.status
    details: JsonObject = {"status": status, "provider": provider, "model": model}
    if request := response_request_id(response.headers) or body.request_id:
        details["request_id"] = request
    if reason := body.code or body.kind:
        details["reason"] = reason
    details |= _of_gateway(response, body)
    text = f"{provider} answered {status} for {model}" + (f": {body.message}" if body.message else "")
    if status in (401, 403) or body.key_refused:
        return ModelKeyError(text, hint=_key_hint(provider, key_env), details=details)
    if status == 402 or body.names & _EMPTY:
        hint = "The account has no credit left; waiting does not help."
        return ModelRefused(text, hint=hint, details=details)
    error = _by_status(text, response, body, details)
    if status in _BETWEEN:
        error.outcome = "unknown"
    return error


def _of_gateway(response: HttpResponse, body: _ErrorBody) -> JsonObject:
    """What the gateway of a hub says in its headers; and where a page answered, in the place of an API."""
    details: JsonObject = {}
    if code := response.headers.get(GATEWAY_ERROR, "")[:100]:
        details["gateway"] = code
        if resets := response.headers.get(GATEWAY_RESET, "")[:100]:
            details["resets_at"] = resets
    elif not body.is_of_api and FROM_VENDOR not in response.headers:
        details["page"] = True
    return details


def _by_status(text: str, response: HttpResponse, body: _ErrorBody, details: JsonObject) -> ModelError:
    """A rate limit, an outage or a refusal: the server's own advice wins over the status."""
    status, advice = response.status, response.headers.get("x-should-retry")
    wait = retry_after(response.headers)
    wait = body.wait if wait is None else wait
    if status == 429 and advice != "false":
        return ModelRateLimited(text, details=details, retry_after=wait)
    if advice == "true" or ((status in _TRANSIENT or status >= 500) and advice != "false"):
        return ModelUnavailable(text, details=details, retry_after=wait)
    return ModelRefused(text, hint=_refusal_hint(status, body), details=details)


def _key_hint(provider: str, key_env: str) -> str:
    if not key_env:
        return ""
    # A stored key is taken by the next run; only one of the environment needs another start.
    return (
        f"po keys list says which key it was. Store another: po keys set {provider}; {key_env} of the environment "
        "wins over it, and is read where the orchestrator starts."
    )


def _refusal_hint(status: int, body: _ErrorBody) -> str:
    if 300 <= status < 400:
        return "Redirects are not followed, so that a key goes to its own address only: correct the base URL."
    if status == 404:
        return "Check the model's name, and that the base URL is right (OpenAI's kind includes /v1)."
    if body.names & _TOO_LONG or "prompt is too long" in body.message.lower():
        return "The prompt is too long for this model: shorten it or choose another model."
    return ""


class _ErrorBody:
    """The body of an error in any of the vendors' shapes, redacted and bounded.

    code, kind   the vendor's words for the error; `names` has both
    message      for people
    wait         seconds that a RetryInfo asks for, or None
    key_refused  the body says that the key is invalid
    is_of_api    it is JSON with an `error` in it: no page, and not the JSON of a hub
    """

    __slots__ = ("code", "is_of_api", "key_refused", "kind", "message", "names", "request_id", "wait")

    def __init__(self, response: HttpResponse, key: str | None) -> None:
        body = decode_json(response.body)
        if isinstance(body, list) and body:
            body = body[0]  # Gemini's streams without `alt=sse`
        error = body.get("error", body) if isinstance(body, dict) else body
        self.is_of_api = isinstance(body, dict) and "error" in body
        message: object = ""
        kind: object = None
        code: object = None
        if isinstance(error, dict):
            message = error.get("message") or error.get("detail") or error.get("msg") or ""
            kind, code = error.get("type") or error.get("status"), error.get("code")
        elif isinstance(error, str):
            more = body.get("message") if isinstance(body, dict) else None
            message = f"{error}: {more}" if more else error
        elif "html" not in response.headers.get("content-type", ""):
            message = response.body.decode(errors="replace")
        self.message = " ".join(redact(str(message), key).split())[:_SHOWN]
        self.kind = redact(str(kind or ""), key)[:100]
        # Gemini's `code` is the status again.
        self.code = "" if code == response.status else redact(str(code or ""), key)[:100]
        self.names = {self.code, self.kind}
        request = body.get("request_id") or body.get("id") if isinstance(body, dict) else ""
        self.request_id = redact(str(request or ""), key)[:200]
        self.wait, self.key_refused = _google_details(error)


def _google_details(error: object) -> tuple[float | None, bool]:
    """(the wait of a RetryInfo, True when the key was refused), from the `details` of a google.rpc.Status."""
    wait, refused = None, False
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9})?s", delay):
            wait = float(delay[:-1])
        refused = refused or detail.get("reason") in ("API_KEY_INVALID", "API_KEY_EXPIRED")
    return wait, refused
