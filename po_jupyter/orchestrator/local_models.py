"""Interim: local models are not served yet."""

from __future__ import annotations

from po_jupyter.config import Settings
from po_jupyter.errors import ModelUnavailable
from po_jupyter.orchestrator.feed import Feed
from po_jupyter.orchestrator.link import Message


class LocalModels:
    """One model server per local model, shared by all workers."""

    def __init__(self, settings: Settings, feed: Feed) -> None:
        self._settings = settings

    async def need(self, message: Message) -> Message:
        """Answer a worker's `need`."""
        raise ModelUnavailable("local models are not served yet")

    async def close(self) -> None:
        """End them."""
