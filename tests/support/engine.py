"""A run in a store, worked off in this process: what the engine's tests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.ports import RunFileShare
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.inputs import run_inputs
from po_jupyter.engine.run.session import RunSession, open_session
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.providers.fake import FakeProvider, Scripted
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Lease, NewRun, Store

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
    seed_name: str = "seed",
    **options: Any,
) -> Pipeline:
    """Create a run the way the orchestrator does."""
    checked = validate_pipeline(pipeline)
    definition = {
        "pipeline": checked.to_json(),
        "seed": {"name": seed_name, "data": dict(data)},
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


def inputs_of(
    tmp: Path,
    tasks: Sequence[Any],
    data: Mapping[str, Any] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    owner: str = "me",
    **more: Any,
) -> RunInputs:
    """Inputs of a run that is in no store; `more` are fields of the pipeline."""
    pipeline = validate_pipeline({"name": "p", "llm": {"model": "fake:echo"}, "tasks": list(tasks), **more})
    definition = {
        "pipeline": pipeline.to_json(),
        "seed": {"name": "seed", "data": dict(data or {})},
        "options": dict(options or {}),
    }
    return run_inputs(
        definition,
        Lease(RUN, 1),
        owner=owner,
        settings=Settings(data_dir=tmp, **(settings or {})),
        run_dir=tmp / "runs" / RUN,
    )


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own (a file, a state)."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


class Bench:
    """A store, a directory, a fake provider, and workers over them. `session` is that of the last worker."""

    session: RunSession

    def __init__(self, tmp: Path, store: Store | None = None, replies: Sequence[Scripted] = ()) -> None:
        self.tmp = tmp
        self.store = store if store is not None else MemoryStore()
        self.fake = Fake(replies)
        self.said: list[dict[str, Any]] = []
        self.watched = False
        self.run = RUN
        self.settings: dict[str, Any] = {}
        self.base_url = ""  # where every model is asked
        self.share: RunFileShare | None = None  # files where other nodes find them

    def create(self, tasks: Sequence[Any], data: Mapping[str, Any] | None = None, **more: Any) -> Bench:
        options = more.pop("options", {})
        pipeline = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": list(tasks), **more}
        new_run(self.store, pipeline, data or {}, self.run, **options)
        return self

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[RunSession]:
        lease = self.store.claim(self.run, {"pid": 1})
        session = await open_session(
            self.store,
            lease,
            settings=Settings(data_dir=self.tmp, **self.settings),
            providers=Providers({}, opened={"fake": self.fake}),
            on_text=self.said.append,
            watched=lambda: self.watched,
            base_url=lambda ref: self.base_url,
            share=self.share,
        )
        try:
            yield session
        finally:
            with contextlib.suppress(Exception):
                await session.aclose()

    async def go(self) -> str:
        async with self.worker() as session:
            self.session = session
            return await RunExecutor(session).run()

    @property
    def state(self) -> RunState:
        """The run as the last worker left it."""
        return self.session.log.state

    def output(self, task: str) -> Any:
        """The output of a task, as the last worker has it."""
        return self.session.outputs.output(task)

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


class WidestWindow:
    """The most calls that were in flight at once; all that are held go on when `full` of them are."""

    def __init__(self, bench: Bench, full: int) -> None:
        self.most = self._now = 0
        self._full, self._gate, self._chat = full, bench.fake.gate, bench.fake.chat
        bench.fake.hold = True
        bench.fake.chat = self._counted

    async def _counted(self, request: Any, **more: Any) -> Any:
        self._now += 1
        self.most = max(self.most, self._now)
        if self._now == self._full:
            self._gate.set()
        await asyncio.sleep(0)
        try:
            return await self._chat(request, **more)
        finally:
            self._now -= 1
