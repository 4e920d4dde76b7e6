"""SQS: urgent queues are asked first; what is no message comes as its text."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.distributed.brokers.celery.sqs import PullReceiver, SqsBroker, SqsChannel, SqsClients
from po_jupyter.distributed.brokers.celery.urls import parse_url
from po_jupyter.distributed.brokers.protocol import RunMessage
from po_jupyter.distributed.queue_hints import level


class FakeQueue:
    """A queue with some messages; `asked`: the queues that were asked, and for how long."""

    def __init__(self, name: str, channel: Any, asked: list[tuple[str, int]], *messages: str) -> None:
        self._name, self._channel, self._asked, self._messages = name, channel, asked, list(messages)

    def declare(self) -> None: ...

    def get(self, no_ack: bool) -> str | None:
        self._asked.append((self._name, self._channel.wait_time_seconds))
        return self._messages.pop(0) if self._messages else None


def test_urgent_queues_are_asked_first_and_the_last_is_waited_for() -> None:
    asked: list[tuple[str, int]] = []
    channel = SimpleNamespace(wait_time_seconds=None)
    queues = [FakeQueue("high", channel, asked), FakeQueue("low", channel, asked, "a", "b")]
    receiver = PullReceiver(
        SimpleNamespace(default_channel=channel),
        [lambda channel, queue=queue: queue for queue in queues],
    )
    assert [receiver.receive(1), receiver.receive(1), receiver.receive(1)] == ["a", "b", None]
    assert asked == [("high", 0), ("low", 0)] * 3 + [("low", 1)]


def test_what_is_waited_for_is_the_queue_of_most_runs() -> None:
    """Not that of the least urgent: each of them came up to a second late."""
    broker = SqsBroker(parse_url("sqs://"), "po", 30)
    asked: list[tuple[str, int]] = []
    channel = SimpleNamespace(wait_time_seconds=None)
    broker.queue = lambda name: lambda channel: FakeQueue(name, channel, asked)  # type: ignore[assignment,method-assign,return-value]
    names = broker.queues(["gpu"])
    assert broker.receiver(SimpleNamespace(default_channel=channel), names).receive(1) is None
    assert asked == [*((name, 0) for name in names), ("po.mid", 1)]
    assert broker.route(RunMessage("1", level(0)))[0] == "po.mid"


PROPERTIES = {"delivery_tag": "1", "body_encoding": "base64", "delivery_info": {"routing_key": "po"}}


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        (json.dumps({"body": "e30=", "properties": PROPERTIES}), True),
        (json.dumps({"body": "a", "properties": PROPERTIES}), False),
        (json.dumps({"body": "e30=", "properties": {}}), False),
        (json.dumps({"body": "e30=", "properties": {"delivery_info": 3}}), False),
        (json.dumps({"properties": []}), False),
        (json.dumps({"body": "\ud800", "properties": {"delivery_info": {"routing_key": "po"}}}), False),
        ("3", False),
        ("hello", False),
    ],
)
def test_what_kombu_cannot_read_comes_as_text(text: str, readable: bool) -> None:
    channel = SqsChannel.__new__(SqsChannel)
    assert bool(channel._prepare_json_payload(text)) is readable


def test_a_client_is_made_once() -> None:
    clients = SqsClients()
    assert clients.get(object) is clients.get(object)


def test_without_credentials_in_the_url_they_are_awss_usual_ones() -> None:
    connection = SqsBroker(parse_url("sqs://?region=eu-west-1"), "po", 30).connection()
    assert (connection.userid, connection.password) == (None, None)
    assert connection.transport_options["region"] == "eu-west-1"
    assert connection.transport_options["is_secure"] is True
