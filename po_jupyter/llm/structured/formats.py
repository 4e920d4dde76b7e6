"""Formats of JSON Schema that answers are judged by: those of the specification, and those that pydantic writes.

They are lenient where people and pydantic are (a time without a zone is one), and refuse what is none. A format that
is not here is an annotation, as the specification says.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, time
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import NamedTuple

_TIME = re.compile(r"(\d\d:\d\d)(:\d\d)?(\.\d{1,12})?\s?(Z|[+-]\d\d(:?\d\d)?)?", re.IGNORECASE)
_DURATION = re.compile(
    r"[+-]?P(?=[\dT])(\d+([.,]\d+)?Y)?(\d+([.,]\d+)?M)?(\d+([.,]\d+)?W)?(\d+([.,]\d+)?D)?"
    r"(T(?=\d)(\d+([.,]\d+)?H)?(\d+([.,]\d+)?M)?(\d+([.,]\d+)?S)?)?"
)
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_LOCAL = re.compile(r"""(?:"[^"\r\n]{1,62}"|[^\s@"(),:;<>\[\]\\.]+(?:\.[^\s@"(),:;<>\[\]\\.]+)*)""")
_URI = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*:[^\s<>"{}|\\^`]+""")
_REFERENCE = re.compile(r"""[^\s<>"{}|\\^`]*""")
_TEMPLATE = re.compile(r"""(?:[^\s<>"{}\\^`]|\{[^{}\s]+\})*""")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_RELATIVE_POINTER = re.compile(r"(?:0|[1-9]\d*)(?:#|(?:/(?:[^~/]|~[01])*)*)")
_UUID = re.compile(
    r"(?:urn:uuid:)?[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.IGNORECASE
)
_NEEDS_HOST = ("http", "https", "ws", "wss", "ftp")


class Format(NamedTuple):
    """A format: the check of a text, what it is called where a text is none, and an example."""

    check: Callable[[str], object]
    described: str
    example: str

    def fits(self, value: object) -> bool:
        """Whether a value is of the format; what is no text is none of its business."""
        if not isinstance(value, str):
            return True
        try:
            return self.check(value) is not False
        except (ValueError, re.error, RecursionError, OverflowError):
            return False


def _is(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _date(text: str) -> bool:
    date.fromisoformat(text)
    return len(text) == 10 and text[4] == "-" == text[7]  # not 20260531, nor 2026-W22-7


def _time(text: str) -> bool:
    parts = _TIME.fullmatch(text)
    if parts is None:
        return False
    seconds = (parts[2] or ":00").replace(":60", ":59")  # a leap second
    time.fromisoformat(parts[1] + seconds)
    zone = parts[4] or "Z"
    return zone in "Zz" or (int(zone[1:3]) < 24 and int(zone[-2:]) < 60)


def _date_time(text: str) -> bool:
    return text[10:11] in ("T", "t", " ", "_") and _date(text[:10]) and _time(text[11:])


def _duration(text: str) -> bool:
    return _DURATION.fullmatch(text) is not None


def _host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def _email(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    if not at or len(local) > 64 or _LOCAL.fullmatch(local) is None:
        return False
    if domain.startswith("[") and domain.endswith("]"):
        ip_address(domain[1:-1].removeprefix("IPv6:"))
        return True
    return _host(domain)


def _name_email(text: str) -> bool:
    inner = re.fullmatch(r"[^<>]*<([^<>]+)>", text)
    return _email(inner[1] if inner else text)


def _uri(text: str) -> bool:
    if _URI.fullmatch(text) is None:
        return False
    scheme, _, rest = text.partition(":")
    return scheme.lower() not in _NEEDS_HOST or bool(re.match(r"//[^/?#]", rest))


def _uuid(version: int | None) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        return _UUID.fullmatch(text) is not None and version in (None, uuid.UUID(text).version)

    return check


def _base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None


def _base64url(text: str) -> None:
    _base64(
        text.translate({ord("-"): "+", ord("_"): "/"})
        + "=" * (-len(text.rstrip("=")) % 4) * (not text.endswith("="))
    )


_ID = "12345678-1234-{}234-8234-123456789abc"

FORMATS: Mapping[str, Format] = {
    "date": Format(_date, "a date such as 2026-05-31", "2026-05-31"),
    "time": Format(_time, "a time such as 14:30:00", "14:30:00Z"),
    "date-time": Format(_date_time, "a date and time such as 2026-05-31T14:30:00Z", "2026-05-31T14:30:00Z"),
    "duration": Format(_duration, "a duration such as P1DT2H", "P1D"),
    "email": Format(_email, "an e-mail address", "someone@example.com"),
    "idn-email": Format(_email, "an e-mail address", "someone@example.com"),
    "name-email": Format(
        _name_email, "an e-mail address, perhaps with a name", "Someone <someone@example.com>"
    ),
    "hostname": Format(_host, "the name of a host", "example.com"),
    "idn-hostname": Format(_host, "the name of a host", "example.com"),
    "ipv4": Format(IPv4Address, "an IPv4 address", "192.0.2.1"),
    "ipv6": Format(IPv6Address, "an IPv6 address", "2001:db8::1"),
    "ipvanyaddress": Format(ip_address, "an IP address", "192.0.2.1"),
    "ipv4network": Format(IPv4Network, "an IPv4 network", "192.0.2.0/24"),
    "ipv6network": Format(IPv6Network, "an IPv6 network", "2001:db8::/32"),
    "ipvanynetwork": Format(ip_network, "an IP network", "192.0.2.0/24"),
    "ipv4interface": Format(IPv4Interface, "an IPv4 interface", "192.0.2.1/24"),
    "ipv6interface": Format(IPv6Interface, "an IPv6 interface", "2001:db8::1/32"),
    "ipvanyinterface": Format(ip_interface, "an IP interface", "192.0.2.1/24"),
    "uri": Format(_uri, "a URI such as https://example.com/a", "https://example.com/"),
    "iri": Format(_uri, "an IRI such as https://example.com/a", "https://example.com/"),
    "multi-host-uri": Format(_uri, "a URI", "https://example.com/"),
    "uri-reference": Format(_is(_REFERENCE), "a URI or a part of one", "/a"),
    "iri-reference": Format(_is(_REFERENCE), "an IRI or a part of one", "/a"),
    "uri-template": Format(_is(_TEMPLATE), "a URI template", "/a/{b}"),
    "uuid": Format(_uuid(None), "a UUID", _ID.format(4)),
    **{f"uuid{n}": Format(_uuid(n), f"a UUID of version {n}", _ID.format(n)) for n in range(1, 9)},
    "json-pointer": Format(_is(_POINTER), "a JSON Pointer such as /a/0", "/a"),
    "relative-json-pointer": Format(_is(_RELATIVE_POINTER), "a relative JSON Pointer", "0/a"),
    "regex": Format(re.compile, "a regular expression", "a+"),
    "json-string": Format(json.loads, "JSON in a text", "{}"),
    "byte": Format(_base64, "base64", "YQ=="),
    "base64": Format(_base64, "base64", "YQ=="),
    "base64url": Format(_base64url, "base64 for URLs", "YQ=="),
}
