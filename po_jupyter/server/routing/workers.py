"""The part of an orchestrator that tells of the servers that share its store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class WorkersApi(Protocol):
    """The nodes of a store and what waits for them."""

    async def report(self) -> Mapping[str, object]:
        """`{nodes, queue, broker}`."""
        ...

    async def drain(self, node: str) -> None:
        """Have a node give its runs to others. NotFound; Conflict where one server has the store alone."""
