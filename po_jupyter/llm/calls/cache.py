"""The cache of calls (G2): what was asked before, in another run, is not paid for again.

An answer is found by everything that changes it and nothing else: whose it is, the provider's base URL, the
request (`ChatRequest.request_hash`), and which occurrence of that request it is in its run. The last one because
whoever asks the same thing three times wants three answers: the second run finds all three, and no call of a
run is ever answered with what another call of the same run got.

    call ──► journal ──► cache ──► a hit is journaled, costs nothing, and waits for nobody
                           └─────► sent; the answer is put into the cache when its attempt has succeeded

What is kept is a whole answer: no error, nothing cut short, nothing refused, nothing empty, and nothing of a
provider that may do more than answer (`Spec.runs_code`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.digests import short_digest

HIT = Usage(cached_calls=1)
_LINGER = 0.2  # s that answers wait for others to be written with
_FULL = 200  # answers that are written at once
_MOST = 20_000  # answers that wait; a disk that is slower than the models loses the others
_WHOLE = frozenset({"stop", "tool_calls"})
_LEFT_OUT = ("usage", "seconds", "request_id")  # of an answer: they are the call's


class Answers(Protocol):
    """Where answers are kept: blocks, never raises, is used by one thread."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """What is there, by key."""
        ...

    def keep(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Put rows; one that is there is replaced."""
        ...

    def close(self) -> None:
        """The thread ends."""
        ...


class Place(NamedTuple):
    """Where the answer to one call of a run is kept."""

    digest: str
    nth: int


def owner_prefix(owner: str) -> str:
    """What the keys of an owner's answers begin with."""
    return short_digest(owner, 16) + "/"


class CallCache:
    """The cache as one run sees it. Lookups and writes go to `answers` in batches, in one thread.

    `base_url` says where a model ref is asked; None: calls of it are never cached. `had` are the occurrences, by
    request hash, that the run used up before this worker had it.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        owner: str,
        run: str,
        base_url: Callable[[str], str | None],
        had: Mapping[str, int] | None = None,
    ) -> None:
        self._had = had or {}
        self._answers = answers
        self._prefix = owner_prefix(owner)
        self._run = run
        self._base_url = base_url
        self._urls: dict[str, str | None] = {}
        self._taken: dict[int, int] = {}  # how many occurrences of a request calls of this run have
        self._wanted: list[tuple[str, asyncio.Future[Mapping[str, Any] | None]]] = []
        self._rows: list[tuple[str, Mapping[str, Any]]] = []
        self._thread: ThreadPoolExecutor | None = None
        self._job: asyncio.Future[Any] | None = None
        self._timer: asyncio.Handle | None = None

    # -- places ---------------------------------------------------------------------------------
    def place(self, request: ChatRequest) -> Place | None:
        """The place of the next call with that request; None when it has none. Nobody else gets it."""
        model = request.model
        if model not in self._urls:
            self._urls[model] = self._base_url(model)
        url = self._urls[model]
        if url is None:
            return None
        digest = short_digest(f"{url}\n{request.request_hash}")
        if had := self._had.get(request.request_hash):
            self._taken.setdefault(int(digest[:15], 16), had)
        return self._next(digest)

    def _next(self, digest: str) -> Place:
        number = int(digest[:15], 16)
        nth = self._taken.get(number, 0)
        self._taken[number] = nth + 1
        return Place(digest, nth)

    def release(self, places: Iterable[Place]) -> None:
        """Give back the places of an attempt that failed, in the order in which it got them: the next one asks
        the same."""
        for digest, nth in reversed([*places]):
            number = int(digest[:15], 16)
            if self._taken.get(number) == nth + 1:
                self._taken[number] = nth

    # -- answers --------------------------------------------------------------------------------
    async def find(self, place: Place) -> tuple[Place, ChatResponse | None]:
        """The answer that an earlier run put there, or None; and the place where one is put now."""
        while True:
            row = await self._look(self._key(place))
            if row is None:
                return place, None
            if row.get("run") != self._run:
                return place, _response(row)
            # Put by this very run, before a crash: another call has this answer already.
            place = self._next(place.digest)

    def keep(self, answers: Iterable[tuple[Place, Mapping[str, Any]]]) -> None:
        """Put answers (`ChatResponse.to_json()`) soon."""
        for place, said in answers:
            row = {k: v for k, v in said.items() if k not in _LEFT_OUT}
            row["run"] = self._run
            self._rows.append((self._key(place), row))
        del self._rows[_MOST:]
        if self._rows and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(0 if len(self._rows) >= _FULL else _LINGER, self._on_time)

    def _key(self, place: Place) -> str:
        return f"{self._prefix}{place.digest}/{place.nth}"

    def _look(self, key: str) -> asyncio.Future[Mapping[str, Any] | None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Mapping[str, Any] | None] = loop.create_future()
        self._wanted.append((key, future))
        if len(self._wanted) == 1 and self._job is None:
            loop.call_soon(self._send)  # with everything else that is asked in this turn of the loop
        return future

    def _on_time(self) -> None:
        self._timer = None
        self._send(writes=True)

    def _send(self, writes: bool = False) -> None:
        if self._job is not None:
            return  # when it is done it takes what has come together
        wanted, self._wanted = self._wanted, []
        rows: list[tuple[str, Mapping[str, Any]]] = []
        if writes or self._timer is None or len(self._rows) >= _FULL:
            rows, self._rows = self._rows[:_FULL], self._rows[_FULL:]
        if not wanted and not rows:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="po-cache")
        loop = asyncio.get_running_loop()
        self._job = loop.run_in_executor(self._thread, self._work, [key for key, _ in wanted], rows)
        self._job.add_done_callback(lambda job: self._done(job, wanted))

    def _work(self, keys: list[str], rows: list[tuple[str, Mapping[str, Any]]]) -> Mapping[str, Any]:
        found = self._answers.find(keys) if keys else {}
        if rows:
            self._answers.keep(rows)
        return found

    def _done(
        self,
        job: asyncio.Future[Mapping[str, Any]],
        wanted: list[tuple[str, asyncio.Future[Mapping[str, Any] | None]]],
    ) -> None:
        self._job = None
        # An error of `answers` is a defect, but none that a run should die of.
        found = {} if job.cancelled() or job.exception() else job.result()
        for key, future in wanted:
            if not future.done():
                future.set_result(found.get(key))
        self._send()

    async def flush(self) -> None:
        """Return when everything kept so far is written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._job is not None or self._rows:
            if self._job is None:
                self._send(writes=True)
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
    """Whether an answer is whole: it ended by itself and says something."""
    return response.finish in _WHOLE and bool(response.text.strip() or response.tool_calls)


def _response(row: Mapping[str, Any]) -> ChatResponse | None:
    try:
        response = ChatResponse.from_json({**row, "usage": HIT.to_json()})
    except (KeyError, TypeError, ValueError):
        return None  # whoever wrote it, it is no answer of ours
    return response if type(response.text) is str and keepable(response) else None
