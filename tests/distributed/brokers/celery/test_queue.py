"""Questions to a broker: one connection, made again once, and nobody waits for the failure of another."""

from __future__ import annotations

import traceback

import pytest

from po_jupyter.distributed.brokers.celery import queue as module
from po_jupyter.distributed.brokers.celery.queue import CeleryQueue
from po_jupyter.distributed.brokers.celery.urls import parse_url
from po_jupyter.distributed.brokers.protocol import RunMessage
from po_jupyter.errors import BrokerUnavailable
from tests.distributed.brokers.celery.fakes import FakeBroker


def queue_over(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> CeleryQueue:
    monkeypatch.setattr(module, "_broker", lambda *arguments: broker)
    return CeleryQueue(parse_url("redis://h"), "po", 30)


def test_a_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeBroker()
    queue = queue_over(broker, monkeypatch)
    queue.publish(RunMessage("1"))
    queue.publish(RunMessage("2", 0, ("gpu",)))
    queue.close()
    queue.close()
    assert broker.events == ["connected", "sent to po", "sent to po.label.gpu", "closed"]


def test_a_connection_that_has_gone_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeBroker()
    queue = queue_over(broker, monkeypatch)
    queue.publish(RunMessage("1"))
    sends = broker.send
    broken = iter([True])

    def send(*arguments: object) -> None:
        if next(broken, False):
            raise ConnectionResetError
        sends(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(broker, "send", send)
    queue.publish(RunMessage("2"))
    queue.close()
    assert broker.events == ["connected", "sent to po", "closed", "connected", "sent to po", "closed"]


def test_after_a_failure_nobody_waits_for_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        raise OSError("no way to redis://me:p@ss@h")

    queue = queue_over(FakeBroker(fail=fail), monkeypatch)
    for _ in range(5):
        with pytest.raises(BrokerUnavailable, match="no way") as refused:
            queue.publish(RunMessage("1"))
        assert "p@ss" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert "p@ss" not in "".join(traceback.format_exception(refused.value))
    assert len(tries) == 1
    monkeypatch.setattr(module, "REST", -1)
    queue._failed = None
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            queue.publish(RunMessage("1"))
    assert len(tries) == 3
