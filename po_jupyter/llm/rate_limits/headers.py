"""Rate-limit headers of answers: the limits that a server reports, in one shape for all servers.

    x-ratelimit-limit-requests: 500        x-ratelimit-remaining-requests: 499     x-ratelimit-reset-requests: 120ms
    anthropic-ratelimit-input-tokens-limit: 50000   ...-remaining: 49000   ...-reset: 2026-11-22T12:00:30Z

References, 2026-11: "Rate limits", OpenAI (Groq, Together, Moonshot and gateways send the same names; `reset` is the
time until nothing counts any more: `1s`, `6m0s`, `120ms`, or seconds); "Rate limits", Anthropic (`reset` is a time
in RFC 3339, taken relative to the answer's `date`, so that our clock need not be right).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from po_jupyter.llm.chat import ServerLimits
from po_jupyter.llm.rate_limits.sliding_window import KINDS

_MAX = 10**12
_NAME = re.compile(
    r"(?:x-ratelimit-(?P<a>limit|remaining|reset)-(?P<ak>requests|tokens|input-tokens|output-tokens)"
    r"|anthropic-ratelimit-(?P<bk>requests|tokens|input-tokens|output-tokens)-(?P<b>limit|remaining|reset))\Z"
)
_SPAN = re.compile(
    r"(?=\d)(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?"
    r"(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?\Z"
)
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def limits_from(headers: Mapping[str, str]) -> ServerLimits | None:
    """The limits in an answer's headers; None: none. Those that cannot be read are left out."""
    texts: dict[str, dict[str, str]] = {}
    for name in _limit_headers(headers):
        matched = _NAME.match(name)
        if matched is not None:
            kind = (matched["ak"] or matched["bk"]).replace("-", "_")
            texts.setdefault(kind, {})[matched["a"] or matched["b"]] = headers[name].strip()
    if not texts:
        return None
    limits: ServerLimits = {}
    for kind in KINDS:
        text = texts.get(kind, {})
        limit, remaining = _count(text.get("limit")), _count(text.get("remaining"))
        if limit:  # a limit of nothing says that there is none
            limits[kind] = (limit, remaining, _seconds(text.get("reset"), headers))
    return limits or None


def _limit_headers(headers: Mapping[str, str]) -> Iterable[str]:
    return [name.lower() for name in headers if "ratelimit-" in name.lower()]


def _count(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 13:
        return None
    return min(int(text), _MAX)


def _seconds(text: str | None, headers: Mapping[str, str]) -> float | None:
    if not text:
        return None
    if matched := _SPAN.match(text):
        parts = [float(part) * unit for part, unit in zip(matched.groups(), _UNITS, strict=True) if part]
        return sum(parts)
    try:
        return max(0.0, min(float(text), 1e9)) if float(text) == float(text) else None
    except ValueError:
        pass
    try:
        then = datetime.fromisoformat(text)
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, (then - _date(headers)).total_seconds())
    except (ValueError, OverflowError):
        return None


def _date(headers: Mapping[str, str]) -> datetime:
    try:
        date = parsedate_to_datetime(headers["date"])
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)
