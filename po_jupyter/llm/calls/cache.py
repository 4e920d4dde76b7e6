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

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from po_jupyter.llm.calls.answer_queue import AnswerQueue, AnswerStore, CacheRow
from po_jupyter.llm.chat import ChatRequest, ChatResponse, ChatResponseJson
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.digests import short_digest

HIT = Usage(cached_calls=1)
_WHOLE = frozenset({"stop", "tool_calls"})
_OF_THE_CALL = frozenset(
    {"usage", "seconds", "request_id", "service_tier"}
)  # fields of a response that are not the answer's


class CacheSlot(NamedTuple):
    """The place of one call's answer in the cache: the digest of its request, and which occurrence it is."""

    digest: str
    nth: int


def owner_prefix(owner: str) -> str:
    """The beginning of the keys of an owner's answers."""
    return short_digest(owner, 16) + "/"


class CallCache:
    """The cache as one run sees it. Lookups and writes go to its store in batches, in one thread: through a queue of
    its own, or one that runs of a process share."""

    def __init__(
        self,
        answers: AnswerStore | AnswerQueue,
        *,
        owner: str,
        run: str,
        base_url: Callable[[str], str | None],
        used: Mapping[str, int] | None = None,
    ) -> None:
        """`base_url` is that of a model ref; None: its calls are never cached. `used` are the occurrences, by
        request hash, that the run used up before this worker had it."""
        self._used = used or {}
        self._is_own = not isinstance(answers, AnswerQueue)
        self._queue = answers if isinstance(answers, AnswerQueue) else AnswerQueue(answers)
        self._prefix = owner_prefix(owner)
        self._run = run
        self._base_url = base_url
        self._urls: dict[str, str | None] = {}
        self._taken: dict[int, int] = {}  # how many occurrences of a request calls of this run have

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
            row = await self._queue.find(self._key(slot))
            if row is None:
                return slot, None
            if row.get("run") != self._run:
                return slot, _response(row)
            # Put by this very run, before a crash: another call has this answer already.
            slot = self._next(slot.digest)

    def keep(self, answers: Iterable[tuple[CacheSlot, ChatResponseJson]]) -> None:
        """Put answers (`ChatResponse.to_json()`) soon."""
        rows: list[tuple[str, CacheRow]] = []
        for slot, answer in answers:
            row = {k: v for k, v in answer.items() if k not in _OF_THE_CALL}
            row["run"] = self._run
            rows.append((self._key(slot), row))
        self._queue.keep(rows)

    def _key(self, slot: CacheSlot) -> str:
        return f"{self._prefix}{slot.digest}/{slot.nth}"

    async def flush(self) -> None:
        """Return when everything kept so far is written."""
        await self._queue.flush()

    async def aclose(self) -> None:
        """Write what waits; end the thread where it is this cache's own."""
        if self._is_own:
            await self._queue.aclose()
        else:
            await self._queue.flush()


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
