"""G2: what an earlier run was told is not asked again; what is asked anew, and what is never kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import RunSession, open_session
from po_jupyter.errors import ModelRefused, ModelUnavailable, StaleFence
from po_jupyter.llm.calls.cache import CallCache
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.disk.call_cache import AnswerCache
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, Lease
from tests.support.engine import Bench, Fake, new_run

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
ONE = {"name": "a", "prompt": "Say {{ seed.word }}"}
PYTHON = """
async def inference(ctx):
    answers = [await ctx.llm.chat("Say hi"{more}) for _ in range(3)]
    return [a.text for a in answers]
"""


class Cached(Bench):
    """Runs, one after the other, over one cache; each is a worker of its own."""

    runs = 0
    url: str | None = "https://one"

    async def run_it(
        self, *tasks: Mapping[str, Any], ends: str = "done", owner: str = "me", **options: Any
    ) -> dict[str, Any]:
        """A new run: its outputs."""
        data = options.pop("data", {"word": "hi"})
        more = options.pop("more", {})
        self.runs += 1
        self.run = f"0193f000000{self.runs:011x}"
        pipeline = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": list(tasks), **more}
        new_run(self.store, pipeline, data, self.run, **options)
        self.owner = owner
        assert await self.work_off() == ends, self.state.error
        return {t["name"]: self.output(t["name"]) for t in tasks}

    async def work_off(self, until: Callable[[RunSession], Any] | None = None) -> str:
        """One worker: to the end of the run, or killed once `until` is true."""
        session = self.session = await open_session(
            self.store,
            self.store.claim(self.run, {"pid": 1}),
            settings=Settings(data_dir=self.tmp),
            providers=Providers({}, opened={"fake": self.fake}),
            answers=AnswerCache(self.tmp / "cache", max_bytes=2**30, days=30),
            base_url=lambda ref: self.url,
            on_text=self.said.append,
            watched=lambda: self.watched,
        )
        assert session.calls.cache is not None
        if self.owner != "me":
            from po_jupyter.llm.calls.cache import owner_prefix

            session.calls.cache._prefix = owner_prefix(self.owner)
        if until is None:
            try:
                state = await RunExecutor(session).run()
            except StaleFence:
                await disconnected(session.calls.cache)
                raise
            await session.aclose()
            return state
        driving = asyncio.ensure_future(RunExecutor(session).run())
        while not until(session):
            await asyncio.sleep(0.002)
        await session.log.flush()
        await session.calls.cache.flush()
        session.log.abandon()  # killed: it says nothing more
        driving.cancel()
        await asyncio.wait([driving])
        await session.log._committer.close()
        await disconnected(session.calls.cache)
        return "killed"

    owner = "me"

    @property
    def calls(self) -> int:
        return len(self.fake.requests)

    @property
    def usage(self) -> Usage:
        return self.state.usage


async def disconnected(cache: CallCache) -> None:
    """A process that is killed has no connection; this one goes on, and only the thread that made it may close it."""
    queue = cache._queue
    if queue._thread is not None:
        await asyncio.get_running_loop().run_in_executor(queue._thread, queue._answers.close)
        queue._thread.shutdown()


@pytest.fixture
def cached(tmp_path: Path) -> Cached:
    return Cached(tmp_path)


def counting() -> Callable[[ChatRequest], str]:
    """A model whose every answer is another one."""
    numbers = iter(range(1000))
    return lambda request: f"answer {next(numbers)}"


async def test_the_same_run_again_asks_nobody_and_says_so(cached: Cached) -> None:
    """G2: visible hits that cost nothing: usage, events, the journal."""
    first = await cached.run_it(ONE)
    assert cached.calls == 1
    assert await cached.run_it(ONE) == first
    assert cached.calls == 1
    assert (cached.usage.calls, cached.usage.cached_calls) == (0, 1)
    assert (cached.usage.input_tokens, cached.usage.output_tokens, cached.usage.cost) == (0, 0, 0.0)
    (done,) = cached.events("call.done")
    assert done["data"]["cached"] is True
    kinds = [(c["kind"], c.get("cached")) for r in cached.records() for c in r["calls"]]
    assert kinds == [("response", True)], "no intent: nothing was about to be sent"


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Shout {{ seed.word }}"},
        {"system": "You shout."},
        {"output": {"type": "string"}},
        {"llm": {"temperature": 0.5}},
        {"llm": {"max_tokens": 7}},
        {"llm": {"model": "fake:echo?latency=0"}},
    ],
)
async def test_what_changes_the_answer_asks_again(cached: Cached, change: dict[str, Any]) -> None:
    """G2"""
    await cached.run_it(ONE)
    await cached.run_it({**ONE, **change})
    assert (cached.calls, cached.usage.cached_calls) == (2, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"},
        {"timeout": 7},
        {"llm": {"timeout": 7}},
        {"description": "x"},
        {"retry": {"max_attempts": 1}},
        {"config": {"a": 1}},
    ],
)
async def test_what_does_not_change_the_answer_does_not(cached: Cached, change: dict[str, Any]) -> None:
    """G2: everything that changes the answer, and nothing else."""
    await cached.run_it(ONE)
    await cached.run_it({**ONE, **change})
    assert cached.calls == 1


async def test_other_places_and_other_people_have_answers_of_their_own(cached: Cached) -> None:
    """G2: base URL and owner; a provider that may do more than answer is never cached."""
    await cached.run_it(ONE)
    cached.url = "https://other"
    await cached.run_it(ONE)
    assert cached.calls == 2
    await cached.run_it(ONE, owner="somebody")
    assert cached.calls == 3
    await cached.run_it(ONE, owner="somebody")
    assert cached.calls == 3
    cached.url = None
    await cached.run_it(ONE)
    await cached.run_it(ONE)
    assert cached.calls == 5


@pytest.mark.parametrize(
    ("task", "options", "reads", "writes"),
    [
        ({}, {}, True, True),
        ({"cache": True}, {}, True, True),
        ({"cache": False}, {}, False, False),
        ({"cache": "refresh"}, {}, False, True),
        ({}, {"fresh": True}, False, True),
        ({}, {"cache": "refresh"}, False, True),
        ({}, {"cache": False}, False, False),
        ({"cache": False}, {"fresh": True}, False, False),
        ({"cache": "refresh"}, {"cache": False}, False, False),
    ],
)
async def test_modes(
    cached: Cached, task: dict[str, Any], options: dict[str, Any], reads: bool, writes: bool
) -> None:
    """G2: the task's `cache`, and the run's over it."""
    cached.fake._replies = ["old", "new", "newest"]
    await cached.run_it(ONE)
    out = await cached.run_it({**ONE, **task}, **options)
    assert out["a"] == ("old" if reads else "new")
    assert (await cached.run_it(ONE))["a"] == ("new" if writes and not reads else "old")


@pytest.mark.parametrize(
    ("task", "more", "options", "hits"),
    [
        ({}, "", {}, 0),
        ({"cache": True}, "", {}, 3),
        ({}, ", cache=True", {}, 3),
        ({"cache": True}, ", cache=False", {}, 0),
        ({"cache": True}, "", {"fresh": True}, 0),
        ({}, ", cache=True", {"cache": False}, 0),
    ],
)
async def test_python_tasks_only_when_asked(
    cached: Cached, task: dict[str, Any], more: str, options: dict[str, Any], hits: int
) -> None:
    """G2: and the same question asked three times on purpose has three answers, in both runs."""
    cached.fake._replies = [counting()] * 10
    source = PYTHON.replace("{more}", more)
    first = await cached.run_it({"name": "a", "source": source, **task})
    assert first["a"] == ["answer 0", "answer 1", "answer 2"]
    again = await cached.run_it({"name": "a", "source": source, **task}, **options)
    assert cached.usage.cached_calls == hits
    assert (again == first) is bool(hits)


async def test_equal_tasks_and_equal_rows_of_a_run_have_their_own_answers(cached: Cached) -> None:
    """G2: three judges, or ten samples of one prompt: no call gets what another call of its run got."""
    cached.fake._replies = [counting()] * 100
    judges = [{"name": f"judge-{i}", "prompt": "Judge."} for i in range(3)]
    first = await cached.run_it(*judges)
    assert len(set(first.values())) == 3
    assert await cached.run_it(*judges) == first
    rows = {"name": "m", "prompt": "Sample.", "for_each": "range(10)", "max_concurrency": 3}
    outputs = [row["output"] for row in (await cached.run_it(rows, cache="refresh"))["m"]]
    assert len(set(outputs)) == 10
    changed = {**rows, "description": "y", "config": {"other": "definition"}}  # so that no row is taken over
    again = [row["output"] for row in (await cached.run_it(changed))["m"]]
    assert sorted(again) == sorted(outputs)
    assert cached.calls == 13


async def test_rows_of_another_map_with_the_same_questions(cached: Cached) -> None:
    """G2: row outcomes are reused by definition, answers by what was asked."""
    task = {"name": "m", "prompt": "Label {{ item }}", "for_each": "{{ seed.rows }}"}
    await cached.run_it(task, data={"rows": ["a", "b", "c"]})
    await cached.run_it({**task, "config": {"x": 1}}, data={"rows": ["c", "d", "a"]})
    assert cached.calls == 4
    assert (cached.usage.calls, cached.usage.cached_calls) == (1, 2)
    items = [i for r in cached.records() for i in r["items"]]
    assert sorted(i["usage"]["cached_calls"] for i in items) == [0, 1, 1]


async def test_a_new_attempt_asks_anew_and_what_it_is_told_stays(cached: Cached) -> None:
    """P3, G2: answers of an attempt that failed are not kept."""
    task = {
        "name": "a",
        "source": "async def inference(ctx):\n"
        "    text = (await ctx.llm.chat('x', cache=True)).text\n"
        "    assert text != 'bad'\n"
        "    return text\n",
        "retry": {"max_attempts": 2, "initial_delay": 0.01},
    }
    cached.fake._replies = ["bad", "good"]
    assert (await cached.run_it(task))["a"] == "good"
    assert (await cached.run_it(task))["a"] == "good"
    assert cached.calls == 2


async def test_an_attempt_after_the_first_reads_nothing(cached: Cached) -> None:
    """P3: a restart of the task in the same run is somebody who wants another answer."""
    cached.fake._replies = ["one", "two"]
    await cached.run_it(ONE)
    cached.resume("a")
    assert await cached.work_off() == "done"
    assert cached.output("a") == "two"
    assert (await cached.run_it(ONE))["a"] == "two"
    assert cached.calls == 2


async def test_rows_that_fail_are_not_kept(cached: Cached) -> None:
    """G2, P3: only the successful attempt of a row leaves something."""
    task = {
        "name": "m",
        "prompt": "{{ item }}",
        "for_each": "range(2)",
        "max_concurrency": 1,
        "output": SCHEMA,
        "refine": {"max_attempts": 0},
    }
    cached.fake._replies = ["nonsense", '{"n": 1}']
    await cached.run_it(task)
    cached.fake._replies = ['{"n": 2}']
    rows = (await cached.run_it({**task, "config": {"x": 1}}))["m"]
    assert [row["output"] for row in rows] == [{"n": 2}, {"n": 1}]
    assert (cached.calls, cached.usage.cached_calls) == (3, 1)


async def test_the_way_to_a_good_answer_is_replayed_as_a_whole(cached: Cached) -> None:
    """G2: an answer that did not fit, the question that followed, and the answer to it; the critique too."""
    task = {**ONE, "output": SCHEMA, "refine": {"max_attempts": 2, "critique": "Wrong in {{ output }}?"}}
    cached.fake._replies = ['{"m": 1}', "it lacks n", '{"n": 1}']
    assert (await cached.run_it(task))["a"] == {"n": 1}
    assert (await cached.run_it(task))["a"] == {"n": 1}
    assert cached.calls == 3
    assert (cached.usage.calls, cached.usage.cached_calls) == (0, 3)


async def test_errors_are_never_kept(cached: Cached) -> None:
    """G2"""
    once = {**ONE, "retry": {"max_attempts": 1}, "llm": {"retry": {"max_attempts": 1}}}
    for error in (ModelUnavailable("down"), ModelRefused("no")):
        cached.fake._replies = [error]
        await cached.run_it(once, ends="failed")
    assert (await cached.run_it(once))["a"] == "echo: Say hi"
    assert cached.calls == 3


@pytest.mark.parametrize(
    "answer",
    [
        ChatResponse("cut in the mid", finish="length"),
        ChatResponse("", finish="stop"),
        ChatResponse("filtered", finish="content_filter"),
        ChatResponse("paused", finish="pause_turn"),
    ],
)
async def test_what_is_not_whole_is_never_kept(cached: Cached, answer: ChatResponse) -> None:
    """G2: truncations, refusals, and what says nothing."""

    class Odd(Fake):
        async def chat(self, request: ChatRequest, **named: Any) -> ChatResponse:
            await super().chat(request, **named)
            return answer

    once = {**ONE, "retry": {"max_attempts": 1}, "llm": {"retry": {"max_attempts": 1}}}
    cached.fake = Odd()
    for _ in range(2):
        await cached.run_it(once, ends="done" if answer.text else "failed")
    assert cached.calls == 2


async def test_a_hit_needs_no_room_in_a_budget(cached: Cached) -> None:
    """G1, G2: a budget that no call would fit into."""
    await cached.run_it(ONE)
    await cached.run_it(ONE, more={"budget": {"tokens": 1}})
    assert (cached.calls, cached.usage.cached_calls) == (1, 1)
    await cached.run_it(ONE, more={"budget": {"tokens": 1}}, fresh=True, ends="failed")
    assert cached.state.error is not None
    assert cached.state.error["code"] == "budget_exceeded"


async def test_a_hit_is_streamed_as_a_whole(cached: Cached) -> None:
    await cached.run_it(ONE)
    cached.watched = True
    cached.said.clear()
    await cached.run_it(ONE)
    assert [note["text"] for note in cached.said] == ["echo: Say hi"]


async def test_a_crash_replays_hits_from_the_journal(cached: Cached, tmp_path: Path) -> None:
    """P3, G2: even when the cache forgets them meanwhile, and the usage is counted once."""
    task = {
        "name": "a",
        "cache": True,
        "source": "async def pre_processing(ctx):\n    return (await ctx.llm.chat('first')).text\n"
        "async def inference(ctx):\n    return ctx.output + (await ctx.llm.chat('second')).text\n",
    }
    first = await cached.run_it(task)
    AnswerCache(tmp_path / "cache", max_bytes=2**30).clear()
    await cached.run_it({**task, "source": task["source"].replace("'second'", "'other'")}, cache="refresh")
    cached.runs += 1
    cached.run = f"0193f000000{cached.runs:011x}"
    pipeline = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [task]}
    new_run(cached.store, pipeline, {}, cached.run)
    cached.fake.hold = True
    assert await cached.work_off(lambda session: cached.fake.waiting.is_set()) == "killed"
    assert [e["data"]["cached"] for e in cached.events("call.done")] == [True]
    AnswerCache(tmp_path / "cache", max_bytes=2**30).clear()
    cached.fake.hold = False
    cached.fake.gate.set()
    before = cached.calls
    assert await cached.work_off() == "done"
    assert cached.calls == before + 1, "the second one, whose outcome was unknown"
    assert cached.output("a") == first["a"]
    assert (cached.usage.cached_calls, cached.usage.unknown) == (1, 1)


async def test_equal_rows_stay_apart_over_a_crash(cached: Cached) -> None:
    """G2, P3: what a run itself put there before it was killed is no answer to another call of it."""
    cached.fake._replies = [counting()] * 100
    task = {"name": "m", "prompt": "Sample.", "for_each": "range(6)", "max_concurrency": 1}
    cached.runs += 1
    cached.run = f"0193f000000{cached.runs:011x}"
    new_run(cached.store, {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [task]}, {}, cached.run)
    answer = cached.fake._text

    def three(*args: Any) -> str:
        cached.fake.hold = len(cached.fake.requests) >= 3
        return answer(*args)

    cached.fake._text = three
    assert await cached.work_off(lambda session: cached.fake.waiting.is_set()) == "killed"
    cached.fake._text = answer
    cached.fake.hold = False
    cached.fake.gate.set()
    assert await cached.work_off() == "done"
    outputs = [row["output"] for row in cached.output("m")]
    assert len(set(outputs)) == 6
    assert cached.usage.cached_calls == 0


async def test_two_runs_at_once_share_what_is_there(tmp_path: Path) -> None:
    """G2: each with a connection of its own."""
    one, two = Cached(tmp_path), Cached(tmp_path)
    await one.run_it(ONE)
    two.runs = 100
    await asyncio.gather(one.run_it(ONE), two.run_it(ONE))
    assert (one.calls, two.calls) == (1, 0)


async def test_a_cache_that_breaks_is_a_miss(cached: Cached, monkeypatch: pytest.MonkeyPatch) -> None:
    """G2: whatever it is: even a defect in it fails no run."""
    await cached.run_it(ONE)

    def broken(self: AnswerCache, *_: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(AnswerCache, "find", broken)
    monkeypatch.setattr(AnswerCache, "keep", broken)
    await cached.run_it(ONE)
    assert cached.calls == 2


@pytest.mark.parametrize("row", [{}, {"text": 1}, {"text": "x", "tool_calls": 3}, {"text": ""}, {"text": None}])
async def test_a_row_that_is_no_answer_is_a_miss(
    cached: Cached, monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]
) -> None:
    """P4, G2"""
    monkeypatch.setattr(AnswerCache, "find", lambda self, keys: dict.fromkeys(keys, row))
    await cached.run_it(ONE)
    assert cached.calls == 1


async def test_skipped_rows_and_a_resume_still_end(cached: Cached) -> None:
    """P12: a cancelled run that goes on finds its finished rows, and the cache no reason to hang."""
    task = {"name": "m", "prompt": "{{ item }}", "for_each": "range(20)", "max_concurrency": 4}
    await cached.run_it(task)
    cached.store.request(cached.run, [draft("run.resumed", reset=["m"], clear=["m"], by="me")], state="pending")
    assert await cached.work_off() == "done"
    assert cached.calls == 40


class Dying(MemoryStore):
    """Dies like a killed worker: after `left` more commits none is written."""

    left = 10**9

    def commit(self, lease: Lease, commit: Commit) -> Any:
        if self.left <= 0:
            raise StaleFence("this process is dead")
        self.left -= 1
        return super().commit(lease, commit)


@pytest.mark.parametrize("rows", [False, True])
async def test_after_a_crash_no_call_gets_what_another_call_of_the_run_had(tmp_path: Path, rows: bool) -> None:
    """G2: who asks the same three times wants three answers, also of two workers, one after the other."""
    store = Dying()
    cached = Cached(tmp_path, store)
    cached.fake._replies = [counting()] * 100
    same = {"prompt": "Say hi"}
    chain = [{"name": name, **same} for name in ("a", "b", "c")]
    await cached.run_it(*chain)
    tasks = [{"name": "m", **same, "for_each": "range(3)", "max_concurrency": 1, "retry": {"max_attempts": 1}}]
    for left in range(1, 12):
        store.left = left
        try:
            await cached.run_it(*(tasks if rows else chain))
        except StaleFence:
            store.left = 10**9
            assert await cached.work_off() == "done"
        said = [cached.output(task["name"]) for task in (tasks if rows else chain)]
        texts = [row["output"] for row in said[0]] if rows else said
        assert sorted(texts) == ["answer 0", "answer 1", "answer 2"], left
        assert cached.calls == 3
        if rows:  # rows of another definition are not reused, so that each of these asks the cache
            tasks[0]["config"] = {"n": left}
