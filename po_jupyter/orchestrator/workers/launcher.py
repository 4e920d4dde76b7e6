"""The launcher: starts the worker of a run, again and again when that fails, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from po_jupyter.config import SECRETS, Settings
from po_jupyter.errors import SpawnFailed, VersionMismatch
from po_jupyter.ipc.messages import WorkerRequest
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.task_kind import asks_model
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.variables import worker_environment
from po_jupyter.orchestrator.workers.shareable import is_shareable
from po_jupyter.orchestrator.workers.zygote_pool import OnExit, ZygotePool
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Head
from po_jupyter.telemetry import tracing

log = structlog.get_logger(__name__)

_DEFAULT_TIMEOUT = 300.0  # s, of a task that names none


class LaunchSpec(NamedTuple):
    """The data of a run that the start of its worker needs; `silence_limit` as the function of that name says.

    `cwd` is None where nothing of the run's own is imported: prompts need no directory, and none is put on their path.
    `shared`: it can be worked off in a process of many (`shareable`).
    """

    interpreter: str | None
    cwd: str | None
    fence: int
    silence_limit: float
    shared: bool = False


def launch_spec(head: Head, definition: RunDefinition, settings: Settings) -> LaunchSpec:
    """The spec of a run."""
    limit = silence_limit(definition, settings)
    cwd = import_directory(definition)
    shared = is_shareable(definition, settings, plain=head.get("shareable"))
    return LaunchSpec(definition.interpreter, cwd, head["fence"], limit, shared)


def import_directory(definition: RunDefinition) -> str | None:
    """The directory in which a worker of the run has to be, None for any."""
    return definition.cwd if any(map(_imports, definition.pipeline["tasks"])) else None


def _imports(task: Mapping[str, object]) -> bool:
    """Whether a task, as a definition has it, is Python or brings the class of its output along."""
    return not asks_model(task) or task.get("output_type") is not None


def silence_limit(definition: RunDefinition, settings: Settings) -> float:
    """Seconds without a message after which the run's worker is taken for hung: longer than any stage may take."""
    tasks = definition.pipeline["tasks"]
    return max(float(t.get("timeout", _DEFAULT_TIMEOUT)) for t in tasks) + settings.silence_grace


class Launcher:
    """Starts workers for one supervisor."""

    def __init__(
        self, settings: Settings, zygotes: ZygotePool, address: Path, shards: int, keys: KeyStore
    ) -> None:
        """`address` is where the orchestrator listens, `shards` the store's number of them."""
        self._settings = settings
        self._keys = keys
        self._zygotes = zygotes
        self._address = str(address)
        self._shards = shards
        self._settings_json = settings.model_dump(mode="json", exclude=set(SECRETS))
        token = settings.log_remote_token
        self._log_token = token.get_secret_value() if token else None
        self._store = settings.store.get_secret_value() if settings.store else None

    async def start(
        self, run: str, launch: LaunchSpec, on_exit: OnExit, *, watched: bool
    ) -> processes.Identity:
        """Start a worker of the run; `on_exit` as in `ZygoteProcess`. Raises SpawnFailed, VersionMismatch or
        InvalidInput after the last try (R1.2)."""

        def request(fingerprints: list[JsonObject]) -> WorkerRequest:
            log = self._settings.data_dir / "runs" / run / "worker.log"
            return self._request(
                fingerprints, run=run, expect=launch.fence, watched=watched, cwd=launch.cwd, log=log
            )

        return await self._retried(launch.interpreter, request, on_exit, run=run)

    def environment(self) -> dict[str, str]:
        """The variables that a worker has which is started now."""
        return worker_environment(self._settings.worker_env)

    async def start_shared(self, on_exit: OnExit) -> processes.Identity:
        """Start a process of many runs; otherwise as `start`."""
        data_dir = self._settings.data_dir

        def request(fingerprints: list[JsonObject]) -> WorkerRequest:
            log = data_dir / "logs" / "shared-worker.log"
            return self._request(
                fingerprints, run="", expect=None, watched=False, cwd=None, log=log, turns=data_dir / "runtime"
            )

        return await self._retried(None, request, on_exit, run=None)

    async def _retried(
        self,
        interpreter: str | None,
        request: Callable[[list[JsonObject]], WorkerRequest],
        on_exit: OnExit,
        *,
        run: str | None,
    ) -> processes.Identity:
        def warn(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            about = {} if run is None else {"run": run}
            log.warning("no worker yet", **about, attempt=state.attempt_number, error=str(error))

        retry = AsyncRetrying(
            stop=stop_after_attempt(self._settings.spawn_attempts),
            wait=wait_exponential(multiplier=self._settings.spawn_delay, max=self._settings.spawn_max_delay)
            + wait_random(0, self._settings.spawn_delay),
            retry=retry_if_exception_type((SpawnFailed, VersionMismatch)),
            before_sleep=warn,
            reraise=True,
        )
        async for attempt in retry:
            with attempt:
                return await self._spawn(interpreter, request, on_exit)
        raise SpawnFailed("no worker could be started")  # not reached: the last try raises

    def _request(
        self,
        fingerprints: list[JsonObject],
        *,
        run: str,
        expect: int | None,
        watched: bool,
        cwd: str | None,
        log: Path,
        turns: Path | None = None,
    ) -> WorkerRequest:
        return WorkerRequest(
            run=run,
            expect=expect,
            address=self._address,
            watched=watched,
            shards=self._shards,
            settings=self._settings_json,
            cwd=cwd,
            log=str(log),
            env=self.environment(),
            log_token=self._log_token,
            store=self._store,
            trace_headers=tracing.exporter_headers(),
            fingerprints=fingerprints,
            turns=None if turns is None else str(turns),
        )

    async def _spawn(
        self, interpreter: str | None, request: Callable[[list[JsonObject]], WorkerRequest], on_exit: OnExit
    ) -> processes.Identity:
        zygote = await self._zygotes.get(interpreter)
        fingerprints = await asyncio.to_thread(self._keys.fingerprints)
        spawning = asyncio.ensure_future(
            zygote.spawn(request([{**fingerprint} for fingerprint in fingerprints]), on_exit)
        )
        try:
            return await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # We are stopping, and the child may exist already: the supervisor has to know it. The answer takes
            # milliseconds, and the task that was cancelled ends at its next wait.
            return await spawning
