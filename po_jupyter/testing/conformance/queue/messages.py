"""Messages: what goes in comes out, by priority and by label, and nothing else is ever run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from po_jupyter.distributed.brokers.protocol import MessageQueue, RunMessage
from po_jupyter.testing.conformance.queue.cases import Foreign, Open, QueueCases, Taken, settled

PO_RUN = {"task": "po.run", "id": "1", "lang": "py"}
NO_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class _Trap:
    """A pickle that leaves a file behind where it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self._path,)


def foreign_messages(trap: Path) -> dict[str, Foreign]:
    """What is no run message, by what is wrong with it."""

    def task(arguments: object, keywords: object) -> bytes:
        return json.dumps([arguments, keywords, NO_EMBED]).encode()

    def frame(body: object, **others: object) -> Foreign:
        properties = {"delivery_tag": "1", "delivery_info": {"exchange": "", "routing_key": "x"}}
        whole = {"body": body, "content-type": "application/json", "headers": PO_RUN, "properties": properties}
        return Foreign(json.dumps({**whole, **others}).encode(), framed=False)

    pickled = pickle.dumps(_Trap(trap))
    return {
        "no JSON": Foreign(b"not json", PO_RUN),
        "nothing": Foreign(b"", PO_RUN),
        "a pickle": Foreign(pickled, PO_RUN, "application/x-python-serialize"),
        "a pickle that says it is JSON": Foreign(pickled, PO_RUN),
        "yaml": Foreign(b"!!python/object/apply:os.getcwd []", PO_RUN, "application/x-yaml"),
        "another task": Foreign(task([], {"run": "1", "priority": 0, "labels": []}), {"task": "os.system", "id": "1"}),
        "no task": Foreign(task([], {"run": "1", "priority": 0, "labels": []})),
        "no protocol": Foreign(b'{"run": "1"}', PO_RUN),
        "arguments": Foreign(task(["1"], {}), PO_RUN),
        "no run": Foreign(task([], {"priority": 0, "labels": []}), PO_RUN),
        "a run that is a path": Foreign(task([], {"run": "../../etc", "priority": 0, "labels": []}), PO_RUN),
        "a priority that is none": Foreign(task([], {"run": "1", "priority": "9", "labels": []}), PO_RUN),
        "a priority out of range": Foreign(task([], {"run": "1", "priority": 10, "labels": []}), PO_RUN),
        "labels that are none": Foreign(task([], {"run": "1", "priority": 0, "labels": [{}]}), PO_RUN),
        "too deep": Foreign(b"[" * 20000, PO_RUN),
        "too long": Foreign(task([], {"run": "1" * 70000, "priority": 0, "labels": []}), PO_RUN),
        "bytes": Foreign(b"\xff\xfe\x00", framed=False),
        "text": Foreign(b"hello", framed=False),
        "a list": Foreign(b"[1]", framed=False),
        "a frame without properties": Foreign(b'{"body": "x"}', framed=False),
        "a frame with odd properties": Foreign(b'{"properties": 3}', framed=False),
        "a frame with a body that is no base64": Foreign(
            b'{"body": "a", "properties": {"body_encoding": "base64", "delivery_tag": "1",'
            b' "delivery_info": {"exchange": "", "routing_key": "x"}}}',
            framed=False,
        ),
        "a frame with a mapping as its body": frame({}),
        "a frame with a list as its body": frame([1]),
        "a frame without a body": frame(None),
        "a frame with half a character": frame("\ud800"),
        "a frame with headers that are a list": frame("{}", headers=[1]),
        "a frame with a type that is a mapping": frame("{}", **{"content-type": {}}),
    }  # fmt: skip


class MessageCases(QueueCases):
    """Serialization, priorities, labels, names, and what somebody else wrote."""

    def test_messages_come_as_they_were_published(self, queue: MessageQueue) -> None:
        """Run, priority and labels, whatever they are; labels are a set."""
        messages = {
            RunMessage("01jd0000000000000000000000", 0, ()),
            RunMessage("a", 9, ("gpu",)),
            RunMessage("B_-9", 4, ("gpu", "highmem", "interpreter:analysis-3.11")),
            RunMessage("x" * 100, 1, ("l" * 100,)),
            RunMessage("y", 1, ("dead",)),
        }
        for message in messages:
            queue.publish(message._replace(labels=message.labels[::-1]))
        taken = Taken()
        queue.consume(taken, labels=["gpu", "highmem", "interpreter:analysis-3.11", "l" * 100, "dead"])
        taken.wait(lambda seen: len(seen) == len(messages))
        settled(queue, 0, 0)
        assert set(taken.messages) == messages

    def test_what_cannot_be_a_message_is_refused(self, queue: MessageQueue) -> None:
        """By who publishes it, not later by everybody who reads it."""
        for message in (
            RunMessage("", 0),
            RunMessage("../x", 0),
            RunMessage("a", 10),
            RunMessage("a", -1),
            RunMessage("a", 0, ("",)),
            RunMessage("a", 0, ("a b",)),
            RunMessage("a", 0, tuple("abcdefghi")),
        ):
            with pytest.raises(ValueError, match=r"run|priority|label"):
                queue.publish(message)

    def test_the_urgent_come_first(self, queue: MessageQueue) -> None:
        """9 first, on every broker; among equals the first that came."""
        for round in "ab":
            for priority in self.steps:
                queue.publish(RunMessage(f"{priority}{round}", priority))
        settled(queue, 2 * len(self.steps), 0)
        taken = Taken()
        queue.consume(taken)
        runs = taken.wait(lambda seen: len(seen) == 2 * len(self.steps))
        assert runs == [f"{priority}{round}" for priority in sorted(self.steps, reverse=True) for round in "ab"]

    def test_a_label_is_only_for_nodes_that_have_it(self, queue: MessageQueue, another: Open) -> None:
        """And no label for all."""
        plain, gpu, both = Taken(), Taken(), Taken()
        queue.consume(plain)
        queue.publish(RunMessage("1", 0, ("gpu",)))
        queue.publish(RunMessage("2", 0, ("gpu", "highmem")))
        queue.publish(RunMessage("3", 0, ()))
        plain.wait_for("3")
        another().consume(gpu, labels=["gpu"])
        gpu.wait_for("1")
        another().consume(both, labels=["highmem", "gpu"])
        both.wait_for("2")
        settled(queue, 0, 0)
        assert (plain.runs, gpu.runs, both.runs) == (["3"], ["1"], ["2"])

    def test_queues_of_different_names_are_apart(self, queue: MessageQueue, name: str) -> None:
        """Several stores may share one broker; so may several tests."""
        assert all(found.startswith(name) for found in queue.depths() or {})

    def test_depths_are_told(self, queue: MessageQueue) -> None:
        """How many wait, by queue."""
        queue.publish(RunMessage("1"))
        queue.publish(RunMessage("2", 9, ("gpu",)))
        settled(queue, 2, 0)
        queue.ping()

    def test_what_is_no_message_of_ours_is_buried_and_never_run(
        self, queue: MessageQueue, inject: Callable[[Foreign], None], tmp_path: Path
    ) -> None:
        """Whatever anybody writes into the queue costs one dead letter each, and the next message is taken."""
        trap = tmp_path / "trap"
        found = foreign_messages(trap)
        queue.ping()
        queue.publish(RunMessage("0"))
        taken = Taken()
        queue.consume(taken).close()
        for foreign in found.values():
            inject(foreign)
        queue.publish(RunMessage("after"))
        queue.consume(taken)
        taken.wait_for("after")
        settled(queue, 0, len(found))
        assert set(taken.runs) == {"0", "after"}
        assert not trap.exists()
