"""Scores of a run: what it recorded, and recorded answers scored anew without a call (issue 13, 4)."""

from __future__ import annotations

import importlib
import time
import tracemalloc
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, InvalidPipeline, ModelRefused, NotFound
from po_jupyter.orchestrator.examination.operations import examine_here
from po_jupyter.orchestrator.scores.service import RunScores
from tests.support.engine import RUN
from tests.support.orchestrator import Anyone
from tests.support.run_page import MAP, RunPage

stats = importlib.import_module("scipy.stats")  # it ships no types
GOLD = {"expect": "{{ item.gold }}", "metrics": ["exact"]}
ROWS = [{"text": f"row {n}", "gold": "bug"} for n in range(50)]


class Submitted:
    """Takes what is submitted."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []

    async def submit(self, body: Any, *, owner: str, code_allowed: bool) -> tuple[Any, bool]:
        self.bodies.append(body)
        return SimpleNamespace(id="0193f00000000000aaaaaa"), True


class ScoredPage(RunPage):
    """A page with its scores."""

    def __init__(self, tmp: Path, replies: Any = ()) -> None:
        super().__init__(tmp, replies)
        self.submitted = Submitted()
        self.scores = RunScores(
            self.settings, self.bench.store, self.inspection, self.submitted,  # type: ignore[arg-type]
            examine=partial(examine_here, settings=self.settings), examining=Anyone(),  # type: ignore[arg-type]
        )  # fmt: skip

    async def run(self, task: dict[str, Any], rows: Any = ROWS, **more: Any) -> None:
        self.bench.create([{**MAP, "max_concurrency": 1, **task}], {"rows": rows, **more})
        assert await self.bench.go() == "done"


async def test_forty_of_fifty_right_and_scored_again_without_a_call(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 40 + ["wish"] * 10)
    await page.run({})
    asked = len(page.bench.fake.requests)
    result = await page.scores.score(RUN, "me", "label", GOLD)
    (score,) = result["scores"]["scores"]
    assert (score["mean"], score["right"], score["scored"], result["scores"]["rows"]) == (0.8, 40, 50, 50)
    theirs = stats.binomtest(40, 50).proportion_ci(0.95, "wilson")
    assert score["interval"] == pytest.approx([theirs.low, theirs.high])
    assert len(page.bench.fake.requests) == asked and page.submitted.bodies == [] and result["run"] is None
    worst = result["scores"]["worst"]
    assert [row["index"] for row in worst] == list(range(40, 50))
    assert worst[0]["input"] == ROWS[40] and worst[0]["output"] == "wish"


async def test_what_a_run_recorded_is_the_same_as_what_is_scored_later(tmp_path: Path) -> None:
    score = [
        GOLD,
        {"name": "class", "expect": "{{ item.gold }}", "metrics": ["accuracy", "macro_f1", "confusion", "f1"]},
    ]
    page = ScoredPage(tmp_path, ["bug"] * 40 + ["wish"] * 10)
    await page.run({"score": score})
    recorded = await page.scores.recorded(RUN, "me", "label")
    assert recorded == (await page.scores.score(RUN, "me", "label", score))["scores"]
    assert [s["name"] for s in recorded["scores"]] == ["exact", "class_accuracy", "class_macro_f1", "class_f1"]
    assert recorded["confusion"][0]["counts"] == [[40, 10], [0, 0]]


async def test_rows_that_failed_and_rows_without_gold_are_said(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "gold": "bug"},
        {"text": "b"},
        {"text": "c", "gold": "bug"},
        {"text": "d", "gold": None},
    ]
    page = ScoredPage(tmp_path, ["bug", "bug", ModelRefused("no"), "bug"])
    await page.run({"score": GOLD}, rows)
    for result in (
        await page.scores.recorded(RUN, "me", "label"), (await page.scores.score(RUN, "me", "label", GOLD))["scores"],
    ):  # fmt: skip
        (score,) = result["scores"]
        assert (result["rows"], result["failed"], score["scored"], score["mean"]) == (4, 1, 1, 1.0)
        assert score["missing"] == {"nothing is expected of this row": 2, "the row failed": 1}


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ({"expect": "{{ item.golf }}"}, "gold"), ({"expect": "{{ gold }}"}, "`gold` is not defined"),
        ({"metrics": ["exact"]}, "needs `expect`"), ({"expct": 1}, "did you mean `expect`"),
        ({"expect": "{{ item.gold }}", "on": "label"}, "without `output` has no fields"),
        ({"metrics": ["exakt"]}, "exakt"), ({"judge": "{{ answer }}"}, "`answer` is not defined"), ([], ""),
    ],
)  # fmt: skip
async def test_a_score_that_is_none_is_refused_with_the_reason(
    tmp_path: Path, score: Any, message: str
) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 3)
    await page.run({}, ROWS[:3])
    with pytest.raises((InvalidPipeline, InvalidInput)) as error:
        await page.scores.score(RUN, "me", "label", score, budget={"usd": 1})
    assert message in str(error.value) + str(error.value.violations)  # type: ignore[attr-defined]


async def test_somebody_elses_run_and_an_unknown_task_are_not_found(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 3)
    await page.run({}, ROWS[:3])
    for owner, task in (("you", "label"), ("me", "labels")):
        with pytest.raises(NotFound):
            await page.scores.score(RUN, owner, task, GOLD)
        with pytest.raises(NotFound):
            await page.scores.recorded(RUN, owner, task)


async def test_a_task_without_rows_has_what_it_recorded(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"])
    page.bench.create([{"name": "t", "prompt": "hi", "score": {"expect": "{{ seed.gold }}"}}], {"gold": "bug"})
    assert await page.bench.go() == "done"
    (score,) = (await page.scores.recorded(RUN, "me", "t"))["scores"]
    assert (score["mean"], score["scored"]) == (1.0, 1)
    with pytest.raises(InvalidInput, match="no rows to score"):
        await page.scores.score(RUN, "me", "t", GOLD)


async def test_a_task_that_is_not_scored_has_no_scores_and_a_map_without_rows_no_mean(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 3)
    await page.run({}, ROWS[:3])
    assert (await page.scores.recorded(RUN, "me", "label"))["scores"] == []
    empty = ScoredPage(tmp_path / "b")
    await empty.run({"score": GOLD}, [])
    for result in (
        await empty.scores.recorded(RUN, "me", "label"), (await empty.scores.score(RUN, "me", "label", GOLD))["scores"],
    ):  # fmt: skip
        assert [(score["scored"], score["mean"]) for score in result["scores"]] == [(0, None)]


async def test_a_score_may_see_the_seed(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["a", "b", "x"])
    await page.run({}, ROWS[:3], golds=["a", "b", "c"])
    result = await page.scores.score(RUN, "me", "label", {"expect": "{{ seed.golds[index] }}"})
    assert result["scores"]["scores"][0]["right"] == 2


async def test_a_judge_needs_a_budget_and_is_a_run_of_its_own(tmp_path: Path) -> None:
    rows = [{"text": "a", "gold": "bug"}, {"text": "b"}, {"text": "c", "gold": "bug"}]
    page = ScoredPage(tmp_path, ["bug", "bug", ModelRefused("no")])
    await page.run({}, rows)
    judge = {"judge": "Right? {{ output }}", "expect": "{{ item.gold }}", "scale": [1, 5], "llm": "fake:judge"}
    with pytest.raises(InvalidInput, match="give a budget"):
        await page.scores.score(RUN, "me", "label", judge)
    result = await page.scores.score(RUN, "me", "label", [GOLD, judge], budget={"usd": 1})
    assert result["run"] is not None and result["scores"]["scores"][0]["name"] == "exact"
    assert result["left_out"] == {"judge": {"nothing is expected of this row": 1, "the row failed": 1}}
    (body,) = page.submitted.bodies
    (task,) = body["pipeline"]["tasks"]
    assert body["budget"] == {"usd": 1} and task["llm"] == {"model": "fake:judge"} and task["name"] == "judge"
    (row,) = body["seed"]["data"]["rows"]
    assert (row["index"], row["item"], row["output"]) == (0, rows[0], "bug")
    assert row["question"].startswith("Right? <data-") and "from 1 (worst) to 5 (best)" in row["system"]


async def test_a_judge_of_very_many_answers_has_its_rows_in_a_file(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug" * 2000] * 300)
    await page.run({}, [{"text": "x" * 2000, "n": n} for n in range(300)])
    await page.scores.score(RUN, "me", "label", {"judge": "Good?"}, budget={"usd": 1})
    (body,) = page.submitted.bodies
    assert set(body["seed"]["data"]["rows"]) != set() and not isinstance(body["seed"]["data"]["rows"], list)


async def test_many_rows_are_scored_in_portions_of_which_one_is_in_memory(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 2500)
    await page.run({"max_concurrency": 50, "prompt": "{{ index }}"}, [{"gold": "bug"}] * 2500)
    page.bench.fake.requests.clear()
    tracemalloc.start()
    began = time.process_time()
    result = await page.scores.score(RUN, "me", "label", GOLD)
    seconds, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result["scores"]["scores"][0]["right"] == 2500
    assert seconds < 10 and most < 30_000_000
