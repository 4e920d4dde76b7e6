"""A session: its parts, what it tells an observer, and how it is closed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.engine.ports import CallFrame, Observer
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import RunSession, open_session
from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage
from tests.support.engine import RUN, Bench

MAP = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(3)", "max_concurrency": 1}


class Recorder(Observer):
    """An observer that notes every call of its methods."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def on_task_start(self, task: Task, attempt: int) -> None:
        self.notes.append(("task start", task.name, attempt))

    def on_task_end(
        self, task: Task, attempt: int, seconds: float, usage: Usage, error: BaseException | None
    ) -> None:
        self.notes.append(("task end", task.name, attempt, usage.calls, type(error).__name__))

    def on_row_start(self, task: Task, index: int, attempt: int) -> None:
        self.notes.append(("row start", index, attempt))

    def on_row_end(
        self, task: Task, index: int, attempt: int, usage: Usage, error: BaseException | None
    ) -> None:
        self.notes.append(("row end", index, attempt, usage.calls, type(error).__name__))

    def on_call_start(self, frame: CallFrame, stage: str, request: ChatRequest) -> None:
        self.notes.append(("call start", frame.index))

    def on_call_retry(self, frame: CallFrame, stage: str, tries: int, error: Exception) -> None:
        self.notes.append(("call retry", frame.index, tries))

    def on_call_end(
        self,
        frame: CallFrame,
        stage: str,
        request: ChatRequest,
        response: ChatResponse | None,
        usage: Usage | None,
        error: BaseException | None,
    ) -> None:
        self.notes.append(("call end", frame.index, usage and usage.calls, type(error).__name__))


async def opened(bench: Bench, recorder: Recorder) -> RunSession:
    return await open_session(
        bench.store,
        bench.store.claim(RUN, {"pid": 1}),
        settings=Settings(data_dir=bench.tmp),
        providers=Providers({}, opened={"fake": bench.fake}),
        observer=recorder,
    )


async def test_an_observer_is_told_of_tasks_rows_and_calls(bench: Bench) -> None:
    bench.fake._replies = ["ok", ModelRefused("no"), ModelUnavailable("down")]
    bench.create([MAP], llm={"model": "fake:echo", "retry": {"initial_delay": 0}})
    recorder = Recorder()
    session = await opened(bench, recorder)
    assert await RunExecutor(session).run() == "done"
    await session.aclose()
    assert recorder.notes == [
        ("task start", "m", 1),
        ("row start", 0, 1), ("call start", 0), ("call end", 0, 1, "NoneType"), ("row end", 0, 1, 1, "NoneType"),
        ("row start", 1, 1), ("call start", 1), ("call end", 1, None, "ModelRefused"),
        ("row end", 1, 1, 1, "ModelRefused"),
        ("row start", 2, 1), ("call start", 2), ("call retry", 2, 1), ("call end", 2, 1, "NoneType"),
        ("row end", 2, 1, 1, "NoneType"),
        ("task end", "m", 1, 0, "NoneType"),
    ]  # fmt: skip


async def test_every_start_has_its_end_when_the_run_is_drained(bench: Bench) -> None:
    """Whoever measures durations has no open ones left."""
    bench.create([MAP, {"name": "after", "prompt": "x"}])
    recorder = Recorder()
    session = await opened(bench, recorder)
    on_row_end = recorder.on_row_end

    def drain_after_first(*args: Any) -> None:
        on_row_end(*args)
        session.signals.drain()

    recorder.on_row_end = drain_after_first
    assert await RunExecutor(session).run() == "released"
    await session.aclose()
    kinds = Counter(note[0] for note in recorder.notes)
    for kind in ("task", "row", "call"):
        assert kinds[f"{kind} start"] == kinds[f"{kind} end"] > 0
    assert recorder.notes[-1][:2] == ("task end", "m")
    assert recorder.notes[-1][-1] == "Drained"


async def test_a_call_that_the_journal_answers_is_not_observed(bench: Bench) -> None:
    """Nothing is sent, and nothing is to be measured."""
    source = "async def inference(ctx):\n    return [(await ctx.llm.chat(w)).text for w in ('one', 'two')]\n"
    bench.create([{"name": "a", "source": source}])
    recorder = Recorder()
    first = await opened(bench, recorder)
    recorder.on_call_end = lambda *args: first.signals.drain()
    assert await RunExecutor(first).run() == "released"
    await first.aclose()
    recorder = Recorder()
    again = await opened(bench, recorder)
    assert await RunExecutor(again).run() == "done"
    await again.aclose()
    assert again.outputs.output("a") == ["echo: one", "echo: two"]
    assert Counter(note[0] for note in recorder.notes)["call start"] == 1


async def test_closing_writes_what_was_emitted_and_then_nothing_more(bench: Bench) -> None:
    bench.create([{"name": "a", "prompt": "a"}])
    session = await opened(bench, Recorder())
    session.log.emit(draft("task.waiting", "a", reason="x"))
    await session.aclose()
    assert "task.waiting" in bench.types()
    assert session.log.closed
    await session.aclose()  # twice does no harm
