"""The conformance suite of queues, on every broker that there is."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import ClassVar

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue

from po_jupyter.distributed.brokers.opening import open_queue
from po_jupyter.distributed.brokers.protocol import MessageQueue, RunMessage
from po_jupyter.errors import BrokerUnavailable
from po_jupyter.testing.conformance.queue import Foreign, QueueConformance, Taken
from po_jupyter.testing.memory_queue import MemoryQueue
from tests.support.brokers import PASSWORD, BrokerServer, RabbitServer, SqsServer, ValkeyServer, running

pytestmark = pytest.mark.integration

OPENER = (
    "from po_jupyter.distributed.brokers.opening import open_queue; queue = open_queue({url!r}, name={name!r})"
)


def slow(case: Callable[..., None]) -> Callable[..., None]:
    """The case of one class for the slow tier. A mark on the case itself would be one for all classes."""

    @wraps(case)
    def copy(*arguments: object, **fixtures: object) -> None:
        case(*arguments, **fixtures)

    return pytest.mark.slow(copy)


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
        return partial(open_queue, running_server.url, name=name)

    @pytest.fixture
    def impatient(self, open: Callable[[], MessageQueue], name: str) -> Iterator[Callable[[], MessageQueue]]:
        queue = open_queue(self.url, name=name, redelivery=2)
        yield lambda: queue
        queue.close()

    def test_a_wrong_password_is_refused_and_not_repeated(
        self, running_server: BrokerServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Neither in the error nor in the log, also of a consumer that tries again and again."""
        if self.kind is SqsServer:
            pytest.skip("inapplicable: moto takes any key")
        url = running_server.url.replace(PASSWORD, "wr0ng/word").replace("guest:guest", "guest:wr0ng%2Fword")
        queue = open_queue(url.replace("wr0ng/word", "wr0ng%2Fword"))
        with pytest.raises(BrokerUnavailable) as refused:
            queue.ping()
        queue.consume(Taken()).close()
        queue.close()
        assert "wr0ng" not in f"{refused.value}{refused.value.details}{queue!r}{capsys.readouterr()}"

    def test_celery_can_publish(self, queue: MessageQueue, name: str, running_server: BrokerServer) -> None:
        """A message is a task message of Celery: `po.run` with keywords."""
        if self.kind is SqsServer:
            pytest.skip("inapplicable: Celery would make the queue itself, without its redrive policy")
        queue.ping()
        taken = Taken()
        queue.consume(taken).close()  # the queue is there
        theirs = Queue(name, Exchange(""), name, no_declare=True)
        with Celery("theirs", broker=running_server.url, set_as_current=False) as app:
            app.send_task("po.run", kwargs={"run": "1", "priority": 3, "labels": [], "new": True}, queue=theirs)
        queue.consume(taken)
        taken.wait_for("1")
        assert taken.messages == [RunMessage("1", 3, ())]

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
        with redis.Redis(port=running_server.port, password=PASSWORD) as client:
            yield lambda foreign: client.lpush(name, framed(foreign, name) if foreign.framed else foreign.body)


class TestRabbitMQ(OnBroker):
    kind = RabbitServer

    # A restart takes it long; Valkey has the same in the default tier.
    test_a_broker_that_was_away = slow(OnBroker.test_a_broker_that_was_away)

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

    def test_tls_checks_the_server(self, running_server: BrokerServer) -> None:
        """By its certificate, and by the name in it."""
        assert isinstance(running_server, RabbitServer)
        port, authority = running_server.tls_port, f"?ssl_ca_certs={running_server.certificate}"
        queue = open_queue(f"amqps://guest:guest@localhost:{port}/{authority}")
        queue.ping()
        queue.close()
        for url in (f"amqps://localhost:{port}/", f"amqps://127.0.0.1:{port}/{authority}"):
            queue = open_queue(url)
            with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
                queue.ping()
            queue.close()

    def test_a_queue_that_somebody_deletes_is_made_again(
        self, queue: MessageQueue, name: str, running_server: BrokerServer
    ) -> None:
        """While it is consumed, and before the next message is published."""
        taken = Taken()
        queue.consume(taken)
        queue.publish(RunMessage("1"))
        taken.wait_for("1")
        with Connection(running_server.url) as connection:
            connection.default_channel.queue_delete(name)
        queue.publish(RunMessage("2"))
        taken.wait_for("2")


class TestSqs(OnBroker):
    kind = SqsServer
    steps = (0, 5, 9)
    many = 20

    # moto takes its time: in the default tier it has what is SQS's own, priorities, redelivery, dead letters.
    test_a_label_is_only_for_nodes_that_have_it = slow(OnBroker.test_a_label_is_only_for_nodes_that_have_it)
    test_what_is_given_back_goes_behind_what_waits = slow(
        OnBroker.test_what_is_given_back_goes_behind_what_waits
    )
    test_a_node_that_is_full_does_not_turn_in_circles = slow(
        OnBroker.test_a_node_that_is_full_does_not_turn_in_circles
    )
    test_a_take_that_raises_gives_back = slow(OnBroker.test_a_take_that_raises_gives_back)
    test_poison_is_buried = slow(OnBroker.test_poison_is_buried)
    test_consumers_share = slow(OnBroker.test_consumers_share)
    test_as_many_are_taken_at_once_as_there_are_threads = slow(
        OnBroker.test_as_many_are_taken_at_once_as_there_are_threads
    )
    test_closing_waits_for_what_is_taken_and_keeps_the_rest = slow(
        OnBroker.test_closing_waits_for_what_is_taken_and_keeps_the_rest
    )
    test_many_messages_for_three_consumers_come_once_each = slow(
        OnBroker.test_many_messages_for_three_consumers_come_once_each
    )
    test_a_broker_that_was_away = slow(OnBroker.test_a_broker_that_was_away)

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
