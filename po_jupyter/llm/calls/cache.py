"""The cache of calls (G2): an answer of an earlier run is not paid for again.

An answer is found by everything that changes it and nothing else: its owner, the provider's base URL, the
request (`ChatRequest.request_hash`), and which occurrence of that request it is in its run. The last one because
a run that asks the same thing three times wants three answers: the second run finds all three, and no call of a
run is ever answered with what another call of the same run got.

    call ──► journal ──► cache ──► a hit is journaled, costs nothing, and waits for nobody
                           └─────► sent; the answer is put into the cache when its attempt has succeeded

Only whole answers are kept: no error, nothing cut short, nothing refused, nothing empty, and nothing of a
provider that may do more than answer (`Spec.runs_code`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, TypeAlias

from po_jupyter.llm.chat import ChatRequest, ChatResponse, ChatResponseJson
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.digests import short_digest

HIT = Usage(cached_calls=1)
_LINGER = 0.2  # s that answers wait for others to be written with
_FULL = 200  # answers that are written at once
_MAX_WAITING = 20_000  # answers that wait to be written; a disk slower than the models loses the others
_WHOLE = frozenset({"stop", "tool_calls"})
_OF_THE_CALL = frozenset({"usage", "seconds", "request_id"})  # fields of a response that are not the answer's

CacheRow: TypeAlias = Mapping[str, Any]
"""A kept answer: a `ChatResponseJson` without the call's own fields, and `run`, the run that put it."""
_Lookup: TypeAlias = tuple[str, "asyncio.Future[CacheRow | None]"]


class AnswerStore(Protocol):
    """The storage of the cache. Its methods block, never raise, and are called by one thread."""

    def find(self, keys: Sequence[str]) -> Mapping[str, CacheRow]:
        """The rows of those keys that exist."""
        ...

    def keep(self, rows: Sequence[tuple[str, CacheRow]]) -> None:
        """Put rows, in the place of those that exist."""
        ...

    def close(self) -> None:
        """Give back what belongs to the thread, which ends."""
        ...


class CacheSlot(NamedTuple):
    """The place of one call's answer in the cache: the digest of its request, and which occurrence it is."""

    digest: str
    nth: int


def owner_prefix(owner: str) -> str:
    """The beginning of the keys of an owner's answers."""
    return short_digest(owner, 16) + "/"


