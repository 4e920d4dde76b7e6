"""The part of an orchestrator that says what runs wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class WaitsApi(Protocol):
    """Who waits for what."""

    async def report(self, owner: str | None) -> Mapping[str, object]:
        """`{calls, store, queue, others, rates}`, at most 100 of each kind."""
        ...
