"""The program of `po worker`: a node without Jupyter, which works off runs of a shared store until it is stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from po_jupyter.config import Settings
from po_jupyter.distributed.node import NodeDistribution, node_settings
from po_jupyter.errors import InvalidSettings
from po_jupyter.orchestrator.service import Orchestrator
from po_jupyter.platform import signals
from po_jupyter.telemetry import logging

if TYPE_CHECKING:
    from po_jupyter.distributed.health import NodeHealth

_STOP_PATIENCE = 25.0  # s for calls in flight, where no setting says; the usual grace of a pod is 30


def serve(settings: Settings, on_ready: Callable[[Settings], None]) -> None:
    """Be a node until SIGTERM or SIGINT; then the calls in flight are finished and the runs are others'.

    `on_ready` gets the settings that hold. Raises PoError when it cannot start.
    """
    if settings.store is None:
        raise InvalidSettings(
            "a node needs the store that it shares with others",
            hint="po worker --store postgresql://USER@HOST/DATABASE, or PO_STORE.",
        )
    own = node_settings(settings)
    if own.shutdown_timeout is None:
        own = own.model_copy(update={"shutdown_timeout": _STOP_PATIENCE})
    logging.configure(own, file=own.data_dir / "logs" / "orchestrator.log")
    asyncio.run(_serve(own, partial(on_ready, own)))


async def _serve(settings: Settings, on_ready: Callable[[], None]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signals.on_signal(number, stopped.set)
    if settings.health_port is None:
        await _work(settings, on_ready, stopped)
        return
    from po_jupyter.distributed.health import NodeHealth, answering

    health = NodeHealth()
    async with answering(health, settings.health_port):
        await _work(settings, on_ready, stopped, health)


async def _work(
    settings: Settings, on_ready: Callable[[], None], stopped: asyncio.Event, health: NodeHealth | None = None
) -> None:
    orchestrator = Orchestrator(settings, distribution=NodeDistribution(settings))
    node = await orchestrator.start()
    try:
        if health is not None:
            health.probe = node.monitoring.probe
        on_ready()
        await stopped.wait()
    finally:
        await orchestrator.stop()
