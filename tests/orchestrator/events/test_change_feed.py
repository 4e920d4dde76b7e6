"""The change feed: bounded, coalescing hints."""

from __future__ import annotations

from po_jupyter.orchestrator.events.change_feed import ChangeFeed, Notification


async def test_a_slow_listener_gets_fewer_notes_and_never_a_growing_queue() -> None:
    """P1: notes are hints."""
    feed = ChangeFeed()
    async with feed.subscribe() as notes, feed.subscribe("other") as others:
        for _ in range(10_000):
            feed.changed("run")
            feed.text("run", {"task": "t", "text": "x", "round": 1})
        assert feed.watched("run")
        texts = 0
        while (note := await notes.get(0)) is not None and note.kind == "text":
            texts += 1
        assert texts < 1000
        assert note == Notification("changed", "run")
        assert await notes.get(0) is None
        assert await others.get(0) is None
    assert not feed.watched("run")


async def test_the_first_and_the_last_subscriber_are_noticed_and_a_listener_is_none() -> None:
    """Deltas are only sent while somebody watches."""
    feed = ChangeFeed()
    interests: list[str | None] = []
    heard: list[str] = []
    feed.on_subscribers_changed(interests.append)
    feed.add_listener(heard.append)
    assert not feed.watched("a")
    async with feed.subscribe("a"), feed.subscribe():
        assert feed.interests() == {"a", None}
        assert feed.watched("b"), "who watches all watches each"
    assert interests == ["a", None, None, "a"]
    feed.changed("a")
    feed.remove_listener(heard.append)
    feed.changed("a")
    assert heard == ["a"]


async def test_a_run_that_waits_for_the_store_is_told_with_its_reason() -> None:
    """P7: its log cannot say it."""
    feed = ChangeFeed()
    async with feed.subscribe("a") as notes:
        feed.store_wait("a", "the disk is full")
        feed.store_wait("b", "not mine")
        assert await notes.get(0) == Notification("held", "a", {"run": "a", "reason": "the disk is full"})
        assert await notes.get(0) is None
