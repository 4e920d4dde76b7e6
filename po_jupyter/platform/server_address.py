"""Addresses of Jupyter servers on this machine, from what they say about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_ANY = ("0.0.0.0", "::", "*", "")  # noqa: S104 - read here, not bound


class ServerAddress(NamedTuple):
    """The base URL of a server, and its Unix socket when it has one."""

    url: str
    socket: str | None = None


def server_address(info: Mapping[str, object]) -> ServerAddress:
    """The address to connect to, by the fields of a server's runtime file."""
    base = str(info.get("base_url") or "/")
    if info.get("sock"):
        return ServerAddress("http://localhost" + base, unquote(str(info["sock"])))
    scheme = "https" if info.get("secure") else "http"
    host = str(info.get("hostname") or "")
    if host in _ANY:
        host = "127.0.0.1"
    return ServerAddress(f"{scheme}://{f'[{host}]' if ':' in host else host}:{info.get('port')}{base}")


def connectable(url: str) -> str:
    """A bind address as an address to connect to."""
    parts = urlsplit(url)
    if (parts.hostname or "") in _ANY:
        return parts._replace(netloc=f"127.0.0.1:{parts.port or 80}").geturl()
    return url
