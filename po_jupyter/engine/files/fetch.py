"""Fetch of a URL that may be data: over https, from public addresses only, bounded.

The address is looked up once, checked, and connected to: a name that means another address a moment later
reaches nothing inside the network of the orchestrator.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import httpx

from po_jupyter.errors import InvalidInput, StageFailed

_SECONDS = 30.0
_HOPS = 3


# What a gateway makes an IPv4 address of: NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056); and two that are out of use,
# IPv4-compatible and site-local ones (RFC 4291).
_TRANSLATED = ((ipaddress.IPv6Network("64:ff9b::/96"), 0), (ipaddress.IPv6Network("2002::/16"), 80))
_NEVER = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "::/96", "fec0::/10")))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet: not of this machine, of a private network or of a cloud's inside.

    An IPv6 address that translates to an IPv4 one is judged by that.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in network for network in _NEVER):
            return False
        for network, shift in _TRANSLATED:
            if ip in network:
                inner = ipaddress.IPv4Address(int(ip) >> shift & 0xFFFFFFFF)
                return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast


async def fetch(
    url: str,
    *,
    limit: int,
    allowed: Callable[[str], bool] = is_public,
    verify: ssl.SSLContext | bool = True,
) -> bytes:
    """The bytes at `url`, at most `limit`.

    Raises InvalidInput for a URL that is not fetched, StageFailed for a fault that another attempt may not meet.
    """
    at = url
    try:
        async with (
            asyncio.timeout(_SECONDS),
            httpx.AsyncClient(trust_env=False, timeout=_SECONDS, verify=verify) as http,
        ):
            for _ in range(_HOPS + 1):
                response = await _get(http, at, limit, allowed)
                if isinstance(response, bytes):
                    return response
                at = urljoin(at, response)
    except TimeoutError:
        raise StageFailed(f"{_shown(url)} did not answer within {_SECONDS:g} s") from None
    except (httpx.HTTPError, OSError) as error:
        raise StageFailed(f"{_shown(url)} cannot be fetched: {type(error).__name__}") from None
    except (httpx.InvalidURL, ValueError):  # a port or a host that is none
        raise InvalidInput(f"{_shown(at)} is not fetched: it is no URL") from None
    raise InvalidInput(f"{_shown(url)} is redirected more than {_HOPS} times")


async def _get(http: httpx.AsyncClient, url: str, limit: int, allowed: Callable[[str], bool]) -> bytes | str:
    """The content, or the location of a redirect."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username:
        raise InvalidInput(f"{_shown(url)} is not fetched: only https, without a password in the URL")
    port = parts.port or 443
    loop = asyncio.get_running_loop()
    entries = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in entries]
    if not all(map(allowed, addresses)):
        raise InvalidInput(
            f"{_shown(url)} is not fetched: it is no address of the internet",
            hint="Read it in a Python task, and give its bytes.",
        )
    host = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    request = http.build_request(
        "GET",
        parts._replace(netloc=f"{host}:{port}", fragment="").geturl(),
        headers={"Host": parts.netloc.rpartition("@")[2], "Accept": "*/*", "Accept-Encoding": "identity"},
        extensions={"sni_hostname": parts.hostname},
    )
    response = await http.send(request, stream=True)
    try:
        if response.has_redirect_location:
            return response.headers["location"]
        if response.status_code >= 500:
            raise StageFailed(f"{_shown(url)} answered {response.status_code}")
        if response.status_code != 200:
            raise InvalidInput(f"{_shown(url)} answered {response.status_code}")
        body = b""
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > limit:
                raise InvalidInput(f"{_shown(url)} is larger than {limit:,} bytes")
        return body
    finally:
        await response.aclose()


def _shown(url: str) -> str:
    """A URL without what may be secret in it (P10)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL"
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"[:120]