class CallCache:
    """The cache as one run sees it. Lookups and writes go to its store in batches, in one thread."""

    def __init__(
        self,
        answers: AnswerStore,
        *,
        owner: str,
        run: str,
        base_url: Callable[[str], str | None],
        used: Mapping[str, int] | None = None,
    ) -> None:
        """`base_url` is that of a model ref; None: its calls are never cached. `used` are the occurrences, by
        request hash, that the run used up before this worker had it."""
        self._used = used or {}
        self._answers = answers
        self._prefix = owner_prefix(owner)
        self._run = run
        self._base_url = base_url
        self._urls: dict[str, str | None] = {}
        self._taken: dict[int, int] = {}  # how many occurrences of a request calls of this run have
        self._lookups: list[_Lookup] = []
        self._rows: list[tuple[str, CacheRow]] = []
        self._thread: ThreadPoolExecutor | None = None
        self._job: asyncio.Future[Mapping[str, CacheRow]] | None = None
        self._timer: asyncio.Handle | None = None

    # -- slots ----------------------------------------------------------------------------------
    def next_slot(self, request: ChatRequest) -> CacheSlot | None:
        """The slot of the next call with that request; None when its model is not cached. No other call gets it."""
        model = request.model
        if model not in self._urls:
            self._urls[model] = self._base_url(model)
        url = self._urls[model]
        if url is None:
            return None
        digest = short_digest(f"{url}\n{request.request_hash}")
        if used := self._used.get(request.request_hash):
            self._taken.setdefault(int(digest[:15], 16), used)
        return self._next(digest)

    def _next(self, digest: str) -> CacheSlot:
        number = int(digest[:15], 16)
        nth = self._taken.get(number, 0)
        self._taken[number] = nth + 1
        return CacheSlot(digest, nth)

    def release(self, slots: Iterable[CacheSlot]) -> None:
        """Give back the slots of an attempt that failed, in the order in which it got them: the next attempt asks
        the same."""
        for digest, nth in reversed([*slots]):
            number = int(digest[:15], 16)
            if self._taken.get(number) == nth + 1:
                self._taken[number] = nth

    # -- answers --------------------------------------------------------------------------------
    async def find(self, slot: CacheSlot) -> tuple[CacheSlot, ChatResponse | None]:
        """The answer that an earlier run put there, or None; and the slot where this call's own is put."""
        while True:
            row = await self._look_up(self._key(slot))
            if row is None:
                return slot, None
            if row.get("run") != self._run:
                return slot, _response(row)
            # Put by this very run, before a crash: another call has this answer already.
            slot = self._next(slot.digest)

    def keep(self, answers: Iterable[tuple[CacheSlot, ChatResponseJson]]) -> None:
        """Put answers (`ChatResponse.to_json()`) soon."""
        for slot, answer in answers:
            row = {k: v for k, v in answer.items() if k not in _OF_THE_CALL}
            row["run"] = self._run
            self._rows.append((self._key(slot), row))
        del self._rows[_MAX_WAITING:]
        if self._rows and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(0 if len(self._rows) >= _FULL else _LINGER, self._write_soon)

    def _key(self, slot: CacheSlot) -> str:
        return f"{self._prefix}{slot.digest}/{slot.nth}"

    def _look_up(self, key: str) -> asyncio.Future[CacheRow | None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CacheRow | None] = loop.create_future()
        self._lookups.append((key, future))
        if len(self._lookups) == 1 and self._job is None:
            loop.call_soon(self._start_job)  # with everything else that is looked up in this turn of the loop
        return future

    def _write_soon(self) -> None:
        self._timer = None
        self._start_job(writes=True)

    def _start_job(self, writes: bool = False) -> None:
        if self._job is not None:
            return  # when it is done it takes what has come together
        lookups, self._lookups = self._lookups, []
        rows: list[tuple[str, CacheRow]] = []
        if writes or self._timer is None or len(self._rows) >= _FULL:
            rows, self._rows = self._rows[:_FULL], self._rows[_FULL:]
        if not lookups and not rows:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="po-cache")
        loop = asyncio.get_running_loop()
        self._job = loop.run_in_executor(self._thread, self._run_job, [key for key, _ in lookups], rows)
        self._job.add_done_callback(lambda job: self._finish_job(job, lookups))

    def _run_job(self, keys: list[str], rows: list[tuple[str, CacheRow]]) -> Mapping[str, CacheRow]:
        answers = self._answers.find(keys) if keys else {}
        if rows:
            self._answers.keep(rows)
        return answers

    def _finish_job(self, job: asyncio.Future[Mapping[str, CacheRow]], lookups: list[_Lookup]) -> None:
        self._job = None
        # An error of `answers` is a defect, but none that a run should die of.
        rows = {} if job.cancelled() or job.exception() else job.result()
        for key, future in lookups:
            if not future.done():
                future.set_result(rows.get(key))
        self._start_job()

    async def flush(self) -> None:
        """Return when everything kept so far is written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._job is not None or self._rows:
            if self._job is None:
                self._start_job(writes=True)
            if self._job is not None:
                await asyncio.wait([self._job])

    async def aclose(self) -> None:
        """Write what waits, then end the thread."""
        await self.flush()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._answers.close)
            self._thread.shutdown(wait=False)
            self._thread = None


def keepable(response: ChatResponse) -> bool:
    """True for a whole answer: it ended by itself and says something. (An empty one is an error before it is here:
    `llm.wire.ends`.)"""
    return response.finish in _WHOLE and bool(response.text.strip() or response.tool_calls)


def _response(row: CacheRow) -> ChatResponse | None:
    try:
        response = ChatResponse.from_json({**row, "usage": HIT.to_json()})
    except (KeyError, TypeError, ValueError):
        return None  # not written by us
    return response if type(response.text) is str and keepable(response) else None
