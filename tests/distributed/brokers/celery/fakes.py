"""A broker that is made of Python: what a consumer and a queue do is seen without a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from po_jupyter.distributed.brokers.celery.broker import Broker
from po_jupyter.distributed.brokers.celery.tasks import encode
from po_jupyter.distributed.brokers.celery.urls import parse_url
from po_jupyter.distributed.brokers.protocol import RunMessage


class FakeMessage:
    """A message of kombu's, as far as we look at it."""

    def __init__(self, run: RunMessage | None = None, body: object = "", headers: Any = None) -> None:
        task = encode(run) if run else None
        self.headers = task.headers if task else headers
        self.body = task.body if task else body
        self.content_type = "application/json"
        self.acknowledged = False

    def ack(self) -> None:
        self.acknowledged = True


class FakeBroker(Broker):
    """Brings `messages`, one after the other; `fail` may raise when one connects. `events`: what was done, in order."""

    def __init__(self, *messages: FakeMessage, fail: Callable[[], None] = lambda: None) -> None:
        super().__init__(parse_url("redis://me:p%40ss@h"), "po", 30)
        self._messages, self._fail = list(messages), fail
        self.events: list[str] = []
        self.empty = threading.Event()

    def connection(self) -> Any:
        raise AssertionError("nobody connects")

    @contextmanager
    def connected(self) -> Iterator[Any]:
        self._fail()
        self.events.append("connected")
        try:
            yield FakeConnection()
        finally:
            self.events.append("closed")

    def receiver(self, connection: Any, names: Sequence[str]) -> FakeBroker:
        return self

    def receive(self, seconds: float) -> Any:
        if self._messages:
            return self._messages.pop(0)
        self.empty.set()
        return threading.Event().wait(0.001) or None

    def send(self, producer: Any, body: Any, queue: str, *others: Any) -> None:
        self.events.append(f"sent to {queue}")


class FakeConnection:
    """A connection whose channel is itself."""

    default_channel = None

    def Producer(self, channel: Any, auto_declare: bool) -> None:
        return None
