"""Group commit: commits that become ready while one transaction is on its way to the disk share the next one.

A durable transaction costs about the same for one row as for hundreds, and all of a worker's commits go to
one run. So there is one queue and one thread (P9: the loop never waits for the disk). While the thread is in a
transaction the queue grows; then it is taken as a whole. Nobody waits for company that is not there.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from po_jupyter.errors import InvalidInput, StaleFence, StoreUnusable
from po_jupyter.model.run.events import EventDraft
from po_jupyter.store.json_codec import JsonText, encode
from po_jupyter.store.protocol import CallDraft, Commit, Head, ItemDraft, Lease, LogStore, Record, Ref

MOST = 1000  # commits in one transaction
LARGEST = 4 * 2**20  # bytes of payloads after which a transaction is closed
SMALLEST_SHARED = 256  # bytes; below that a second copy is cheaper than looking for the first
PATIENCE = 30.0  # s that a transaction waits for a full disk while answers of models are there or on their way
_PAUSE = 0.25  # s between two tries
REMEMBERED = 20_000  # payloads of this run that a later equal one refers to


class CommitResult(NamedTuple):
    """The result of a commit: the run's head after its transaction, the number of the record that it is in, and the
    reference of each of its payloads (an equal one that was stored before is not stored again)."""

    head: Head
    n: int
    refs: tuple[Ref, ...]


class _PendingCommit(NamedTuple):
    commit: Commit | None  # None: only waits for those before it
    future: asyncio.Future[CommitResult | None] | None
    then: Callable[[CommitResult], None] | None = None


E = TypeVar("E", bound=Mapping[str, Any])
_Outcome: TypeAlias = "CommitResult | BaseException | None"


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
        self._seen = n
        self._own: set[int] = set()  # records of ours after `_seen`
        self._on_foreign = on_foreign
        self._on_head = on_head
        self._pending: list[_PendingCommit] = []
        self._working: asyncio.Task[None] | None = None
        # Of our own only where the store has none: each change of threads costs more than a small commit.
        self._own_thread: ThreadPoolExecutor | None = None
        self._known: OrderedDict[bytes, Ref] = OrderedDict()
        self._in_flight: set[str] = set()  # calls that were sent, as far as is recorded
        self._broken: Exception | None = None  # why nothing is written any more
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
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                batch = self._pending[:MOST]
                try:
                    outcomes, foreign = await loop.run_in_executor(self._thread(), self._write, batch)
                except Exception as error:  # ours; still, nobody is left waiting
                    self._broken = self._broken or error
                    outcomes, foreign = [error] * len(batch), []
                del self._pending[: len(outcomes)]
                self._notify(outcomes, foreign)
                for waiting, outcome in zip(batch, outcomes, strict=False):
                    self._answer(waiting, outcome)
        finally:
            self._working = None

    def _notify(self, outcomes: Sequence[_Outcome], foreign: list[Record]) -> None:
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

    def _answer(self, waiting: _PendingCommit, outcome: _Outcome) -> None:
        if waiting.then is not None and isinstance(outcome, CommitResult):
            waiting.then(outcome)
        if waiting.future is None or waiting.future.done():  # done: its owner was cancelled and went away
            return
        if isinstance(outcome, BaseException):
            self._was_raised = self._was_raised or outcome is self._broken
            waiting.future.set_exception(outcome)
        else:
            waiting.future.set_result(outcome)

    # -- in the thread --------------------------------------------------------------------------
    def _write(self, batch: Sequence[_PendingCommit]) -> tuple[list[_Outcome], list[Record]]:
        """Outcomes of the first commits of `batch`, as many as went into one transaction."""
        if self._broken is not None:
            return [self._broken] * len(batch), []
        group = _Transaction(self._known)
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
        outcomes, foreign = self._write_group(group, batch)
        if missing is not None:
            self._broken = missing
        return outcomes, foreign

    def _write_group(
        self, group: _Transaction, batch: Sequence[_PendingCommit]
    ) -> tuple[list[_Outcome], list[Record]]:
        if not group.places:
            return group.outcomes, []
        try:
            if self._seen is None:
                self._seen = self._store.head(self._lease.run)["n"]
            head = self._commit(group.merged())
        except InvalidInput as error:
            if len(group.places) > 1:
                return self._one_by_one(batch[: len(group.outcomes)])
            if batch[next(iter(group.places))].future is None:
                self._broken = error
            return group.failed(error), []
        except Exception as error:
            self._broken = error
            return [error] * len(batch), []
        self._own.add(head["n"])
        self._remember(group, head["n"])
        return group.answered(head), self._foreign(head["n"])

    def _commit(self, commit: Commit) -> Head:
        """One transaction. A disk that is full may have room in a moment: answers of models are worth a wait."""
        has_answer = any(call.get("kind") == "response" for call in commit.calls)
        until = time.monotonic() + (PATIENCE if self._in_flight or has_answer else 0.0)
        while True:
            try:
                head = self._store.commit(self._lease, commit)
            except StoreUnusable:
                if time.monotonic() >= until:
                    raise
                time.sleep(_PAUSE)
                continue
            for call in commit.calls:
                (self._in_flight.add if call.get("kind") == "intent" else self._in_flight.discard)(call["key"])
            return head

    def _one_by_one(self, batch: Sequence[_PendingCommit]) -> tuple[list[_Outcome], list[Record]]:
        """One commit of the group is not JSON: it alone fails, the others are written each by itself."""
        outcomes: list[_Outcome] = []
        records: list[Record] = []
        for waiting in batch:
            outcome, foreign = self._write([waiting])
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

    def _remember(self, group: _Transaction, n: int) -> None:
        for digest, at in group.new.items():
            self._known[digest] = Ref(n, at)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


class _Transaction:
    """A transaction that is being gathered: several commits that are written as one."""

    def __init__(self, known: Mapping[bytes, Ref]) -> None:
        self.known = known
        self.new: dict[bytes, int] = {}  # digests of payloads of this group → index
        self.events: list[EventDraft] = []
        self.items: list[ItemDraft] = []
        self.calls: list[CallDraft] = []
        self.payloads: list[JsonText] = []
        self.state: str | None = None
        self.is_full = False
        self.outcomes: list[_Outcome] = []
        self.places: dict[int, list[int | Ref]] = {}  # of the commits that are in: where their payloads are
        self._bytes = 0
        self._release = False

    def add(self, commit: Commit) -> Exception | None:
        """Take it in, or answer why it cannot be."""
        count = len(self.payloads)
        try:
            texts = [encode(value) for value in commit.payloads]
            places = [self._place(text) for text in texts]
            # Copies before anything of it is in the group: an index out of range leaves the others alone.
            items = _moved(commit.items, "output", places)
            calls = _moved(commit.calls, "answer", places)
            events = _moved_events(commit.events, places)
        except Exception as error:
            self._undo(count)
            self.outcomes.append(error)
            return error
        self.items.extend(items)
        self.calls.extend(calls)
        self.events.extend(events)
        self.state = commit.state or self.state
        self.places[len(self.outcomes)] = places
        self.outcomes.append(None)
        self._release = commit.release
        self.is_full = commit.release or self._bytes > LARGEST
        return None

    def _place(self, text: JsonText) -> int | Ref:
        if len(text) >= SMALLEST_SHARED:
            digest = sha256(text).digest()
            place = self.known.get(digest, self.new.get(digest))
            if place is not None:
                return place
            self.new[digest] = len(self.payloads)
        self._bytes += len(text)
        self.payloads.append(text)
        return len(self.payloads) - 1

    def _undo(self, count: int) -> None:
        del self.payloads[count:]
        self.new = {digest: at for digest, at in self.new.items() if at < count}

    def merged(self) -> Commit:
        return Commit(self.events, self.items, self.calls, self.payloads, self.state, self._release)

    def failed(self, error: BaseException) -> list[_Outcome]:
        return [error if i in self.places else outcome for i, outcome in enumerate(self.outcomes)]

    def answered(self, head: Head) -> list[_Outcome]:
        n = head["n"]
        for i, places in self.places.items():
            refs = tuple(place if isinstance(place, Ref) else Ref(n, place) for place in places)
            self.outcomes[i] = CommitResult(head, n, refs)
        return self.outcomes


def _moved(entries: Iterable[E], field: str, places: Sequence[int | Ref]) -> list[E]:
    """`entries` with each index into the commit's own payloads replaced by the place of that payload."""
    moved: list[E] = []
    for entry in entries:
        at = entry.get(field)
        if type(at) is int:
            if not 0 <= at < len(places):
                raise InvalidInput(f"`{field}` points at payload {at}, but the commit carries {len(places)}")
            place = places[at]
            if place != at:
                entry = cast("E", {**entry, field: place})
        moved.append(entry)
    return moved


def _moved_events(events: Iterable[EventDraft], places: Sequence[int | Ref]) -> list[EventDraft]:
    moved: list[EventDraft] = []
    for event in events:
        if places and event["type"] == "task.done":
            event = {**event, "data": _moved([event["data"]], "output", places)[0]}
        moved.append(event)
    return moved
