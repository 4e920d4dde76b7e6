"""The calls of one attempt: settings, cache, live text, observer and budget, over a journal in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.calls.attempt_calls import AttemptCalls, CallParts, ModelSettings
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.ports import Observer
from po_jupyter.errors import BudgetExceeded, InvalidInput, ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.calls.cache import CallCache
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.fake import FakeProvider, Scripted
from tests.support.engine import inputs_of

TASK: dict[str, Any] = {"name": "a", "prompt": "x", "llm": {"retry": {"initial_delay": 0}}}


class Watch(Observer):
    """Notes the starts, retries and ends of calls."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def on_call_start(self, frame: Any, stage: str, request: ChatRequest) -> None:
        self.notes.append(("start", stage))

    def on_call_retry(self, frame: Any, stage: str, tries: int, error: Exception) -> None:
        self.notes.append(("retry", tries))

    def on_call_end(
        self, frame: Any, stage: str, request: ChatRequest, response: Any, usage: Any, error: Any
    ) -> None:
        self.notes.append(("end", usage and usage.calls, type(error).__name__))


class Boundary:
    """A boundary that a drain closes; waits between tries take no time."""

    draining = False

    def checkpoint(self) -> None:
        if self.draining:
            raise Drained

    async def sleep(self, seconds: float) -> None:
        self.checkpoint()


class Answers:
    """The storage of a cache of calls, in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def find(self, keys: Any) -> dict[str, Any]:
        return {key: self.rows[key] for key in keys if key in self.rows}

    def keep(self, rows: Any) -> None:
        self.rows.update(rows)

    def close(self) -> None:
        pass


class Clock:
    """A stage's deadline: what it was extended by."""

    def __init__(self) -> None:
        self.extended = 0.0

    def extend(self, seconds: float) -> None:
        self.extended += seconds


class Rig:
    """The parts of a run that its calls share, with a fake provider. `streamed` are the texts that went out."""

    def __init__(
        self, tmp: Path, *replies: Scripted, task: dict[str, Any] = TASK, budget: BudgetGuard | None = None,
        cache: CallCache | None = None, settings: dict[str, Any] | None = None, **fields: Any,
    ) -> None:  # fmt: skip
        self.inputs = inputs_of(tmp, [task], settings=settings, **fields)
        self.task = self.inputs.pipeline.tasks[0]
        self.fake = FakeProvider(replies)
        self.journal = MemoryJournal()
        self.observer = Watch()
        self.boundary = Boundary()
        self.streamed: list[Any] = []
        self.emitted: list[Any] = []
        self.watched = True
        unused: Any = None
        log: Any = SimpleNamespace(emit=self.emitted.append)
        boundary: Any = self.boundary
        chat = JournaledChat(lambda ref: self.fake, self.journal, cache=cache, sleep=self.boundary.sleep)
        self.parts = CallParts(
            self.inputs, log, boundary, chat, budget, unused, unused, unused, self.observer,
            lambda: self.watched, self.streamed.append,
        )  # fmt: skip

    def calls(self, attempt: int = 1, item: int | None = None, again: bool = False) -> AttemptCalls:
        settings = ModelSettings.of(self.inputs, self.task)
        return AttemptCalls(self.parts, self.task, settings, attempt=attempt, item=item, again=again)

    def frame(self, **fields: Any) -> Frame:
        return Frame(self.task, stage="inference", **fields)


def ask(calls: AttemptCalls, text: str = "hi", **fields: Any) -> ChatRequest:
    return calls.request((Message("user", text),), **fields)


# -- settings ---------------------------------------------------------------------------------------------
def test_a_task_s_own_settings_win_over_the_pipelines(tmp_path: Path) -> None:
    task = {**TASK, "llm": {"temperature": 0.5, "stop": ["x"], "retry": {"max_attempts": 2}}}
    rig = Rig(
        tmp_path, task=task, settings={"request_timeout": 77}, llm={"model": "fake:echo", "temperature": 0.1}
    )
    settings = ModelSettings.of(rig.inputs, rig.task)
    assert (settings.base.model, settings.base.temperature, settings.base.stop) == ("fake:echo", 0.5, ("x",))
    assert (settings.base.timeout, settings.retry.max_attempts) == (77, 2)


