"""Group commit: commits that become ready while one transaction is on its way to the disk share the next one.

A durable transaction costs about the same for one row as for hundreds, and all of a worker's commits go to
one run. So there is one queue and one thread (P9: the loop never waits for the disk). While the thread is in a
transaction the queue grows; then it is taken as a whole. Nobody waits for company that is not there. Where the store
has lanes (`commit_lane`), the groups of several runs share one transaction in the same way.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

from po_jupyter.errors import InvalidInput, NotFound, StaleFence, StoreUnusable
from po_jupyter.store import commit_lane
from po_jupyter.store.commit_lane import CommitLane, lane_of
from po_jupyter.store.gathered_commits import CommitResult, GatheredCommits, Outcome
from po_jupyter.store.protocol import Commit, Head, Lease, LogStore, Record, Ref

MOST = 1000  # commits in one transaction
_PAUSE = 0.25  # s between two tries
REMEMBERED = 20_000  # payloads of this run that a later equal one refers to


class _PendingCommit(NamedTuple):
    commit: Commit | None  # None: only waits for those before it
    future: asyncio.Future[CommitResult | None] | None
    then: Callable[[CommitResult], None] | None = None


_Written: TypeAlias = "tuple[list[Outcome], list[Record]]"


class _Memory(NamedTuple):
    seen: int | None
    own: set[int]
    in_flight: set[str]
    broken: BaseException | None


class GroupCommitter:
    """Commits to one run, for the coroutines of one event loop.

    `n` is the last record that the owner of the lease has read (None: whatever is the last one now). When
    somebody else wrote to the run in between (`Store.request`), `on_foreign` is called on the loop with those
    records, before the commits that came after them are answered. `on_head` is told the run's head after each
    transaction of ours, in the same way.

    The order of commits is kept, and each is wholly in one transaction. After a transaction that failed (a full
    disk, a StaleFence), or a queued commit that cannot be written, nothing is written any more and everybody
    gets that error: what comes later may rest on what is missing (an outcome on the answer behind it), so it
    must not become durable without it, not even when the disk has room again. Whoever takes the run next
    starts from what the log says. A commit that is not JSON and is waited for fails alone.
    """

    def __init__(
        self,
        store: LogStore,
        lease: Lease,
        *,
        n: int | None = None,
        on_foreign: Callable[[list[Record]], None] | None = None,
        on_head: Callable[[Head], None] | None = None,
    ) -> None:
        """See the class."""
        self._store = store
        self._lease = lease
        self._lane: CommitLane[_Written] | None = lane_of(store, lease.run)
        self._seen = n
        self._own: set[int] = set()  # records of ours after `_seen`
        self._on_foreign = on_foreign
        self._on_head = on_head
        self._pending: list[_PendingCommit] = []
        self._is_working = False
        # Of our own only where the store has none: each change of threads costs more than a small commit.
        self._own_thread: ThreadPoolExecutor | None = None
        self._known: OrderedDict[bytes, Ref] = OrderedDict()
        self._in_flight: set[str] = set()  # calls that were sent, as far as is recorded
        self._broken: BaseException | None = None  # why nothing is written any more
        self._was_raised = False  # a caller got it

    async def __aenter__(self) -> GroupCommitter:
        """Itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        await self.close()

    # -- on the loop ----------------------------------------------------------------------------
    async def commit(self, commit: Commit) -> CommitResult:
        """Durable when it returns. `commit` is handed over: do not change what is in it.

        An int `output` or `answer` in it points into its own payloads, as in `Store.commit`. A cancelled
        wait does not take the commit back. Raises what `Store.commit` raises.
        """
        result = await self._queue(commit)
        assert result is not None
        return result

    def commit_soon(self, commit: Commit, then: Callable[[CommitResult], None] | None = None) -> None:
        """Queue it and go on. Should it fail, whatever comes after it raises that and writes nothing.

        `then` is called on the loop with what became of it, before anybody who waits for a later commit goes on.
        It must be quick and not raise.
        """
        self._raise_broken()
        self._pending.append(_PendingCommit(commit, None, then))
        self._start_working()

    async def flush(self) -> None:
        """Wait until everything that is queued now is durable."""
        await self._queue(None)

    async def refresh(self) -> Head:
        """Look at the run without writing: foreign records go to `on_foreign`.

        StaleFence when the run was taken over.
        """
        loop = asyncio.get_running_loop()
        head, foreign = await loop.run_in_executor(self._thread(), self._read_head)
        self._notify((), foreign)
        return head

    async def close(self) -> None:
        """Flush, and end the thread. An error that no caller got is raised."""
        try:
            if self._broken is None or not self._was_raised:
                await self.flush()
        finally:
            if self._own_thread is not None:
                self._own_thread.shutdown(wait=False)

    def _thread(self) -> Executor:
        thread = self._store.thread(self._lease.run)
        if thread is not None:
            return thread
        if self._own_thread is None:
            self._own_thread = ThreadPoolExecutor(1, thread_name_prefix="po-commit")
        return self._own_thread

    def _queue(self, commit: Commit | None) -> asyncio.Future[CommitResult | None]:
        self._raise_broken()
        future: asyncio.Future[CommitResult | None] = asyncio.get_running_loop().create_future()
        self._pending.append(_PendingCommit(commit, future))
        self._start_working()
        return future

    def _raise_broken(self) -> None:
        if self._broken is not None:
            self._was_raised = True
            raise self._broken

    def _start_working(self) -> None:
        if self._is_working:
            return
        self._is_working = True
        if self._lane is not None:  # it takes what is queued by the time that it writes
            self._work()
        else:
            asyncio.get_running_loop().call_soon(self._work)  # with what is queued in the same step

    def _work(self) -> None:
        """Write what is queued; again when that is done. By callbacks, for a task each time would cost as much."""
        if not self._pending:
            self._is_working = False
        elif self._lane is not None:
            self._lane.submit(_GroupWrite(self), self._after)
        else:
            try:
                writing = asyncio.get_running_loop().run_in_executor(
                    self._thread(), self.write, self.batch(), time.monotonic() + commit_lane.PATIENCE
                )
            except Exception as error:  # no thread, a closed store
                self._after(None, error)
            else:
                writing.add_done_callback(self._after_thread)

    def _after_thread(self, writing: asyncio.Future[_Written]) -> None:
        if writing.cancelled():  # the loop ends
            self._is_working = False
        elif (error := writing.exception()) is not None:
            self._after(None, error)
        else:
            self._after(writing.result(), None)

    def _after(self, written: _Written | None, error: BaseException | None) -> None:
        if written is not None:
            outcomes, foreign = written
        else:  # ours; still, nobody is left waiting
            self._broken = self._broken or error or StoreUnusable("nothing was written")
            outcomes, foreign = [self._broken] * len(self._pending), []
        batch = self._pending[: len(outcomes)]
        del self._pending[: len(outcomes)]
        self._notify(outcomes, foreign)
        for waiting, outcome in zip(batch, outcomes, strict=False):
            self._answer(waiting, outcome)
        self._work()

    def _notify(self, outcomes: Sequence[Outcome], foreign: list[Record]) -> None:
        try:
            if foreign and self._on_foreign is not None:
                self._on_foreign(foreign)
            newest = next((o.head for o in reversed(outcomes) if isinstance(o, CommitResult)), None)
            if newest is not None and self._on_head is not None:
                self._on_head(newest)
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "on_foreign or on_head of a GroupCommitter failed", "exception": error}
            )

    def _answer(self, waiting: _PendingCommit, outcome: Outcome) -> None:
        if waiting.then is not None and isinstance(outcome, CommitResult):
            try:
                waiting.then(outcome)
            except Exception as error:  # those who wait for later commits go on
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "`then` of a commit failed", "exception": error}
                )
        if waiting.future is None or waiting.future.done():  # done: its owner was cancelled and went away
            return
        if isinstance(outcome, BaseException):
            self._was_raised = self._was_raised or outcome is self._broken
            waiting.future.set_exception(outcome)
        else:
            waiting.future.set_result(outcome)

    # -- in the thread --------------------------------------------------------------------------
    def batch(self) -> Sequence[_PendingCommit]:
        """What is queued now, as far as it goes into one transaction. The loop adds to it meanwhile, and takes nothing
        away before this is answered."""
        return self._pending[:MOST]

    def write(self, batch: Sequence[_PendingCommit], until: float | None) -> _Written:
        """Outcomes of the first commits of `batch`, as many as went into one transaction, and foreign records.

        A full disk is waited for until then. Without `until` it is inside a transaction of others: what that has to be
        undone for is raised.
        """
        if self._broken is not None:
            return [self._broken] * len(batch), []
        group = GatheredCommits(self._known)
        missing: Exception | None = None
        for waiting in batch:
            if waiting.commit is not None:
                error = group.add(waiting.commit)
                if error is not None and waiting.future is None:
                    missing = error  # nobody who hears of it could stop what follows: that is done here
                    break
            else:
                group.outcomes.append(None)
            if group.is_full:
                break
        outcomes, foreign = self._write_group(group, batch, until)
        if missing is not None:
            self._broken = missing
        return outcomes, foreign

    def _write_group(
        self, group: GatheredCommits, batch: Sequence[_PendingCommit], until: float | None
    ) -> _Written:
        if not group.places:
            return group.outcomes, []
        try:
            if self._seen is None:
                self._seen = self._store.head(self._lease.run)["n"]
            head = self._commit(group.merged(), until)
        except Exception as error:
            if until is None and not isinstance(
                error, StaleFence | NotFound
            ):  # those come before a row is written
                raise
            if isinstance(error, InvalidInput):
                if len(group.places) > 1:
                    return self._one_by_one(batch[: len(group.outcomes)], until)
                if batch[next(iter(group.places))].future is None:
                    self._broken = error
                return group.failed(error), []
            self._broken = error
            return [error] * len(batch), []
        self._own.add(head["n"])
        self._remember(group, head["n"])
        return group.answered(head), self._foreign(head["n"])

    def _commit(self, commit: Commit, until: float | None) -> Head:
        """One transaction. A disk that is full may have room in a moment: answers of models are worth a wait."""
        has_answer = any(call.get("kind") == "response" for call in commit.calls)
        is_patient = until is not None and bool(self._in_flight or has_answer)
        while True:
            try:
                head = self._store.commit(self._lease, commit)
            except StoreUnusable:
                if until is None or not is_patient or time.monotonic() >= until:
                    raise
                time.sleep(_PAUSE)
                continue
            for call in commit.calls:
                (self._in_flight.add if call.get("kind") == "intent" else self._in_flight.discard)(call["key"])
            return head

    def memory(self) -> _Memory:
        """What this committer knows of what is written."""
        return _Memory(self._seen, set(self._own), set(self._in_flight), self._broken)

    def restore(self, memory: _Memory) -> None:
        """Know again what it knew: what was written since was undone."""
        self._seen, self._own = memory.seen, set(memory.own)
        self._in_flight, self._broken = set(memory.in_flight), memory.broken
        last = self._seen or 0
        for digest in [digest for digest, ref in self._known.items() if ref.n > last]:
            del self._known[digest]

    def _one_by_one(self, batch: Sequence[_PendingCommit], until: float | None) -> _Written:
        """One commit of the group is not JSON: it alone fails, the others are written each by itself."""
        outcomes: list[Outcome] = []
        records: list[Record] = []
        for waiting in batch:
            outcome, foreign = self.write([waiting], until)
            outcomes.extend(outcome)
            records.extend(foreign)
        return outcomes, records

    def _read_head(self) -> tuple[Head, list[Record]]:
        head = self._store.head(self._lease.run)
        if head["fence"] != self._lease.fence:
            stale = StaleFence(f"run {self._lease.run} was taken over by a later lease ({head['fence']})")
            self._broken = self._broken or stale
            raise stale
        if self._seen is None:
            self._seen = head["n"]
        return head, self._foreign(head["n"])

    def _foreign(self, last: int) -> list[Record]:
        """Records up to `last` that are not ours and were not seen."""
        assert self._seen is not None
        foreign: list[Record] = []
        if last - self._seen > len(self._own):
            try:
                records = list(self._store.records(self._lease.run, after=self._seen, limit=last - self._seen))
            except Exception:
                return []  # what was written stays written; the next transaction looks again
            foreign = [record for record in records if record["n"] not in self._own]
        self._seen = last
        self._own.clear()
        return foreign

    def _remember(self, group: GatheredCommits, n: int) -> None:
        for digest, at in group.new.items():
            self._known[digest] = Ref(n, at)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


class _GroupWrite:
    """The commits of one run on their way through a lane. A `LaneWrite`."""

    __slots__ = ("_committer", "_memory")

    def __init__(self, committer: GroupCommitter) -> None:
        self._committer = committer
        self._memory: _Memory | None = None

    def together(self) -> _Written:
        self._memory = self._committer.memory()
        return self._committer.write(self._committer.batch(), None)

    def undone(self) -> None:
        if self._memory is not None:
            self._committer.restore(self._memory)

    def alone(self, until: float) -> _Written:
        return self._committer.write(self._committer.batch(), until)
