"""The conformance suite of queues, on every broker that there is."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

import pytest
from kombu import Connection

from po_jupyter.distributed.brokers.opening import open_queue
from po_jupyter.distributed.brokers.protocol import MessageQueue
from po_jupyter.testing.conformance.queue import Foreign, QueueConformance
from po_jupyter.testing.memory_queue import MemoryQueue
from tests.support.brokers import BrokerServer, RabbitServer, SqsServer, ValkeyServer, running

pytestmark = pytest.mark.integration

OPENER = (
    "from po_jupyter.distributed.brokers.opening import open_queue; queue = open_queue({url!r}, name={name!r})"
)


class TestMemory(QueueConformance):
    steps = tuple(range(10))

    @pytest.fixture
    def open(self, name: str) -> Callable[[], MessageQueue]:
        queue = MemoryQueue(name)
        return lambda: queue


class OnBroker(QueueConformance):
    """What the brokers have in common."""

    kind: ClassVar[type[BrokerServer]]
    opener = OPENER
    steps = tuple(range(10))
    many = 200

    @pytest.fixture(scope="class")
    @classmethod
    def running_server(cls) -> Iterator[BrokerServer]:
        with running(cls.kind) as server:
            yield server

    @pytest.fixture
    def server(self, running_server: BrokerServer) -> BrokerServer:
        return running_server

    @pytest.fixture
    def open(self, name: str, running_server: BrokerServer) -> Callable[[], MessageQueue]:
        self.url = running_server.url
        return partial(open_queue, running_server.url, name=name, redelivery=2)

    def opening(self, opener: str, name: str) -> str:
        return opener.format(url=self.url, name=name)


def framed(foreign: Foreign, queue: str) -> bytes:
    """The frame that kombu puts around a message where the broker has none."""
    properties = {
        "delivery_mode": 2, "delivery_tag": str(uuid.uuid4()), "body_encoding": "base64", "priority": 0,
        "delivery_info": {"exchange": "", "routing_key": queue},
    }  # fmt: skip
    frame = {
        "body": base64.b64encode(foreign.body).decode(), "content-encoding": "utf-8",
        "content-type": foreign.content_type, "headers": dict(foreign.headers), "properties": properties,
    }  # fmt: skip
    return json.dumps(frame).encode()


class TestValkey(OnBroker):
    kind = ValkeyServer

    @pytest.fixture
    def inject(self, name: str, running_server: BrokerServer) -> Iterator[Callable[[Foreign], None]]:
        redis = pytest.importorskip("redis")
        with redis.Redis(port=running_server.port) as client:
            yield lambda foreign: client.lpush(name, framed(foreign, name) if foreign.framed else foreign.body)


class TestRabbitMQ(OnBroker):
    kind = RabbitServer

    @pytest.fixture
    def inject(self, name: str, running_server: BrokerServer) -> Iterator[Callable[[Foreign], None]]:
        with Connection(running_server.url) as connection:
            producer = connection.Producer(connection.default_channel, auto_declare=False)

            def send(foreign: Foreign) -> None:
                kind = foreign.content_type if foreign.framed else "application/octet-stream"
                producer.publish(
                    foreign.body, exchange="", routing_key=name, content_type=kind,
                    content_encoding="utf-8" if foreign.framed else "binary", headers=dict(foreign.headers),
                )  # fmt: skip

            yield send


class TestSqs(OnBroker):
    kind = SqsServer
    steps = (0, 5, 9)
    many = 60

    @pytest.fixture
    def inject(self, name: str, running_server: BrokerServer) -> Callable[[Foreign], None]:
        boto3 = pytest.importorskip("boto3")
        client = boto3.client(
            "sqs", region_name="eu-central-1", endpoint_url=f"http://127.0.0.1:{running_server.port}",
            aws_access_key_id="key", aws_secret_access_key="secret",
        )  # fmt: skip

        def send(foreign: Foreign) -> None:
            url = client.get_queue_url(QueueName=f"{name}-low")["QueueUrl"]
            frame = framed(foreign, f"{name}.low") if foreign.framed else foreign.body
            text = (
                base64.b64encode(frame).decode()
                if foreign.framed
                else frame.decode("latin-1").replace("\0", "")
            )
            client.send_message(QueueUrl=url, MessageBody=text)

        return send
