"""SQS: three queues stand for priorities; a redrive policy brings what nobody answers to the dead letters."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from kombu import Connection
from kombu.message import Message
from kombu.transport import SQS as kombu_sqs

from po_jupyter.distributed.brokers.celery.broker import ANSWER_SECONDS, CONNECT_SECONDS, Broker, Receiver
from po_jupyter.distributed.brokers.celery.urls import BrokerUrl
from po_jupyter.distributed.brokers.protocol import USUAL_PRIORITY, RunMessage

# The most urgent first: (its end of the name, its lowest priority).
STEPS = (("high", 7), ("mid", 3), ("low", 0))
MAX_RECEIVES = 10  # a message that ends its consumers so often is dead-lettered
RETENTION = 14 * 24 * 3600  # seconds that SQS keeps a message, at most
LONG_POLL = 1  # seconds


class SqsBroker(Broker):
    """The queues of one AWS account and region, or of a server that speaks as SQS does."""

    def __init__(self, url: BrokerUrl, name: str, redelivery: float) -> None:
        """SQS counts whole seconds."""
        super().__init__(url, name, max(1, round(redelivery)))
        self._clients = SqsClients()

    def connection(self) -> Connection:
        """A connection; without user and password in the URL, credentials are AWS's usual ones."""
        url = self.url
        options: dict[str, object] = {
            "is_secure": url.tls,
            "visibility_timeout": self.redelivery,
            "wait_time_seconds": 0,
            "client-config": {
                "connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS,
                "retries": {"total_max_attempts": 2},
            },
            "dead_letters": self.dead,
            "clients": self._clients,
        }  # fmt: skip
        if region := url.options.get("region"):
            options["region"] = region
        return Connection(
            hostname=url.host, port=url.port, userid=url.user, password=url.password,
            transport=SqsTransport, transport_options=options,
        )  # fmt: skip

    def route(self, message: RunMessage) -> tuple[str, int]:
        """The queue of its step."""
        step = next(end for end, lowest in STEPS if message.priority >= lowest)
        return f"{self.base(message.labels)}.{step}", 0

    def queues(self, labels: Sequence[str]) -> list[str]:
        """Every step of every label, the urgent ones first."""
        return [f"{base}.{step}" for step, _ in STEPS for base in super(SqsBroker, self).queues(labels)]

    def receiver(self, connection: Connection, names: Sequence[str]) -> Receiver:
        """We ask, the urgent queues first."""
        usual, _ = self.route(RunMessage("", USUAL_PRIORITY))
        return PullReceiver(connection, [self.queue(name) for name in names], names.index(usual))


class SqsClients:
    """The client of boto, made once: that takes long, and all threads may use it."""

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()
        self._client: Any = None

    def get(self, make: Callable[[], Any]) -> Any:
        """The client."""
        with self._lock:
            if self._client is None:
                self._client = make()
            return self._client


class PullReceiver:
    """Messages that are asked for, queue by queue."""

    def __init__(self, connection: Connection, queues: Sequence[Any], usual: int = -1) -> None:
        """Makes the queues if they are missing. `usual` is the place of the one where most messages come."""
        self._channel = connection.default_channel
        self._queues = [queue(self._channel) for queue in queues]
        self._usual = self._queues[usual]
        for queue in self._queues:
            queue.declare()

    def receive(self, seconds: float) -> Message | None:
        """The first of the first queue that has one; if none has, the usual one is waited for: a message of another
        comes up to a `LONG_POLL` later."""
        for queue, wait in [*((queue, 0) for queue in self._queues), (self._usual, LONG_POLL)]:
            self._channel.wait_time_seconds = wait
            message = queue.get(no_ack=False)
            if message is not None:
                return message
        return None


class SqsChannel(kombu_sqs.Channel):  # type: ignore[misc]  # kombu's own are untyped
    """kombu's channel, which makes queues with a redrive policy and does not break on what is no message."""

    do_restore = False  # what is not answered is visible again by itself; kombu would else write it to a file

    def new_sqs_client(self, *args: Any, **options: Any) -> Any:
        """The client of the broker."""
        clients: SqsClients = self.transport_options["clients"]
        return clients.get(lambda: super(SqsChannel, self).new_sqs_client(*args, **options))

    def _create_queue(self, queue_name: str, attributes: dict[str, str]) -> Any:
        dead = self.canonical_queue_name(self.transport_options["dead_letters"])
        attributes["MessageRetentionPeriod"] = str(RETENTION)
        if queue_name != dead:
            arn = self.sqs().get_queue_attributes(QueueUrl=self._new_queue(dead), AttributeNames=["QueueArn"])
            policy = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
            attributes["RedrivePolicy"] = json.dumps(policy)
        return super()._create_queue(queue_name, attributes)

    def _prepare_json_payload(self, text: str) -> dict[str, Any]:
        """The payload, {} for what is none: that is then a message whose body is the text, to be dead-lettered."""
        payload: dict[str, Any] = super()._prepare_json_payload(text)
        try:
            properties = {"delivery_info": {}, **payload["properties"], "delivery_tag": ""}
            message = self.Message({**payload, "properties": properties}, channel=self)
            readable = not message.errors and isinstance(message.delivery_info.get("routing_key"), str)
            return payload if readable else {}
        except Exception:
            return {}


class SqsTransport(kombu_sqs.Transport):  # type: ignore[misc]  # it has no types
    """kombu's transport with that channel."""

    Channel = SqsChannel
