"""The conformance suite of message queues: what every `MessageQueue` must do, as tests for any implementation.

    from po_jupyter.testing.conformance.queue import QueueConformance

    class TestMyQueue(QueueConformance):
        opener = "from my_package import MyQueue; queue = MyQueue({name!r})"

        @pytest.fixture
        def open(self, name):
            return lambda: MyQueue(name)

`open` gives another handle on the same queue each time. `opener`, Python that does the same in another process, is for
the test that kills one, and with it the fixture `impatient`: as `another`, but what a dead consumer had comes again
after two seconds. The fixture `server`, with `stop` and `start`, is for those that restart the broker; `inject`, which
puts a message of somebody else's on it, for what is no message of ours. Without them those tests are skipped as
inapplicable. A test's docstring says what it keeps.
"""

from __future__ import annotations

from po_jupyter.testing.conformance.queue.cases import Foreign, Server, Taken
from po_jupyter.testing.conformance.queue.deliveries import DeliveryCases
from po_jupyter.testing.conformance.queue.failures import QueueFailureCases
from po_jupyter.testing.conformance.queue.messages import MessageCases

__all__ = [
    "DeliveryCases",
    "Foreign",
    "MessageCases",
    "QueueConformance",
    "QueueFailureCases",
    "Server",
    "Taken",
]


class QueueConformance(MessageCases, DeliveryCases, QueueFailureCases):
    """All of it. Override the fixture `open`; `opener`, `server` and `inject` where there are such things."""
