"""How the server knows what watches an orchestrator: metrics, whether it is ready, and checks of its machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, Protocol, TypedDict


class Probed(Protocol):
    """The findings of a probe."""

    @property
    def works(self) -> bool:
        """Somebody works runs off."""
        ...

    @property
    def broker(self) -> bool | None:
        """The message broker answers; None where there is none."""
        ...


class MonitoringApi(Protocol):
    """Metrics of the whole store."""

    async def metrics(self) -> bytes:
        """All metrics in Prometheus's text format."""
        ...

    async def probe(self) -> Probed:
        """Read and write the store, by the threads that serve everybody. Raises StoreError."""
        ...


class ReadinessReport(TypedDict):
    """`ready`: requests are answered. `orchestrator`: somebody works runs off. `store`: "ok", or what is wrong;
    `broker` likewise, where there is one."""

    ready: bool
    orchestrator: bool
    store: str
    broker: NotRequired[str]


class DoctorApi(Protocol):
    """Checks of the machine that the orchestrator runs on."""

    async def examine(self, *, online: bool = False) -> Sequence[Mapping[str, object]]:
        """Findings: `{what, verdict, found, todo}`."""
        ...
