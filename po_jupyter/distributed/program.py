"""The program of `po worker`: a node without Jupyter, which works off runs of a shared store until it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import structlog

from po_jupyter.config import Settings
from po_jupyter.distributed.node import NodeDistribution, node_settings
from po_jupyter.errors import InvalidSettings, StoreUnusable
from po_jupyter.orchestrator.service import Orchestrator
from po_jupyter.platform import signals
from po_jupyter.store.opening import postgres_store
from po_jupyter.telemetry import logging

if TYPE_CHECKING:
    from po_jupyter.distributed.health import NodeHealth

_STOP_PATIENCE = 25.0  # s for calls in flight, where no setting says; the usual grace of a pod is 30
_CLOSE_PATIENCE = 20.0  # s after these for everything else: a store that stands still keeps nobody
_START_PATIENCE = 30.0  # s for a store that does not answer, as when all is started at once
_AGAIN = 1.0  # s between two tries, which take as long

log = structlog.get_logger(__name__)


def serve(settings: Settings, on_ready: Callable[[Settings], None], on_wait: Callable[[str], None]) -> None:
    """Be a node until SIGTERM or SIGINT; then the calls in flight are finished and the runs are others'.

    `on_ready` gets the settings that hold, `on_wait` a line for people while the store does not answer. Raises PoError
    when it cannot start.
    """
    if settings.store is None:
        raise InvalidSettings(
            "a node needs the store that it shares with others",
            hint="po worker --store postgresql://USER@HOST/DATABASE, or PO_STORE.",
        )
    own = node_settings(settings)
    if own.shutdown_timeout is None:
        own = own.model_copy(update={"shutdown_timeout": _STOP_PATIENCE})
    try:
        logging.configure(own, file=own.data_dir / "logs" / "orchestrator.log")
    except OSError as error:
        raise InvalidSettings(
            f"the data directory {own.data_dir} cannot be used: {error.strerror or error}",
            hint="Set PO_DATA_DIR to a directory of this node's own.",
        ) from error
    distribution = NodeDistribution(own)
    _wait_for_store(settings.store.get_secret_value(), on_wait)
    asyncio.run(_serve(own, distribution, partial(on_ready, own)))


def _wait_for_store(url: str, on_wait: Callable[[str], None]) -> None:
    """Return once it answers; says once why it does not. Raises StoreUnusable after `_START_PATIENCE`."""
    store = postgres_store()
    deadline, told = time.monotonic() + _START_PATIENCE, ""
    while True:
        try:
            store.look(url, patience=_AGAIN)
            return
        except StoreUnusable as error:
            if time.monotonic() > deadline or "format" in error.details:  # a newer one, which no waiting mends
                raise
            if error.message != told:
                told = error.message
                on_wait(f"{told}; trying for {_START_PATIENCE:g} s")
        time.sleep(_AGAIN)


async def _serve(settings: Settings, distribution: NodeDistribution, on_ready: Callable[[], None]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signals.on_signal(number, stopped.set)
    if settings.health_port is None:
        await _work(settings, distribution, on_ready, stopped)
        return
    from po_jupyter.distributed.health import NodeHealth, answering

    health = NodeHealth()
    async with answering(health, settings.health_port):
        await _work(settings, distribution, on_ready, stopped, health)


async def _work(
    settings: Settings,
    distribution: NodeDistribution,
    on_ready: Callable[[], None],
    stopped: asyncio.Event,
    health: NodeHealth | None = None,
) -> None:
    orchestrator = Orchestrator(settings, distribution=distribution)
    node = await orchestrator.start()
    try:
        if health is not None:
            health.probe = node.monitoring.probe
        stopping = asyncio.ensure_future(stopped.wait())
        warm = asyncio.ensure_future(distribution.warm())
        await asyncio.wait({stopping, warm}, return_when=asyncio.FIRST_COMPLETED)
        warm.cancel()
        if not stopped.is_set():
            on_ready()
        await stopping
    finally:
        try:
            async with asyncio.timeout((settings.shutdown_timeout or 0.0) + _CLOSE_PATIENCE):
                await orchestrator.stop()
        except TimeoutError:
            log.error("this node did not stop in time; it ends without that, and others go on with its runs")
            _end()


def _end() -> NoReturn:
    """End this process, whatever its threads still wait for: a database that stands still would keep it for ever."""
    logging.flush()
    os._exit(1)
