"""The ways out: a signed webhook (Standard Webhooks, standardwebhooks.com), or a service that `apprise` knows.

Where a message goes is a setting of whoever runs the server, and nothing of a pipeline. Redirects are not followed and
answers are not read: a receiver says how it went with its status alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol

from po_jupyter.config import NotificationChannel
from po_jupyter.config.notifications import SECRET_PREFIX
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.orchestrator.notifications import messages
from po_jupyter.orchestrator.notifications.outbox import Delivery

if TYPE_CHECKING:
    import httpx

_TIMEOUT = 10.0  # s of one try
_LONGEST_RETRY_AFTER = 6 * 3600.0  # s
_NO_APPRISE = "apprise is not installed"

# httpx writes the whole address of each request at INFO, httpcore the headers of answers at DEBUG: their lines about a
# webhook are dropped, those about other requests of this process are not.
_LOGGERS = "httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))
_SENDS: ContextVar[bool] = ContextVar("sends a notification", default=False)


def _is_not_ours(_: logging.LogRecord) -> bool:
    return not _SENDS.get()


class SendResult(NamedTuple):
    """The result of one try. `error` is empty when the message was delivered, and never holds an address; `retry_after`
    is what the receiver asked for, in seconds; `is_final`: no other try would help."""

    error: str = ""
    retry_after: float = 0.0
    is_final: bool = False


class ChannelSender(Protocol):
    """One way to a receiver."""

    async def send(self, delivery: Delivery) -> SendResult:
        """Try once. Raises nothing that it foresees."""
        ...

    async def close(self) -> None:
        """Release what it holds."""


def sender_of(channel: NotificationChannel) -> ChannelSender:
    """The sender of a channel of the settings."""
    if channel.webhook is not None and channel.secret is not None:
        return WebhookSender(channel.webhook.get_secret_value(), channel.secret.get_secret_value())
    assert channel.apprise is not None  # the settings see to it
    return AppriseSender(channel.apprise.get_secret_value())


def missing_package(channel: NotificationChannel) -> str:
    """What has to be installed before the channel works; empty when nothing has."""
    return _NO_APPRISE if channel.apprise is not None and find_spec("apprise") is None else ""


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a body; `secret` is `whsec_` and base64."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class WebhookSender:
    """Posts messages as JSON, signed."""

    def __init__(self, url: str, secret: str) -> None:
        """Nothing is connected yet."""
        self._url = url
        self._secret = secret
        self._client: httpx.AsyncClient | None = None

    async def send(self, delivery: Delivery) -> SendResult:
        """Post it once: any 2xx is a delivery."""
        import httpx

        if self._client is None:
            for name in _LOGGERS:
                logging.getLogger(name).addFilter(_is_not_ours)
            self._client = httpx.AsyncClient(follow_redirects=False, timeout=_TIMEOUT)
        body = json.dumps(delivery["message"], separators=(",", ":"), sort_keys=True).encode()
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "po_jupyter",
            "webhook-id": delivery["id"],
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secret, delivery["id"], timestamp, body),
        }
        silent = _SENDS.set(True)
        try:
            async with (
                asyncio.timeout(2 * _TIMEOUT),
                self._client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                return _result(response.status_code, response.headers.get("retry-after", ""))
        except TimeoutError:
            return SendResult("no answer in time")
        except httpx.TimeoutException:
            return SendResult("no answer in time")
        except httpx.HTTPError as error:
            return SendResult(f"cannot be reached ({type(error).__name__})")
        finally:
            _SENDS.reset(silent)

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()


def _result(status: int, retry_after: str) -> SendResult:
    if 200 <= status < 300:
        return SendResult()
    if 300 <= status < 400:
        return SendResult(
            f"answered with a redirect (HTTP {status}), which is not followed: set the final address"
        )
    if status in (401, 403):
        return SendResult(f"refused (HTTP {status}): does the receiver have the same secret?")
    if status == 410:
        return SendResult("the receiver wants no more of it (HTTP 410)", is_final=True)
    pause = float(min(whole_number(retry_after) or 0, _LONGEST_RETRY_AFTER))
    return SendResult(f"answered HTTP {status}", retry_after=pause)


class AppriseSender:
    """Sends messages as text with `apprise` (the extra `notify`), in a thread."""

    def __init__(self, url: str) -> None:
        """The package is imported at the first message."""
        self._url = url

    async def send(self, delivery: Delivery) -> SendResult:
        """Send it once."""
        message = delivery["message"]
        try:
            return await asyncio.to_thread(self._send, messages.title(message), messages.text(message))
        except ImportError:
            return SendResult(f"{_NO_APPRISE}: pip install 'po_jupyter[notify]'")

    def _send(self, title: str, text: str) -> SendResult:
        import apprise

        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # its lines have addresses in them
        services = apprise.Apprise()
        if not services.add(self._url):
            return SendResult("apprise does not know this kind of URL")
        return (
            SendResult()
            if services.notify(title=title, body=text)
            else SendResult("the service did not take it")
        )

    async def close(self) -> None:
        """There is nothing to release."""
