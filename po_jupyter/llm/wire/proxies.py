"""Proxies and certificates that the environment names, and their problems, each by its variable.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in small letters first; `SSL_CERT_FILE`, `SSL_CERT_DIR`.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import certifi

from po_jupyter.presentation.urls import shown_url

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SCHEMES = ("http", "https")


class ProxySetting(NamedTuple):
    """A proxy and the variable that names it. `url` may hold a password; `str()` does not."""

    variable: str
    url: str

    def __str__(self) -> str:
        """The proxy for people."""
        return f"the proxy {shown_url(self.url).removeprefix('http://').rstrip('/')} ({self.variable})"


def proxy_for(url: str, environ: Mapping[str, str] | None = None) -> ProxySetting | None:
    """The proxy for a URL; never one for loopback. A proxy without a scheme (`host:port`) speaks HTTP."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK:
        return None
    settings = _settings(os.environ if environ is None else environ)
    bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it
    if not settings or bypass(host, {scheme: setting.url for scheme, setting in settings.items()}):
        return None
    proxy = settings.get(parts.scheme) or settings.get("all")
    if proxy is None:
        return None
    return proxy if "://" in proxy.url else proxy._replace(url=f"http://{proxy.url}")


def _settings(environ: Mapping[str, str]) -> dict[str, ProxySetting]:
    """The proxies by scheme, `all` and `no` among them; names in small letters win, also with nothing in them."""
    settings: dict[str, ProxySetting] = {}
    for name in sorted(environ, key=lambda name: name.lower() == name):
        scheme, separator, rest = name.lower().rpartition("_")
        if separator and rest == "proxy" and scheme:
            settings[scheme] = ProxySetting(name, environ[name].strip())
    if "REQUEST_METHOD" in environ:  # a CGI program gets HTTP_PROXY from whoever sends a header `Proxy`
        settings.pop("http", None)
    return {scheme: setting for scheme, setting in settings.items() if setting.url}


def network_problems(url: str, environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """The problems of the proxy and the certificates of requests to `url`. Reads files; asks nobody."""
    environ = os.environ if environ is None else environ
    if (proxy := proxy_for(url, environ)) is not None and (problem := proxy_problem(proxy)) is not None:
        yield problem
    if urlsplit(url).scheme == "https" and (problem := certificate_problem(environ)) is not None:
        yield problem


def proxy_problem(proxy: ProxySetting) -> str | None:
    """The reason why a proxy cannot be used; None when it can."""
    variable = proxy.variable
    try:
        parts = urlsplit(proxy.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if host is not None and parts.scheme not in _SCHEMES:
        return (
            f"{variable} is {shown_url(proxy.url)}: proxies of the kind {parts.scheme} are not spoken, only http:// "
            "and https://; name one of those, or the hosts that need none in NO_PROXY"
        )
    if not host or port == 0 or any(sign.isspace() for sign in proxy.url):
        return f"{variable} is no proxy such as http://proxy.example:3128"
    return None


def certificate_problem(environ: Mapping[str, str] | None = None) -> str | None:
    """The reason why the certificates of the environment cannot be used; None when they can, or none are named."""
    environ = os.environ if environ is None else environ
    file, directories = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    if file:
        try:
            status = os.stat(file)
            reason = _authorities_problem(file, status.st_ino, status.st_ctime_ns)
        except OSError as error:
            reason = error.strerror
        if reason is not None:
            return f"SSL_CERT_FILE is {file}, which cannot be used: {reason}"
    elif directories and not any(Path(path).is_dir() for path in directories.split(os.pathsep)):
        return f"SSL_CERT_DIR is {directories}, which cannot be used: there is no such directory"
    return None


def trusted_authorities() -> ssl.SSLContext:
    """What certificates of servers are judged by: those that the environment names, else those of certifi."""
    file, directories = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        return ssl.create_default_context(cafile=file)
    if directories:
        return ssl.create_default_context(capath=directories)
    return ssl.create_default_context(cafile=certifi.where())


@lru_cache(maxsize=8)
def _authorities_problem(file: str, inode: int, changed: int) -> str | None:
    """The reason why a file of certificates cannot be used, asked once for each state of it: all the authorities of a
    machine take 20 ms to load, and each provider asks."""
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # an SSLError is one
        no_certificate = isinstance(error, ssl.SSLError) or not error.strerror
        return "there is no certificate in it" if no_certificate else error.strerror
    return None