def test_an_answer_bound_that_somebody_wrote_is_part_of_what_is_asked_and_a_default_is_not(
    tmp_path: Path,
) -> None:
    """G2: a default that grows in a later version makes no earlier answer void."""
    bounded = Rig(tmp_path, task={**TASK, "llm": {"max_tokens": 5}}).calls()
    assert (ask(bounded).max_tokens, ask(bounded).hashed_max_tokens) == (5, None)
    free = Rig(tmp_path).calls()
    assert ask(free).hashed_max_tokens is not None
    assert (ask(free, max_tokens=9).max_tokens, ask(free, max_tokens=9).hashed_max_tokens) == (9, None)
    assert ask(free, max_tokens=None) == ask(free), "None is left out"


def test_images_for_a_model_without_eyes_are_refused(tmp_path: Path) -> None:
    """P11, G11."""
    calls = Rig(tmp_path).calls()
    with pytest.raises(InvalidInput, match="takes no images"):
        calls.need_images(ask(calls, model="deepseek:deepseek-chat"))
    calls.need_images(ask(calls, model="openai:gpt-5"))


# -- journal and cache ------------------------------------------------------------------------------------
async def test_a_recorded_answer_is_not_sent_observed_or_limited_again(tmp_path: Path) -> None:
    """P3: it was paid for."""
    account = Account("run", BudgetLimits(tokens=10_000))
    rig = Rig(tmp_path, budget=BudgetGuard(account))
    first = await rig.calls().chat(ask(rig.calls()), stage="inference", frame=rig.frame())
    used = account.used
    assert used.tokens > 0
    account.limits = BudgetLimits(tokens=1)
    again = rig.calls()
    answer = await again.chat(ask(again), stage="inference", frame=rig.frame())
    assert (answer.text, len(rig.fake.requests), account.used) == (first.text, 1, used)
    assert [note[0] for note in rig.observer.notes] == ["start", "end"]
    with pytest.raises(BudgetExceeded):
        await again.chat(ask(again, "new"), stage="inference", frame=rig.frame())
    assert len(rig.fake.requests) == 1


async def test_an_attempt_that_succeeded_gives_its_answers_to_later_runs_and_a_failed_one_does_not(
    tmp_path: Path,
) -> None:
    """G2: what led to a failure is asked anew."""
    answers = Answers()

    async def run(name: str, end: Callable[[AttemptCalls], None], *, again: bool = False) -> int:
        cache = CallCache(answers, owner="me", run=name, base_url=lambda ref: "")
        rig = Rig(tmp_path, cache=cache)
        calls = rig.calls(again=again)
        await calls.chat(ask(calls), stage="inference", frame=rig.frame())
        end(calls)
        await cache.aclose()
        return len(rig.fake.requests)

    assert await run("r1", AttemptCalls.drop) == 1
    assert await run("r2", AttemptCalls.keep) == 1
    assert await run("r3", AttemptCalls.keep) == 0
    assert await run("r4", AttemptCalls.keep, again=True) == 1, "another attempt wants another answer"


async def test_an_answer_that_came_with_a_batch_goes_into_the_cache_and_is_not_looked_up(
    tmp_path: Path,
) -> None:
    cache = CallCache(Answers(), owner="me", run="r", base_url=lambda ref: "")
    rig = Rig(tmp_path, cache=cache)
    calls = rig.calls()
    open_call = calls.open_call(ask(calls), stage="inference", frame=rig.frame())
    answered = calls.open_call(ask(calls), stage="inference", frame=rig.frame(), answered=True)
    assert (open_call.reads, answered.reads, answered.slot is not None) == (True, False, True)
    assert (open_call.key.nth, answered.key.nth) == (0, 1)
    uncached = calls.open_call(ask(calls, cache=False), stage="inference", frame=rig.frame(), answered=True)
    assert uncached.slot is None, "the code wanted no cache"


