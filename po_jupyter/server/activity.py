"""Activity reports: keep the idle culler away while runs live. A server that is culled overnight takes their workers
with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime

EVERY = 30.0  # seconds; cullers look every minute at the most
NAME = "po_jupyter"


async def report(
    times: MutableMapping[str, datetime], live_runs: Callable[[], int], every: float = EVERY
) -> None:
    """Until cancelled: while `live_runs()` is above zero, the server was active a moment ago.

    `times` is the web application's `last_activity_times`. Waiting for a person at a gate is not activity.
    """
    while True:
        if live_runs() > 0:
            times[NAME] = datetime.now(UTC)
        await asyncio.sleep(every)
