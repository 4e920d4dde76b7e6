"""What a provider's error means to us: the right class, the wait it asks for, and no key in its text."""

from __future__ import annotations

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
from po_jupyter.llm.http import Answer, as_json

_SHOWN = 500
_KEYS = re.compile(
    r"\b(?:sk|pk|rk|key|xai|gsk|AIza)[-_][A-Za-z0-9_\-*.]{8,}|(?i:bearer)\s+[A-Za-z0-9_\-.=]{8,}"
)
_TRANSIENT = frozenset({408, 409, 425, 500, 502, 503, 504, 529})
# A 429 that waiting does not cure: the account is empty. OpenAI's API reference, "Error codes".
_EMPTY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


def redacted(text: str, *secrets: str | None) -> str:
    """`text` without the given secrets and without anything that looks like a key."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
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
    return (headers.get("x-request-id") or headers.get("request-id") or headers.get("cf-ray") or "")[:200]


def fault(answer: Answer, *, provider: str, model: str, key: str | None, key_env: str = "") -> ModelError:
    """The error for a status that is not 200."""
    message, kind, code = _words(answer, key)
    status = answer.status
    details: dict[str, Any] = {"status": status, "provider": provider, "model": model}
    if found := request_id(answer.headers):
        details["request_id"] = found
    if kind or code:
        details["reason"] = code or kind
    text = f"{provider} answered {status} for {model}" + (f": {message}" if message else "")
    if status in (401, 403):
        hint = f"Check {key_env} where the orchestrator starts; then: po stop, po start" if key_env else ""
        return ModelKeyError(text, hint=hint, details=details)
    if status == 402 or code in _EMPTY or kind in _EMPTY:
        return ModelRefused(
            text, hint="The account has no credit left; waiting does not help.", details=details
        )
    if status == 429:
        return ModelRateLimited(text, details=details, retry_after=retry_after(answer.headers))
    if status in _TRANSIENT or status >= 500:
        return ModelUnavailable(text, details=details, retry_after=retry_after(answer.headers))
    if 300 <= status < 400:
        hint = "Redirects are not followed, so that a key goes to its own address only: correct the base URL."
        return ModelRefused(text, hint=hint, details=details)
    hint = ""
    if status == 404:
        hint = "Check the model's name, and that the base URL is right (OpenAI's kind includes /v1)."
    elif code == "context_length_exceeded":
        hint = "The prompt is too long for this model: shorten it or choose another model."
    return ModelRefused(text, hint=hint, details=details)


def _words(answer: Answer, key: str | None) -> tuple[str, str, str]:
    """(message, type, code) of an error body, redacted and bounded."""
    said = as_json(answer.body)
    error: Any = said.get("error", said) if isinstance(said, dict) else said
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or error.get("msg") or ""
        kind, code = error.get("type"), error.get("code")
    else:
        plain = "html" not in answer.headers.get("content-type", "")
        message = error if isinstance(error, str) else (answer.body.decode(errors="replace") if plain else "")
        kind = code = None
    clean = " ".join(redacted(str(message), key).split())
    return clean[:_SHOWN], redacted(str(kind or ""), key)[:100], redacted(str(code or ""), key)[:100]
