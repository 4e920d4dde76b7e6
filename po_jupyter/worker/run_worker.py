"""The work on one run in a worker, from claim to end: the same in a process of its own and in one of many runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.base import deadline
from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.lifecycle.failure_log import FailureLog
from po_jupyter.engine.ports import RunFileShare
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import RunSession, open_session
from po_jupyter.engine.stage_logs.capture import recover_live_files
from po_jupyter.errors import StaleFence, StoreError, Unavailable
from po_jupyter.ipc.messages import ResourceResponse
from po_jupyter.llm.money.team_prices import TeamPrices
from po_jupyter.llm.providers.registry import Connections, Providers
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.model.run.events import draft
from po_jupyter.platform import processes
from po_jupyter.store.commit_lane import lane_of
from po_jupyter.store.protocol import Commit, Head, Lease, LogStore, Store
from po_jupyter.telemetry.correlation import request_id
from po_jupyter.telemetry.redaction import redactor, secrets_of
from po_jupyter.worker.open_calls import CallSlots, OpenCalls
from po_jupyter.worker.rate_limit_client import RateLimitClient
from po_jupyter.worker.run_link import LinkHandlers, RunLink
from po_jupyter.worker.run_tracing import RunTracing

if TYPE_CHECKING:
    from po_jupyter.llm.calls.answer_queue import AnswerQueue, AnswerStore
    from po_jupyter.model.run.events import EventRecord
    from po_jupyter.model.values.json import JsonObject

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessParts:
    """The parts of a process that the runs in it share.

    holder    who holds a run that is worked off here
    slots     of open calls
    answers   the cache of calls; None: there is none
    connections  to models; None: each run has its own
    failure_log  makes the log of a run's failures; None: the plain one
    environ   the variables, where no run can change them; None: those that there are when a run begins
    """

    settings: Settings
    store: Store
    holder: processes.Identity
    slots: CallSlots
    answers: AnswerStore | AnswerQueue | None
    connections: Connections | None = None
    failure_log: Callable[[str], FailureLog] | None = None
    environ: Mapping[str, str] | None = None


class RunWorker:
    """The parts of one run, wired: its link, the limiter's client, the providers, the session."""

    def __init__(self, parts: ProcessParts, link: RunLink, expect: int | None) -> None:
        """Claims, reads and connects nothing yet. Needs a running loop. `expect` as for `claim_run`."""
        self._parts = parts
        self._link = link
        self._run = link.run
        self._expect = expect
        self._run_dir = parts.settings.data_dir / "runs" / link.run
        self._rates = RateLimitClient(link, parts.settings, on_wait=self._emit_rate_wait)
        self._calls = OpenCalls(self._rates, parts.slots, on_wait=self._emit_rate_wait)
        # A task in Python may set variables: the prompts that follow it are asked at the same addresses as before it.
        environ = parts.environ if parts.environ is not None else dict(os.environ)
        self._team_prices = TeamPrices()
        self._providers = Providers(
            environ,
            connections=parts.connections,
            local=self._local_model,
            get_key=self._provider_key,
            hub_url=parts.settings.hub_url,
            team_prices=self._team_prices,
        )
        self._session: RunSession | None = None  # once the log is read
        self._first_events: list[EventRecord] = []  # the first event, where traces are made
        failure_log = parts.failure_log(link.run) if parts.failure_log is not None else None
        self._tracing = RunTracing(link.run, parts.store, failure_log)

    async def work_off(self, opening: AbstractAsyncContextManager[object] | None = None) -> str:
        """Claim the run and drive it to where it leaves this process; the state in which it does. The claim and the
        reading of the log are done inside `opening`. Raises StoreError, StaleFence among them."""
        left = "interrupted"
        try:
            async with opening or nullcontext():
                session = self._session = await self._open()
            self._link.listen(
                LinkHandlers(
                    look=session.signals.cancel_hint,
                    drain=self.drain,
                    welcome=self._rates.welcome,
                    rates=self._rates.receive,
                )
            )
            state = left = await RunExecutor(session).run()
            await session.aclose()
            self._tracing.end(state)
            await self._link.finished(state)
        except StaleFence:
            left = "overtaken"
            raise
        except StoreError as error:
            left = "store_failed"
            await self._link.store_failed(error.message, error.hint)
            raise
        finally:
            self._tracing.end(left)
            if self._parts.holder.get("shared"):
                await self._let_go()  # else the process ends
            self._link.close()
        return state

    async def _let_go(self) -> None:
        """Let go of everything, however the run left: the process goes on."""
        with suppress(Exception):  # a store that failed, a lease that is stale: it was raised already
            if self._session is not None:
                await self._session.aclose()
        await self._providers.aclose()

    async def _open(self) -> RunSession:
        lease = await self._claim()
        self._link.start(lease.fence)
        return await self._open_session(lease)

    async def _claim(self) -> Lease:
        try:
            return await self._claimed(self.claim)
        except _HolderLives as lives:
            # Beside the thread of the shard, which has the commits of other runs: it may take seconds.
            await asyncio.to_thread(end_holder, lives.head)
            return await self._claimed(partial(self.claim, ended=lives.head["fence"]))

    async def _claimed(self, claim: Callable[[], Lease]) -> Lease:
        store, run = self._parts.store, self._run
        claiming: asyncio.Future[Lease]
        if (lane := lane_of(store, run)) is not None:  # of many runs that start at once: in one transaction
            claiming = lane.write(_LaneClaim(claim))
        else:
            claiming = asyncio.get_running_loop().run_in_executor(store.thread(run), claim)
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The thread goes on: a lease that nobody uses would keep others from looking after the run.
            with suppress(StoreError):
                lease = await claiming
                await asyncio.to_thread(store.commit, lease, Commit(release=True))
            raise

    def claim(self, *, ended: int | None = None) -> Lease:
        """Claim the run, and make what a former worker left fit to be used. Raises as `claim_run` does; `ended` is the
        fence of the holder that was ended. Blocks."""
        lease = claim_run(self._parts.store, self._run, self._expect, self._parts.holder, ended=ended)
        recover_live_files(self._run_dir)
        self._first_events = self._tracing.read()
        return lease

    async def _open_session(self, lease: Lease) -> RunSession:
        link, parts = self._link, self._parts
        await self._providers.learn_addresses()
        session = await open_session(
            parts.store, lease, settings=parts.settings, providers=self._providers,
            answers=parts.answers, base_url=self._providers.base_url,
            on_text=link.text, watched=lambda: link.watched, on_commit=link.committed, on_rest=link.rest,
            linger=link.linger, on_child=link.child_changed, on_hold=self.drain, run_dir=self._run_dir,
            admission=self._calls,
            observer=self._tracing.observer(self._first_events),
            mcp_variables=self._mcp_variables,
            share=self._file_share(),
        )  # fmt: skip
        # Who submitted it had to be allowed to run code: what the run's code asks may name a CLI agent too.
        self._providers.allow_cli_agents(
            parts.settings.cli_agents, submitter=session.inputs.definition.code_allowed
        )
        request_id.set(session.log.state.request)
        return session

    def drain(self) -> None:
        """Finish the calls in flight, start nothing, give the run back. Once the log is read."""
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
        with suppress(ValueError):  # of a price that is none: the orchestrator has looked at them
            self._team_prices.learn(provider, response.prices)
        return self._known(response)

    async def _mcp_variables(self, server: str) -> Mapping[str, str]:
        with deadline.waiting():
            return self._known(await self._get_resource("mcp_variables", server))

    def _known(self, response: ResourceResponse) -> Mapping[str, str]:
        """The variables of an answer, from now on taken out of all that is written (P10)."""
        variables = response.variables or {}
        redactor.learn(secrets_of(variables))
        return variables

    def _file_share(self) -> RunFileShare | None:
        if self._parts.settings.blobs is None:
            return None
        from po_jupyter.worker.file_share import NodeFileShare

        async def ask(what: str, about: dict[str, object]) -> ResourceResponse:
            return await self._get_resource(what, None, about)

        async def sleep(seconds: float) -> None:
            assert self._session is not None
            await self._session.signals.sleep(seconds)

        return NodeFileShare(ask, self._emit_resource_wait, sleep)

    async def _get_resource(
        self, what: str, name: str | None, about: JsonObject | None = None
    ) -> ResourceResponse:
        try:
            return await self._link.request(what, self._emit_resource_wait, model=name, about=about)
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


