"""A queue of runs in the memory of one process, for tests that need no broker."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from po_jupyter.distributed.brokers.messages import from_json, to_json
from po_jupyter.distributed.brokers.protocol import PRIORITIES, Closer, RunMessage, Take, Verdict


class MemoryQueue:
    """A `MessageQueue` that keeps what the Protocol promises, within this process."""

    def __init__(self, name: str = "po") -> None:
        """`name` is the first part of the names in `depths`."""
        self._name = name
        self._changed = threading.Condition()
        self._waiting: dict[int, deque[RunMessage]] = {p: deque() for p in reversed(PRIORITIES)}
        self.dead: list[RunMessage] = []
        self._consumers: list[_Consumer] = []

    def publish(self, message: RunMessage) -> None:
        """Queue it."""
        message = from_json(to_json(message))
        with self._changed:
            self._waiting[message.priority].append(message)
            self._changed.notify_all()

    def consume(self, take: Take, *, labels: Sequence[str] = (), threads: int = 1) -> Closer:
        """Have `take` called in threads."""
        consumer = _Consumer(self, take, frozenset(labels), threads)
        self._consumers.append(consumer)
        return consumer

    def next(self, labels: frozenset[str], ended: Callable[[], bool]) -> RunMessage | None:
        """The next message that needs no label but these; None once `ended`. Blocks."""
        with self._changed:
            while not ended():
                for message in itertools.chain.from_iterable(self._waiting.values()):
                    if labels.issuperset(message.labels):
                        self._waiting[message.priority].remove(message)
                        return message
                self._changed.wait()
        return None

    def bury(self, message: RunMessage) -> None:
        """To the dead letters."""
        with self._changed:
            self.dead.append(message)

    def wake(self) -> None:
        """Have those that wait look again."""
        with self._changed:
            self._changed.notify_all()

    def depths(self) -> Mapping[str, int]:
        """Messages that wait, and dead letters."""
        with self._changed:
            waiting = sum(map(len, self._waiting.values()))
            return {self._name: waiting, f"{self._name}.dead": len(self.dead)}

    def ping(self) -> None:
        """It is there."""

    def close(self) -> None:
        """End the consumers."""
        for consumer in self._consumers:
            consumer.close()


class _Consumer:
    """Threads that take messages of a MemoryQueue."""

    def __init__(self, queue: MemoryQueue, take: Take, labels: frozenset[str], threads: int) -> None:
        self._queue, self._take, self._labels = queue, take, labels
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while message := self._queue.next(self._labels, self._ended.is_set):
            try:
                verdict = self._take(message)
            except Exception:
                verdict = Verdict.BACK
            if verdict is Verdict.BACK:
                self._queue.publish(message)
                self._ended.wait(0.2)  # so that another consumer sees it first
            elif verdict is Verdict.POISON:
                self._queue.bury(message)

    def close(self) -> None:
        """No further message; waits for those at work."""
        self._ended.set()
        self._queue.wake()
        for thread in self._threads:
            thread.join()
