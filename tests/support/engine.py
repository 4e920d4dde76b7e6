"""A run in a store, worked off in this process: what the engine's tests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.engine.run.executor import drive
from po_jupyter.engine.run.session import Work
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.providers.fake import FakeProvider, Scripted
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.pipeline.parsing import check_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import NewRun, Store

RUN = "0193f00000000000abcdef"


class Fake(FakeProvider):
    """The fake provider with a door: calls wait at `gate` once `hold` is set."""

    def __init__(self, replies: Sequence[Scripted] = (), **options: Any) -> None:
        super().__init__(replies, **options)
        self.gate = asyncio.Event()
        self.hold = False
        self.waiting = asyncio.Event()
        self.answered: list[str] = []

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        if self.hold:
            self.waiting.set()
            await self.gate.wait()
        response = await super().chat(request, on_text=on_text)
        self.answered.append(request.request_hash)
        return response

    @property
    def prompts(self) -> list[str]:
        """The last message of each request, in order."""
        return [r.messages[-1].content for r in self.requests]


def new_run(
    store: Store,
    pipeline: Mapping[str, Any] | Pipeline,
    data: Mapping[str, Any],
    run: str = RUN,
    **options: Any,
) -> Pipeline:
    """Create a run the way the orchestrator does."""
    checked = check_pipeline(pipeline)
    definition = {
        "pipeline": checked.to_json(),
        "seed": {"name": "seed", "data": dict(data)},
        "options": options,
    }
    created = draft(
        "run.created",
        name="seed",
        pipeline=checked.name,
        version=checked.version,
        tasks=[{"name": t.name, "kind": t.kind} for t in checked.tasks],
        owner="me",
        budget=checked.budget.model_dump(exclude_none=True),
    )
    store.create_run(NewRun(run, "me", checked.name, checked.version, "seed", 0, definition, [created]))
    return checked


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own (a file, a state)."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


class Bench:
    """A store, a directory, a fake provider, and workers over them."""

    def __init__(self, tmp: Path, store: Store | None = None, replies: Sequence[Scripted] = ()) -> None:
        self.tmp = tmp
        self.store = store if store is not None else MemoryStore()
        self.fake = Fake(replies)
        self.said: list[dict[str, Any]] = []
        self.watched = False
        self.run = RUN
        self.settings: dict[str, Any] = {}

    def create(self, tasks: Sequence[Any], data: Mapping[str, Any] | None = None, **more: Any) -> Bench:
        options = more.pop("options", {})
        pipeline = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": list(tasks), **more}
        new_run(self.store, pipeline, data or {}, self.run, **options)
        return self

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[Work]:
        lease = self.store.claim(self.run, {"pid": 1})
        work = await Work.load(
            self.store,
            lease,
            settings=Settings(data_dir=self.tmp, **self.settings),
            providers=Providers({}, opened={"fake": self.fake}),
            say=self.said.append,
            watched=lambda: self.watched,
        )
        try:
            yield work
        finally:
            with contextlib.suppress(Exception):
                await work.aclose()

    async def go(self) -> str:
        async with self.worker() as work:
            self.work = work
            return await drive(work)

    def resume(self, *reset: str, clear: Sequence[str] = (), **data: Any) -> None:
        event = draft("run.resumed", reset=list(reset), clear=list(clear), by="me", **data)
        self.store.request(self.run, [event], state="pending")

    def events(self, *types: str) -> list[dict[str, Any]]:
        found = self.store.events(self.run, limit=100_000)
        return [e for e in found if not types or e["type"] in types]

    def types(self) -> list[str]:
        return [e["type"] for e in self.events()]

    def records(self) -> list[Any]:
        return list(self.store.records(self.run))
