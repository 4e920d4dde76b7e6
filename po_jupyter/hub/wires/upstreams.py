"""Upstreams: the vendors' servers with the team's keys, and what goes to them and comes from them.

Headers in both directions are allow-lists; the key goes to the configured address only, since no redirect is followed;
and where a vendor writes the key into an answer, the answer goes on without it.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from yarl import URL

from po_jupyter.errors import InvalidSettings
from po_jupyter.hub.config import GatewayConfig, Limits, UpstreamConfig, Wire, base_url_of, wire_of
from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.llm.providers.compatible.family import QUIRKS
from po_jupyter.llm.specs import plain_value, specs
from po_jupyter.llm.wire.proxies import proxy_for
from po_jupyter.telemetry.redaction import redactor

# From the user's request to the vendor, where the value is plain. An idempotency key is not here: with another's one
# would get their answer.
_TO_VENDOR = ("anthropic-version", "x-client-request-id")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,200}")
_FROM_VENDOR = re.compile(
    r"content-type|retry-after(-ms)?|x-should-retry|x-request-id|request-id|(x|anthropic)-ratelimit-[a-z-]+|"
    r"openai-processing-ms|openai-version|x-ms-request-id"
)
_STARS = b"********"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One vendor of the team. Its repr has no key."""

    name: str
    wire: Wire
    base_url: str
    limits: Limits
    fields: tuple[str, ...] = ()
    image_urls: bool = False
    says_cost: bool = False
    proxy: str | None = field(default=None, repr=False)
    key: str = field(default="", repr=False)

    @property
    def is_vendor(self) -> bool:
        """Whether its server is the vendor's own."""
        spec = specs().get(self.name)
        return spec is not None and spec.is_home(self.base_url)

    def url(self, path: str, query: Mapping[str, str] | None = None) -> URL:
        """The address of an operation. `path` and `query` have plain signs only."""
        text = "&".join(f"{name}={value}" for name, value in (query or {}).items())
        return URL(f"{self.base_url}{path}{'?' if text else ''}{text}", encoded=True)

    def headers(self, request: Mapping[str, str], content_type: str = "application/json") -> dict[str, str]:
        """The headers that go to the vendor."""
        headers = {
            name: value for name in _TO_VENDOR if (value := request.get(name)) and _PLAIN.fullmatch(value)
        }
        headers |= {"Accept-Encoding": "identity", "User-Agent": "po_jupyter"}
        if content_type:
            headers["Content-Type"] = content_type
        if self.key:
            name, value = _key_header(self)
            headers[name] = value
        return headers

    def scrubbed(self, body: bytes, *, is_cut: bool = False) -> bytes:
        """A body without the key; of one that was cut off, without what may be the beginning of the key at its end."""
        scrubber = StreamScrubber(self.key)
        shown = scrubber.feed(body)
        return shown if is_cut else shown + scrubber.flush()

    def answer_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of an answer that are passed on, without the key."""
        passed = {name: value for name, value in headers.items() if _FROM_VENDOR.fullmatch(name.lower())}
        if self.key:
            passed = {name: value.replace(self.key, _STARS.decode()) for name, value in passed.items()}
        passed["X-Po-From"] = "vendor"
        return passed


def _key_header(upstream: Upstream) -> tuple[str, str]:
    if upstream.wire == "anthropic":
        return "x-api-key", upstream.key
    if upstream.wire == "gemini":
        return "x-goog-api-key", upstream.key
    if upstream.name == "azure":
        return "api-key", upstream.key
    return "Authorization", f"Bearer {upstream.key}"


class StreamScrubber:
    """Takes the key out of a stream. Only what may be the beginning of the key waits for the next piece."""

    def __init__(self, key: str) -> None:
        """`key` may be empty."""
        self._key = key.encode()
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What can be passed on by now."""
        if not self._key:
            return data
        data = (self._rest + data).replace(self._key, _STARS)
        kept = 0
        if self._key[0] in data[-len(self._key) + 1 :]:
            sizes = range(min(len(self._key) - 1, len(data)), 0, -1)
            kept = next((size for size in sizes if data.endswith(self._key[:size])), 0)
        self._rest = data[len(data) - kept :]
        return data[: len(data) - kept]

    def flush(self) -> bytes:
        """The rest, at the end."""
        rest, self._rest = self._rest, b""
        return rest


