"""Failures: the broker goes away and comes back; nobody waits long, and nobody has to be told."""

from __future__ import annotations

import time

import pytest

from po_jupyter.distributed.brokers.protocol import MessageQueue, RunMessage
from po_jupyter.errors import BrokerUnavailable
from po_jupyter.testing.conformance.queue.cases import Open, QueueCases, Server, Taken

SECONDS = 15.0  # that anybody waits for a broker that is not there


class QueueFailureCases(QueueCases):
    """One restart for all of it: some brokers take long."""

    def test_a_broker_that_was_away(self, queue: MessageQueue, another: Open, server: Server) -> None:
        """Publishing fails within seconds and says so; everything goes on by itself once the broker is back."""
        taken = Taken()
        queue.consume(taken)
        queue.publish(RunMessage("1"))
        taken.wait_for("1")
        server.stop()
        try:
            self.refuses(queue)
            late = another()
            late.consume(taken)  # there is no broker yet
            self.refuses(late)
        finally:
            server.start()
        self.publish_in_time(queue, "2")
        taken.wait_for("2")
        for number in range(3, 23):
            self.publish_in_time(late, str(number))
        taken.wait_for(*(str(number) for number in range(3, 23)))
        queue.ping()

    def refuses(self, queue: MessageQueue) -> None:
        """Every question is refused soon, and a hundred of them are no slower than one."""
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(BrokerUnavailable) as refused:
                queue.publish(RunMessage("lost"))
        with pytest.raises(BrokerUnavailable):
            queue.ping()
        with pytest.raises(BrokerUnavailable):
            queue.depths()
        assert time.monotonic() - began < SECONDS
        assert "secret" not in str(refused.value)

    def publish_in_time(self, queue: MessageQueue, run: str) -> None:
        """As the reaper does: again, until the broker has it."""
        until = time.monotonic() + SECONDS
        while True:
            try:
                return queue.publish(RunMessage(run))
            except BrokerUnavailable:
                assert time.monotonic() < until
                time.sleep(0.2)

    def test_what_was_closed_is_closed(self, queue: MessageQueue) -> None:
        """Twice does nothing, and no thread is left."""
        taken = Taken()
        consumer = queue.consume(taken)
        queue.publish(RunMessage("1"))
        taken.wait_for("1")
        queue.close()
        queue.close()
        consumer.close()
