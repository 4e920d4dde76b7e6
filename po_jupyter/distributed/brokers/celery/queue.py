"""The MessageQueue over Celery's messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TypeVar

from kombu import Connection

from po_jupyter.distributed.brokers.celery.broker import Broker
from po_jupyter.distributed.brokers.celery.consumer import Consumer
from po_jupyter.distributed.brokers.celery.tasks import CONTENT_TYPE, encode
from po_jupyter.distributed.brokers.celery.urls import BrokerUrl
from po_jupyter.distributed.brokers.protocol import Closer, RunMessage, Take
from po_jupyter.errors import BrokerUnavailable

REST = 1.0  # seconds after a failure in which nobody else waits for the same one

Answer = TypeVar("Answer")


class CeleryQueue:
    """A queue on Redis, RabbitMQ or SQS. One connection sends and asks; each thread of a consumer has its own."""

    def __init__(self, url: BrokerUrl, name: str, redelivery: float) -> None:
        """See `open_queue`."""
        self._broker = _broker(url, name, redelivery)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._held = ExitStack()  # what closes it
        self._failed: tuple[float, str] | None = None
        self._consumers: list[Consumer] = []
        self._names = {*self._broker.queues(()), self._broker.dead}

    def publish(self, message: RunMessage) -> None:
        """Queue it; see the Protocol."""
        task = encode(message)
        queue, priority = self._broker.route(message)

        def send(connection: Connection) -> None:
            producer = connection.Producer(connection.default_channel, auto_declare=False)
            self._broker.send(producer, task.body, queue, priority, CONTENT_TYPE, task.headers, task.properties)

        self._names.add(queue)
        self._ask(send)

    def consume(self, take: Take, *, labels: Sequence[str] = (), threads: int = 1) -> Closer:
        """Have `take` called; see the Protocol."""
        consumer = Consumer(self._broker, take, labels, threads)
        self._names.update(self._broker.queues(labels))
        self._consumers.append(consumer)
        return consumer

    def depths(self) -> Mapping[str, int]:
        """Messages that wait, by queue."""

        def ask(connection: Connection) -> dict[str, int]:
            channel = connection.default_channel
            return {
                name: self._broker.queue(name)(channel).queue_declare().message_count
                for name in sorted(self._names)
            }

        return self._ask(ask)

    def ping(self) -> None:
        """Return if the broker answers."""
        self._ask(
            lambda connection: self._broker.queue(self._broker.dead)(connection.default_channel).declare()
        )

    def close(self) -> None:
        """End all consumers and connections."""
        for consumer in self._consumers:
            consumer.end()
        for consumer in self._consumers:
            consumer.close()
        with self._lock:
            self._drop()

    def _ask(self, question: Callable[[Connection], Answer]) -> Answer:
        """The answer of the broker; a connection that turns out to have gone is made once more."""
        with self._lock:
            if self._failed and time.monotonic() < self._failed[0]:
                raise self._unavailable(self._failed[1])
            fresh = self._connection is None
            try:
                try:
                    return question(self._connected())
                except Exception:
                    self._drop()
                    if fresh:
                        raise
                    return question(self._connected())
            except Exception as error:  # the libraries of three brokers have no common root
                self._drop()
                text = self._broker.url.without_secrets(f"{type(error).__name__}: {error}")[:500]
                self._failed = (time.monotonic() + REST, text)
                raise self._unavailable(text) from None

    def _unavailable(self, text: str) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"{self._broker.url.place} does not answer ({text})",
            hint="runs wait in the store and are told again when it is back",
        )

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._held.enter_context(self._broker.connected())
        return self._connection

    def _drop(self) -> None:
        self._connection = None
        self._held.close()


def _broker(url: BrokerUrl, name: str, redelivery: float) -> Broker:
    """The broker of a URL; the libraries of the others are not imported."""
    if url.broker == "redis":
        from po_jupyter.distributed.brokers.celery.redis import RedisBroker

        return RedisBroker(url, name, redelivery)
    if url.broker == "sqs":
        from po_jupyter.distributed.brokers.celery.sqs import SqsBroker

        return SqsBroker(url, name, redelivery)
    from po_jupyter.distributed.brokers.celery.rabbitmq import RabbitBroker

    return RabbitBroker(url, name, redelivery)
