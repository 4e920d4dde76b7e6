"""What became of the messages of each channel: one small document a channel, for people who look for what is wrong."""

from __future__ import annotations

from typing import TypedDict

from po_jupyter.model.run.events import now
from po_jupyter.store import documents
from po_jupyter.store.protocol import Store

KIND = "notification-channels"


class ChannelLog(TypedDict):
    """Counts since the channel was set up. `error` is why the last try failed, empty once one succeeded; times are ISO
    8601 UTC."""

    delivered: int
    delivered_at: str | None
    given_up: int
    given_up_at: str | None
    error: str
    error_at: str | None


EMPTY: ChannelLog = {
    "delivered": 0, "delivered_at": None, "given_up": 0, "given_up_at": None, "error": "", "error_at": None,
}  # fmt: skip


def read(store: Store, channel: str) -> ChannelLog:
    """The document of a channel."""
    document: ChannelLog | None = store.get(KIND, channel)
    return {**EMPTY, **document} if document is not None else EMPTY


def delivered(store: Store, channel: str) -> None:
    """Write down that a message arrived."""

    def change(document: ChannelLog | None) -> ChannelLog:
        before = document or EMPTY
        return {
            **before,
            "delivered": before["delivered"] + 1,
            "delivered_at": now(),
            "error": "",
            "error_at": None,
        }

    documents.update(store, KIND, channel, change, subject="the log of a channel")


def failed(store: Store, channel: str, error: str, *, given_up: bool) -> None:
    """Write down that a try failed, and whether it was the last."""

    def change(document: ChannelLog | None) -> ChannelLog:
        before = document or EMPTY
        after: ChannelLog = {**before, "error": error, "error_at": now()}
        if given_up:
            after["given_up"], after["given_up_at"] = before["given_up"] + 1, now()
        return after

    documents.update(store, KIND, channel, change, subject="the log of a channel")