class _HolderLives(Exception):
    """The holder of the run has to be ended first, which takes its time: that of `head`."""

    def __init__(self, head: Head) -> None:
        super().__init__(head["run"])
        self.head = head


class _LaneClaim:
    """The claim of a run together with the commits of others. A `LaneWrite`."""

    __slots__ = ("_claim",)

    def __init__(self, claim: Callable[[], Lease]) -> None:
        self._claim = claim

    def together(self) -> Lease:
        return self._claim()

    def undone(self) -> None:
        """Nothing was noted."""

    def alone(self, until: float) -> Lease:
        return self._claim()


def claim_run(
    store: LogStore,
    run: str,
    expect: int | None = None,
    holder: processes.Identity | None = None,
    *,
    ended: int | None = None,
) -> Lease:
    """Claim the run for `holder`, by default a process of the run's own, this one.

    `expect` is the fence that the orchestrator saw: a higher one means that another process took the run meanwhile.
    A holder of this host that still lives is ended before: until then _HolderLives is raised. With `ended`, the fence
    of that holder, it was tried. Raises StaleFence, NotFound.
    """
    head = store.head(run)
    if expect is not None and head["fence"] != expect:
        raise StaleFence(f"run {run} was taken by somebody else before this worker started")
    if head["fence"] != ended and must_end(head):
        raise _HolderLives(head)
    return store.claim(run, holder or processes.myself(), expect=head["fence"])


def holder_of(settings: Settings) -> processes.Identity:
    """This process as the holder of runs, a worker of a node where several share the store."""
    me = processes.myself()
    if settings.node is not None:
        me["node"] = settings.node
    return me


def must_end(head: Head) -> bool:
    """Whether the process that holds the run lives and has to be ended before another one takes the run.

    One that works many runs off is not: the fence keeps it from writing to this run, and the others are none of ours.
    """
    holder = head["holder"]
    if holder is None or holder.get("shared") or holder.get("pid") == os.getpid():
        return False
    # One that reserves it is a node, which took it for this worker.
    return not holder.get("reserves") and processes.alive(holder)


def end_holder(head: Head) -> None:
    """Kill the process that holds the run, with its group, and wait until it is gone."""
    holder = head["holder"]
    if holder is not None and must_end(head):
        log.warning("ending the former worker", run=head["run"], pid=holder["pid"])
        processes.end_group(holder)
        processes.wait_gone(holder, 5.0)
