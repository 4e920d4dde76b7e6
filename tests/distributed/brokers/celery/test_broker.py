"""Names of queues: one for each label, legal on every broker, never two for one."""

from __future__ import annotations

import pytest

from po_jupyter.distributed.brokers.celery.rabbitmq import RabbitBroker
from po_jupyter.distributed.brokers.celery.redis import RedisBroker
from po_jupyter.distributed.brokers.celery.sqs import SqsBroker
from po_jupyter.distributed.brokers.celery.urls import parse_url
from po_jupyter.distributed.brokers.protocol import RunMessage

RABBIT = RabbitBroker(parse_url("amqp://h"), "po", 30)
REDIS = RedisBroker(parse_url("redis://h"), "po", 30)
SQS = SqsBroker(parse_url("sqs://"), "n" * 40, 0.4)


def test_a_consumer_has_the_queue_of_each_of_its_labels() -> None:
    labels = ["gpu", "interpreter:analysis", "x" * 100]
    assert len(set(RABBIT.queues(labels))) == 4
    for label in labels:
        queue, _ = RABBIT.route(RunMessage("1", 0, (label,)))
        assert queue in RABBIT.queues(labels)


def test_labels_that_look_alike_have_queues_of_their_own() -> None:
    labels = ["a:b", "a.b", "a-b", "a_b", "l" * 99, "l" * 100, "dead", "low"]
    names = RABBIT.queues(labels)
    assert len(set(names)) == len(labels) + 1
    assert RABBIT.dead not in names


def test_names_are_legal_for_sqs() -> None:
    names = [*SQS.queues(["x" * 100, "interpreter:a"]), SQS.dead]
    legal = {name.replace(".", "-") for name in names}
    assert len(legal) == len(names) == 10
    assert all(len(name) <= 80 and name.replace("-", "").isalnum() for name in legal)


@pytest.mark.parametrize(
    ("priority", "end"), [(9, "high"), (7, "high"), (6, "mid"), (3, "mid"), (2, "low"), (0, "low")]
)
def test_sqs_has_three_steps(priority: int, end: str) -> None:
    queue, _ = SQS.route(RunMessage("1", priority))
    assert queue.endswith(f".{end}")
    assert SQS.queues([])[0].endswith(".high")


def test_priorities_are_counted_as_each_broker_does() -> None:
    assert [RABBIT.route(RunMessage("1", p))[1] for p in (0, 9)] == [0, 9]
    assert [REDIS.route(RunMessage("1", p))[1] for p in (0, 9)] == [9, 0]


def test_sqs_counts_whole_seconds() -> None:
    assert SQS.redelivery == 1
