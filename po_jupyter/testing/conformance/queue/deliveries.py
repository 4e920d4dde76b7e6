"""Deliveries: at least once, answered, given back, dead-lettered; by several consumers, some of which die."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

from po_jupyter.distributed.brokers.protocol import MessageQueue, RunMessage, Verdict
from po_jupyter.testing.conformance.queue.cases import Open, Process, QueueCases, Taken, settled

REDELIVERED = 30.0  # seconds in which what a dead consumer had must have come again


class DeliveryCases(QueueCases):
    """One message, one answer. `many`: how many messages make a crowd."""

    many: ClassVar[int] = 500

    def test_what_was_taken_does_not_come_again(self, queue: MessageQueue, another: Open) -> None:
        """Neither to this consumer nor, when that ends, to the next."""
        first, second = Taken(), Taken()
        consumer = queue.consume(first)
        for number in range(5):
            queue.publish(RunMessage(str(number)))
        first.wait_for(*"01234")
        consumer.close()
        consumer.close()
        another().consume(second)
        queue.publish(RunMessage("end"))
        second.wait_for("end")
        assert first.runs == list("01234")
        assert second.runs == ["end"]

    def test_what_is_given_back_comes_to_another(self, queue: MessageQueue, another: Open) -> None:
        """Soon, though the first consumer goes on giving back."""
        full, free = Taken(lambda message: Verdict.BACK), Taken()
        queue.consume(full)
        queue.publish(RunMessage("1"))
        full.wait_for("1")
        another().consume(free)
        free.wait_for("1", seconds=10)
        settled(queue, 0, 0)

    def test_what_is_given_back_goes_behind_what_waits(self, queue: MessageQueue) -> None:
        """One that nobody here can take does not keep the others from their turn."""
        taken = Taken(lambda message: Verdict.BACK if message.run == "no" else Verdict.TAKEN)
        for run in ("no", "1", "2"):
            queue.publish(RunMessage(run))
        queue.consume(taken)
        taken.wait_for("1", "2")
        taken.wait(lambda seen: seen.count("no") >= 2)

    def test_a_node_that_is_full_does_not_turn_in_circles(self, queue: MessageQueue) -> None:
        """A message that goes back again and again costs little."""
        taken = Taken(lambda message: Verdict.BACK)
        consumer = queue.consume(taken)
        queue.publish(RunMessage("1"))
        taken.wait_for("1")
        threading.Event().wait(1.5)
        consumer.close()
        assert len(taken.runs) <= 12
        settled(queue, 1, 0)

    def test_a_take_that_raises_gives_back(self, queue: MessageQueue) -> None:
        """A fault of a node is no fault of the message."""

        def fail_once(message: RunMessage) -> Verdict:
            if len(taken.runs) == 1:
                raise RuntimeError("a fault of this node")
            return Verdict.TAKEN

        taken = Taken(fail_once)
        queue.consume(taken)
        queue.publish(RunMessage("1"))
        taken.wait(lambda seen: len(seen) == 2)
        settled(queue, 0, 0)

    def test_poison_is_buried(self, queue: MessageQueue, another: Open) -> None:
        """It comes to nobody any more, and is counted."""
        taken, other = Taken(lambda message: Verdict.POISON), Taken()
        consumer = queue.consume(taken)
        queue.publish(RunMessage("1"))
        taken.wait_for("1")
        settled(queue, 0, 1)
        consumer.close()
        another().consume(other)
        queue.publish(RunMessage("2"))
        other.wait_for("2")
        settled(queue, 0, 1)
        assert taken.runs + other.runs == ["1", "2"]

    def test_consumers_share(self, queue: MessageQueue, another: Open) -> None:
        """Each message goes to one of them; one that is busy keeps none from the others."""
        blocked = threading.Event()

        def hold(message: RunMessage) -> Verdict:
            blocked.wait(20)
            return Verdict.TAKEN

        busy, free = Taken(hold), Taken()
        queue.consume(busy)
        queue.publish(RunMessage("0"))
        busy.wait_for("0")
        another().consume(free)
        for number in range(1, 10):
            queue.publish(RunMessage(str(number)))
        free.wait_for(*"123456789")
        blocked.set()
        settled(queue, 0, 0)
        assert (busy.runs, sorted(free.runs)) == (["0"], list("123456789"))

    def test_as_many_are_taken_at_once_as_there_are_threads(self, queue: MessageQueue) -> None:
        """No more, no fewer."""
        barrier = threading.Barrier(2, timeout=20)

        def together(message: RunMessage) -> Verdict:
            barrier.wait()
            return Verdict.TAKEN

        taken = Taken(together)
        for number in range(4):
            queue.publish(RunMessage(str(number)))
        queue.consume(taken, threads=2)
        taken.wait_for(*"0123")
        settled(queue, 0, 0)

    def test_closing_waits_for_what_is_taken_and_keeps_the_rest(
        self, queue: MessageQueue, another: Open
    ) -> None:
        """A node that is drained answers what it has; nothing gets lost, nothing comes twice."""
        going, go_on = threading.Event(), threading.Event()

        def slow(message: RunMessage) -> Verdict:
            going.set()
            go_on.wait(20)
            return Verdict.TAKEN

        taken, rest = Taken(slow), Taken()
        consumer = queue.consume(taken)
        for number in range(3):
            queue.publish(RunMessage(str(number)))
        assert going.wait(20)
        closing = threading.Thread(target=consumer.close)
        closing.start()
        go_on.set()
        closing.join(20)
        assert not closing.is_alive()
        another().consume(rest)
        rest.wait(lambda seen: len(seen) + len(taken.runs) == 3)
        settled(queue, 0, 0)
        assert sorted(taken.runs + rest.runs) == list("012")

    def test_what_a_killed_process_had_comes_again_and_what_it_answered_does_not(
        self, impatient: Open, process: Callable[[str], Process]
    ) -> None:
        """At least once, though nobody said that it died."""
        queue = impatient()
        for run in "123":
            queue.publish(RunMessage(run))
        killed = process("2")
        seen = killed.taken()
        assert [next(seen), next(seen)] == ["1", "2"]
        killed.kill()
        taken = Taken()
        queue.consume(taken)
        taken.wait_for("2", "3", seconds=REDELIVERED)
        settled(queue, 0, 0)
        assert sorted(taken.runs) == ["2", "3"]

    def test_many_messages_for_three_consumers_come_once_each(self, queue: MessageQueue, another: Open) -> None:
        """Nobody dies, so nothing comes twice."""
        taken = Taken()
        for _ in range(3):
            another().consume(taken)
        for number in range(self.many):
            queue.publish(RunMessage(str(number)))
        taken.wait(lambda seen: len(seen) >= self.many, seconds=60)
        settled(queue, 0, 0)
        assert len(taken.runs) == len(set(taken.runs)) == self.many
