"""A consumer answers each message once, by its verdict, and goes on whatever happens."""

from __future__ import annotations

import pytest

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


def test_it_connects_again_and_says_so_once_without_the_password(capsys: pytest.CaptureFixture[str]) -> None:
    failures = iter([OSError("no way to redis://me:p@ss@h"), OSError("p%40ss")])

    def fail() -> None:
        if (error := next(failures, None)) is not None:
            raise error

    broker = FakeBroker(FakeMessage(RunMessage("1")), fail=fail)
    assert consume(broker, Verdict.TAKEN) == [RunMessage("1")]
    shown = capsys.readouterr().out
    assert shown.count("broker.lost") == 1
    assert "p@ss" not in shown
