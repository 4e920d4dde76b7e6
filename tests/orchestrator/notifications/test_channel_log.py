"""G12: what became of a channel's messages is kept, and an error goes with the next delivery."""

from __future__ import annotations

from po_jupyter.orchestrator.notifications import channel_log
from po_jupyter.store.keyed.memory import MemoryStore


def test_counts_and_the_last_error() -> None:
    store = MemoryStore()
    assert channel_log.read(store, "ops") == channel_log.EMPTY
    channel_log.failed(store, "ops", "answered HTTP 500", given_up=False)
    channel_log.failed(store, "ops", "refused", given_up=True)
    log = channel_log.read(store, "ops")
    assert (log["error"], log["given_up"], log["delivered"]) == ("refused", 1, 0)
    assert log["error_at"] and log["given_up_at"]
    channel_log.delivered(store, "ops")
    log = channel_log.read(store, "ops")
    assert (log["error"], log["error_at"], log["given_up"], log["delivered"]) == ("", None, 1, 1)
    assert channel_log.read(store, "chat") == channel_log.EMPTY
