"""The batch API of a provider behind the gateway of a hub: each request with the user's token as it is then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Protocol, TypeVar

from po_jupyter.llm.batches.protocol import Batches, BatchLine, BatchSearch, BatchStatus, discard_upload
from po_jupyter.llm.chat import ChatRequest, ChatResponse

T = TypeVar("T")


class AskBatches(Protocol):
    """Makes one request of a batch API, whichever it is then."""

    async def __call__(self, request: Callable[[Batches], Awaitable[T]], /) -> T:
        """The answer to `request`. Raises a ModelError, BudgetExceeded."""
        ...


class TeamBatches:
    """See `llm.batches.protocol.Batches`. `current` is the API without a request, `ask` makes one."""

    def __init__(self, current: Batches, ask: AskBatches) -> None:
        """A batch has one of these to its end, however often the token changes."""
        self._current = current
        self._ask = ask
        self.name = current.name
        self.max_requests = current.max_requests
        self.max_bytes = current.max_bytes

    def group(self, request: ChatRequest) -> str:
        """See `Batches`."""
        return self._current.group(request)

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        """See `Batches`."""
        return self._current.line(custom_id, request)

    async def upload(self, path: Path, token: str) -> str:
        """See `Batches`."""
        return await self._ask(lambda api: api.upload(path, token))

    async def create(self, token: str, group: str, uploaded: str) -> str:
        """See `Batches`."""
        return await self._ask(lambda api: api.create(token, group, uploaded))

    async def find(self, token: str, *, since: float, count: int, others: Collection[str]) -> BatchSearch:
        """See `Batches`."""
        return await self._ask(lambda api: api.find(token, since=since, count=count, others=others))

    async def status(self, id: str) -> BatchStatus:
        """See `Batches`."""
        return await self._ask(lambda api: api.status(id))

    async def cancel(self, id: str) -> None:
        """See `Batches`."""
        await self._ask(lambda api: api.cancel(id))

    async def discard(self, uploaded: str) -> None:
        """See `discard_upload`."""
        await self._ask(lambda api: discard_upload(api, uploaded))

    async def download(self, status: BatchStatus, path: Path) -> None:
        """See `Batches`."""
        await self._ask(lambda api: api.download(status, path))

    def parse_line(self, line: bytes) -> BatchLine | None:
        """See `Batches`."""
        return self._current.parse_line(line)

    def read_response(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        """See `Batches`."""
        return self._current.read_response(request, line)
