"""What a provider's error means to us: the right class, the wait it asks for, and no key in its text.

The table, from the vendors' references ("Error codes", OpenAI; "Errors", Anthropic; "Troubleshooting", Gemini;
"Error codes", DeepSeek, Moonshot, Z.ai, Model Studio), 2026-11:

    401, 403; Gemini's 400 API_KEY_INVALID                  ModelKeyError
    402; 429 of an account without credit                   ModelRefused: waiting does not help
    429                                                     ModelRateLimited, with the wait that was asked for
    408, 409, 425, 5xx (529 is Anthropic's "overloaded")    ModelUnavailable
    `x-should-retry: true` or `false`                       wins over the status: OpenAI and Anthropic send it
    everything else                                         ModelRefused

An error status is an answer, and nothing is billed for it. 502, 504 and Cloudflare's 52x come from something in
between: what became of the request behind it is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from po_jupyter.errors import (
    ModelError,
    ModelKeyError,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.wire.bodies import Answer, as_json

_SHOWN = 500
_KEYS = re.compile(
    r"\b(?:sk|pk|rk|key|xai|gsk)[-_][A-Za-z0-9_\-*.]{8,}|\bAIza[A-Za-z0-9_\-]{8,}"
    r"|(?i:bearer|x-api-key:?|x-goog-api-key:?)\s+[A-Za-z0-9_\-.=]{8,}"
)
_BETWEEN = frozenset({502, 504, *range(520, 526)})
_TRANSIENT = frozenset({408, 409, 425, 500, 502, 503, 504, 529})
# A 429 that waiting does not cure: the account is empty. By OpenAI, Moonshot and Z.ai, in this order.
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
# What errors inside a 200 are called, and the status that they would have come with.
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
_REQUEST_IDS = ("x-request-id", "request-id", "x-goog-request-id", "x-ds-trace-id", "x-log-id", "cf-ray")


def redacted(text: str, *secrets: str | None) -> str:
    """`text` without the given secrets (also as they look inside JSON) and without what looks like a key."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***").replace(json.dumps(secret)[1:-1], "***")
    return _KEYS.sub("***", text)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as an HTTP date.

    None when it asks for nothing that can be read; a date in the past is 0.0.
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


def request_id(headers: Mapping[str, str]) -> str:
    """The provider's name for the request, bounded, or ""."""
    for name in _REQUEST_IDS:
        if found := headers.get(name):
            return found[:200]
    return ""


def status_of(error: Any) -> int:
    """The status of an error that came inside a 200: its own number, or what its type means; else 502."""
    if not isinstance(error, Mapping):
        return 502
    for name in ("code", "status", "type"):
        value = error.get(name)
        if isinstance(value, int) and 400 <= value < 600:
            return value
        if isinstance(value, str) and value in _STATUS_OF:
            return _STATUS_OF[value]
    return 502


def fault(answer: Answer, *, provider: str, model: str, key: str | None, key_env: str = "") -> ModelError:
    """The error for a status that is not 200."""
    said = _Said(answer, key)
    status = answer.status
    details: dict[str, Any] = {"status": status, "provider": provider, "model": model}
    if found := request_id(answer.headers) or said.request_id:
        details["request_id"] = found
    if status in _BETWEEN:
        details["outcome"] = "unknown"
    reason = said.code or said.kind
    if reason:
        details["reason"] = reason
    text = f"{provider} answered {status} for {model}" + (f": {said.message}" if said.message else "")
    wait = retry_after(answer.headers)
    wait = said.wait if wait is None else wait
    if status in (401, 403) or said.key_refused:
        # A stored key is taken by the next run; only one of the environment needs another start.
        hint = (
            f"po keys list says which key it was. Store another: po keys set {provider}; {key_env} of the environment "
            "wins over it, and is read where the orchestrator starts."
        )
        hint = hint if key_env else ""
        return ModelKeyError(text, hint=hint, details=details)
    if status == 402 or {said.code, said.kind} & _EMPTY:
        return ModelRefused(
            text, hint="The account has no credit left; waiting does not help.", details=details
        )
    advice = answer.headers.get("x-should-retry")
    if status == 429 and advice != "false":
        return ModelRateLimited(text, details=details, retry_after=wait)
    if advice == "true" or ((status in _TRANSIENT or status >= 500) and advice != "false"):
        return ModelUnavailable(text, details=details, retry_after=wait)
    if 300 <= status < 400:
        hint = "Redirects are not followed, so that a key goes to its own address only: correct the base URL."
        return ModelRefused(text, hint=hint, details=details)
    hint = ""
    if status == 404:
        hint = "Check the model's name, and that the base URL is right (OpenAI's kind includes /v1)."
    elif {said.code, said.kind} & _TOO_LONG or "prompt is too long" in said.message.lower():
        hint = "The prompt is too long for this model: shorten it or choose another model."
    return ModelRefused(text, hint=hint, details=details)


class _Said:
    """What an error's body says, in any of the vendors' shapes; redacted and bounded."""

    __slots__ = ("code", "key_refused", "kind", "message", "request_id", "wait")

    def __init__(self, answer: Answer, key: str | None) -> None:
        said = as_json(answer.body)
        if isinstance(said, list) and said:
            said = said[0]  # Gemini's streams without `alt=sse`
        error: Any = said.get("error", said) if isinstance(said, dict) else said
        message: Any = ""
        kind: Any = None
        code: Any = None
        if isinstance(error, dict):
            message = error.get("message") or error.get("detail") or error.get("msg") or ""
            kind, code = error.get("type") or error.get("status"), error.get("code")
        elif isinstance(error, str):
            message = error
            message = f"{error}: {said['message']}" if isinstance(said, dict) and said.get("message") else error
        elif "html" not in answer.headers.get("content-type", ""):
            message = answer.body.decode(errors="replace")
        clean = " ".join(redacted(str(message), key).split())
        self.message = clean[:_SHOWN]
        self.kind = redacted(str(kind or ""), key)[:100]
        # Gemini's `code` is the status again.
        self.code = "" if code == answer.status else redacted(str(code or ""), key)[:100]
        given = said.get("request_id") or said.get("id") if isinstance(said, dict) else ""
        self.request_id = redacted(str(given or ""), key)[:200]
        self.wait, self.key_refused = _google(error)


def _google(error: Any) -> tuple[float | None, bool]:
    """(the wait in a RetryInfo, whether the key was refused), as google.rpc.Status says it in `details`."""
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
