"""A run now, and as it goes on: its events, its changes, its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any, NamedTuple

from po_jupyter.client.http.sse import Message
from po_jupyter.client.http.transport import Wire, part, quiet_params
from po_jupyter.errors import NotFound
from po_jupyter.model.run.view import ENDED, RunView


class Text(NamedTuple):
    """A piece of an answer while it is being written. `round` counts re-asks; nothing of this is stored."""

    run: str
    task: str
    item: int | None
    text: str
    round: int


class Following:
    """The part of the client that looks on."""

    _wire: Wire

    async def run(self, run_id: str, *, quiet: bool = False) -> RunView:
        """One run, by its id or a unique part of it. `quiet` requests do not count as the user's activity."""
        return run_of(await self._wire.json("GET", f"runs/{part(run_id)}", params=quiet_params(quiet)))

    async def events(self, run_id: str, since: int = 0) -> AsyncGenerator[Message, None]:
        """Every event of a run with an offset above `since`, in order and without gaps, then `end`.

        A lost connection is made again from the last offset seen. Texts come in between.
        """
        offset = since

        def params() -> dict[str, Any]:
            return {"since": offset}

        async with aclosing(self._wire.stream(f"runs/{part(run_id)}/events", params)) as messages:
            async for message in messages:
                if message.id is not None:
                    if message.id <= offset:
                        continue
                    offset = message.id
                yield message
                if message.event in ("end", "gone"):
                    return

    async def follow_all(self) -> AsyncGenerator[Message, None]:
        """All my runs: `snapshot`, then `run`, `gone`, `text`; a `snapshot` again after a reconnect."""
        async with aclosing(self._wire.stream("events", dict)) as messages:
            async for message in messages:
                yield message

    async def follow(self, run_id: str, *, every: float = 0.15) -> AsyncGenerator[RunView | Text, None]:
        """The run now and after each change, at most once in `every` seconds, with texts in between.

        The last value is the ended run. Raises NotFound when the run is deleted meanwhile.
        """
        view = await self.run(run_id, quiet=True)
        yield view
        if view.state in ENDED:
            return
        arrived: asyncio.Queue[Message | Exception] = asyncio.Queue(1000)

        async def read(start: int) -> None:
            try:
                async with aclosing(self.events(view.id, start)) as messages:
                    async for message in messages:
                        await arrived.put(message)
            except Exception as error:  # handed to the reader below, who raises it
                await arrived.put(error)

        reader = asyncio.get_running_loop().create_task(read(view.last_event))
        try:
            stale, over, shown = False, False, time.monotonic()
            while True:
                wait = shown + every - time.monotonic() if stale else None
                if wait is not None and wait <= 0:
                    view = await self.run(view.id, quiet=True)
                    stale, shown = False, time.monotonic()
                    yield view
                    if view.state in ENDED:
                        return
                    if over:  # resumed between the end of the stream and our question
                        over = False
                        reader = asyncio.get_running_loop().create_task(read(view.last_event))
                    continue
                try:
                    # Not `wait_for`: on 3.11 it can swallow a cancellation that comes with a message.
                    async with asyncio.timeout(wait):
                        message = await arrived.get()
                except TimeoutError:
                    continue
                if isinstance(message, Exception):
                    raise message
                if message.event == "gone":
                    raise NotFound(f"run {view.id} was deleted while it was followed")
                if message.event == "text":
                    yield _text(view.id, message.data)
                    continue
                stale = True
                if message.event == "end":
                    over, shown = True, 0.0  # the last word is not held back
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reader

    async def wait_end(self, run_id: str) -> RunView:
        """The run after it ended. A waiting gate keeps it waiting."""
        while True:
            view = await self.run(run_id, quiet=True)
            if view.state in ENDED:
                return view
            async with aclosing(self.events(view.id, view.last_event)) as messages:
                async for message in messages:
                    if message.event == "gone":
                        raise NotFound(f"run {view.id} was deleted while it was waited for")


def run_of(data: Mapping[str, Any]) -> RunView:
    """The run in an answer."""
    return RunView.model_validate(data["run"])


def _text(run: str, data: Mapping[str, Any]) -> Text:
    item = data.get("item")
    return Text(
        run=str(data.get("run", run)),
        task=str(data.get("task", "")),
        item=item if isinstance(item, int) else None,
        text=str(data.get("text", "")),
        round=int(data.get("round") or 0),
    )
