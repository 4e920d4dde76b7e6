"""The main program of a worker process: one run, from claim to end.

It works from the first moment and looks for its orchestrator beside that. A worker that has no orchestrator for
`orphan_timeout` drains and exits, so that nothing spends unseen.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.base import deadline
from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import RunSession, open_session
from po_jupyter.engine.stage_logs.capture import recover_live_files
from po_jupyter.engine.stage_logs.fd_redirect import stdio_redirect
from po_jupyter.errors import StaleFence, StoreError, Unavailable
from po_jupyter.ipc.credentials import Credential
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import DrainWorker, ResourceResponse, WorkerRequest
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.model.run.events import draft
from po_jupyter.platform import processes, signals
from po_jupyter.store.opening import open_store
from po_jupyter.store.protocol import Head, Lease, LogStore, Store
from po_jupyter.telemetry import logging, tracing
from po_jupyter.telemetry.correlation import request_id
from po_jupyter.telemetry.redaction import Fingerprint, redactor, secrets_of
from po_jupyter.worker.call_cache import open_call_cache
from po_jupyter.worker.open_calls import OpenCalls
from po_jupyter.worker.orchestrator_link import LinkHandlers, OrchestratorLink
from po_jupyter.worker.rate_limit_client import RateLimitClient
from po_jupyter.worker.run_tracing import RunTracing

log = structlog.get_logger(__name__)


def main(request: WorkerRequest, settings: Settings) -> int:
    """Work the run of `request` off; the exit status of the process."""
    logging.configure_worker(settings, run=request.run, token=request.log_token, file=Path(request.log))
    tracing.use_headers(request.trace_headers)
    redactor.learn_fingerprints(cast(list[Fingerprint], request.fingerprints or []))
    # After the log took its own: what libraries print goes to the stage that runs.
    stdio_redirect.own(settings.data_dir / "runs" / request.run)
    # Not `asyncio.run`: it would wait for threads in which user code still blocks. The zygote's child ends with
    # `os._exit` right after this returns.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    deadline.notice_pauses(loop)
    store = open_store(settings.data_dir / "store", request.store, shards=request.shards, checked=True)
    try:
        return loop.run_until_complete(work_off(request, settings, store))
    except StaleFence as error:
        log.warning("overtaken", reason=error.message)
        return ExitStatus.OVERTAKEN
    except StoreError as error:
        log.error("the store failed", error=error.message, hint=error.hint)
        return ExitStatus.STORE_FAILED
    finally:
        tracing.shutdown()
        logging.flush()


async def work_off(request: WorkerRequest, settings: Settings, store: Store) -> ExitStatus:
    """Claim the run and drive it to where it leaves this process. Raises StoreError, StaleFence among them."""
    return await WorkerProcess(request, settings, store).work_off()


class WorkerProcess:
    """The parts of a worker, wired: its link to the orchestrator, the limiter's client, the providers, the run."""

    def __init__(self, request: WorkerRequest, settings: Settings, store: Store) -> None:
        """Claims, reads and connects nothing yet. Needs a running loop."""
        self._request = request
        self._settings = settings
        self._store = store
        self._run_dir = settings.data_dir / "runs" / request.run
        self._link = OrchestratorLink(
            Path(request.address), settings, run=request.run, eager=request.watched,
            credential=Credential.from_text(request.credential) if request.credential else None,
        )  # fmt: skip
        self._rates = RateLimitClient(self._link, settings, on_wait=self._emit_rate_wait)
        self._calls = OpenCalls(self._rates, on_wait=self._emit_rate_wait)
        self._providers = Providers(dict(os.environ), local=self._local_model, get_key=self._provider_key)
        self._session: RunSession | None = None  # once the log is read
        self._tracing = RunTracing(request.run, store)

    async def work_off(self) -> ExitStatus:
        """Claim the run and drive it to where it leaves this process. Raises StoreError, StaleFence among them."""
        loop = asyncio.get_running_loop()
        signals.on_signal(signal.SIGTERM, lambda: self._link.deliver(DrainWorker()))
        run, expect = self._request.run, self._request.expect
        try:
            claim = partial(claim_run, self._store, run, expect, self._settings.node)
            lease = await loop.run_in_executor(self._store.thread(run), claim)
            recover_live_files(self._run_dir)
            self._link.start(lease.fence)
            session = self._session = await self._open_session(lease)
            self._link.listen(
                LinkHandlers(
                    look=session.signals.cancel_hint,
                    drain=self._drain,
                    welcome=self._rates.welcome,
                    rates=self._rates.receive,
                )
            )
            state = await RunExecutor(session).run()
            await session.aclose()
            self._tracing.end(state)
            await self._link.finished(state)
        except StaleFence:
            raise
        except StoreError as error:
            await self._link.store_failed(error.message, error.hint)
            raise
        finally:
            await self._link.close()
        return ExitStatus.ORDERLY

    async def _open_session(self, lease: Lease) -> RunSession:
        link, settings = self._link, self._settings
        loop = asyncio.get_running_loop()
        created = await loop.run_in_executor(self._store.thread(lease.run), self._tracing.read)
        session = await open_session(
            self._store, lease, settings=settings, providers=self._providers,
            answers=open_call_cache(settings), base_url=self._providers.base_url,
            on_text=link.text, watched=lambda: link.watched, on_commit=link.committed, on_rest=link.rest,
            on_hold=self._drain, run_dir=self._run_dir, admission=self._calls,
            mcp_variables=self._mcp_variables, observer=self._tracing.observer(created),
        )  # fmt: skip
        # Who submitted it had to be allowed to run code: what the run's code asks may name a CLI agent too.
        self._providers.allow_cli_agents(settings.cli_agents, submitter=session.inputs.definition.code_allowed)
        request_id.set(session.log.state.request)
        return session

    def _drain(self) -> None:
        assert self._session is not None
        self._session.signals.drain()
        self._calls.drain()
        self._rates.drain()
        self._link.end_requests("the worker gives its run back")

    async def _local_model(self, model: str) -> ProviderEndpoint:
        # The weights may have to be fetched first, or the server be started: the stage waits, it does not work.
        with deadline.waiting():
            response = await self._get_resource("local_model", model)
        assert response.base_url is not None
        return ProviderEndpoint(response.base_url, response.key)

    async def _provider_key(self, provider: str) -> Mapping[str, str]:
        response = await self._get_resource("provider_key", provider)
        return self._known(response)

    async def _mcp_variables(self, server: str) -> Mapping[str, str]:
        with deadline.waiting():
            return self._known(await self._get_resource("mcp_variables", server))

    def _known(self, response: ResourceResponse) -> Mapping[str, str]:
        """The variables of an answer, from now on taken out of all that is written (P10)."""
        variables = response.variables or {}
        redactor.learn(secrets_of(variables))
        return variables

    async def _get_resource(self, what: str, name: str) -> ResourceResponse:
        try:
            return await self._link.request(what, self._emit_resource_wait, model=name)
        except Unavailable:
            if self._session is not None and self._session.signals.draining:
                raise Drained from None  # not the task's failure: the next worker asks again
            raise

    def _emit_resource_wait(self, reason: str) -> None:
        assert self._session is not None
        running = sorted(self._session.signals.running)
        self._session.log.emit(*(draft("task.waiting", task, reason=reason) for task in running))

    def _emit_rate_wait(self, task: str, reason: str | None, seconds: float | None) -> None:
        assert self._session is not None
        self._session.log.emit(draft("task.waiting", task, reason=reason, seconds=seconds, stays=True))


def claim_run(store: LogStore, run: str, expect: int | None = None, node: str | None = None) -> Lease:
    """Claim the run for this process, a worker of `node` where several share the store.

    `expect` is the fence that the orchestrator saw: a higher one means that another process took the run meanwhile.
    A holder of this host that still lives is ended first. Raises StaleFence, NotFound.
    """
    head = store.head(run)
    if expect is not None and head["fence"] != expect:
        raise StaleFence(f"run {run} was taken by somebody else before this worker started")
    end_holder(head)
    me = processes.myself()
    if node is not None:
        me["node"] = node
    return store.claim(run, me, expect=head["fence"])


def end_holder(head: Head) -> None:
    """Kill the process that holds the run, with its group, and wait until it is gone."""
    holder = head["holder"]
    if holder is None or holder.get("reserves"):
        return  # a node took it for this worker
    if holder.get("pid") != os.getpid() and processes.alive(holder):
        log.warning("ending the former worker", run=head["run"], pid=holder["pid"])
        processes.end_group(holder)
        processes.wait_gone(holder, 5.0)
