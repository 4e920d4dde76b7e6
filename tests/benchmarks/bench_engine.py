"""The engine over a DiskStore: rows of a map with an instant model, empty tasks, loading, templates."""

from __future__ import annotations

import asyncio
import json
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.engine.prompts.templates import PromptTemplate, template_names
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import RunSession, open_session
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import NewRun, Store

ROWS = 20_000
LARGE = 50_000
TASKS = 300


class Instant:
    """A model that answers at once and remembers nothing."""

    name = "fake"

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        return ChatResponse(
            '{"label": "bug"}', Usage(input_tokens=40, output_tokens=6, cost=0.0, calls=1), request.model
        )

    async def aclose(self) -> None:
        return None


def create(store: Store, run: str, tasks: list[dict[str, Any]], data: Mapping[str, Any]) -> None:
    pipeline = validate_pipeline({"name": "bench", "llm": {"model": "fake:echo"}, "tasks": tasks})
    definition = {"pipeline": pipeline.to_json(), "seed": {"name": "s", "data": dict(data)}, "options": {}}
    created = draft(
        "run.created",
        name="s",
        pipeline="bench",
        version="1.0.0",
        tasks=[{"name": t.name, "kind": t.kind} for t in pipeline.tasks],
    )
    store.create_run(NewRun(run, "", "bench", "1.0.0", "s", 0, definition, [created]))


async def go(store: Store, run: str, tmp: Path) -> tuple[float, float]:
    """(seconds, CPU seconds) of a whole run."""
    lease = store.claim(run, {"pid": 1})
    begun, cpu = time.perf_counter(), time.process_time()
    session = await open_session(
        store, lease, settings=Settings(data_dir=tmp), providers=Providers({}, opened={"fake": Instant()})
    )
    state = await RunExecutor(session).run()
    took = time.perf_counter() - begun, time.process_time() - cpu
    await session.aclose()
    assert state == "done", session.log.state.error
    return took


SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}
EMPTY = "def integration(ctx):\n    return None\n"


def main() -> list[dict[str, Any]]:
    """See the runner."""
    found: list[dict[str, Any]] = []

    def row(name: str, value: float, unit: str, aim: str = "", note: str = "") -> None:
        found.append({"name": name, "value": value, "unit": unit, "aim": aim, "note": note})

    with tempfile.TemporaryDirectory() as directory:
        tmp = Path(directory)
        store = DiskStore(tmp / "store")
        data = {
            "rows": [
                {"id": i, "text": f"ticket number {i}: the export button does nothing"} for i in range(ROWS)
            ]
        }
        create(
            store,
            "warm",
            [{"name": "m", "prompt": "{{ item }}", "for_each": "range(50)", "output": SCHEMA}],
            {},
        )
        asyncio.run(go(store, "warm", tmp))
        for width in (100, 1000):
            for kind, more in (("text", {}), ("JSON Schema", {"output": SCHEMA})):
                task = {
                    "name": "m",
                    "prompt": "Label this: {{ item.text }}",
                    "for_each": "{{ seed.rows }}",
                    "max_concurrency": width,
                    "cache": False,
                    **more,
                }
                run = f"map-{width}-{kind[:4].strip().lower()}"
                create(store, run, [task], data)
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                took, cpu = asyncio.run(go(store, run, tmp))
                grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
                row(
                    f"durable rows, {kind}, {width} in flight",
                    ROWS / took,
                    "rows/s",
                    ">= 3000",
                    f"{ROWS:,} rows, {cpu / ROWS * 1e6:.0f} us CPU a row, RSS +{grown:.0f} MB",
                )
        create(
            store,
            "map-large",
            [{**task, "max_concurrency": 100, "cache": True}],
            {"rows": [{"id": i, "text": f"ticket number {i}: it does nothing"} for i in range(LARGE)]},
        )
        took, cpu = asyncio.run(go(store, "map-large", tmp))
        row("durable rows of a large map", LARGE / took, "rows/s", ">= 3000", f"{LARGE:,} rows")
        create(
            store,
            "map-again",
            [{**task, "max_concurrency": 100, "cache": True}],
            {"rows": [{"id": i, "text": f"ticket number {i}: it does nothing"} for i in range(LARGE)]},
        )
        took, cpu = asyncio.run(go(store, "map-again", tmp))
        row("the same map again, every row reused", LARGE / took, "rows/s", "", f"{LARGE:,} rows, no call")
        for kind, body in (("Python", {"source": EMPTY}), ("prompt", {"prompt": "x"})):
            tasks = [{"name": f"t{i}", **body} for i in range(TASKS)]
            create(store, f"tasks-{kind.lower()}", tasks, {})
            took, cpu = asyncio.run(go(store, f"tasks-{kind.lower()}", tmp))
            row(f"a small {kind} task", took / TASKS * 1000, "ms", "", f"{TASKS} in a chain, commits included")
            aim = "<= 1" if kind == "Python" else ""
            row(f"a small {kind} task, CPU", cpu / TASKS * 1000, "ms", aim, "all threads, commits included")
        tasks = [{"name": f"t{i}", "source": EMPTY} for i in range(1000)]
        create(store, "long", tasks, {})
        asyncio.run(go(store, "long", tmp))

        async def load() -> float:
            lease = store.claim("long", {"pid": 1})
            begun = time.perf_counter()
            session = await open_session(store, lease, settings=Settings(data_dir=tmp), providers=Providers({}))
            took = time.perf_counter() - begun
            await session.aclose()
            return took

        async def resume(i: int) -> float:
            """From nothing in this process to the next task's first call."""
            run = f"resumed-{i}"
            create(store, run, [*tasks[:999], {"name": "next", "prompt": "x"}], {})
            called, go_on = asyncio.Event(), asyncio.Event()

            class Noticing(Instant):
                async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
                    called.set()
                    await go_on.wait()
                    return await super().chat(request, on_text=on_text)

            async def work_on() -> RunSession:
                return await open_session(
                    store,
                    store.claim(run, {"pid": 1}),
                    settings=Settings(data_dir=tmp),
                    providers=Providers({}, opened={"fake": Noticing()}),
                )

            first = await work_on()
            driving = asyncio.ensure_future(RunExecutor(first).run())
            await called.wait()
            first.log.closed = True  # killed: it says nothing more
            driving.cancel()
            await asyncio.wait([driving])
            called.clear()
            store.close()
            begun = time.perf_counter()
            again = await work_on()
            driving = asyncio.ensure_future(RunExecutor(again).run())
            await called.wait()
            took = time.perf_counter() - begun
            go_on.set()
            await driving
            await again.aclose()
            return took

        row(
            "resume of a run with 1,000 finished tasks: its next task's call",
            min(asyncio.run(resume(i)) for i in range(2)) * 1000,
            "ms",
            "<= 500",
        )
        row(
            "load a run of 1,000 finished tasks",
            min(asyncio.run(load()) for _ in range(3)) * 1000,
            "ms",
            "<= 300",
        )
        store.close()
    prompt = PromptTemplate("Label: {{ tasks.extract.title }} (seed: {{ seed.text }}) {{ item.x }}", task="t")
    names = template_names(seed={"text": "hi"}, tasks={"extract": {"title": "T"}})
    begun = time.perf_counter()
    for i in range(20_000):
        prompt.render({**names, "item": {"x": "y"}, "index": i})
    row("render a small prompt", (time.perf_counter() - begun) / 20_000 * 1e6, "us", "<= 15")
    return found


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
