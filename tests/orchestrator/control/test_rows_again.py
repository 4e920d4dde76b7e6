"""Rows that a person asks for again: exactly those, once, whatever dies meanwhile (P2, P3, P12)."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.state.resume import ResumePlan, kept_tasks, resume_plan
from po_jupyter.errors import Conflict, InvalidInput, ModelRefused, NotFound, StaleFence
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.control.rows_again import check_selection, plan_rows
from tests.engine.calls.test_journal import Dying
from tests.support.engine import RUN, Bench

pytestmark = pytest.mark.integration  # a kill at every commit: it takes seconds

MAP: dict[str, Any] = {
    "name": "m", "prompt": "row {{ item }}.", "for_each": "{{ seed.rows }}", "failure_threshold": 1,
    "max_concurrency": 2,
}  # fmt: skip
END: dict[str, Any] = {"name": "end", "prompt": "all of {{ tasks.m | map(attribute='output') | list }}"}


class Ill(Bench):
    """A model that refuses some rows until it is well."""

    def __init__(self, tmp: Path, bad: Sequence[int] = (1, 4)) -> None:
        super().__init__(tmp, Dying())
        self.bad = {f"row {index}." for index in bad}
        self._answer = self.fake.chat
        self.fake.chat = self._chat  # type: ignore[method-assign]

    async def _chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        if request.messages[-1].content in self.bad:
            self.fake.requests.append(request)
            raise ModelRefused("ill")
        return await self._answer(request, on_text=on_text)

    def again(self, rows: dict[str, list[int]], *, include_done: bool = False) -> None:
        """Resume it as `RunControl` does."""
        state = read_history(self.store, RUN).state
        todo, again = plan_rows(self.store, self.pipeline, state, rows, include_done=include_done)
        keep = kept_tasks(state, todo)
        self.resume(*todo.reset, clear=todo.clear, keep=keep, rows=again)

    @property
    def pipeline(self) -> Any:
        return self.session.log.pipeline

    @property
    def asked(self) -> Counter[str]:
        return Counter(self.fake.prompts)

    def rows(self, task: str = "m") -> list[Any]:
        return [row["output"] for row in self.output(task)]


async def ill(tmp: Path, *tasks: dict[str, Any], rows: int = 6, bad: Sequence[int] = (1, 4)) -> Ill:
    """A run that went through its rows once, and a model that is well by now."""
    bench = Ill(tmp, bad)
    bench.create(tasks or (MAP, END), {"rows": list(range(rows))})
    await bench.go()
    bench.bad.clear()
    bench.fake.requests.clear()
    return bench


async def test_only_the_named_row_is_asked_for_again(tmp_path: Path) -> None:
    bench = await ill(tmp_path)
    before = bench.rows()
    bench.again({"m": [4]})
    assert await bench.go() == "done"
    assert bench.asked == {"row 4.": 1, bench.fake.prompts[-1]: 1}, "the row, and what follows its map"
    assert [row == old for row, old in zip(bench.rows(), before, strict=True)] == [True] * 4 + [False, True]
    items = bench.state.tasks["m"].items
    assert items is not None
    assert (items.done, items.failed, items.total) == (5, 1, 6)
    assert bench.rows()[1] is None, "the other failed row is as it was"


async def test_a_row_that_is_done_is_asked_again_only_when_that_is_said(tmp_path: Path) -> None:
    bench = await ill(tmp_path)
    with pytest.raises(Conflict, match=r"row 2 of task 'm' of run .* is done") as refused:
        bench.again({"m": [4, 2]})
    assert "include_done" in refused.value.hint
    with pytest.raises(Conflict, match="rows 0, 2, 3 of task"):
        bench.again({"m": [0, 2, 3]})
    bench.again({"m": [4, 2]}, include_done=True)
    assert await bench.go() == "done"
    assert bench.asked["row 2."] == bench.asked["row 4."] == 1
    assert sum(bench.asked.values()) == 3


async def test_a_threshold_that_is_exceeded_does_not_keep_a_row_from_being_asked(tmp_path: Path) -> None:
    """Exactly the named rows are asked for; the map is judged after them."""
    bench = await ill(tmp_path, {**MAP, "failure_threshold": 0.1, "max_concurrency": 1}, END, bad=(0, 1))
    assert bench.state.state == "failed"
    bench.again({"m": [0]})
    assert await bench.go() == "failed"
    assert bench.asked == {"row 0.": 1}, "rows that were never asked for are not asked now"
    error = bench.state.tasks["m"].error
    assert error is not None
    assert error["code"] == "rows_left", "whose resume keeps the calls that were answered"
    bench.resume("m")
    assert await bench.go() == "done"
    assert bench.asked["row 0."] == 1, "what was asked for again is not paid twice"
    assert all(row is not None for row in bench.rows())


async def test_calls_of_rows_that_are_left_are_kept_when_a_named_row_fails_again(tmp_path: Path) -> None:
    """A threshold is one of all rows: it ends nothing, and drops no answer of a row, before all were asked for."""
    bench = await ill(tmp_path, {**MAP, "failure_threshold": 0.1, "max_concurrency": 1}, END, bad=(0, 1))
    bench.bad.add("row 0.")
    bench.again({"m": [0]})
    assert await bench.go() == "failed"
    error = bench.state.tasks["m"].error
    assert error is not None
    assert error["code"] == "rows_left"
    assert kept_tasks(bench.state, ResumePlan(("m",), ())) == ["m"], (
        "its next attempt goes on with recorded answers"
    )


async def test_rows_that_are_left_are_said(tmp_path: Path) -> None:
    bench = await ill(tmp_path, {**MAP, "failure_threshold": 0.3, "max_concurrency": 1}, END, bad=(0, 1))
    assert bench.state.tasks["m"].state == "failed"
    bench.again({"m": [0, 1]})
    assert await bench.go() == "failed"
    error = bench.state.tasks["m"].error
    assert error is not None
    assert error["code"] == "rows_left"
    assert "2 rows were asked for again" in error["message"]
    assert "4 of 6 rows have no outcome yet" in error["message"]
    bench.resume("m", keep=["m"])
    assert await bench.go() == "done"
    assert sum(bench.asked.values()) == 7


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ({"n": [1]}, NotFound, "has no task 'n'"),
        ({"end": [0]}, InvalidInput, "task 'end' of run .* has no rows"),
        ({"m": [6]}, InvalidInput, "task 'm' of run .* has 6 rows, and none is 6"),
        ({"m": [-1]}, InvalidInput, "none is -1"),
        ({"m": [1], "end": [0]}, Conflict, "task 'end' of run .* follows 'm'"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_by_name(
    tmp_path: Path, rows: dict[str, list[int]], error: type[Exception], words: str
) -> None:
    bench = await ill(tmp_path)
    with pytest.raises(error, match=words):
        bench.again(rows)
    assert not bench.asked


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        ({}, {}, "names no row"),
        ({"m": []}, {}, "names no row of task 'm'"),
        ({"m": range(10_001)}, {}, "names 10,001 rows; 10,000 can"),
        ({"m": [1]}, {"only_failed": True}, "and so does `only_failed`"),
        ({"m": [1]}, {"from_task": "m"}, "and so does `from_task`"),
    ],
)
def test_a_selection_that_is_none_is_refused(rows: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        check_selection(rows, more.get("from_task"), more.get("only_failed", False))


async def test_tasks_beside_the_rows_stay_as_they_are(tmp_path: Path) -> None:
    """A run that was cancelled while another task was at work: only the rows are asked for, and the run says so."""
    aside = {"name": "aside", "prompt": "aside", "needs": []}
    bench = await ill(tmp_path, {**MAP, "needs": []}, {**END, "needs": ["m"]}, aside)
    bench.store.request(
        RUN,
        [
            draft("run.resumed", reset=["aside"], clear=[], by="me"),
            draft("task.cancelled", "aside"),
            draft("run.cancelled"),
        ],
        state="cancelled",
    )
    bench.again({"m": [1]})
    assert await bench.go() == "cancelled"
    assert bench.asked["aside"] == 0
    assert bench.state.error is not None
    assert "not run: aside" in bench.state.error["message"]
    bench.resume("aside")
    assert await bench.go() == "done"


async def test_a_map_after_the_map_pays_only_for_what_changed(tmp_path: Path) -> None:
    """P12: nothing is paid twice, in the maps that follow too."""
    after = {"name": "after", "prompt": "after {{ item.output }}", "for_each": "{{ tasks.m }}"}
    bench = await ill(tmp_path, MAP, after, {"name": "end", "prompt": "{{ tasks.after | length }}"})
    bench.again({"m": [4]})
    assert await bench.go() == "done"
    assert bench.asked == {"row 4.": 1, "after echo: row 4.": 1, "6": 1}
    assert bench.rows("after")[4] == "echo: after echo: row 4."
    bench.fake.requests.clear()
    bench.resume("m", "after", "end", clear=["m", "after", "end"], restart=True)
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 13, "a restart asks for all of it"


@pytest.mark.parametrize("how", [{"only_failed": True}, {"only_failed": True, "from_task": "after"}])
async def test_a_map_after_failed_rows_pays_only_for_what_changed(tmp_path: Path, how: dict[str, Any]) -> None:
    """P12: as with rows that are named; of a task that is named too everything is done anew."""
    after = {"name": "after", "prompt": "after {{ item.output }}", "for_each": "{{ tasks.m }}"}
    bench = await ill(tmp_path, MAP, after)
    todo = resume_plan(bench.pipeline, bench.state, **how)
    bench.resume(*todo.reset, clear=todo.clear, keep=kept_tasks(bench.state, todo), **how)
    assert await bench.go() == "done"
    afters = sum(count for prompt, count in bench.asked.items() if prompt.startswith("after"))
    assert afters == (6 if "from_task" in how else 2)
    assert sum(bench.asked.values()) == afters + 2, "the failed rows, once each"


AFTER: dict[str, Any] = {
    "name": "after", "prompt": "after {{ item.output }}", "for_each": "{{ tasks.m }}", "max_concurrency": 1,
}  # fmt: skip


@pytest.mark.parametrize("how", ["refresh", "fresh", "task without a cache", "run without a cache"])
async def test_a_map_after_the_map_of_a_fresh_run_pays_only_for_what_changed(tmp_path: Path, how: str) -> None:
    """Who asked for new answers of models, or wants none of others, got them in this run: they are not paid twice
    either, however often rows before them are asked for."""
    bench = Ill(tmp_path)
    caches = {"refresh": "refresh", "task without a cache": False}
    options = {"fresh": {"fresh": True}, "run without a cache": {"cache": False}}
    after = {**AFTER, "cache": caches[how]} if how in caches else AFTER
    bench.create((MAP, after), {"rows": list(range(6))}, options=options.get(how, {}))
    await bench.go()
    bench.bad.clear()
    for row in (4, 1):
        bench.fake.requests.clear()
        bench.again({"m": [row]})
        assert await bench.go() == "done"
        assert bench.asked == {f"row {row}.": 1, f"after echo: row {row}.": 1}
    bench.fake.requests.clear()
    bench.resume("after", clear=["after"], restart=True)
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 6, "a restart asks for all of it"


async def test_failed_rows_that_are_asked_again_leave_the_rest_of_later_maps_paid(tmp_path: Path) -> None:
    """As named rows do: `only_failed` asks for two rows, and the map after them pays for these two."""
    bench = await ill(tmp_path, MAP, AFTER)
    todo = resume_plan(bench.pipeline, bench.state, only_failed=True)
    bench.resume(*todo.reset, clear=todo.clear, only_failed=True)
    assert await bench.go() == "done"
    assert bench.asked == {f"{before}row {row}.": 1 for row in (1, 4) for before in ("", "after echo: ")}
    assert bench.rows("after") == [f"echo: after echo: row {row}." for row in range(6)]
    bench.fake.requests.clear()
    bench.resume("m", "after", clear=["m", "after"], only_failed=True, from_task="m")
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 12, "from a task on all is asked"


async def test_equal_rows_after_the_map_keep_each_its_own_answer(tmp_path: Path) -> None:
    """Samples of one prompt stay the samples that they were, also when a worker dies while they are taken over."""
    bench = Ill(tmp_path, bad=(4,))
    after = {**AFTER, "prompt": "after {{ item.ok }}"}
    bench.create((MAP, after), {"rows": list(range(6))})
    answer = bench._answer
    numbers = iter(range(100))

    async def numbered(request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        response = await answer(request, on_text=on_text)
        if request.messages[-1].content.startswith("after"):
            response = dataclasses.replace(response, text=f"sample {next(numbers)}")
        return response

    bench._answer = numbered
    await bench.go()
    before = bench.rows("after")
    assert len(set(before)) == 6
    bench.bad.clear()
    bench.again({"m": [4]})
    assert isinstance(bench.store, Dying)
    for left in (5, 2, 1, 1, 2, 1):
        bench.store.left = left
        with suppress(StaleFence):
            await bench.go()
    bench.store.left = 10**9
    if bench.store.head(RUN)["state"] != "done":
        assert await bench.go() == "done"
    rows = bench.rows("after")
    assert [row for index, row in enumerate(rows) if index != 4] == before[:4] + before[5:]
    assert rows[4] not in before


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    failed=st.sets(st.integers(0, 5), min_size=1, max_size=5),
    data=st.data(),
)
async def test_a_kill_at_every_commit_asks_for_exactly_the_named_rows(
    tmp_path_factory: pytest.TempPathFactory, failed: set[int], data: st.DataObject
) -> None:
    """P2, P3: whatever is chosen and wherever a worker dies, each named row is paid once (and once more for a call
    that was in flight), no other row is asked for, and every row that was not named keeps its answer."""
    chosen = sorted(data.draw(st.sets(st.integers(0, 5), min_size=1)))
    left = data.draw(st.integers(0, 12))
    bench = await ill(tmp_path_factory.mktemp("rows"), bad=sorted(failed))
    before = bench.rows()
    bench.again({"m": chosen}, include_done=True)
    assert isinstance(bench.store, Dying)
    bench.store.left = left
    lost: Counter[str] = Counter()
    try:
        await bench.go()
    except StaleFence:
        recorded = read_history(bench.store, RUN)
        for index, calls in recorded.calls.get("m", {}).items():
            lost[f"row {index}."] += sum(call.response is None for call in calls.values())
    bench.store.left = 10**9
    if bench.store.head(RUN)["state"] != "done":
        await bench.go()
    assert bench.store.head(RUN)["state"] == "done"
    rows = Counter({prompt: times for prompt, times in bench.asked.items() if prompt.startswith("row ")})
    assert set(rows) == {f"row {index}." for index in chosen}
    for index in chosen:
        assert 1 <= rows[f"row {index}."] <= 1 + lost[f"row {index}."], (chosen, left, rows, lost)
    after = bench.rows()
    for index in range(6):
        if index not in chosen:
            assert after[index] == before[index]
        else:
            assert after[index] == f"echo: row {index}."
    items = read_history(bench.store, RUN).state.tasks["m"].items
    assert items is not None
    assert items.done + items.failed == 6
    assert items.failed == len(failed - set(chosen))
