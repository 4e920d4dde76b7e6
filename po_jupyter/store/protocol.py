"""The durable truth behind three small Protocols: `RunStore`, `LogStore` and `DocumentStore`; a `Store` is all three.

A run is an append-only log of *records*, written by `commit` under a fence. A record is one transaction: events,
outcomes of items, calls of the journal, and the payloads (outputs, answers) that they point at. The state of a run is
the fold of its events; nothing else is stored about it but a small *head*, which listings read.

    create_run ──► record 1 ──► record 2 ──► ...      each: {n, at, first, events, items, calls}
                   payloads 1   payloads 2            JSON values; a reference is [n, index]
    head: {run, owner, ..., state, fence, n, offset}  rewritten by each commit

Everything is synchronous and safe to call from any thread and any process; callers on an event loop use a thread.
Values are JSON (P4): dict, list, str, int, float, bool, None.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Literal, NamedTuple, NotRequired, Protocol, TypeAlias, TypedDict, runtime_checkable

from po_jupyter.model.pipeline.evals.learned_cascade import SampledAnswer
from po_jupyter.model.pipeline.votes import VoteCount
from po_jupyter.model.run.events import EventDraft, EventRecord
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.processes import Identity


class Ref(NamedTuple):
    """The place of a payload: record number and index in it. In JSON: `[n, index]`."""

    n: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a Ref


class Lease(NamedTuple):
    """The right to commit to a run: `fence` is refused once somebody claimed it later."""

    run: str
    fence: int


class Head(TypedDict):
    """The summary of a run that listings read. `n` and `offset` are of the last record and event; `holder` is the
    process that works on it; `parent` is the run that a child run is a part of. `shareable`
    says whether it may be worked off in a process of many, as far as its definition tells; heads of before do not say.
    `requested` is the last record that was written without a lease (`LogStore.request`), missing where there is none:
    whoever works on the run has to hear of it.
    `damage` is in lists only: why the
    summary itself cannot be read; of the other fields there is then what the first record says, and nothing is done
    with the run but deleting it."""

    run: str
    owner: str
    pipeline: str
    version: str
    name: str
    state: str
    created_at: str
    updated_at: str
    priority: int
    fence: int
    n: int
    offset: int
    holder: Identity | None
    damage: NotRequired[str]
    parent: NotRequired[str]
    shareable: NotRequired[bool]
    requested: NotRequired[int]


class _Item(TypedDict):
    task: str
    index: int
    ok: bool
    key: NotRequired[str]
    usage: NotRequired[JsonObject]
    error: NotRequired[JsonObject]
    artifacts: NotRequired[list[JsonObject]]
    reused: NotRequired[str]
    row: NotRequired[int]
    looked: NotRequired[JsonObject]
    votes: NotRequired[VoteCount]
    scores: NotRequired[RowScores]
    sampled: NotRequired[SampledAnswer]
    alone: NotRequired[bool]


class ItemRecord(_Item):
    """The outcome of a row of a map.

    `row` is where in its list of the seed the row is, unless the map has the order of the list;
    `key` is the hash of its content, `reused` the origin `RUN/TASK/INDEX` of an outcome of an earlier run, `looked`
    hashes of the names that its code read besides the row, and of the addresses where its models were asked
    (`models.REF`), `votes` how the votes for it came out, `scores` how good it is by the scorers of its task,
    `sampled` how the two models of a cascade that learns its threshold compare, `alone` that the first of them answered
    without the second.
    """

    output: NotRequired[list[int]]


class ItemDraft(_Item):
    """An `ItemRecord` in a commit: `output` is the index of a payload of that commit, or a reference to an earlier
    one."""

    output: NotRequired[int | Sequence[int]]


class CallIntent(TypedDict):
    """A call that is about to be sent. `reserved` is `[usd, tokens]`: the worst case that a budget set aside, `day` the
    day of its owner's (UTC) that it was set aside on, where days are limited. `shard`: a child run made it, whose log
    has it too, as with the other records of calls."""

    key: str
    kind: Literal["intent"]
    model: str
    stage: str
    reserved: NotRequired[list[float]]
    day: NotRequired[str]
    shard: NotRequired[bool]


class _Response(TypedDict):
    key: str
    kind: Literal["response"]
    ok: bool
    response: NotRequired[JsonObject]
    error: NotRequired[JsonObject]
    model: NotRequired[str]
    cached: NotRequired[bool]
    place: NotRequired[int | None]
    batch: NotRequired[str]
    day: NotRequired[str]
    address: NotRequired[str]
    shard: NotRequired[bool]


class CallResponse(_Response):
    """The answer to a call: with `ok` a `response` whose text is the payload `answer`, else an `error`.

    `cached`: an answer of the call cache, the one of number `place`; `batch`: the token of the batch it came with;
    `day`: the one that a further try was set aside on, where it is not the intent's; `address`: of the call of a row,
    the hash of the address where the model was asked.
    """

    answer: NotRequired[list[int]]


class CallResponseDraft(_Response):
    """A `CallResponse` in a commit: `answer` is the index of a payload of that commit, or an earlier reference."""

    answer: NotRequired[int | Sequence[int]]


class CallWithdrawn(TypedDict):
    """A call that ended with nothing in flight; `usage` of its tries that broke."""

    key: str
    kind: Literal["withdrawn"]
    usage: NotRequired[JsonObject]
    shard: NotRequired[bool]


CallRecord: TypeAlias = CallIntent | CallResponse | CallWithdrawn
CallDraft: TypeAlias = CallIntent | CallResponseDraft | CallWithdrawn


class Record(TypedDict):
    """One transaction of a run. `first` is the offset of its first event."""

    n: int
    at: str
    fence: int
    first: int
    events: list[EventDraft]
    items: list[ItemRecord]
    calls: list[CallRecord]


class Commit(NamedTuple):
    """One transaction: drafts of events, items and calls, and the payloads that they point at.

    `state` is the run's new state, or None to keep it. `release` gives the lease back.
    """

    events: Sequence[EventDraft] = ()
    items: Sequence[ItemDraft] = ()
    calls: Sequence[CallDraft] = ()
    payloads: Sequence[Any] = ()
    state: str | None = None
    release: bool = False


class NewRun(NamedTuple):
    """A run to create. `definition` is the JSON of a `RunDefinition`. `events`, `items` and `payloads` are its first
    record, as in a Commit: a fork starts with checkpoints. `parent` is the run that it is a part of,
    `shareable` as in a Head; None: not known."""

    run: str
    owner: str
    pipeline: str
    version: str
    name: str
    priority: int
    definition: Mapping[str, Any]
    events: Sequence[EventDraft]
    idempotency_key: str | None = None
    request_hash: str = ""
    items: Sequence[ItemDraft] = ()
    payloads: Sequence[Any] = ()
    parent: str | None = None
    shareable: bool | None = None


# Of runs that wait for a worker (`Head.shareable`): a process of many may work them off, or not, or it is not known.
EVERY_KIND: tuple[bool | None, ...] = (True, False, None)


def waits_for_worker(head: Head) -> bool:
    """Whether the run waits for a worker and nobody has it."""
    return head["holder"] is None and head["state"] in ("pending", "running")


class HeadPage(NamedTuple):
    """A page of heads, newest first; `next` is the cursor of the page after it, or None."""

    heads: list[Head]
    next: str | None


class RunStore(Protocol):
    """Runs: created once, listed, deleted."""

    def create_run(self, new: NewRun) -> tuple[Head, bool]:
        """Make the run durable in state `pending`; (head, True).

        With a known `(owner, idempotency_key)` it changes nothing and answers (that run's head, False);
        Conflict when that run was asked for with another `request_hash`.
        """

    def redeemed(self, owner: str, key: str) -> tuple[Head, str] | None:
        """The run that an idempotency key made, and its `request_hash`; None when there is no such run."""

    def definition(self, run: str) -> JsonObject:
        """The JSON of the run's `RunDefinition`. Raises NotFound."""

    def runs(
        self,
        *,
        owner: str | None = None,
        states: Sequence[str] = (),
        pipeline: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        children: bool = False,
    ) -> HeadPage:
        """Runs from the newest to the oldest, filtered; those that are part of another one only with `children`.
        InvalidInput for a cursor that is none."""

    def active(self) -> list[Head]:
        """Every run that has not ended (pending, running, waiting), oldest first."""

    def delete_run(self, run: str) -> None:
        """Remove an ended run with all that is its own. NotFound; Conflict when it has not ended."""

    def run_bytes(self, run: str) -> int:
        """The size of the run in the store, in bytes as they are stored. NotFound."""


class LogStore(Protocol):
    """The logs of the runs: claimed, appended to, read."""

    def head(self, run: str) -> Head:
        """The summary of a run. Raises NotFound."""

    def claim(self, run: str, holder: Identity, *, expect: int | None = None) -> Lease:
        """Take the run: a new, higher fence; every earlier lease is stale from now on.

        With `expect` only while that is its fence: of several that saw the same head one gets it, StaleFence for the
        others.
        """

    def commit(self, lease: Lease, commit: Commit) -> Head:
        """One transaction (P2). StaleFence when the lease is not the newest; then nothing was written."""

    def request(
        self,
        run: str,
        events: Sequence[EventDraft],
        state: str | None = None,
        *,
        after: int | None = None,
    ) -> Head:
        """Append events without holding the run: what people ask for (cancel, a gate's decision, resume).

        With `after` only when record `after` is still the last one: Moved otherwise, and nothing was written.
        So what the caller read in order to decide is what still holds.

        A worker sees them in the log when its next commit answers a head that went further than it wrote.
        """

    def records(self, run: str, *, after: int = 0, limit: int | None = None) -> Iterator[Record]:
        """Records with `n > after`, in order. Raises NotFound."""

    def events(self, run: str, *, since: int = 0, limit: int = 1000) -> list[EventRecord]:
        """Events with `offset > since`, in order: `{offset, at, type, run, task?, item?, data}`."""

    def payload(self, run: str, ref: Ref) -> Any:
        """The value behind a reference. NotFound."""

    def payloads(self, run: str, n: int) -> list[Any]:
        """All values of record `n` ([] when it has none)."""

    def thread(self, run: str) -> Executor | None:
        """The thread in which this store does the run's work, if it has one: a call from inside it is served there and
        then, without a change of threads."""


class DocumentStore(Protocol):
    """Documents: small named values outside runs (registered pipelines, leases, ledgers)."""

    def get(self, kind: str, name: str) -> Any | None:
        """The document, or None."""

    def put(self, kind: str, name: str, value: Any) -> None:
        """Write the document."""

    def drop(self, kind: str, name: str) -> bool:
        """Remove the document; False when there was none."""

    def names(self, kind: str) -> list[str]:
        """Sorted names of the documents of a kind."""

    def swap(self, kind: str, name: str, old: Any | None, new: Any) -> bool:
        """Write `new` if the document still equals `old`, in one transaction: how leases are taken."""


@runtime_checkable
class SnapshotStore(Protocol):
    """Snapshots of runs, which a store may have besides: a small value each, made of the run's log by who reads it.

    A snapshot is a cache. It may be missing, old, or of another version; who reads it says in it what it is of. It is
    removed with its run.
    """

    def snapshots(self, runs: Sequence[str]) -> dict[str, Any]:
        """The snapshots of those runs that have one which can be read, in few reads for many runs."""
        ...

    def keep_snapshots(self, values: Mapping[str, Any]) -> None:
        """Replace the snapshots of these runs; those that are gone get none. InvalidInput for what is not JSON."""


@runtime_checkable
class ListeningStore(Protocol):
    """A store that hears of commits of other processes."""

    def listen(self, on_change: Callable[[str], None]) -> Callable[[], None]:
        """Have `on_change(run)` called, in a thread of the store's, for each run whose log or head changed in any
        process: a hint, at least once while connected, several together as one; "" once it is connected, and after a
        reconnect: anything may have changed. Returns what ends it."""
        ...


class RunPoolStore(Protocol):
    """The runs of a store as those see them who look for work: found by an index, whatever else there is."""

    def waiting(self, limit: int, kinds: Collection[bool | None] = EVERY_KIND) -> list[Head]:
        """Runs that wait for a worker and that nobody has (`waits_for_worker`): of each of the `kinds` (`shareable`)
        the `limit` most urgent, by priority and then by age, and of some owners, whichever are many, their first ones
        besides. There may be some of another kind where a store cannot tell. In no order."""
        ...

    def heads(self, runs: Sequence[str]) -> dict[str, Head]:
        """The heads of these runs, by run, as far as they can be read; those that ended may be missing."""

    def held(self) -> list[Head]:
        """The runs that have not ended and that somebody has."""
        ...

    def count_waiting(self) -> int:
        """How many runs wait for a worker."""
        ...


class Store(RunStore, LogStore, DocumentStore, Protocol):
    """A durable store. `testing.conformance.store` is the suite that an implementation passes."""

    def reclaim(self) -> None:
        """Give the room of what was deleted back to the file system."""

    def close(self) -> None:
        """Release every handle of this process."""


@runtime_checkable
class SharedStore(Store, RunPoolStore, Protocol):
    """A store that several servers work off together."""
