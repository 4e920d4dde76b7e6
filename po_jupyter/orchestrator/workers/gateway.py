"""Who comes in over the link: workers that say hello, and other servers that poke."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from po_jupyter.errors import PoError
from po_jupyter.ipc.channel import Channel, Message
from po_jupyter.orchestrator.events.change_feed import Feed
from po_jupyter.orchestrator.workers.processes import Worker
from po_jupyter.orchestrator.workers.rate_limit_server import RateLimits
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.store.protocol import Head, Store

log = structlog.get_logger("po_jupyter.reception")

_LINGER = 3.0  # s that a worker may take to exit after its last word


class Reception:
    """Talks to the workers of one supervisor. `need` answers what a worker asks for, `rates` lets its calls
    go."""

    def __init__(
        self,
        supervisor: Supervisor,
        store: Store,
        feed: Feed,
        *,
        run_off_loop: Callable[..., Awaitable[Any]],
        need: Callable[[Message, Callable[[str], None]], Awaitable[Message]],
        rates: RateLimits,
    ) -> None:
        self._supervisor = supervisor
        self._store = store
        self._feed = feed
        self._do = run_off_loop
        self._need = need
        self._rates = rates
        feed.on_interest = self._tell_interest

    async def serve(self, channel: Channel, first: Message) -> None:
        """One connection, from its first message to its end."""
        if first["op"] == "poke":
            if first.get("run") is not None:
                await self._supervisor.attend(str(first["run"]))
            channel.send("ok", load=self._supervisor.load())
            await channel.drain()
        elif first["op"] == "hello":
            await self._worker(channel, first)

    async def _worker(self, channel: Channel, hello: Message) -> None:
        worker = await self._greet(channel, hello)
        if worker is None:
            channel.send("stop")
            await channel.drain()
            return
        adopted = worker.channel is None and not worker.ours
        worker.channel = channel
        worker.heard = time.monotonic()
        rates = self._rates.join(worker.run, channel)
        channel.send("welcome", watched=self._feed.watched(worker.run), rates=rates)
        self._supervisor.go(self._supervisor.connected(worker, adopted=adopted), f"connected {worker.run}")
        try:
            while (message := await channel.receive()) is not None:
                self._heard(worker, message)
        finally:
            self._rates.leave(worker.run, channel)
        if worker.channel is channel:
            worker.channel = None

    async def _greet(self, channel: Channel, hello: Message) -> Worker | None:
        """The worker that this is, or None for one that has no business here any more."""
        run, pid = str(hello.get("run")), hello.get("pid")
        peer = channel.peer()
        if not isinstance(pid, int) or (peer is not None and peer[0] not in (0, pid)):
            return None  # 0: the kernel cannot name a process of another pid namespace
        workers = self._supervisor.workers
        if run not in workers:
            try:
                head: Head = await self._do(self._store.head, run)
            except PoError:
                return None
            # Asked again: the answer of the zygote may have come in meanwhile.
            if run not in workers:
                holder = head["holder"]
                if holder is None or head["fence"] != hello.get("fence") or holder["pid"] != pid:
                    return None
                return self._supervisor.adopt(head)
        return workers[run] if workers[run].pid == pid else None

    def _heard(self, worker: Worker, message: Message) -> None:
        worker.heard = time.monotonic()
        match message["op"]:
            case "beat":
                if worker.channel is not None:
                    worker.channel.send("beat")
            case "committed":
                self._supervisor.wrote(worker.run)
                self._feed.changed(worker.run)
            case "text":
                self._feed.text(worker.run, {k: v for k, v in message.items() if k != "op"})
            case "need":
                self._supervisor.go(self._answer(worker, message), "need")
            case "rest":
                worker.resting = bool(message.get("on"))
                self._supervisor.pump()
            case op if op.startswith("rate."):
                self._rates.heard(worker.run, message)
            case "failed":
                worker.failure = (str(message.get("message"))[:500], str(message.get("hint") or "")[:500])
            case "bye":
                worker.bye = str(message.get("state"))
                self._feed.changed(worker.run)
                self._supervisor.end_later(worker, _LINGER, "lingers")
                self._supervisor.pump()

    async def _answer(self, worker: Worker, message: Message) -> None:
        def say(op: str, **fields: Any) -> None:
            if worker.channel is not None:
                worker.channel.send(op, **{**fields, "id": message.get("id")})

        try:
            answer = await self._need(message, lambda text: say("progress", text=text))
        except PoError as error:
            answer = {"error": error.to_json()}
        say("answer", **answer)

    def _tell_interest(self, run: str | None) -> None:
        for worker in self._supervisor.workers.values():
            if worker.channel is not None and run in (None, worker.run):
                worker.channel.send("watched", on=self._feed.watched(worker.run))
