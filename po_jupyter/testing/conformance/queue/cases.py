"""The base of the cases of every subject: a queue of an own name, what was taken from it, another process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, NamedTuple, Protocol

import pytest

from po_jupyter.distributed.brokers.protocol import MessageQueue, RunMessage, Verdict
from po_jupyter.platform.source_root import SOURCE_ROOT

Open = Callable[[], MessageQueue]


class Foreign(NamedTuple):
    """A message of somebody else's; `framed`: as Celery sends one, else bytes where the broker keeps messages."""

    body: bytes
    headers: Mapping[str, object] = {}
    content_type: str = "application/json"
    framed: bool = True


class Server(Protocol):
    """The broker, to be stopped in order and started again with what it had."""

    def stop(self) -> None:
        """Stop it."""

    def start(self) -> None:
        """Start it; when this returns it answers."""


class Taken:
    """A `take` that keeps what came, and answers by the function that it has; TAKEN without."""

    def __init__(self, answer: Callable[[RunMessage], Verdict] | None = None) -> None:
        """Nothing has come."""
        self.messages: list[RunMessage] = []
        self._answer = answer
        self._changed = threading.Condition()

    def __call__(self, message: RunMessage) -> Verdict:
        """Keep the message."""
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
        return Verdict.TAKEN if self._answer is None else self._answer(message)

    @property
    def runs(self) -> list[str]:
        """The runs, as they came."""
        return [message.run for message in self.messages]

    def wait(self, done: Callable[[list[str]], bool], seconds: float = 20) -> list[str]:
        """The runs, once `done` is true of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: done(self.runs), seconds), self.runs
            return self.runs

    def wait_for(self, *runs: str, seconds: float = 20) -> list[str]:
        """The runs, once all of these have come."""
        return self.wait(lambda seen: set(runs) <= set(seen), seconds)


def settled(queue: MessageQueue, waiting: int, dead: int, seconds: float = 10) -> None:
    """Wait until so many messages wait and so many are dead."""
    until = time.monotonic() + seconds
    while True:
        depths = queue.depths()
        if depths is None:
            return
        letters = sum(count for name, count in depths.items() if name.endswith(".dead"))
        if (sum(depths.values()) - letters, letters) == (waiting, dead):
            return
        assert time.monotonic() < until, depths
        time.sleep(0.05)


class Process:
    """A consumer in another process. It prints the runs that it takes; the one named `hold` it never answers."""

    CODE = """
        import sys, threading
        from po_jupyter.distributed.brokers.protocol import Verdict
        def take(message):
            print(message.run, flush=True)
            if message.run == {hold!r}:
                threading.Event().wait()
            return Verdict.TAKEN
        queue.consume(take)
        threading.Event().wait()
    """

    def __init__(self, opening: str, hold: str) -> None:
        """Starts it; `opening` makes `queue`."""
        code = f"{opening}\n{textwrap.dedent(self.CODE.format(hold=hold))}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {SOURCE_ROOT!r})\n{code}"],
            stdout=subprocess.PIPE,
            text=True,
        )

    def taken(self) -> Iterator[str]:
        """The runs that it takes, one after the other."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line[:1] in "0123456789":  # and not of a log
                yield line.strip()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class QueueCases:
    """The base of the cases of every subject. `opener`: see the package."""

    opener: ClassVar[str | None] = None
    steps: ClassVar[tuple[int, ...]] = (0, 5, 9)  # priorities that the broker tells apart

    @pytest.fixture
    def name(self) -> str:
        """A name that no other test has: what one left would come to the next."""
        return f"t{uuid.uuid4().hex[:12]}"

    @pytest.fixture
    def open(self, name: str) -> Open:
        """Opens the queue of this name. Override it."""
        raise NotImplementedError("override the fixture `open`")

    @pytest.fixture
    def another(self, open: Open) -> Iterator[Open]:
        """Opens the queue once more; closed at the end."""
        opened: list[MessageQueue] = []

        def one() -> MessageQueue:
            opened.append(open())
            return opened[-1]

        yield one
        for queue in opened:
            queue.close()

    @pytest.fixture
    def impatient(self, another: Open) -> Open:
        """As `another`; where a broker waits before it brings again what a dead consumer had, for two seconds only."""
        return another

    @pytest.fixture
    def queue(self, another: Open) -> MessageQueue:
        """The queue under test."""
        return another()

    @pytest.fixture
    def server(self) -> Server:
        """The broker."""
        pytest.skip("inapplicable: this queue has no server that could go away")

    @pytest.fixture
    def inject(self, name: str) -> Callable[[Foreign], None]:
        """Puts a message of somebody else's on the broker."""
        pytest.skip("inapplicable: nobody else can write to this queue")

    @pytest.fixture
    def process(self, name: str) -> Iterator[Callable[[str], Process]]:
        """Starts a consumer in another process."""
        opener = self.opener
        if opener is None:
            pytest.skip("inapplicable: this queue lives in one process")
        started: list[Process] = []

        def start(hold: str) -> Process:
            started.append(Process(self.opening(opener, name), hold))
            return started[-1]

        yield start
        for one in started:
            one.kill()

    def opening(self, opener: str, name: str) -> str:
        """The code that opens the queue of this name in another process."""
        return opener.format(name=name)
