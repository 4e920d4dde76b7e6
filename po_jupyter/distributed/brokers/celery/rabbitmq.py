"""RabbitMQ: priorities and dead letters are its own; a consumer that has gone is seen at once."""

from __future__ import annotations

from collections.abc import Sequence

from kombu import Connection, Producer
from kombu.message import Message

from po_jupyter.distributed.brokers.celery.broker import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    MAX_DEAD,
    Broker,
    PushReceiver,
    Receiver,
    tls_options,
)
from po_jupyter.distributed.brokers.protocol import PRIORITIES

HEARTBEAT = 20  # seconds; a connection that went silent is given up after two


class RabbitBroker(Broker):
    """A RabbitMQ server or cluster."""

    def connection(self) -> Connection:
        """A connection with confirms, so that a message that was published is there."""
        url = self.url
        return Connection(
            hostname=url.host, port=url.port, userid=url.user or "guest", password=url.password or "guest",
            virtual_host=url.path or "/", transport="amqps" if url.tls else "amqp",
            ssl={**tls_options(url), "server_hostname": url.host} if url.tls else False,
            connect_timeout=CONNECT_SECONDS, heartbeat=HEARTBEAT,
            transport_options={
                "confirm_publish": True, "read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS,
            },
        )  # fmt: skip

    def arguments(self, name: str) -> dict[str, object]:
        """Dead letters are bounded, the oldest go; all others end there when they are rejected."""
        if name == self.dead:
            return {"x-max-length": MAX_DEAD, "x-overflow": "drop-head"}
        return {
            "x-max-priority": max(PRIORITIES),
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.dead,
        }

    def receiver(self, connection: Connection, names: Sequence[str]) -> Receiver:
        """Messages are sent to us."""
        self.queue(self.dead)(connection.default_channel).declare()  # what is rejected needs a place to go
        return PushReceiver(connection, [self.queue(name) for name in names])

    def bury(self, message: Message, producer: Producer, reason: str) -> None:
        """RabbitMQ moves it, and says from where in `x-death`."""
        message.reject(requeue=False)
