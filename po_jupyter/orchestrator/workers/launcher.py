"""Starting the worker of a run, again and again when that fails, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from po_jupyter.config import Settings
from po_jupyter.errors import SpawnFailed, VersionMismatch
from po_jupyter.orchestrator.environment.key_store import Keys
from po_jupyter.orchestrator.workers.zygote_pool import Exited, Zygotes
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Head

log = structlog.get_logger(__name__)

_DEFAULT_TIMEOUT = 300.0  # s, of a task that names none


class Launch(NamedTuple):
    """What the start of a worker needs to know of its run; `silence` as in `silence_of`."""

    interpreter: str | None
    cwd: str | None
    fence: int
    silence: float


def launch_of(head: Head, definition: Mapping[str, Any], settings: Settings) -> Launch:
    """How to start a run's worker, from what the store keeps of it."""
    silence = silence_of(definition, settings)
    return Launch(definition.get("interpreter"), definition.get("cwd"), head["fence"], silence)


def silence_of(definition: Mapping[str, Any], settings: Settings) -> float:
    """Seconds without a word after which the run's worker is taken for hung: longer than any stage may take."""
    tasks = definition["pipeline"]["tasks"]
    return max(float(t.get("timeout", _DEFAULT_TIMEOUT)) for t in tasks) + settings.silence_grace


class Launcher:
    """Starts workers for one supervisor. `shards` is the store's number of them."""

    def __init__(self, settings: Settings, zygotes: Zygotes, address: Path, shards: int, keys: Keys) -> None:
        self._settings = settings
        self._keys = keys
        self._zygotes = zygotes
        self._common = {
            "settings": settings.model_dump(mode="json", exclude={"auth_token", "log_remote_token"}),
            "log_token": settings.log_remote_token.get_secret_value() if settings.log_remote_token else None,
            "address": str(address),
            "shards": shards,
        }

    async def start(self, run: str, launch: Launch, on_exit: Exited, *, watched: bool) -> processes.Identity:
        """A worker of the run. Raises SpawnFailed, VersionMismatch or InvalidInput after the last try
        (R1.2)."""

        def say(again: RetryCallState) -> None:
            error = again.outcome.exception() if again.outcome is not None else None
            log.warning("no worker yet", run=run, attempt=again.attempt_number, error=str(error))

        retry = AsyncRetrying(
            stop=stop_after_attempt(self._settings.spawn_attempts),
            wait=wait_exponential(multiplier=self._settings.spawn_delay, max=self._settings.spawn_max_delay)
            + wait_random(0, self._settings.spawn_delay),
            retry=retry_if_exception_type((SpawnFailed, VersionMismatch)),
            before_sleep=say,
            reraise=True,
        )
        async for attempt in retry:
            with attempt:
                return await self._spawn(run, launch, on_exit, watched)
        raise SpawnFailed("no worker could be started")  # not reached: the last try raises

    async def _spawn(self, run: str, launch: Launch, on_exit: Exited, watched: bool) -> processes.Identity:
        zygote = await self._zygotes.get(launch.interpreter)
        environ, _ = await asyncio.to_thread(self._keys.environment, self._settings.inherited)
        request = {
            **self._common,
            "run": run,
            "expect": launch.fence,
            "watched": watched,
            "cwd": launch.cwd,
            "log": str(self._settings.data_dir / "runs" / run / "worker.log"),
            "env": environ,
        }
        spawning = asyncio.ensure_future(zygote.spawn(request, on_exit))
        try:
            return await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # We are stopping, and the child may exist already: who stops has to know it. The answer takes
            # milliseconds, and the task that was cancelled ends at its next wait.
            return await spawning
