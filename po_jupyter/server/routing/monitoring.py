"""How the server knows what watches an orchestrator: metrics, and whether it is ready."""

from __future__ import annotations

from typing import Protocol, TypedDict


class MonitoringApi(Protocol):
    """Metrics of the whole store."""

    async def metrics(self) -> bytes:
        """All metrics in Prometheus's text format."""
        ...

    async def probe(self) -> None:
        """Read and write the store, by the threads that serve everybody. Raises StoreError."""
        ...


class ReadinessReport(TypedDict):
    """`ready`: requests are answered. `orchestrator`: somebody has the workers. `store`: "ok", or what is wrong."""

    ready: bool
    orchestrator: bool
    store: str
