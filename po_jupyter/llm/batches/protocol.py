"""The batch API of a provider as a Protocol, beside `llm.chat.Provider`: a provider has one under `batches`.

    line ─► a JSONL file ─► upload ─► create ─► status, status, ... ─► download ─► parse_line, read_response
                                 └─ died before the id was recorded? `find` says whether there is one

The bodies of the requests and the answers are those of single calls, so the same builders and parsers serve
both. Every request of a batch has a custom id that begins with the batch's token: results come in any order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.model.values.json import JsonObject

# Seconds by which the clocks of the vendor and of this machine may differ, when batches are told apart by their age.
CLOCK_SKEW = 600.0


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """The status of a batch.

    state     `working`, `cancelling` (no row is started any more), or `ended`
    total     requests in it, 0 while that is not known
    done      requests with an answer or an error
    error     why the batch failed as a whole, "" when it did not
    code      the provider's word for that
    lines     the faults of single lines (from 1) of a batch that was refused as a whole
    results   the provider's own names for the files or paths of the results
    expired   the time allowed was over before every request was worked on
    missing   why requests have no line in the results of a batch that has ended, "" when nothing explains it
    uploads   the files that it was made of, by the names that `upload` gave, where the provider keeps them for ever
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
    missing: str = ""
    uploads: tuple[str, ...] = ()


class BatchSearch(NamedTuple):
    """The result of a search for a batch. `id` None and not `undecided`: there is none."""

    id: str | None = None
    undecided: bool = False  # there is one that may be it, which cannot be told before it has ended


class BatchLine(NamedTuple):
    """One line of the results. `cancelled`: the request was not worked on because the batch was cancelled."""

    custom_id: str
    body: JsonObject
    cancelled: bool = False


class Batches(Protocol):
    """A batch API. No method retries. Every method that calls the provider raises ModelErrors; after a transient one
    the provider may have done the work or not."""

    name: str
    max_requests: int
    max_bytes: int

    def group(self, request: ChatRequest) -> str:
        """The group of a request: requests of another group go into another batch."""
        ...

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """The request as a line of the file. Raises ModelRefused for one that cannot be sent."""
        ...

    async def upload(self, path: Path, token: str) -> str:
        """Hand the file over; its name for `create`. No request is worked on yet."""
        ...

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """Start the batch; its id."""
        ...

    async def find(self, token: str, *, since: float, count: int, others: Collection[str]) -> BatchSearch:
        """Look for a batch with that token that was created after `since` (seconds since 1970).

        `count` is its number of requests, `others` are ids of batches that cannot be it.
        """
        ...

    async def status(self, id: str) -> BatchStatus:
        """The status of a batch. Raises ModelRefused with `details.status` 404 when there is none."""
        ...

    async def cancel(self, id: str) -> None:
        """Cancel a batch. Answers that it has stay; a batch that has ended is left as it is."""
        ...

    async def download(self, status: BatchStatus, path: Path) -> None:
        """Write the results of an ended batch to a file, as lines."""
        ...

    def parse_line(self, line: bytes) -> BatchLine | None:
        """A line of that file; None for one that cannot be read."""
        ...

    def read_response(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """The answer to `request` in a line, without its cost. Raises the ModelError that is reported for it."""
        ...


async def discard_upload(api: Batches, uploaded: str) -> None:
    """Delete a file that `upload` handed over, where the API has `discard(uploaded)`. Raises a ModelError."""
    discard: Callable[[str], Awaitable[None]] | None = getattr(api, "discard", None)
    if discard is not None:
        await discard(uploaded)


def batch_api_of(provider: object) -> Batches | None:
    """The batch API of a provider, or None."""
    api: Batches | None = getattr(provider, "batches", None)
    return api
