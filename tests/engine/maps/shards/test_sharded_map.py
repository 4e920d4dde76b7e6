"""Maps whose rows are shared out to child runs: the same outcomes, bill and resume as without."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.shards.open_shard import OpenShard
from po_jupyter.engine.replay.history import read_history
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.protocol import Commit
from tests.support.engine import wait_until
from tests.support.shards import Family

TASK = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "say {{ item.n }} of {{ index }} in {{ run.id }}"}
ODD = """
def inference(ctx):
    if ctx.item["n"] % 2:
        raise ValueError(f"odd {ctx.item['n']}")
    return {"n": ctx.item["n"], "index": ctx.index}
"""


def rows(count: int) -> dict[str, Any]:
    return {"rows": [{"n": i} for i in range(count)]}


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path / "with")


@pytest.fixture
def alone(tmp_path: Path) -> Family:
    return Family(tmp_path / "without")


def bill(bench: Family) -> Usage:
    return read_history(bench.store, bench.run).state.usage


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 17])
@pytest.mark.parametrize("shards", [1, 2, 4])
async def test_outcomes_and_bill_are_those_without_shards(
    family: Family, alone: Family, count: int, shards: int
) -> None:
    family.create([{**TASK, "shards": shards}, {"name": "z", "prompt": "{{ tasks.m | length }}"}], rows(count))
    alone.create([TASK, {"name": "z", "prompt": "{{ tasks.m | length }}"}], rows(count))
    assert await family.go() == await alone.go() == "done"
    assert family.rows("m") == alone.rows("m")
    assert bill(family) == bill(alone)
    assert family.output("z") == alone.output("z")
    assert sorted(family.fake.prompts) == sorted(alone.fake.prompts)
    expected = min(shards, count) if min(shards, count) > 1 else 0
    assert len(family.children()) == expected


async def test_failed_rows_are_those_without_shards(family: Family, alone: Family) -> None:
    task = {"name": "m", "source": ODD, "for_each": "{{ seed.rows }}", "retry": {"max_attempts": 1}}
    family.create([{**task, "shards": 3}], rows(10))
    alone.create([task], rows(10))
    assert await family.go() == await alone.go() == "done"
    with_shards, without = family.rows("m"), alone.rows("m")
    for row in [*with_shards, *without]:
        row["error"] = row["error"] and row["error"]["message"]
    assert with_shards == without
    assert sorted(e["item"] for e in family.events("item.failed")) == [1, 3, 5, 7, 9]


async def test_the_threshold_counts_over_all_shards(family: Family) -> None:
    task = {"name": "m", "source": ODD, "for_each": "{{ seed.rows }}", "retry": {"max_attempts": 1}}
    family.create([{**task, "shards": 2, "failure_threshold": 0.4}, {"name": "z", "prompt": "x"}], rows(10))
    assert await family.go() == "failed"
    error = family.state.error
    assert error is not None
    assert (error["code"], error["message"].partition(": ")[0]) == (
        "failure_threshold",
        "5 of 10 rows failed; failure_threshold 0.4 allows 4",
    )
    assert all(family.store.head(run)["state"] in ("done", "cancelled") for run in family.children())


async def test_only_failed_rows_are_asked_again(family: Family, tmp_path: Path) -> None:
    flag = tmp_path / "fixed"
    source = (
        "from pathlib import Path\n"
        "def inference(ctx):\n"
        f"    if ctx.item['n'] % 2 and not Path({str(flag)!r}).exists():\n"
        "        raise ValueError('odd')\n"
        "    ctx.io.write_log('done', f'{ctx.index}\\n', append=True)\n"
        "    return ctx.item['n']\n"
    )
    task = {"name": "m", "source": source, "for_each": "{{ seed.rows }}", "retry": {"max_attempts": 1}}
    family.create([{**task, "shards": 2, "failure_threshold": 0.2}], rows(10))
    assert await family.go() == "failed"
    flag.touch()
    family.resume("m")
    assert await family.go() == "done"
    assert [row["output"] for row in family.rows("m")] == list(range(10))
    done = [int(line) for log in family.tmp.rglob("done") for line in log.read_text().split()]
    assert sorted(done) == list(range(10))


async def test_rows_that_a_resume_names_alone_are_asked(family: Family) -> None:
    family.create([{**TASK, "shards": 2}], rows(8))
    assert await family.go() == "done"
    asked = len(family.fake.prompts)
    family.resume("m", rows={"m": {"rows": "2,5,7", "done": 3, "failed": 0}})
    assert await family.go() == "done"
    assert sorted(int(p.split()[1]) for p in family.fake.prompts[asked:]) == [2, 5, 7]
    assert [row["output"] is not None for row in family.rows("m")] == [True] * 8


async def test_rows_see_the_outputs_of_tasks_before_them(family: Family, alone: Family) -> None:
    tasks: list[dict[str, Any]] = [
        {"name": "a", "prompt": "the topic"},
        {"name": "b", "prompt": "row {{ item.n }}", "for_each": "{{ seed.rows }}"},
        {"name": "m", "prompt": "{{ tasks.a }}: {{ item.output }}", "for_each": "{{ tasks.b }}", "shards": 2},
    ]
    family.create(tasks, rows(4))
    alone.create([*tasks[:2], {**tasks[2], "shards": None}], rows(4))
    assert await family.go() == await alone.go() == "done"
    assert family.rows("m") == alone.rows("m")
    assert bill(family) == bill(alone)
    assert len(family.fake.prompts) == 9


async def test_a_later_run_reuses_the_rows_and_the_other_way_round(family: Family) -> None:
    task = {**TASK, "prompt": "say {{ item.n }}"}
    family.create([{**task, "shards": 2}], rows(6))
    assert await family.go() == "done"
    for number, shards in ((1, None), (2, 3)):
        family.run = f"0193f00000000000abcde{number}"
        family.create([{**task, "shards": shards}], rows(6 + number))
        assert await family.go() == "done"
        assert len(family.fake.prompts) == 6 + number
        items = family.state.tasks["m"].items
        assert items is not None
        assert items.reused == 5 + number


async def test_a_cancel_goes_through_and_a_resume_goes_on(family: Family) -> None:
    """P12."""
    family.create([{**TASK, "shards": 2, "max_concurrency": 1}], rows(12))
    chat, calls, held = family.fake.chat, itertools.count(), asyncio.Event()

    async def held_from_the_fourth_on(request: Any, **more: Any) -> Any:
        if next(calls) == 3:
            family.fake.hold = True
            held.set()
        return await chat(request, **more)

    family.fake.chat = held_from_the_fourth_on
    going = asyncio.ensure_future(family.go())
    await held.wait()
    family.store.request(family.run, [draft("run.cancel_requested", by="me")])
    family.session.signals.cancel_hint()
    assert await going == "cancelled"
    assert {family.store.head(run)["state"] for run in family.children()} == {"cancelled"}
    kept = len(read_history(family.store, family.run).table("m"))
    assert kept == 3
    family.fake.hold = False
    family.fake.gate.set()
    before = len(family.fake.answered)
    family.resume("m", keep=["m"])
    assert await family.go() == "done"
    assert len(family.rows("m")) == 12
    assert len(family.fake.answered) - before <= 12 - kept


async def test_the_children_of_a_drained_run_are_taken_up_again(family: Family, alone: Family) -> None:
    family.create([{**TASK, "shards": 2, "max_concurrency": 1}], rows(6))
    alone.create([TASK], rows(6))
    family.fake.hold = True
    going = asyncio.ensure_future(family.go())
    await family.fake.waiting.wait()
    family.session.signals.drain()
    assert await going == "released"
    family.fake.gate.set()
    family.fake.hold = False
    assert await family.go() == await alone.go() == "done"
    assert family.rows("m") == alone.rows("m")
    assert bill(family) == bill(alone)
    assert len(family.children()) == 2
    assert len(family.fake.answered) == 6


@pytest.mark.parametrize("tokens", [60, 150, 400])
async def test_the_budget_is_that_of_all_shards_together(family: Family, alone: Family, tokens: int) -> None:
    """A budget ends a map with the same rows and the same error, whoever works on it."""
    task = {**TASK, "prompt": "say {{ item.n }}", "llm": {"max_tokens": 20}, "max_concurrency": 1}
    family.create([{**task, "shards": 3}], rows(12), budget={"tokens": tokens})
    alone.create([task], rows(12), budget={"tokens": tokens})
    ends = await family.go(), await alone.go()
    assert ends[0] == ends[1]
    if ends[0] == "failed":
        assert family.state.error is not None
        assert alone.state.error is not None
        assert family.state.error["code"] == alone.state.error["code"] == "budget_exceeded"
        assert family.state.error["message"].startswith(f"the budget of {tokens} tokens is spent: ")
    # Which rows fit depends on their order: the next call might not have.
    used = [one.input_tokens + one.output_tokens for one in (bill(family), bill(alone))]
    assert all(one <= tokens for one in used)
    assert ends[0] == "done" or all(one + 31 > tokens for one in used)
    family.resume("m", keep=["m"], budget={"tokens": 10_000})
    alone.resume("m", keep=["m"], budget={"tokens": 10_000})
    if ends[0] == "failed":
        assert await family.go() == await alone.go() == "done"
    assert len(family.fake.answered) == len(alone.fake.answered) == 12
    assert bill(family) == bill(alone)


async def test_a_child_run_that_died_is_an_error_of_the_map(family: Family) -> None:
    family.create([{**TASK, "shards": 2}], rows(4))
    family.alone = True
    going = asyncio.ensure_future(family.go())
    await wait_until(lambda: len(family.children()) == 2)
    poison, good = family.children()
    lease = family.store.claim(poison, {"pid": 2})
    error = {
        "code": "worker_crashed",
        "message": "the worker of this run was killed by SIGKILL, 3 times in a row",
    }
    family.store.commit(lease, Commit(events=[draft("run.dead", error=error)], state="dead", release=True))
    family.alone = False
    family.look_at(good)
    assert await going == "failed"
    found = family.state.error
    assert found is not None
    assert found["code"] == "shard_failed"
    assert "is dead: the worker of this run was killed by SIGKILL" in found["message"]
    assert [row.ok for row in read_history(family.store, family.run).table("m").values()] == [True, True]
    family.resume("m")
    assert await family.go() == "done"
    assert len(family.fake.answered) == 4


async def test_answers_of_rows_that_a_cancel_left_are_not_asked_for_again(family: Family) -> None:
    """P3: the child runs of the next round find them."""
    source = (
        "async def inference(ctx):\n"
        "    first = await ctx.llm.chat(f'first of {ctx.index}')\n"
        "    return (await ctx.llm.chat(f'second of {ctx.index}')).text\n"
    )
    task = {"name": "m", "for_each": "{{ seed.rows }}", "source": source, "shards": 2, "max_concurrency": 1}
    family.create([task], rows(2))
    chat, asked, held = family.fake.chat, list[str](), asyncio.Event()

    async def held_from_the_third_on(request: Any, **more: Any) -> Any:
        asked.append(request.request_hash)
        if len(asked) > 2 and not held.is_set():
            family.fake.hold = True
            held.set()
        return await chat(request, **more)

    family.fake.chat = held_from_the_third_on
    going = asyncio.ensure_future(family.go())
    await held.wait()
    family.store.request(family.run, [draft("run.cancel_requested", by="me")])
    family.session.signals.cancel_hint()
    assert await going == "cancelled"
    family.fake.hold = False
    answered = len(family.fake.answered)
    assert answered == 2
    family.resume("m", keep=["m"])
    assert await family.go() == "done"
    assert len(set(family.fake.answered)) == len(family.fake.answered), "an answered call was sent again"
    used = bill(family)
    assert used.calls - used.unknown == len(family.fake.answered)
    assert used.calls == len(asked)


async def test_a_restart_asks_every_row_anew(family: Family, alone: Family) -> None:
    family.create([{**TASK, "shards": 2}], rows(4))
    alone.create([TASK], rows(4))
    for bench in (family, alone):
        assert await bench.go() == "done"
        bench.resume("m", clear=["m"])
        assert await bench.go() == "done"
        assert len(bench.fake.prompts) == 8
    assert family.rows("m") == alone.rows("m")
    assert bill(family) == bill(alone)
    assert len(family.children()) == 4


async def test_child_runs_of_a_map_that_was_started_over_count_as_cost_alone(family: Family) -> None:
    """They were left at work by a run that died, and the map is done anew: their rows are none of its rows."""
    family.create([{**TASK, "shards": 2, "max_concurrency": 1}], rows(4))
    family.alone, family.drains_at = True, 2
    assert await family.go() == "released"
    one, _ = family.children()
    assert await family.work_off(one) == "done"
    lease = family.store.claim(family.run, {"pid": 2})
    family.store.commit(lease, Commit(events=[draft("run.dead", error={})], state="dead", release=True))
    family.resume("m", clear=["m"])
    family.alone = False
    assert await family.go() == "done"
    assert len(family.rows("m")) == 4
    assert bill(family).calls == len(family.fake.answered) == 6
    assert {family.store.head(run)["state"] for run in family.children()} == {"done", "cancelled"}


TWO_CALLS = (
    "async def inference(ctx):\n"
    "    first = await ctx.llm.chat(f'first of {ctx.index}')\n"
    "    return (await ctx.llm.chat(f'second of {ctx.index}')).text\n"
)


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("count", [2, 3])
async def test_the_last_rows_find_the_answers_that_child_runs_recorded(
    family: Family, adopted: bool, count: int
) -> None:
    """P3: a share was enough for the first call of a row; the map asks for the second alone."""
    task = {
        "name": "m", "for_each": "{{ seed.rows }}", "source": TWO_CALLS, "shards": count, "max_concurrency": 1,
        "llm": {"max_tokens": 20},
    }  # fmt: skip
    family.create([task], rows(count), budget={"tokens": 40 * count})
    if adopted:
        family.alone, family.drains_at = True, count
        assert await family.go() == "released"
        for child in family.children():
            assert await family.work_off(child) == "failed"
        family.alone = False
    assert await family.go() == "done"
    assert len(set(family.fake.answered)) == len(family.fake.answered), "an answered call was sent again"
    assert bill(family).calls == 2 * count


@pytest.mark.parametrize("before", [{}, {"usd": 1}, {"tokens": 2000}])
async def test_a_budget_of_a_resume_holds_for_child_runs_that_were_left_at_work(
    family: Family, before: dict[str, Any]
) -> None:
    """Their shares are of another budget, or they have none: what they did counts, and they stop."""
    task = {**TASK, "prompt": "say {{ item.n }}", "llm": {"max_tokens": 20}, "max_concurrency": 1, "shards": 2}
    family.create([task], rows(16), budget=before)
    family.alone, family.drains_at = True, 2
    assert await family.go() == "released"
    one, other = family.children()
    assert await family.work_off(one) == "done"
    used = read_history(family.store, one).state.usage
    budget = used.input_tokens + used.output_tokens + 50
    lease = family.store.claim(family.run, {"pid": 2})
    family.store.commit(lease, Commit(events=[draft("run.dead", error={})], state="dead", release=True))
    family.resume("m", keep=["m"], budget={"tokens": budget})
    family.alone = False
    assert await family.go() == "failed"
    assert family.state.error is not None
    assert family.state.error["code"] == "budget_exceeded"
    assert budget - 31 < bill(family).input_tokens + bill(family).output_tokens <= budget
    assert family.store.head(other)["state"] == "cancelled"
    family.resume("m", keep=["m"], budget={"tokens": 10_000})
    assert await family.go() == "done"
    assert bill(family).calls == len(family.fake.answered) == 16


async def test_a_map_that_broke_off_leaves_no_child_run_at_work(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    family.create([{**TASK, "shards": 2, "max_concurrency": 1, "retry": {"max_attempts": 1}}], rows(6))
    chat, calls, held, look = family.fake.chat, itertools.count(), asyncio.Event(), OpenShard.look

    async def held_from_the_third_on(request: Any, **more: Any) -> Any:
        if next(calls) == 2:
            family.fake.hold = True
            held.set()
        return await chat(request, **more)

    async def broken(shard: OpenShard) -> Any:
        monkeypatch.setattr(OpenShard, "look", look)
        raise RuntimeError("unforeseen")

    family.fake.chat = held_from_the_third_on
    going = asyncio.ensure_future(family.go())
    await held.wait()
    monkeypatch.setattr(OpenShard, "look", broken)
    assert await going == "failed"
    assert {family.store.head(run)["state"] for run in family.children()} == {"cancelled"}
    assert len(read_history(family.store, family.run).table("m")) == 2, "what they finished is kept"
    family.fake.hold = False
    family.fake.gate.set()
    family.resume("m", keep=["m"])
    assert await family.go() == "done"
    assert len(family.rows("m")) == 6


async def test_a_child_run_that_this_run_cancelled_before_is_no_failure(family: Family) -> None:
    """The worker that did it died; the row that was left is worked on here, and answered calls are not sent again."""
    task = {"name": "m", "for_each": "{{ seed.rows }}", "source": TWO_CALLS, "shards": 2, "max_concurrency": 1}
    family.create([task], rows(2))
    family.alone, family.drains_at = True, 2
    assert await family.go() == "released"
    one, other = family.children()
    assert await family.work_off(one) == "done"
    chat = family.fake.chat

    async def held_at_the_second(request: Any, **more: Any) -> Any:
        family.fake.hold = request.messages[-1].content.startswith("second")
        return await chat(request, **more)

    family.fake.chat = held_at_the_second
    going = asyncio.ensure_future(family.work_off(other))
    await family.fake.waiting.wait()
    family.store.request(other, [draft("run.cancel_requested", by=family.run)])
    family.sessions[other].signals.cancel_hint()
    assert await going == "cancelled"
    family.fake.gate.set()
    family.alone = False
    assert await family.go() == "done"
    assert len(set(family.fake.answered)) == len(family.fake.answered) == 4


async def test_votes_of_rows_are_those_without_shards(family: Family, alone: Family) -> None:
    task = {**TASK, "prompt": "say {{ item.n }}", "votes": {"n": 3, "stop_early": True}}
    family.create([{**task, "shards": 2}], rows(5))
    alone.create([task], rows(5))
    assert await family.go() == await alone.go() == "done"
    assert bill(family) == bill(alone)

    def votes(bench: Family) -> list[Any]:
        return [item.get("votes") for record in bench.records() for item in record["items"]]

    assert votes(family) == votes(alone) == [{"agreeing": 2, "asked": 2, "n": 3}] * 5


class Answers:
    """The cache of calls, in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def find(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: self.rows[key] for key in keys if key in self.rows}

    def keep(self, rows: Sequence[tuple[str, Any]]) -> None:
        self.rows |= dict(rows)

    def close(self) -> None:
        pass


async def test_equal_questions_take_each_an_answer_of_their_own(tmp_path: Path) -> None:
    """Of two rows that ask the same, and one answer of an earlier run, one is asked anew: as without shards."""
    found = []
    for more in ({}, {"shards": 2}):
        bench = Family(tmp_path / f"with{len(more)}")
        bench.answers = Answers()
        bench.create([{"name": "a", "prompt": "say a"}, {"name": "b", "prompt": "say b"}])
        assert await bench.go() == "done"
        bench.fake.requests.clear()
        bench.run = "0193f00000000000fedcba"
        task = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "say {{ item }}", **more}
        bench.create([task], {"rows": ["a", "b", "c", "a"]})
        assert await bench.go() == "done"
        children = read_history(bench.store, bench.run).state.child_runs
        assert len(children) == more.get("shards", 0)
        found.append((sorted(bench.fake.prompts), bench.rows("m"), bill(bench)))
    assert found[0] == found[1]
    assert found[0][0] == ["say a", "say c"]