def read_upstreams(
    config: GatewayConfig, folder: Path, environ: Mapping[str, str] = os.environ
) -> dict[str, Upstream]:
    """The vendors of a configuration, with their keys. Raises InvalidSettings when one has none.

    `folder` is where a relative `key_file` is looked for.
    """
    upstreams = {}
    for name, provider in config.providers.items():
        key = _key_of(name, provider, folder, environ)
        if key:
            redactor.learn([key])
        base_url = base_url_of(name, provider)
        if wire_of(name, provider) == "anthropic":
            base_url = base_url.removesuffix("/v1")
        proxy = proxy_for(base_url, environ)
        upstreams[name] = Upstream(
            name, wire_of(name, provider), base_url, provider.limits, provider.fields, provider.image_urls,
            name in QUIRKS and QUIRKS[name].says_cost, proxy.url if proxy is not None else None, key,
        )  # fmt: skip
    return upstreams


def _key_of(name: str, provider: UpstreamConfig, folder: Path, environ: Mapping[str, str]) -> str:
    spec = specs().get(name)
    if provider.key_file:
        path = folder / provider.key_file
        try:
            key = plain_value(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettings(
                f"providers.{name}.key_file: {path} cannot be read ({type(error).__name__})"
            ) from None
        variable = str(path)
    else:
        variable = provider.key_env or (spec.key_env if spec is not None else "")
        key = plain_value(environ.get(variable, "")) if variable else ""
    if not key and (provider.key_env or provider.key_file or (spec is not None and not spec.key_optional)):
        raise InvalidSettings(f"providers.{name}: {variable or 'key_env'} has no key")
    if not (key.isascii() and key.isprintable()):
        raise InvalidSettings(f"providers.{name}: the key in {variable} has signs that no header may have")
    return key


class VendorConnections:
    """The connections to all vendors."""

    def __init__(self, timeout: Callable[[], float]) -> None:
        """`timeout()` is of each silence, in seconds, as it is now."""
        self._timeout = timeout
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=30, ttl_dns_cache=60, ssl=ssl.create_default_context()
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def send(
        self, upstream: Upstream, method: str, url: URL, *, headers: Mapping[str, str], data: object = None
    ) -> aiohttp.ClientResponse:
        """Send a request; the response, whose body is still to be read and which the caller releases.

        Raises NeverSent when it has not arrived at the vendor, GatewayProblem when its outcome is not known.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self._timeout())
        for again in (True, False):
            try:
                return await self._session.request(
                    method, url, headers=headers, data=data, allow_redirects=False, proxy=upstream.proxy,
                    timeout=timeout,
                )  # fmt: skip
            except aiohttp.ClientHttpProxyError as error:
                raise NeverSent(
                    upstream.name, f"the proxy refuses the way to {upstream.name} ({error.status})"
                ) from None
            except aiohttp.ClientConnectorError as error:
                raise NeverSent(
                    upstream.name, f"no connection to {upstream.name} ({type(error).__name__})"
                ) from None
            except aiohttp.ConnectionTimeoutError:
                raise NeverSent(upstream.name, f"no connection to {upstream.name} within 10 s") from None
            except aiohttp.ClientError as error:
                if again and "closing transport" in str(error):
                    continue  # a kept connection was closed before the request was written
                raise answer_lost(f"{upstream.name} closed the connection without an answer") from None
            except TimeoutError:
                raise answer_lost(f"{upstream.name} did not answer in time") from None
        raise unavailable(f"{upstream.name} closes every connection")

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


class NeverSent(GatewayProblem):
    """The vendor could not be reached: the request costs nothing."""

    def __init__(self, provider: str, message: str) -> None:
        """`message` is for people."""
        super().__init__(503, "vendor_unavailable", message, retry_after=5)
        self.provider = provider


def unavailable(message: str) -> GatewayProblem:
    """A vendor that did not work on the request, so that it costs nothing."""
    return GatewayProblem(503, "vendor_unavailable", message, retry_after=5)


def answer_lost(message: str) -> GatewayProblem:
    """A vendor whose answer did not come (whole): the request counts in full, and may be paid for."""
    return GatewayProblem(503, "answer_lost", message, retry_after=5)
