"""How the server knows what watches an orchestrator: metrics, whether it is ready, and checks of its machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class DoctorApi(Protocol):
    """Checks of the machine that the orchestrator runs on."""

    async def examine(self, *, online: bool = False) -> Sequence[Mapping[str, object]]:
        """Findings: `{what, verdict, found, todo}`."""
        ...
