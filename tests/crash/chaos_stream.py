"""A follower of one run over HTTP: the product's stream, from server to server, with every offset looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from po_jupyter.client.async_client import AsyncClient, Endpoint
from po_jupyter.errors import PoError
from tests.crash.chaos_checks import digest


class Followed:
    """Reads a run's events from its first to its `end`, and goes on from the last offset wherever it was lost.

    `where` says where a server is; `on_gate` is called when the stream said that a gate is open.
    """

    def __init__(
        self,
        run: str,
        where: Callable[[], Endpoint | None],
        say: Callable[[str], None],
        *,
        on_gate: Callable[[], None] | None = None,
    ) -> None:
        self._run = run
        self._where = where
        self._say = say
        self._on_gate = on_gate
        self.offset = 0
        self.lost = 0  # times that the client gave up
        self._events: list[str] = []
        self._wrong: list[str] = []
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            endpoint = self._where()
            if endpoint is not None:
                try:
                    if await self._read(endpoint):
                        return
                except PoError as error:
                    self.lost += 1
                    self._say(f"following {self._run}: {error.message:.160}")
            await asyncio.sleep(0.3)

    async def _read(self, endpoint: Endpoint) -> bool:
        async with (
            AsyncClient(endpoint, timeout=20.0, relocate=self._where) as client,
            aclosing(client.events(self._run, self.offset)) as messages,
        ):
            async for message in messages:
                if message.id is not None:
                    self._take(message.id, message.data)
                elif message.event == "end":
                    return True
                elif message.event == "gone":
                    self._wrong.append("the stream said that it is gone")
                    return True
        return False

    def _take(self, offset: int, event: Mapping[str, Any]) -> None:
        if offset != self.offset + 1 or event["offset"] != offset:
            self._wrong.append(f"streamed {offset} after {self.offset}")
        self.offset = offset
        self._events.append(digest(event))
        if event["type"] == "gate.opened" and self._on_gate is not None:
            self._on_gate()

    async def ended(self, patience: float) -> bool:
        """Wait until the stream said `end`."""
        await asyncio.wait([self._task], timeout=max(0.0, patience))
        return self._task.done() and not self._task.cancelled() and self._task.exception() is None

    def problems(self, key: str, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """What was streamed and is not what the log says, in words."""
        logged = [
            {**event, "offset": record["first"] + i, "run": self._run}
            for record in records
            for i, event in enumerate(record["events"])
        ]
        problems = list(self._wrong)
        if len(self._events) != len(logged):
            problems.append(f"{len(self._events)} events were streamed, {len(logged)} are in the log")
        for offset, (streamed, event) in enumerate(zip(self._events, logged, strict=False), 1):
            if streamed != digest(event):
                problems.append(f"event {offset} was streamed as another one than {event}")
                break
        return [f"{key}: {line}" for line in problems]

    async def close(self) -> None:
        """Stop following."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
