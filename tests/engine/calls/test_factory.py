"""The factory of model calls: one journal, cache and budget for all attempts of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.calls.factory import CallFactory
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.ports import Observer
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.run.signals import RunSignals
from po_jupyter.errors import BudgetExceeded
from po_jupyter.llm.chat import Message
from po_jupyter.llm.money.team_prices import TeamPrices
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.model.run.events import draft
from po_jupyter.store.keyed.memory import MemoryStore
from tests.engine.calls.test_attempt_calls import Answers
from tests.support.engine import RUN, inputs_of, new_run

TASK = {"name": "a", "prompt": "x"}


class Fakes(dict[str, FakeProvider]):
    """A finder of providers."""

    team_prices: TeamPrices | None = None

    def get(self, ref: str, default: Any = None) -> Any:
        return self.setdefault(ref.partition(":")[0], FakeProvider())

    def prepare(self, ref: str) -> None:
        """Nothing is to be fetched."""


class Rig:
    """A factory over the log of a run in memory."""

    def __init__(self, tmp: Path, *, run: str = RUN, **more: Any) -> None:
        answers = more.pop("answers", None)
        options = more.pop("options", {})
        settings = more.pop("settings", {})
        store = MemoryStore()
        new_run(store, {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [TASK], **more}, {}, **options)
        inputs = inputs_of(tmp, [TASK], options=options, settings=settings, **more)
        inputs = replace(inputs, run=run)  # the cache gives a run none of its own answers
        history = read_history(store, RUN)
        self.log = RunLog(store, store.claim(RUN, {"pid": 1}), history, inputs.pipeline)
        self.fakes = Fakes()
        unused: Any = None
        self.factory = CallFactory(
            inputs, self.log, history, boundary=RunSignals(self.log), files=unused, threads=unused, mcp=unused,
            observer=Observer(), providers=self.fakes, answers=answers,
        )  # fmt: skip

    async def ask(self, task: str = "a", attempt: int = 1, text: str = "hi", **more: Any) -> str:
        found = self.log.pipeline.task(task)
        calls = self.factory.calls(found, attempt, **more)
        frame = Frame(found, attempt=attempt)
        response = await calls.chat(calls.request((Message("user", text),)), stage="inference", frame=frame)
        calls.keep()
        return response.text

    @property
    def sent(self) -> int:
        return sum(len(fake.requests) for fake in self.fakes.values())

    async def aclose(self) -> None:
        await self.factory.aclose()
        await self.log.aclose()


async def test_attempts_share_a_journal_in_which_each_has_its_own_calls(tmp_path: Path) -> None:
    """P3."""
    rig = Rig(tmp_path)
    await rig.ask()
    await rig.ask(attempt=2)
    await rig.ask(item=0)
    await rig.aclose()
    keys = {call["key"].rsplit("/", 4)[0] for r in rig.log.store.records(RUN) for call in r["calls"]}
    assert keys == {"a/-/1", "a/-/2", "a/0/1"}
    assert rig.sent == 3


async def test_without_a_store_for_answers_there_is_no_cache(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert rig.factory.cache is None
    await rig.factory.flush_cache()
    await rig.aclose()


async def test_answers_are_in_the_cache_when_the_run_is_seen_to_end(tmp_path: Path) -> None:
    """G2: the next run may start at once. A second attempt puts its answer there, and reads none."""
    answers = Answers()
    first = Rig(tmp_path, run="r1", answers=answers)
    await first.ask()
    await first.factory.flush_cache()
    second = Rig(tmp_path, run="r2", answers=answers)
    await second.ask()
    assert (first.sent, second.sent) == (1, 0)
    third = Rig(tmp_path, run="r3", answers=answers)
    await third.ask(attempt=2)
    assert third.sent == 1
    fourth = Rig(tmp_path, run="r4", answers=answers)
    await fourth.ask(attempt=2, again=False)
    assert fourth.sent == 0, "a row's attempts are counted elsewhere"
    await fourth.ask(text="last words")
    for rig in (first, second, third, fourth):
        await rig.aclose()
    fifth = Rig(tmp_path, run="r5", answers=answers)
    await fifth.ask(text="last words")
    assert fifth.sent == 0, "a worker that leaves writes what it has"
    await fifth.aclose()


async def test_the_runs_model_is_asked_whatever_the_pipeline_names(tmp_path: Path) -> None:
    rig = Rig(tmp_path, options={"model": "other:echo"})
    task = rig.log.pipeline.task("a")
    assert rig.factory.model_of(task) == "other:echo"
    await rig.ask()
    assert list(rig.fakes) == ["other"]
    assert await rig.factory.provider_of("other:x") is rig.fakes["other"]
    await rig.aclose()


async def test_a_task_that_another_one_added_has_its_own_budget(tmp_path: Path) -> None:
    """P5: whether the run has one or not."""
    for more in ({}, {"budget": {"tokens": 100_000}}):
        rig = Rig(tmp_path, **more)
        assert (rig.factory.budget is None) == (not more)
        added = {"name": "b", "prompt": "x", "budget": {"tokens": 1}}
        rig.log.emit(draft("tasks.added", "a", tasks=[added], after="a"))
        with pytest.raises(BudgetExceeded):
            await rig.ask("b")
        assert await rig.ask("a") == "echo: hi"
        assert rig.sent == 1
        await rig.aclose()


class _CountedAnswers(Answers):
    """A store that says how many answers it has: none yet."""

    def __len__(self) -> int:
        return len(self.rows)


async def test_an_empty_store_of_answers_is_a_cache(tmp_path: Path) -> None:
    rig = Rig(tmp_path, answers=_CountedAnswers())
    assert rig.factory.cache is not None
    await rig.factory.aclose()
