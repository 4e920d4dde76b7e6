"""The call journal (P3): no recorded call is ever sent twice.

    lookup ─┬─ an outcome is recorded ──────────────────────────► the answer, replayed (nothing is sent)
            ├─ nothing recorded, but in the cache of calls (`calls.cache`) ──► response ──► the answer
            ├─ nothing recorded ──► intent (durable) ──► send with retries ──► response ──► the answer
            └─ an intent without an outcome: a crash came between. Unknown outcome: reported, counted, sent again.

A key names one call of a run: task, item, attempt, refine round, stage, hash of the request, and which
occurrence of that request it is there (nth, from 0). A process that starts again after a crash goes through the
same code with the same data, so it builds the same keys and finds its answers; a new attempt builds new keys,
and asks the model anew.

A call that failed is recorded like one that succeeded, so that the same attempt, gone through again, fails at
the same place instead of paying for another try. A call that was cancelled before its answer came (a stop, a
timeout) leaves an intent without a response, which is the truth about it. One that was stopped while nothing of it
was in flight (a drain during the wait between two tries, or for a limit) is *withdrawn*: its intent is taken back,
and going through it again asks anew without an unknown outcome.

What a journal has to keep, in this order of time:

* `intent` returns when the record is durable. Then, and only then, the request is sent. A further try has an
  intent of its own when the one before may have been billed: it timed out, or its connection broke.
* `response` may return before it is durable, if it is ordered: no later commit of the run (an outcome of an
  item, a checkpoint) may become durable without it. A crash in between makes the call an unknown outcome.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Required, TypedDict

from po_jupyter.llm.chat import ChatResponseJson
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject


class CallOutcome(TypedDict, total=False):
    """The outcome of a call, as JSON: `ok` and the response, or not `ok` and the error (`PoError.to_json`)."""

    ok: Required[bool]
    response: ChatResponseJson
    error: JsonObject


class IntentMeta(TypedDict):
    """The data of a call in its intent. `intents` counts the earlier intents of the same call."""

    model: str
    stage: str
    intents: int


SCORE_STAGE = "score"
"""The stage of the calls of judges, in journals and traces."""


class CallKey(NamedTuple):
    """The name of one call within its run. `str()` is what a record holds; `item` is None outside a map."""

    task: str
    item: int | None
    attempt: int
    round: int
    stage: str
    request_hash: str
    nth: int = 0

    def __str__(self) -> str:
        """The key as a record holds it."""
        item = "-" if self.item is None else self.item
        return f"{self.task}/{item}/{self.attempt}/{self.round}/{self.stage}/{self.request_hash}/{self.nth}"

    @property
    def asks_for_output(self) -> bool:
        """Whether its answer may be the output, and is not what a critique says or a judge gives."""
        return self.stage not in ("critique", SCORE_STAGE)

    @classmethod
    def parse(cls, text: str) -> CallKey:
        """The key that `str()` wrote. Raises ValueError."""
        task, item, attempt, round_, stage, digest, nth = text.split("/")
        return cls(task, None if item == "-" else int(item), int(attempt), int(round_), stage, digest, int(nth))


class JournalEntry(NamedTuple):
    """The record of a call in a journal. `outcome` None: only intents, so the outcome is unknown.

    `intents` is how often the call was about to be sent; `counted`: the usage of the answer is in a sum already;
    `address`: see `CallDone`, None where it was not recorded.
    """

    outcome: CallOutcome | None
    intents: int = 1
    counted: bool = False
    address: str | None = None


class Journal(Protocol):
    """The record of a run's calls. The module says what must be durable when.

    `queues`: `response` only queues; it never waits, so no cancellation can come in its middle.
    """

    queues: bool

    def knows(self, key: str) -> bool:
        """True when an outcome is recorded, so that nothing would be sent."""
        ...

    async def lookup(self, key: str) -> JournalEntry | None:
        """The entry of a call; None: it was never about to be sent."""
        ...

    async def intent(self, key: str, meta: IntentMeta) -> None:
        """Record that the call is about to be sent; return when that is durable. A wait that is cancelled does not
        take it back.

        When `meta.intents` is not 0 this is a call whose outcome is unknown and which is sent again: the event
        for that (`call.unknown`) belongs into the same transaction, or a crash between the two would count it
        twice or not at all.
        """
        ...

    async def response(self, key: str, outcome: CallOutcome, call: CallDone) -> None:
        """Record the outcome; it must be durable before anything that is committed later.

        `call` is for the event `call.done`.
        """
        ...

    def withdrawn(self, key: str, usage: Usage) -> None:
        """Take the last intent back: nothing of the call is in flight, and nobody waits for it any more.

        `usage` is what those tries of it used that broke in the middle of their answer. Only queues, like
        `response`, and never raises: a record that is not written leaves the outcome unknown, the safe side.
        """
        ...


class CallDone(NamedTuple):
    """A finished call, for events and sums.

    seconds    with the waits between tries
    error      the code of the error that it ended with, or None
    cached     the answer came from the cache of calls, where it is number `cache_nth` of its kind
    batch      the token of the batch that it came with, or None
    address    the hash of the address where the model was asked, None where it has none
    """

    key: CallKey
    usage: Usage
    model: str
    seconds: float
    replayed: bool
    error: str | None = None
    cached: bool = False
    batch: str | None = None
    cache_nth: int = 0
    address: str | None = None


class MemoryJournal:
    """A journal that dies with the process: for tests, and for a call outside any run. `records` is its log."""

    queues = True

    def __init__(self) -> None:
        """Start empty."""
        self.records: list[JsonObject] = []
        self._entries: dict[str, JournalEntry] = {}

    def knows(self, key: str) -> bool:
        """See `Journal`."""
        entry = self._entries.get(key)
        return entry is not None and entry.outcome is not None

    async def lookup(self, key: str) -> JournalEntry | None:
        """See `Journal`."""
        return self._entries.get(key)

    async def intent(self, key: str, meta: IntentMeta) -> None:
        """See `Journal`."""
        self.records.append({"key": key, "kind": "intent", **meta})
        self._entries[key] = JournalEntry(None, meta["intents"] + 1)

    async def response(self, key: str, outcome: CallOutcome, call: CallDone) -> None:
        """See `Journal`."""
        self.records.append({"key": key, "kind": "response", "outcome": outcome})
        entry = self._entries.get(key)  # none of an answer that came from the cache
        self._entries[key] = JournalEntry(outcome, entry.intents if entry is not None else 0)

    def withdrawn(self, key: str, usage: Usage) -> None:
        """See `Journal`."""
        self.records.append({"key": key, "kind": "withdrawn", "usage": usage.to_json()})
        self._entries[key] = JournalEntry(None, self._entries[key].intents - 1)
