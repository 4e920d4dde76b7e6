"""A consumer answers each message once, by its verdict, and goes on whatever happens."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kombu import Connection, Producer
from structlog.testing import capture_logs

from po_jupyter.distributed.brokers.celery.broker import Broker
from po_jupyter.distributed.brokers.celery.consumer import Consumer
from po_jupyter.distributed.brokers.protocol import RunMessage, Verdict
from tests.distributed.brokers.celery.fakes import FakeBroker, FakeMessage


def consume(broker: FakeBroker, verdict: Verdict | Exception, labels: tuple[str, ...] = ()) -> list[RunMessage]:
    """What `take` got of everything that the broker has."""
    seen: list[RunMessage] = []

    def take(message: RunMessage) -> Verdict:
        seen.append(message)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    consumer = Consumer(broker, take, labels, 1)
    assert broker.empty.wait(10)
    consumer.close()
    consumer.close()
    return seen


@pytest.mark.parametrize(
    ("verdict", "events"),
    [
        (Verdict.TAKEN, []),
        (Verdict.BACK, ["sent to po"]),
        (RuntimeError("a fault"), ["sent to po"]),
        (Verdict.POISON, ["sent to po.dead"]),
    ],
    ids=str,
)
def test_each_verdict_is_answered(verdict: Verdict | Exception, events: list[str]) -> None:
    message = FakeMessage(RunMessage("1"))
    broker = FakeBroker(message)
    assert consume(broker, verdict) == [RunMessage("1")]
    assert broker.events == ["connected", *events, "closed"]
    assert message.acknowledged


def test_what_is_no_message_never_comes_to_take() -> None:
    broker = FakeBroker(FakeMessage(body="{}"), FakeMessage(RunMessage("2")))
    assert consume(broker, Verdict.TAKEN) == [RunMessage("2")]
    assert broker.events == ["connected", "sent to po.dead", "closed"]


def test_what_needs_a_label_that_is_not_here_goes_back() -> None:
    message = RunMessage("1", 0, ("gpu", "highmem"))
    broker = FakeBroker(FakeMessage(message))
    assert consume(broker, Verdict.TAKEN, ("gpu",)) == []
    assert broker.events == ["connected", "sent to po.label.gpu", "closed"]
    assert consume(FakeBroker(FakeMessage(message)), Verdict.TAKEN, ("highmem", "gpu")) == [message]


def test_it_connects_again_and_says_so_once_without_the_password() -> None:
    failures = iter([OSError("no way to redis://me:p@ss@h"), OSError("p%40ss")])

    def fail() -> None:
        if (error := next(failures, None)) is not None:
            raise error

    broker = FakeBroker(FakeMessage(RunMessage("1")), fail=fail)
    with capture_logs() as lines:
        assert consume(broker, Verdict.TAKEN) == [RunMessage("1")]
    assert [line["event"] for line in lines].count("broker.lost") == 1
    assert "p@ss" not in str(lines)


class InMemoryBroker(FakeBroker):
    """Sends through kombu's own transport in memory, as a real broker would have it."""

    @contextmanager
    def connected(self) -> Iterator[Any]:
        self.events.append("connected")
        with Connection("memory://") as connection:
            yield connection

    def send(self, producer: Producer, *arguments: Any) -> None:
        Broker.send(self, producer, *arguments)

    def dead_letters(self) -> list[Any]:
        with Connection("memory://") as connection:
            queue = self.queue(self.dead)(connection.default_channel)
            queue.declare()
            return [message.body for message in iter(lambda: queue.get(no_ack=True), None)]


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({}, "{}"), ([], "[]"), (None, "null"), (1.5, "1.5"), ({"run": "\ud800"}, '{"run": "\\ud800"}'),
        ("\ud800", "\\ud800"), (b"\xff", b"\xff"), ("text", "text"),
    ],
)  # fmt: skip
def test_whatever_an_entry_has_as_its_body_it_is_buried_once(body: object, kept: str | bytes) -> None:
    broker = InMemoryBroker(FakeMessage(body=body), FakeMessage(RunMessage("2")))
    broker.name = uuid.uuid4().hex
    assert consume(broker, Verdict.TAKEN) == [RunMessage("2")]
    assert broker.events == ["connected"]
    assert broker.dead_letters() in ([kept], [kept.encode() if isinstance(kept, str) else kept])


@pytest.mark.parametrize("headers", [None, [1], "text", 5, {"task": "po.run"}], ids=str)
@pytest.mark.parametrize("content_type", [None, 5, {}, "application/json"], ids=str)
def test_odd_headers_and_types_are_buried_too(headers: object, content_type: Any) -> None:
    message = FakeMessage(body="{}", headers=headers)
    message.content_type = content_type
    broker = InMemoryBroker(message, FakeMessage(RunMessage("2")))
    broker.name = uuid.uuid4().hex
    assert consume(broker, Verdict.TAKEN) == [RunMessage("2")]
    assert broker.events == ["connected"]


def test_an_entry_that_breaks_the_connection_again_and_again_is_neither_busy_nor_loud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever may be wrong with it: pauses grow though each connection was made, and the log says it once."""
    moments: list[float] = []

    def fail(*arguments: object) -> None:
        moments.append(time.monotonic())
        raise TypeError("an entry with which nothing can be done")

    broker = FakeBroker(*(FakeMessage(body="{}") for _ in range(4)), FakeMessage(RunMessage("2")))
    monkeypatch.setattr(broker, "bury", fail)
    with capture_logs() as lines:
        assert consume(broker, Verdict.TAKEN) == [RunMessage("2")]
    assert moments[3] - moments[2] >= 0.35
    events = [line["event"] for line in lines]
    assert (events.count("broker.lost"), events.count("broker.back")) == (1, 1)
