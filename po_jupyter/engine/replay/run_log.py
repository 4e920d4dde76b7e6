"""The run's log in the hands of its worker: appends events and transactions, and folds them into the state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from po_jupyter.engine.base.interrupts import Stopped
from po_jupyter.engine.replay.history import History
from po_jupyter.engine.state.effective_pipeline import EffectivePipeline
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import StoreError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import EventDraft
from po_jupyter.store.gathered_commits import CommitResult
from po_jupyter.store.group_commit import GroupCommitter
from po_jupyter.store.protocol import CallDraft, Commit, Head, ItemDraft, Lease, Record, Ref, Store

_LINGER = 0.05  # s that an event waits for a commit to go along with; a person does not see it


class RunLog:
    """The writer of a run's log under a lease, and the state that the log makes. An `EventLog`.

    state   the run as the log has it, with everything emitted here that is on its way to it
    wake    set when something happened that `decide` may want to know
    closed  the run has left this worker: nothing more is written
    broken  why the log cannot be written, or None
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        history: History,
        definition: Pipeline,
        *,
        on_commit: Callable[[Head], None] | None = None,
    ) -> None:
        """`definition` is the pipeline as submitted; `on_commit` gets each new head of the run, on the loop, after
        it became durable."""
        self.store = store
        self.lease = lease
        self.run = lease.run
        self.state: RunState = history.state
        self._effective = EffectivePipeline(definition)
        self.wake = asyncio.Event()
        self.closed = False
        self.broken: BaseException | None = None
        self._committer = GroupCommitter(
            store,
            lease,
            n=history.n,
            on_foreign=self._apply_foreign,
            on_head=on_commit,
        )
        self._pending: list[EventDraft] = []
        self._pending_state: str | None = None
        self._linger: asyncio.TimerHandle | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline as it is now: as submitted, and with the tasks that tasks added."""
        return self._effective.at(self.state)

    def payload(self, ref: Iterable[int]) -> Any:
        """The value behind a reference of this run. Blocks on the store."""
        return self.store.payload(self.run, Ref(*ref))

    def emit(self, *events: EventDraft, state: str | None = None) -> None:
        """Events that need not be durable at once: they go along with the next commit, or 50 ms later."""
        self._pending.extend(events)
        self._pending_state = state or self._pending_state
        self._apply(events)
        if self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(_LINGER, self._send_pending)

    def commit_soon(
        self,
        *events: EventDraft,
        items: tuple[ItemDraft, ...] = (),
        calls: tuple[CallDraft, ...] = (),
        payloads: tuple[Any, ...] = (),
        then: Callable[[CommitResult], None] | None = None,
    ) -> None:
        """Queue a commit, in order; a failure is raised by a later one. `then` gets its place once it is durable."""
        pending, state = self._take_pending(events)
        self._committer.commit_soon(Commit(pending, items, calls, payloads, state), then)
        if events:
            self._apply(events)

    async def commit(
        self,
        *events: EventDraft,
        items: tuple[ItemDraft, ...] = (),
        calls: tuple[CallDraft, ...] = (),
        payloads: tuple[Any, ...] = (),
        state: str | None = None,
        release: bool = False,
    ) -> CommitResult:
        """One durable transaction with everything that was emitted before it. Raises StoreError."""
        if self.closed:
            raise Stopped
        pending, pending_state = self._take_pending(events)
        commit = Commit(pending, items, calls, payloads, state or pending_state, release)
        result = await self._committer.commit(commit)
        if events:
            self._apply(_with_references(events, result.refs))
        return result

    async def flush(self) -> None:
        """Wait until everything emitted and queued is durable."""
        self._send_pending()
        await self._committer.flush()

    def _take_pending(self, events: tuple[EventDraft, ...]) -> tuple[list[EventDraft], str | None]:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        pending, self._pending = self._pending, []
        state, self._pending_state = self._pending_state, None
        pending.extend(events)
        return pending, state

    def _send_pending(self) -> None:
        if self._pending:
            pending, state = self._take_pending(())
            try:
                self._committer.commit_soon(Commit(pending, state=state))
            except StoreError as error:
                self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Note that the log cannot be written: the executor stops everything and raises this."""
        self.broken = self.broken or error
        self.wake.set()

    def _apply(self, events: Iterable[EventDraft]) -> None:
        """Fold our own events. Offsets are counted here: number and order per task are what matters."""
        offset = self.state.offset
        self.state = fold(self.state, [{**e, "offset": offset + i} for i, e in enumerate(events, 1)])

    def _apply_foreign(self, records: list[Record]) -> None:
        """Fold records of others: a request to cancel, a gate's decision."""
        for record in records:
            self._apply(record["events"])
        self.wake.set()

    async def refresh(self) -> None:
        """Read what others wrote to the log."""
        try:
            await self._committer.refresh()
        except StoreError as error:
            self.fail(error)
        self.wake.set()

    def abandon(self) -> None:
        """Write nothing more, not even what was emitted: the run is somebody else's, or over."""
        self.closed = True

    def close(self) -> None:
        """Send what was emitted; nothing is written after it."""
        if not self.closed:
            self._send_pending()
        self.closed = True
        if self._linger is not None:
            self._linger.cancel()

    async def aclose(self) -> None:
        """Wait until the log is written, and stop writing. Raises StoreError."""
        self.close()
        await self._committer.close()


def _with_references(events: tuple[EventDraft, ...], refs: tuple[Ref, ...]) -> list[EventDraft]:
    """Events as they are in the log: the index of an output's payload has become a reference."""
    result: list[EventDraft] = []
    for event in events:
        index = event["data"].get("output")
        if type(index) is int and event["type"] == "task.done":
            event = {**event, "data": {**event["data"], "output": list(refs[index])}}
        result.append(event)
    return result
