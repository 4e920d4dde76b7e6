"""Results of batches that ended: what is made of each answer, and of a batch that was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from po_jupyter.engine.maps.batches.batch_file import cannot
from po_jupyter.engine.maps.batches.custom_ids import Open, place_of
from po_jupyter.engine.maps.batches.open_batches import BREATH, AtProvider
from po_jupyter.engine.maps.batches.row_calls import Came, raising
from po_jupyter.engine.maps.map import UNFLUSHED
from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import BatchLine, BatchStatus
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.platform.crashpoints import crashpoint

_LINES = 500  # lines of results read at once
_CROWDED = frozenset({"token_limit_exceeded"})  # the account has too much in batches already


class Collecting(AtProvider):
    """Every answer to its row, once."""

    async def _collect(self, batch: Open, status: BatchStatus) -> None:
        """Record every answer and what came of its row; then the batch is closed."""
        if status.error and not status.results:
            await self._refused(batch, status)
            return
        path = self._folder / f"{batch.token}.results"
        seen: set[int] = set()
        answered = 0
        try:
            await asyncio.to_thread(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            await self.asking.sure(lambda: self.asking.api.download(status, path))
            crashpoint("batch.collect.before")
            with path.open("rb") as file:
                while lines := await asyncio.to_thread(file.readlines, _LINES * 1000):
                    for line in lines:
                        answered += await self._line(batch, line, seen)
        except OSError as error:
            raise cannot(path, error) from None
        finally:
            path.unlink(missing_ok=True)
        if not batch.cancelling:
            for index in batch.rows:
                if index not in seen:
                    why = f"{self.asking.api.name} returned no result for row {index} in batch {batch.id}"
                    await self._answer(batch, index, Came(batch.token, None, 0, raising(ModelUnavailable(why))))
        await self.parts.log.flush()
        crashpoint("batch.collect.after")
        self.crowded = False
        await self._close(batch, "expired" if status.expired else "ended", answered)
        self._progress_now()

    async def _line(self, batch: Open, line: bytes, seen: set[int]) -> int:
        """One line of the results; 1 when it was an answer to a row that had none."""
        api = self.asking.api
        said = api.parse_line(line) if line.strip() else None
        place = place_of(batch.token, said.custom_id) if said is not None else None
        if said is None or place is None or place.row in seen or place.row not in batch.members:
            return 0  # nothing that was asked, or a second answer: the first one counts
        seen.add(place.row)
        batch.landed += 1
        self.in_flight -= 1
        if said.cancelled and batch.cancelling:
            return 0
        came = Came(batch.token, place.stage, place.round, _reading(api.read_response, said))
        return await self._answer(batch, place.row, came)

    async def _answer(self, batch: Open, index: int, came: Came) -> int:
        if index in self.known:
            return 0
        wanted, calls = await self._through(index, batch.attempt, came)
        budget = self.parts.calls.budget
        if calls.fresh is not None and batch.hold is not None and budget is not None:
            budget.settle_part(batch.hold, batch.part, calls.fresh)
        if wanted is not None and (self.stopping or self.over is not None):
            self.used.add_json(calls.usage.to_json())  # no outcome will say it
        self.unflushed += wanted is not None
        if self.unflushed >= UNFLUSHED:
            self.unflushed = 0
            await self.parts.log.flush()
        elif index % BREATH == 0:
            await asyncio.sleep(0)
        return int(calls.fresh is not None)

    async def _refused(self, batch: Open, status: BatchStatus) -> None:
        """The provider took the batch and then refused it as a whole: no row was looked at, nothing is to be paid."""
        name = self.asking.api.name
        for number, why in status.lines.items():
            if 0 < number <= len(batch.rows):
                refused = ModelRefused(f"{name}: {why}", details={"reason": status.code or "invalid_line"})
                await self._answer(batch, batch.rows[number - 1], Came(batch.token, None, 0, raising(refused)))
        if status.code == "gone":
            for index in batch.rows:
                await self._answer(
                    batch, index, Came(batch.token, None, 0, raising(ModelUnavailable(status.error)))
                )
        await self.parts.log.flush()
        await self._close(batch, "refused", 0)
        if status.lines or status.code == "gone":
            return
        if status.code in _CROWDED and self.open:
            self.crowded = True
            return
        self.over = self.over or ModelRefused(
            f"{name} refused the batch: {status.error}",
            hint="No row of it was asked. Mend that, then: po resume RUN",
            details={"provider": name, "reason": status.code, "batch": status.id},
        )


def _reading(
    read: Callable[[ChatRequest, BatchLine], ChatResponse], line: BatchLine
) -> Callable[[ChatRequest], ChatResponse]:
    return lambda request: read(request, line)
