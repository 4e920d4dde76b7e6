"""The run's log in the hands of its worker: appends events and transactions, and folds them into the state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from po_jupyter.engine.base.interrupts import Stopped
from po_jupyter.engine.replay.history import History
from po_jupyter.engine.state.effective_pipeline import EffectivePipeline
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import StoreError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import EventDraft, NumberedEvent
from po_jupyter.store.gathered_commits import CommitResult
from po_jupyter.store.group_commit import GroupCommitter
from po_jupyter.store.protocol import CallDraft, Commit, Head, ItemDraft, Lease, Record, Ref, Store

LINGER = 0.05  # s that an event waits for a commit to go along with; a person does not see it


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
        linger: Callable[[], float] = lambda: LINGER,
    ) -> None:
        """`definition` is the pipeline as submitted; `on_commit` gets each new head of the run, on the loop, after
        it became durable. `linger` are the seconds that an event may wait for a commit to go along with."""
        self.store = store
        self.lease = lease
        self.run = lease.run
        self._state: RunState = history.state
        self._offset = history.state.offset
        self._unfolded: list[NumberedEvent] = []  # events that nobody has looked at yet
        self._run_changed = False  # by one of those that is not about a single task
        self._folding = Lock()  # stages in threads look too
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
        self._linger = linger
        self._linger_timer: asyncio.TimerHandle | None = None
        self._linger_until = 0.0  # by the loop's clock

    @property
    def state(self) -> RunState:
        """See the class; folded when somebody looks, for most events come several between two looks."""
        if self._unfolded:
            with self._folding:
                if self._unfolded:
                    self._state = fold(self._state, self._unfolded)
                    self._run_changed = False
                    self._unfolded = []  # last: until then whoever looks waits
        return self._state

    @property
    def run_state(self) -> RunState:
        """The state as far as it is not about single tasks, whose last events may be missing in it: for what is asked
        for between any two of them."""
        return self.state if self._run_changed else self._state

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline as it is now: as submitted, and with the tasks that tasks added."""
        return self._effective.at(self.run_state)

    def payload(self, ref: Iterable[int]) -> Any:
        """The value behind a reference of this run. Blocks on the store."""
        return self.store.payload(self.run, Ref(*ref))

    def emit(self, *events: EventDraft, state: str | None = None) -> None:
        """Events that need not be durable at once: they go along with the next commit, or 50 ms later."""
        self._pending.extend(events)
        self._pending_state = state or self._pending_state
        self._apply(events)
        if len(self._pending) == len(events):  # the first ones that wait
            loop = asyncio.get_running_loop()
            self._linger_until = loop.time() + self._linger()
            if self._linger_timer is None:
                self._linger_timer = loop.call_at(self._linger_until, self._lingered)

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
        pending, self._pending = self._pending, []
        state, self._pending_state = self._pending_state, None
        pending.extend(events)
        return pending, state

    def _lingered(self) -> None:
        """A timer that is left alone costs less than one that each commit ends and each event starts again."""
        loop = asyncio.get_running_loop()
        self._linger_timer = None
        if self._pending and self._linger_until > loop.time():
            self._linger_timer = loop.call_at(self._linger_until, self._lingered)
        else:
            self._send_pending()

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
        with self._folding:
            for event in events:
                self._offset += 1
                self._unfolded.append({**event, "offset": self._offset})
                if "task" not in event or event["type"] == "tasks.added":
                    self._run_changed = True

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
        if self._linger_timer is not None:
            self._linger_timer.cancel()

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
