"""What differs between brokers: how one connects, which queues there are, how a message is received and buried."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from kombu import Connection, Exchange, Producer, Queue
from kombu.message import Message

from po_jupyter.distributed.brokers.celery.urls import BrokerUrl
from po_jupyter.distributed.brokers.protocol import RunMessage

CONNECT_SECONDS = 2.0  # tried twice
ANSWER_SECONDS = 5.0
MAX_DEAD = 10_000
DEFAULT_EXCHANGE = Exchange("")  # it brings a message to the queue whose name is the routing key
SLUG = re.compile(r"[A-Za-z0-9_-]{1,20}")


class Receiver(Protocol):
    """What brings the messages of some queues, one at a time."""

    def receive(self, seconds: float) -> Message | None:
        """The next message, or None after about so many seconds."""


class Broker(ABC):
    """One broker: its connections and its queues."""

    def __init__(self, url: BrokerUrl, name: str, redelivery: float) -> None:
        """See `open_queue`."""
        self.url, self.name, self.redelivery = url, name, redelivery

    @property
    def dead(self) -> str:
        """The name of the queue of dead letters."""
        return f"{self.name}.dead"

    @abstractmethod
    def connection(self) -> Connection:
        """A connection that is not yet made."""

    def route(self, message: RunMessage) -> tuple[str, int]:
        """The queue of a message, and its priority as this broker counts."""
        return self.base(message.labels), message.priority

    def queues(self, labels: Sequence[str]) -> list[str]:
        """The queues of a consumer with these labels."""
        return [self.base(()), *(self.base((label,)) for label in labels)]

    def base(self, labels: Sequence[str]) -> str:
        """The queue of a message with these labels: that of the first. A consumer without the others gives it back."""
        if not labels:
            return self.name
        label = min(labels)
        if not SLUG.fullmatch(label):  # SQS allows no more, and 80 characters in all
            digest = hashlib.sha256(label.encode()).hexdigest()[:8]
            label = f"{re.sub(r'[^A-Za-z0-9_-]', '-', label)[:11]}-{digest}"
        return f"{self.name}.label.{label}"

    def queue(self, name: str) -> Queue:
        """A queue to declare."""
        return Queue(
            name, DEFAULT_EXCHANGE, routing_key=name, durable=True, queue_arguments=self.arguments(name)
        )

    def arguments(self, name: str) -> dict[str, object]:
        """What the broker is told of a queue when it is declared."""
        return {}

    @abstractmethod
    def receiver(self, connection: Connection, names: Sequence[str]) -> Receiver:
        """What brings the messages of these queues."""

    def bury(self, message: Message, producer: Producer, reason: str) -> None:
        """Put a message to the dead letters, whatever anybody wrote in the place of its parts."""
        headers = message.headers if isinstance(message.headers, Mapping) else {}
        content_type = message.content_type if isinstance(message.content_type, str) else None
        self.send(
            producer, _as_bytes(message.body), self.dead, 0, content_type,
            {**headers, "po-dead": reason[:500]},
        )  # fmt: skip
        message.ack()

    def send(
        self,
        producer: Producer,
        body: Any,
        queue: str,
        priority: int,
        content_type: str | None,
        headers: Mapping[str, object],
        properties: Mapping[str, object] | None = None,
    ) -> None:
        """Send a message; when this returns the broker has it."""
        self.queue(queue)(producer.channel).declare()
        producer.publish(
            body, exchange=DEFAULT_EXCHANGE, routing_key=queue, priority=priority, delivery_mode=2,
            content_type=content_type or "application/octet-stream", content_encoding="utf-8",
            headers=dict(headers), confirm_timeout=ANSWER_SECONDS, **dict(properties or {}),
        )  # fmt: skip

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection, closed at the end. Raises what the broker's library raises."""
        connection = self.connection()
        transport = connection.transport
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=ANSWER_SECONDS)
            yield connection
        finally:
            try:
                connection.release()
            except Exception:  # the other end is gone
                connection.collect()
            self.close_transport(transport)

    def close_transport(self, transport: Any) -> None:  # noqa: B027  # most leave nothing open
        """Close what a connection has left open that broke: else it is open until the collector comes by."""


class PushReceiver:
    """Messages that the broker sends: at most one for each queue that is not yet answered."""

    def __init__(self, connection: Connection, queues: Sequence[Queue]) -> None:
        """Declares the queues and has them sent."""
        self._connection = connection
        self._arrived: list[Message] = []
        channel = connection.default_channel
        consumer = connection.Consumer(
            list(queues), channel=channel, on_message=self._arrived.append, prefetch_count=1, no_ack=False
        )
        consumer.consume()

    def receive(self, seconds: float) -> Message | None:
        """The most urgent that has arrived, or the next."""
        if not self._arrived:
            try:
                self._connection.drain_events(timeout=seconds)
            except TimeoutError:
                return None
            finally:
                self._connection.heartbeat_check()
        if not self._arrived:
            return None
        first = max(self._arrived, key=_priority)
        self._arrived.remove(first)
        return first


def _as_bytes(body: object) -> bytes:
    """A body that can be sent; what a frame has as its body may be any JSON, and text that is no Unicode."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    text = body if isinstance(body, str) else json.dumps(body)
    return text.encode("utf-8", "backslashreplace")


def _priority(message: Message) -> float:
    """The priority of a message; 0 when somebody wrote something else in its place."""
    priority = (message.properties or {}).get("priority")
    return priority if isinstance(priority, int | float) else 0


def tls_options(url: BrokerUrl) -> dict[str, object]:
    """Certificates: the server's is checked against its name, always."""
    return {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": url.options.get("ssl_ca_certs"),
        "certfile": url.options.get("ssl_certfile"),
        "keyfile": url.options.get("ssl_keyfile"),
    }
