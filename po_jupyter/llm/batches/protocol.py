"""The seam for providers with a batch API, beside `llm.chat.Provider`: a provider has one under `batches`.

    line ─► a JSONL file ─► upload ─► create ─► look, look, look ─► fetch ─► read, line by line
                                 └─ died before the id was recorded? `find` says whether there is one

The bodies of the requests and the answers are those of single calls, so the same builders and parsers serve
both. Every request of a batch has a custom id that begins with the batch's token: results come in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from po_jupyter.llm.chat import ChatRequest, ChatResponse

# What a call in a batch costs of the list price. OpenAI: "50% cost discount compared to synchronous APIs"
# (developers.openai.com/api/docs/guides/batch); Anthropic: "charged at 50% of the standard API prices"
# (platform.claude.com/docs/en/build-with-claude/batch-processing). Read 2026-11.
BATCH_PRICE = 0.5
# Clocks of the vendor and of this machine may differ by so many seconds, when batches are told apart by their age.
CLOCKS = 600.0


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """Where a batch stands.

    state     `working`, `cancelling` (no row is started any more), or `ended`
    total     requests in it, 0 while that is not known
    done      answered, whatever with
    error     why the batch as a whole came to nothing, "" when it did not
    code      the provider's word for that
    lines     what is wrong with single lines (from 1) of a batch that was refused as a whole
    results   where the results are: the provider's own names for it
    expired   the time allowed was over before every request was looked at
    """

    id: str
    state: Literal["working", "cancelling", "ended"]
    total: int = 0
    done: int = 0
    error: str = ""
    code: str = ""
    lines: Mapping[int, str] = field(default_factory=dict)
    results: tuple[str, ...] = ()
    expired: bool = False


class Found(NamedTuple):
    """What a search for a batch came to. `id` None and not `perhaps`: there is none."""

    id: str | None = None
    perhaps: bool = False  # there is one that may be it, which cannot be told before it has ended


class BatchLine(NamedTuple):
    """One line of the results. `cancelled`: the request was not looked at because the batch was cancelled."""

    custom_id: str
    said: Mapping[str, Any]
    cancelled: bool = False


class Batches(Protocol):
    """A batch API. Nothing in here retries. Every method that asks the provider raises ModelErrors; those that are
    transient leave open whether the provider did what was asked."""

    name: str
    max_requests: int
    max_bytes: int

    def group(self, request: ChatRequest) -> str:
        """What requests of one batch have in common; those with another group go into another batch."""
        ...

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """The request as a line of the file. Raises ModelRefused for one that cannot be sent."""
        ...

    async def upload(self, path: Path, token: str) -> str:
        """Hand the file over; what `create` wants to know of it. Nothing is worked on yet."""
        ...

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """Start the batch; its id."""
        ...

    async def find(self, token: str, *, since: float, count: int, known: Collection[str]) -> Found:
        """Whether a batch with that token was created after `since` (seconds since 1970).

        `count` is how many requests it has, `known` are batches that are others for sure.
        """
        ...

    async def look(self, id: str) -> BatchStatus:
        """Where the batch stands. ModelRefused with `details.status` 404 when there is none."""
        ...

    async def cancel(self, id: str) -> None:
        """Ask for its end. What is answered already stays; one that has ended is left as it is."""
        ...

    async def fetch(self, status: BatchStatus, path: Path) -> None:
        """Write the results of an ended batch to a file, as lines."""
        ...

    def parse(self, line: bytes) -> BatchLine | None:
        """A line of that file; None for one that cannot be read."""
        ...

    def read(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """The answer to `request` in a line, without its cost. Raises the row's ModelError."""
        ...


def batches_of(provider: object) -> Batches | None:
    """The batch API of a provider, or None."""
    found: Batches | None = getattr(provider, "batches", None)
    return found
