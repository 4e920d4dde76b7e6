"""Consumers: threads that take one message after the other and answer it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog
from kombu import Connection, Producer
from kombu.message import Message

from po_jupyter.distributed.brokers.celery.broker import Broker
from po_jupyter.distributed.brokers.celery.tasks import decode
from po_jupyter.distributed.brokers.protocol import RunMessage, Take, Verdict

log = structlog.get_logger("po_jupyter.brokers")

LOOK = 0.2  # seconds between looks whether it shall end
PAUSE = 0.2  # seconds after a message was given back, for another node to be first
MAX_WAIT = 2.0  # seconds between tries to connect


class Consumer:
    """Threads of one `consume`. Each has its own connection: the brokers' libraries share none among threads."""

    def __init__(self, broker: Broker, take: Take, labels: Sequence[str], threads: int) -> None:
        """Starts them."""
        self._broker, self._take, self._labels = broker, take, frozenset(labels)
        self._names = broker.queues(sorted(self._labels))
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"po-broker-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Take nothing more. Does not wait."""
        self._ended.set()

    def close(self) -> None:
        """Take nothing more; wait for what is being taken, and answer it."""
        self.end()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._ended.is_set():
            try:
                with self._broker.connected() as connection:
                    receiver = self._broker.receiver(connection, self._names)
                    while not self._ended.is_set():
                        message = receiver.receive(LOOK)
                        if message is not None:
                            self._handle(connection, message)
                        if (
                            failures
                        ):  # not before: a message that breaks each connection is no broker that is back
                            log.info("broker.back", broker=self._broker.url.place)
                            failures = 0
            except Exception as error:  # whatever a broker or its library does, a node goes on looking for work
                if not failures:
                    text = self._broker.url.without_secrets(f"{type(error).__name__}: {error}")
                    log.warning("broker.lost", broker=self._broker.url.place, error=text[:500])
                self._ended.wait(min(0.1 * 2**failures, MAX_WAIT))
                failures = min(failures + 1, 10)

    def _handle(self, connection: Connection, message: Message) -> None:
        producer = connection.Producer(connection.default_channel, auto_declare=False)
        try:
            run = decode(message.headers, message.content_type, message.body)
        except ValueError as error:
            log.warning("broker.not_a_message", broker=self._broker.url.place, reason=str(error)[:200])
            self._broker.bury(message, producer, f"not a run message: {error}")
            return
        verdict = self._verdict(run)
        if verdict is Verdict.POISON:
            self._broker.bury(message, producer, "poison")
        elif verdict is Verdict.BACK:
            self._give_back(message, producer, run)
        else:
            message.ack()

    def _verdict(self, run: RunMessage) -> Verdict:
        if not self._labels.issuperset(run.labels):
            return Verdict.BACK  # its queue is that of its first label; another node has the others too
        try:
            return self._take(run)
        except Exception as error:
            log.warning("broker.take_failed", run=run.run, error=repr(error)[:500])
            return Verdict.BACK

    def _give_back(self, message: Message, producer: Producer, run: RunMessage) -> None:
        """Behind those that wait already; sent before it is acknowledged, so that it may come twice but not get lost.

        Not by a reject with requeue: SQS would count it as a failed try, and Redis and RabbitMQ would bring it first.
        """
        queue, priority = self._broker.route(run)
        self._broker.send(
            producer, message.body, queue, priority, message.content_type, message.headers or {}
        )  # fmt: skip
        message.ack()
        self._ended.wait(PAUSE)