async def test_the_attempt_after_a_failed_one_puts_its_answer_where_that_ones_would_have_been(
    tmp_path: Path,
) -> None:
    """G2: a later run asks once, and finds what counted."""
    answers = Answers()
    sent = []
    for name, ends in (("r1", (AttemptCalls.drop, AttemptCalls.keep)), ("r2", (AttemptCalls.keep,))):
        cache = CallCache(answers, owner="me", run=name, base_url=lambda ref: "")
        rig = Rig(tmp_path, cache=cache)
        for attempt, end in enumerate(ends, 1):
            calls = rig.calls(attempt, again=attempt > 1)
            await calls.chat(ask(calls), stage="inference", frame=rig.frame())
            end(calls)
        await cache.aclose()
        sent.append(len(rig.fake.requests))
    assert sent == [2, 0]


async def test_nothing_is_sent_once_the_run_is_drained(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.boundary.draining = True
    calls = rig.calls()
    with pytest.raises(Drained):
        await calls.chat(ask(calls), stage="inference", frame=rig.frame())
    assert (rig.fake.requests, rig.journal.records) == ([], [])


# -- live text --------------------------------------------------------------------------------------------
async def test_text_is_shown_with_its_task_and_round_while_somebody_watches(tmp_path: Path) -> None:
    """DESIGN 7, Events: none from rows, whose texts would only mix."""
    rig = Rig(tmp_path)

    async def chat(**more: Any) -> list[str]:
        pieces: list[str] = []
        calls = rig.calls(item=more.get("index"))
        await calls.chat(
            ask(calls, str(more)), stage="inference", frame=rig.frame(round=2, attempt=3, **more), stream=True,
            on_text=pieces.append,
        )  # fmt: skip
        return pieces

    pieces = await chat()
    assert [note["text"] for note in rig.streamed] == pieces
    assert len(pieces) > 1
    assert rig.streamed[0] == {"task": "a", "text": "echo:", "round": 2, "attempt": 3}
    rig.streamed.clear()
    assert len(await chat(index=4)) > 1
    rig.watched = False
    assert len(await chat(item="x")) > 1, "whoever reads in the code gets them all the same"
    assert rig.streamed == []


# -- retries ----------------------------------------------------------------------------------------------
async def test_a_retry_is_an_event_and_gives_the_text_a_new_beginning(tmp_path: Path) -> None:
    """P7: people see what a task waits for, and a rate limit takes nothing of the stage's time."""
    rig = Rig(tmp_path, ModelRateLimited("slow", retry_after=3.0), ModelUnavailable("down"), "ok")
    clock: Any = Clock()
    pieces: list[str] = []
    calls = rig.calls()
    frame = rig.frame(deadline=clock, index=7)
    clock.waiting = rig.frame().waiting
    await calls.chat(ask(calls), stage="inference", frame=frame, on_text=pieces.append)
    assert pieces == ["", "", "ok"]
    first, second = rig.emitted
    assert (first["type"], first["task"], first["item"]) == ("call.retry", "a", 7)
    assert (first["data"]["attempt"], second["data"]["attempt"]) == (1, 2)
    assert (first["data"]["reason"], second["data"]["reason"]) == ("fake (rate limited)", "fake (unavailable)")
    assert first["data"]["error"] == {"code": "model_rate_limited", "message": "slow"}
    assert round(clock.extended, 2) == first["data"]["delay"] >= 3
    assert rig.observer.notes == [("start", "inference"), ("retry", 1), ("retry", 2), ("end", 1, "NoneType")]


async def test_a_call_that_fails_is_over_for_the_observer_and_counts_as_a_call(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ModelRefused("no"))
    calls = rig.calls()
    with pytest.raises(ModelRefused):
        await calls.chat(ask(calls), stage="inference", frame=rig.frame())
    assert rig.observer.notes[-1] == ("end", None, "ModelRefused")
    assert (calls.usage.calls, calls.lost) == (1, 0)


async def test_a_call_whose_answer_never_came_is_unknown(tmp_path: Path) -> None:
    """P3, P5: it may be billed."""

    def killed(request: ChatRequest) -> str:
        raise KeyboardInterrupt

    rig = Rig(tmp_path, killed)
    calls = rig.calls()
    with pytest.raises(KeyboardInterrupt):
        await calls.chat(ask(calls), stage="inference", frame=rig.frame())
    assert calls.lost == 1
    assert (calls.usage.calls, calls.usage.unknown) == (1, 1)
