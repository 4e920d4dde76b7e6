"""B14: the order in which runs get a worker."""

from __future__ import annotations

from typing import Any

from po_jupyter.orchestrator.workers.queue import RunQueue


def head(run: str, priority: int, created_at: str) -> Any:
    return {"run": run, "priority": priority, "created_at": created_at}


def test_the_queue_serves_the_higher_priority_and_then_the_older_run() -> None:
    queue = RunQueue()
    for run, priority, at in (("a", 0, "1"), ("b", 0, "2"), ("c", 9, "3"), ("a", 0, "1")):
        queue.add(head(run, priority, at))
    assert [queue.position(r) for r in "cab"] == [1, 2, 3]
    assert queue.positions(2) == {"c": 1, "a": 2}
    assert len(queue) == 3 and "a" in queue
    assert queue.pop() == "c"
    queue.discard("a")
    assert (queue.position("b"), queue.position("a")) == (1, None)
    assert [queue.pop(), queue.pop()] == ["b", None]
