"""The queue whose lanes take turns."""

from __future__ import annotations

from po_jupyter.hub.accounts.balances import Admitted, Waiting
from po_jupyter.hub.accounts.fair_queue import FairQueue


def test_lanes_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for user, count in (("a", 5), ("b", 2), ("c", 1)):
        for n in range(count):
            queue.push(user, "openai", f"{user}{n}")
    order: list[str] = []

    def attempt(waiter: str) -> Admitted:
        order.append(waiter)
        return Admitted()

    assert queue.admit(attempt) is None
    assert order == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"] and len(queue) == 0


def test_a_user_at_their_own_limit_stops_nobody_else() -> None:
    queue: FairQueue[str] = FairQueue()
    for user in "abc":
        queue.push(user, "openai", user)
    assert queue.admit(lambda w: Waiting("user:a", "", 7.0) if w == "a" else Admitted()) == 7.0
    assert len(queue) == 1 and queue.of_user("a") == 1 and queue.of_user("b") == 0


def test_behind_a_shared_limit_nobody_is_tried() -> None:
    """A hundred users behind a full account are not looked at one by one at every end of a call."""
    queue: FairQueue[str] = FairQueue()
    for n in range(100):
        queue.push(f"user-{n}", "openai", "o")
    queue.push("user-1", "anthropic", "a")
    tried: list[str] = []

    def attempt(waiter: str) -> Admitted | Waiting:
        tried.append(waiter)
        return Waiting("provider:openai", "", None) if waiter == "o" else Admitted()

    queue.admit(attempt)
    assert tried == ["o", "a"]
    tried.clear()
    queue.admit(lambda waiter: tried.append(waiter) or Waiting("all", "", 1.0))  # type: ignore[func-returns-value]
    assert tried == ["o"]


def test_a_call_that_gave_up_is_gone() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("a", "openai", "1")
    queue.push("a", "openai", "2")
    queue.discard("a", "openai", "1")
    queue.discard("a", "openai", "1")
    queue.discard("nobody", "openai", "1")
    assert len(queue) == 1 and queue.of_user("a") == 1
    queue.discard("a", "openai", "2")
    assert len(queue) == 0 and queue.admit(lambda waiter: Admitted()) is None
