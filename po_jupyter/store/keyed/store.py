"""The store over keys and values: what runs, logs and documents are as rows. Backends: `memory`, and `disk`.

Runs are spread over shards by a stable hash of their id, each wholly in one, so that a transaction never
spans two. Documents have a shard of their own.

    head/<run>      the summary, rewritten by each commit
    def/<run>       {definition, idempotency}
    c/<run>/<n>     record n: {at, fence, first, events?, items?, calls?}, never rewritten
    p/<run>/<n>     its payloads, only where there are any (see `payloads.py`)
    snap/<run>      what somebody folded of its log, see `snapshots.py`
    idx, idx/<k>, parts, parts/<k>, active     lists, see `run_index.py`
    d/<kind>/<name>, names/<kind>              documents
    i/<sha256 of owner and key>                {run, request_hash}: who redeemed an idempotency key
"""

from __future__ import annotations

import re
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar, cast

from po_jupyter.errors import Conflict, CorruptRow, InvalidInput, Moved, NotFound, StaleFence
from po_jupyter.model.run.events import EventDraft, EventRecord, now
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.processes import Identity
from po_jupyter.store.json_codec import encode
from po_jupyter.store.keyed import documents, payloads, reservations, run_index, run_log, snapshots
from po_jupyter.store.keyed.listing import CHUNK, OlderHeads, WantedRuns, before_of, merged
from po_jupyter.store.keyed.run_pool import ReadRunPool
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.protocol import Commit, Head, HeadPage, Lease, NewRun, Record, Ref

T = TypeVar("T")
DOCUMENTS = -1  # the number of the documents' shard
_RUN = re.compile(r"[0-9a-z][0-9a-z_-]{0,63}")


