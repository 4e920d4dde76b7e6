"""Following a run: its view now and after each change, its stream of events, its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import NamedTuple

from po_jupyter.client.http.sse import SseMessage
from po_jupyter.client.http.transport import Transport, path_segment, quiet_params
from po_jupyter.errors import NotFound
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.model.values.json import JsonObject

_QUEUED = 1000  # messages that may wait between the stream and its reader


class TextDelta(NamedTuple):
    """A piece of an answer while it is being written. `round` counts re-asks; nothing of this is stored."""

    run: str
    task: str
    item: int | None
    text: str
    round: int


class RunStreams:
    """Reads of runs as they go on, over one transport."""

    def __init__(self, transport: Transport) -> None:
        """Sends nothing yet."""
        self._transport = transport

    async def view(self, run_id: str, *, quiet: bool = False) -> RunView:
        """One run, by its id or a unique part of it. `quiet` requests do not count as the user's activity."""
        path = f"runs/{path_segment(run_id)}"
        return parse_run(await self._transport.json("GET", path, params=quiet_params(quiet)))

    async def events(self, run_id: str, since: int = 0) -> AsyncGenerator[SseMessage, None]:
        """Every event of a run with an offset above `since`, in order and without gaps, then `end`.

        A lost connection is made again from the last offset seen. Texts come in between.
        """
        offset = since
        path = f"runs/{path_segment(run_id)}/events"
        async with aclosing(self._transport.stream(path, lambda: {"since": offset})) as messages:
            async for message in messages:
                if message.id is not None:
                    if message.id <= offset:
                        continue
                    offset = message.id
                yield message
                if message.event in ("end", "gone"):
                    return

    async def follow(self, run_id: str, *, every: float = 0.15) -> AsyncGenerator[RunView | TextDelta, None]:
        """The run now and after each change, at most once in `every` seconds, with texts in between.

        The last value is the ended run. Raises NotFound when the run is deleted meanwhile.
        """
        view = await self.view(run_id, quiet=True)
        yield view
        if view.state in ENDED:
            return
        reader = _EventReader(self, view.id)
        reader.start(view.last_event)
        refresh_at: float | None = None  # monotonic seconds; None: nothing has changed since the last view
        shown_at = time.monotonic()
        try:
            while True:
                message = await reader.next_message(refresh_at)
                if message is None:
                    view = await self.view(view.id, quiet=True)
                    refresh_at, shown_at = None, time.monotonic()
                    yield view
                    if view.state in ENDED:
                        return
                    reader.resume(view.last_event)
                elif message.event == "gone":
                    raise NotFound(f"run {view.id} was deleted while it was followed")
                elif message.event == "text":
                    yield _text_delta(view.id, message.data)
                elif message.event == "end":
                    refresh_at = 0.0  # the last view is not held back
                elif refresh_at is None:
                    refresh_at = shown_at + every
        finally:
            await reader.stop()

    async def wait_end(self, run_id: str) -> RunView:
        """The run after it ended. A waiting gate keeps it waiting."""
        while True:
            view = await self.view(run_id, quiet=True)
            if view.state in ENDED:
                return view
            async with aclosing(self.events(view.id, view.last_event)) as messages:
                async for message in messages:
                    if message.event == "gone":
                        raise NotFound(f"run {view.id} was deleted while it was waited for")


class _EventReader:
    """A task that reads a run's events into a queue, so that a slow consumer does not break the stream."""

    def __init__(self, streams: RunStreams, run_id: str) -> None:
        self._streams = streams
        self._run_id = run_id
        self._queue: asyncio.Queue[SseMessage | Exception] = asyncio.Queue(_QUEUED)
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    def start(self, since: int) -> None:
        self._ended = False
        self._task = asyncio.get_running_loop().create_task(self._read(since))

    def resume(self, since: int) -> None:
        """Read again when the stream has ended: the run was resumed after its end was announced."""
        if self._ended:
            self.start(since)

    async def next_message(self, until: float | None) -> SseMessage | None:
        """The next message, or None once the clock has passed `until` (monotonic seconds; None: no bound)."""
        if until is not None and until <= time.monotonic():
            return None
        try:
            # Not `wait_for`: on 3.11 it can swallow a cancellation that comes with a message.
            async with asyncio.timeout(None if until is None else until - time.monotonic()):
                message = await self._queue.get()
        except TimeoutError:
            return None
        if isinstance(message, Exception):
            raise message
        if message.event == "end":
            self._ended = True
        return message

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task

    async def _read(self, since: int) -> None:
        try:
            async with aclosing(self._streams.events(self._run_id, since)) as messages:
                async for message in messages:
                    await self._queue.put(message)
        except Exception as error:  # raised where the queue is read
            await self._queue.put(error)


def parse_run(data: Mapping[str, JsonObject]) -> RunView:
    """The run in a response `{"run": ...}`."""
    return RunView.model_validate(data["run"])


def _text_delta(run: str, data: JsonObject) -> TextDelta:
    item = data.get("item")
    return TextDelta(
        run=str(data.get("run", run)),
        task=str(data.get("task", "")),
        item=item if isinstance(item, int) else None,
        text=str(data.get("text", "")),
        round=int(data.get("round") or 0),
    )