class KeyedStore(ReadRunPool):
    """A `Store` over shards of keys and values. A subclass implements `_at`, which does some work at a shard."""

    def __init__(self, shards: int) -> None:
        """Over `shards` shards for runs, and one for documents."""
        self.shards = shards
        self._payloads = payloads.PayloadCache()
        self._hints: dict[str, tuple[int, int]] = {}  # run → (n, first) of the record last read for its events

    @abstractmethod
    def _at(self, number: int, work: Callable[[Shard], T], *, write: bool = False) -> T:
        """`work` on that shard's rows; with `write` in one transaction, undone when it raises."""

    @abstractmethod
    def close(self) -> None:
        """Release every handle of this process; the next use opens them again."""

    def thread(self, run: str) -> Executor | None:
        """See `LogStore`: none."""
        return None

    def _shard(self, run: str) -> int:
        return zlib.crc32(run.encode()) % self.shards

    def _run(self, run: str, work: Callable[[Shard], T], *, write: bool = False) -> T:
        if not _RUN.fullmatch(run):
            raise run_log.no_run(run)
        return self._at(self._shard(run), work, write=write)

    # -- runs -----------------------------------------------------------------------------------
    def create_run(self, new: NewRun) -> tuple[Head, bool]:
        """See `RunStore`."""
        if not _RUN.fullmatch(new.run):
            raise InvalidInput(
                f"{new.run!r:.80} cannot be a run's id: it is lowercase letters, digits, - and _"
            )
        run, reservation = new.run, None
        if new.idempotency_key is not None:
            # The reservation is durable before the run is, and it already says which run the key will mean.
            # A crash in between leaves a key without its run; whoever comes next with that key creates it.
            reservation = reservations.key_of(new.owner, new.idempotency_key)
            run = self._at(DOCUMENTS, partial(reservations.reserve, new=new, key=reservation), write=True)
        definition = encode({"definition": dict(new.definition), "idempotency": reservation})

        values = payloads.join(new.payloads) if new.payloads else None

        def work(shard: Shard) -> tuple[Head, bool]:
            existing = shard.read(f"head/{run}")
            if existing is not None:
                if reservation is None:
                    raise Conflict(f"there is already a run {run}")
                return existing, False
            at = now()
            head: Head = {
                "run": run,
                "owner": new.owner,
                "pipeline": new.pipeline,
                "version": new.version,
                "name": new.name,
                "state": "pending",
                "created_at": at,
                "updated_at": at,
                "priority": new.priority,
                "fence": 0,
                "n": 0,
                "offset": 0,
                "holder": None,
            }
            if new.parent is not None:
                head["parent"] = new.parent
            if new.shareable is not None:
                head["shareable"] = new.shareable
            shard.write(f"def/{run}", definition)
            run_index.add(shard, run, is_child=new.parent is not None)
            run_index.set_active(shard, run, True)
            first = Commit(events=new.events, items=new.items, payloads=new.payloads)
            return run_log.append(shard, head, first, values), True

        return self._at(self._shard(run), work, write=True)

    def redeemed(self, owner: str, key: str) -> tuple[Head, str] | None:
        """See `RunStore`."""
        row = self._at(DOCUMENTS, lambda shard: shard.read(reservations.key_of(owner, key)))
        if row is None:
            return None
        try:
            return self.head(row["run"]), str(row["request_hash"])
        except NotFound:  # reserved only: a crash came before the run was there
            return None

    def head(self, run: str) -> Head:
        """See `LogStore`."""
        return self._run(run, partial(run_log.head_of, run=run))

    def definition(self, run: str) -> JsonObject:
        """See `RunStore`."""
        row = self._run(run, lambda shard: shard.read(f"def/{run}"))
        if row is None:
            raise run_log.no_run(run)
        return dict(row["definition"])

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
        """See `RunStore`."""
        if limit < 1:
            raise InvalidInput(f"`limit` is at least 1, not {limit}")
        wanted = WantedRuns(owner, frozenset(states), pipeline, children)
        # One more than the page has: only then is there a next one.
        heads = list(islice(self._listed(wanted, before_of(cursor), limit), limit + 1))
        return HeadPage(heads[:limit], f"before:{heads[limit - 1]['run']}" if len(heads) > limit else None)

    def _listed(self, wanted: WantedRuns, before: str | None, limit: int) -> Iterator[Head]:
        """The heads that are wanted, from the newest to the oldest; of more than `limit` nothing is wanted but that
        there are more."""
        return filter(wanted.has, self._newest_first(wanted, before, limit))

    def _newest_first(self, wanted: WantedRuns, before: str | None, limit: int) -> Iterator[Head]:
        """Heads from the newest to the oldest, at least those that are wanted."""
        if wanted.states and not wanted.states & ENDED:
            for head in reversed(self.active()):
                if before is None or head["run"] < before:
                    yield head
            return
        yield from self._merged(before, limit, partial(run_log.older_heads, children=wanted.children))

    def _merged(self, before: str | None, limit: int, older: OlderHeads) -> Iterator[Head]:
        return merged(self._at, self.shards, before, limit, older)

    def active(self) -> list[Head]:
        """See `RunStore`."""
        heads = [head for number in range(self.shards) for head in self._at(number, run_log.active_heads)]
        return sorted(heads, key=lambda head: head["run"])

    def delete_run(self, run: str) -> None:
        """See `RunStore`."""

        def work(shard: Shard) -> str | None:
            last: int | None = None
            row: JsonObject = {}
            with suppress(CorruptRow):  # then it can be deleted in any state: nobody can work on it
                head = run_log.head_of(shard, run)
                if head["state"] not in ENDED:
                    raise Conflict(
                        f"run {run} is {head['state']}; only an ended run can be deleted",
                        hint="Cancel it first.",
                    )
                last = head["n"]
            with suppress(CorruptRow):
                row = shard.read(f"def/{run}") or {}
            shard.erase_records(run, last)
            for kind in ("def", "head", "snap"):
                shard.erase(f"{kind}/{run}")
            run_index.remove(shard, run)
            run_index.set_active(shard, run, False)
            return cast("str | None", row.get("idempotency"))

        reservation = self._run(run, work, write=True)
        if reservation is not None:  # a crash before this leaves a key that creates the run anew: as harmless
            self._at(DOCUMENTS, lambda shard: shard.erase(reservation), write=True)
        self._payloads.forget(run)
        self._hints.pop(run, None)

    def run_bytes(self, run: str) -> int:
        """See `RunStore`."""

        def work(shard: Shard) -> int:
            run_log.head_of(shard, run)
            return shard.measure(run)

        return self._run(run, work)

    def reclaim(self) -> None:
        """See `Store`."""
        for number in (DOCUMENTS, *range(self.shards)):
            self._at(number, lambda shard: shard.reclaim())

    # -- the log --------------------------------------------------------------------------------
    def claim(self, run: str, holder: Identity, *, expect: int | None = None) -> Lease:
        """See `LogStore`."""

        def work(shard: Shard) -> Lease:
            head = run_log.head_of(shard, run)
            run_log.check_fence(head, expect)
            head["fence"] += 1
            head["holder"] = holder.copy()
            shard.write(f"head/{run}", head)
            return Lease(run, head["fence"])

        return self._run(run, work, write=True)

    def commit(self, lease: Lease, commit: Commit) -> Head:
        """See `LogStore`."""
        values = payloads.join(commit.payloads) if commit.payloads else None  # before the shard is locked

        def work(shard: Shard) -> Head:
            head = run_log.head_of(shard, lease.run)
            if head["fence"] != lease.fence:
                raise StaleFence(
                    f"run {lease.run} was taken over: fence {lease.fence} is older than {head['fence']}",
                    hint="Whoever holds the run now goes on; this writer must stop.",
                )
            if head["holder"] is None:
                raise StaleFence(f"run {lease.run} was given back: nobody holds fence {lease.fence} any more")
            return run_log.append(shard, head, commit, values)

        return self._run(lease.run, work, write=True)

    def request(
        self,
        run: str,
        events: Sequence[EventDraft],
        state: str | None = None,
        *,
        after: int | None = None,
    ) -> Head:
        """See `LogStore`."""

        def work(shard: Shard) -> Head:
            head = run_log.head_of(shard, run)
            if after is not None and head["n"] != after:
                raise Moved(f"somebody else wrote to run {run} meanwhile")
            head["requested"] = head["n"] + 1
            return run_log.append(shard, head, Commit(events=events, state=state))

        return self._run(run, work, write=True)

    def records(self, run: str, *, after: int = 0, limit: int | None = None) -> Iterator[Record]:
        """See `LogStore`."""
        last = self.head(run)["n"]  # here and not in the generator: NotFound is raised by the call itself
        if limit is not None:
            last = min(last, after + limit)
        return self._read_on(run, max(after, 0) + 1, last)

    def _read_on(self, run: str, first: int, last: int) -> Iterator[Record]:
        for start in range(first, last + 1, CHUNK):
            yield from self._run(
                run, partial(run_log.read, run=run, first=start, last=min(start + CHUNK - 1, last))
            )

    def events(self, run: str, *, since: int = 0, limit: int = 1000) -> list[EventRecord]:
        """See `LogStore`."""
        hint = self._hints.get(run)

        def find(shard: Shard) -> tuple[list[Record], int]:
            head = run_log.head_of(shard, run)
            if head["offset"] <= since:
                return [], 0
            start, last = run_log.find(shard, run, since + 1, head["n"], hint), head["n"]
            # Most runs have no more, and each change of threads costs as much as a read.
            return run_log.read(shard, run, start, min(start + CHUNK - 1, last)), last

        first, last = self._run(run, find)
        events: list[EventRecord] = []
        for record in chain(first, self._read_on(run, first[-1]["n"] + 1 if first else 1, last)):
            for offset, event in enumerate(record["events"], record["first"]):
                if offset > since:
                    if len(events) >= limit:
                        return events
                    numbered = cast("EventRecord", event)  # read for this call: nobody else has it
                    numbered["offset"], numbered["run"] = offset, run
                    events.append(numbered)
            if len(self._hints) > 1000:
                self._hints.clear()
            self._hints[run] = record["n"], record["first"]
        return events

    def payload(self, run: str, ref: Ref) -> Any:
        """See `LogStore`."""
        n, at = ref
        value = self._payloads.value(run, n, at, lambda: self._payload_row(run, n))
        if value is payloads.MISSING:
            raise NotFound(f"run {run} has no payload [{n}, {at}]")
        return value

    def payloads(self, run: str, n: int) -> list[Any]:
        """See `LogStore`."""
        row = self._payload_row(run, n)
        return [] if row is None else payloads.split(row).all()

    def _payload_row(self, run: str, n: int) -> bytes | None:
        def work(shard: Shard) -> bytes | None:
            text = shard.text(run_log.key_of("p", run, n))
            if text is None:
                run_log.head_of(shard, run)  # NotFound for a run, not for a record without payloads
            return text

        return self._run(run, work)

    # -- snapshots ------------------------------------------------------------------------------
    def snapshots(self, runs: Sequence[str]) -> dict[str, Any]:
        """See `SnapshotStore`."""
        shards = self._by_shard(runs).items()
        found = [self._at(number, partial(snapshots.read, runs=some)) for number, some in shards]
        return {run: value for some in found for run, value in some.items()}

    def keep_snapshots(self, values: Mapping[str, Any]) -> None:
        """See `SnapshotStore`."""
        texts = {run: encode(value) for run, value in values.items()}
        for number, some in self._by_shard(texts).items():
            self._at(number, partial(snapshots.write, runs=some, texts=texts), write=True)

    def _by_shard(self, runs: Iterable[str]) -> dict[int, list[str]]:
        shards: dict[int, list[str]] = {}
        for run in runs:
            if _RUN.fullmatch(run):
                shards.setdefault(self._shard(run), []).append(run)
        return shards

    # -- documents ------------------------------------------------------------------------------
    def get(self, kind: str, name: str) -> Any | None:
        """See `DocumentStore`."""
        key = documents.key(kind, name)
        return self._at(DOCUMENTS, lambda shard: shard.read(key))

    def put(self, kind: str, name: str, value: Any) -> None:
        """See `DocumentStore`."""
        text = None if value is None else encode(value)
        self._at(DOCUMENTS, partial(documents.put, kind=kind, name=name, value=text), write=True)

    def drop(self, kind: str, name: str) -> bool:
        """See `DocumentStore`."""
        return self._at(DOCUMENTS, partial(documents.drop, kind=kind, name=name), write=True)

    def names(self, kind: str) -> list[str]:
        """See `DocumentStore`."""
        key = documents.names_key(kind)
        return sorted(self._at(DOCUMENTS, lambda shard: shard.read(key)) or [])

    def swap(self, kind: str, name: str, old: Any | None, new: Any) -> bool:
        """See `DocumentStore`."""
        text = None if new is None else encode(new)
        return self._at(DOCUMENTS, partial(documents.swap, kind=kind, name=name, old=old, new=text), write=True)
