"""Scores of a run: what it recorded, and recorded answers scored anew without a call (issue 13, 4)."""

from __future__ import annotations

import importlib
import json
import time
import tracemalloc
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, InvalidPipeline, ModelRefused, NotFound
from po_jupyter.model.run.scores import ScoreQuery
from po_jupyter.orchestrator.examination.operations import examine_here
from po_jupyter.orchestrator.scores.service import RunScores
from tests.support.engine import RUN, new_run
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

    async def rescored(self, score: Any, *, owner: str = "me", task: str = "label", **more: Any) -> Any:
        return await self.scores.score(ScoreQuery(RUN, owner, task, score, more.pop("judge_run", None)), **more)

    async def run(self, task: dict[str, Any], rows: Any = ROWS, **more: Any) -> None:
        self.bench.create([{**MAP, "max_concurrency": 1, **task}], {"rows": rows, **more})
        assert await self.bench.go() == "done"


async def test_forty_of_fifty_right_and_scored_again_without_a_call(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 40 + ["wish"] * 10)
    await page.run({})
    asked = len(page.bench.fake.requests)
    result = await page.rescored(GOLD)
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
    assert recorded == (await page.rescored(score))["scores"]
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
        await page.scores.recorded(RUN, "me", "label"), (await page.rescored(GOLD))["scores"],
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
        await page.rescored(score, budget={"usd": 1})
    assert message in str(error.value) + str(error.value.violations)  # type: ignore[attr-defined]


async def test_somebody_elses_run_and_an_unknown_task_are_not_found(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 3)
    await page.run({}, ROWS[:3])
    for owner, task in (("you", "label"), ("me", "labels")):
        with pytest.raises(NotFound):
            await page.rescored(GOLD, owner=owner, task=task)
        with pytest.raises(NotFound):
            await page.scores.recorded(RUN, owner, task)


async def test_a_task_without_rows_has_what_it_recorded(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"])
    page.bench.create([{"name": "t", "prompt": "hi", "score": {"expect": "{{ seed.gold }}"}}], {"gold": "bug"})
    assert await page.bench.go() == "done"
    (score,) = (await page.scores.recorded(RUN, "me", "t"))["scores"]
    assert (score["mean"], score["scored"]) == (1.0, 1)
    with pytest.raises(InvalidInput, match="no rows to score"):
        await page.rescored(GOLD, task="t")


async def test_a_task_that_is_not_scored_has_no_scores_and_a_map_without_rows_no_mean(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 3)
    await page.run({}, ROWS[:3])
    assert (await page.scores.recorded(RUN, "me", "label"))["scores"] == []
    empty = ScoredPage(tmp_path / "b")
    await empty.run({"score": GOLD}, [])
    for result in (
        await empty.scores.recorded(RUN, "me", "label"), (await empty.rescored(GOLD))["scores"],
    ):  # fmt: skip
        assert [(score["scored"], score["mean"]) for score in result["scores"]] == [(0, None)]


async def test_a_score_may_see_the_seed(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["a", "b", "x"])
    await page.run({}, ROWS[:3], golds=["a", "b", "c"])
    result = await page.rescored({"expect": "{{ seed.golds[index] }}"})
    assert result["scores"]["scores"][0]["right"] == 2


async def test_a_judge_needs_a_budget_and_is_a_run_of_its_own(tmp_path: Path) -> None:
    rows = [{"text": "a", "gold": "bug"}, {"text": "b"}, {"text": "c", "gold": "bug"}]
    page = ScoredPage(tmp_path, ["bug", "bug", ModelRefused("no")])
    await page.run({}, rows)
    judge = {"judge": "Right? {{ output }}", "expect": "{{ item.gold }}", "scale": [1, 5], "llm": "fake:judge"}
    with pytest.raises(InvalidInput, match="give a budget"):
        await page.rescored(judge)
    result = await page.rescored([GOLD, judge], budget={"usd": 1})
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
    await page.rescored({"judge": "Good?"}, budget={"usd": 1})
    (body,) = page.submitted.bodies
    assert set(body["seed"]["data"]["rows"]) != set() and not isinstance(body["seed"]["data"]["rows"], list)


async def test_many_rows_are_scored_in_portions_of_which_one_is_in_memory(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 2500)
    await page.run({"max_concurrency": 50, "prompt": "{{ index }}"}, [{"gold": "bug"}] * 2500)
    page.bench.fake.requests.clear()
    tracemalloc.start()
    began = time.process_time()
    result = await page.rescored(GOLD)
    seconds, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result["scores"]["scores"][0]["right"] == 2500
    assert seconds < 10 and most < 30_000_000


JUDGING = "0193f00000000000aaaaaa"
VARIANTS = {"variants": {"short": {"prompt": "s {{ item.text }}"}, "long": {"prompt": "l {{ item.text }}"}}}
HALF = ["bug", "wish"] * 10  # the short prompt is right of all rows, the long one of none
JUDGE = {"judge": "Right? {{ output }} {{ index }}", "scale": [1, 5], "llm": "fake:judge"}


async def judged(page: ScoredPage, score: Any) -> str:
    """The run that judges, worked off."""
    answer = await page.rescored(score, budget={"usd": 1})
    assert answer["run"] is not None
    (body,) = page.submitted.bodies
    seed = body["seed"]
    body["pipeline"]["tasks"][0]["max_concurrency"] = 1
    new_run(page.bench.store, body["pipeline"], seed["data"], JUDGING, seed_name=seed["name"])
    page.bench.run = JUDGING
    assert await page.bench.go() == "done"
    return JUDGING


def verdict(score: int, reason: str = "So it is.") -> str:
    return json.dumps({"reason": reason, "score": score})


async def test_variants_scored_again_are_as_those_that_the_run_scored(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, HALF)
    await page.run({**VARIANTS, "score": GOLD, "prompt": None}, ROWS[:10])
    asked = len(page.bench.fake.requests)
    recorded = await page.scores.recorded(RUN, "me", "label")
    again = (await page.rescored(GOLD))["scores"]
    assert again == recorded and len(page.bench.fake.requests) == asked
    assert [(one["name"], one["mean"]) for one in again["scores"]] == [
        ("short: exact", 1.0),
        ("long: exact", 0.0),
    ]
    (pair,) = again["variants"]["pairs"]
    (score,) = pair["scores"]
    assert (score["a_only"], score["b_only"], score["method"]) == (10, 0, "exact")
    assert score["p"] == pytest.approx(stats.binomtest(10, 10).pvalue)
    assert [(row["index"], row["variant"], row["row"]) for row in again["worst"][:2]] == [
        (1, "long", 0), (3, "long", 1),
    ]  # fmt: skip


async def test_a_score_of_variants_sees_the_number_in_the_list(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, HALF)
    await page.run({**VARIANTS, "prompt": None}, ROWS[:10], golds=["bug"] * 10)
    again = (await page.rescored({"expect": "{{ seed.golds[index] }}"}))["scores"]
    assert [one["scored"] for one in again["scores"]] == [10, 10]


async def test_what_is_expected_of_a_row_sees_its_number_in_the_list_and_the_seed(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path)
    variants = {"a": {"prompt": "a {{ item.text }}"}, "b": {"prompt": "b {{ item.text }}"}}
    await page.run(
        {"variants": variants, "score": {"expect": "{{ seed.key[index] }}"}}, ROWS[:2], key=["x", "y"]
    )
    expected = [await page.scores.expected(RUN, "me", "label", index) for index in range(4)]
    assert [one["value"] for (one,) in expected] == ["x", "x", "y", "y"]
    with pytest.raises(NotFound, match="no row 4"):
        await page.scores.expected(RUN, "me", "label", 4)
    with pytest.raises(NotFound):
        await page.scores.expected(RUN, "you", "label", 0)


async def test_what_is_expected_of_a_row_that_failed_is_known(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, [ModelRefused("no"), "bug"])
    await page.run({"score": GOLD, "failure_threshold": 0.5}, ROWS[:2])
    (expected,) = await page.scores.expected(RUN, "me", "label", 0)
    assert (expected["value"], expected["problem"]) == ("bug", None)


async def test_nothing_is_expected_of_a_row_that_is_not_scored(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path)
    await page.run({}, ROWS[:1])
    assert await page.scores.expected(RUN, "me", "label", 0) == []


async def test_one_model_judges_variants_of_models(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, HALF)
    await page.run({"variants": {"a": {}, "b": {"llm": "fake:other"}}}, ROWS[:10])
    with pytest.raises(InvalidInput, match="one model judges them all"):
        await page.rescored({"judge": "Good?"}, budget={"usd": 1})


async def test_what_a_judge_said_is_scored_as_in_the_run_with_an_interval(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 10 + [verdict(4)] * 10)
    await page.run({}, ROWS[:10])
    run = await judged(page, [GOLD, JUDGE])
    asked = len(page.bench.fake.requests)
    answer = await page.rescored([GOLD, JUDGE], judge_run=run)
    exact, judge = answer["scores"]["scores"]
    assert answer["run"] is None and len(page.bench.fake.requests) == asked
    assert (exact["mean"], judge["mean"], judge["low"], judge["high"]) == (1.0, 4.0, 1.0, 5.0)
    # Values that are all 4 of 1 to 5 spread no more than three of four at the top: Wilson's interval of 7.5 of 10.
    seven, eight = (stats.binomtest(n, 10).proportion_ci(0.95, "wilson") for n in (7, 8))
    low, high = ((end - 1) / 4 for end in judge["interval"])
    assert seven.low < low < eight.low and seven.high < high < eight.high
    assert {row["index"]: row["notes"]["judge"] for row in answer["scores"]["worst"]}[3] == "So it is."


async def test_a_judge_who_is_content_with_all_has_the_interval_of_scipy(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 10 + [verdict(5)] * 10)
    await page.run({}, ROWS[:10])
    run = await judged(page, JUDGE)
    (judge,) = (await page.rescored(JUDGE, judge_run=run))["scores"]["scores"]
    theirs = stats.binomtest(10, 10).proportion_ci(0.95, "wilson")
    assert judge["interval"] == pytest.approx([1 + 4 * theirs.low, 5.0])


async def test_a_judge_of_variants_and_the_values_of_single_rows(tmp_path: Path) -> None:
    verdicts = [verdict(5), verdict(1)] * 3 + [ModelRefused("no"), verdict(1)]
    page = ScoredPage(tmp_path, [*HALF[:8], *verdicts])
    await page.run({**VARIANTS, "prompt": None}, ROWS[:4])
    page.bench.fake.requests.clear()
    run = await judged(page, [GOLD, JUDGE])
    assert "Right?" in page.bench.fake.requests[0].messages[-1].content
    scores = (await page.rescored([GOLD, JUDGE], judge_run=run))["scores"]
    means = {one["name"]: (one["mean"], one["scored"]) for one in scores["scores"]}
    assert means["long: judge"] == (1.0, 4) and means["long: exact"] == (0.0, 4)
    query = ScoreQuery(RUN, "me", "label", [GOLD, JUDGE], run)
    first, following = await page.scores.rows(query, limit=3)
    rest, end = await page.scores.rows(query, start=3)
    assert [row["index"] for row in first + rest] == list(range(8)) and (following, end) == (3, None)
    values = [row["scores"]["values"] for row in first + rest]
    assert values[1] == {"exact": 0.0, "judge": 1.0}
    missing = [row for row in first + rest if row["scores"]["values"]["judge"] is None]
    assert len(missing) == 1 and missing[0]["scores"]["notes"]["judge"].startswith("the judge: ")


async def test_a_run_that_judged_something_else_is_no_judge(tmp_path: Path) -> None:
    page = ScoredPage(tmp_path, ["bug"] * 3)
    await page.run({}, ROWS[:3])
    with pytest.raises(InvalidInput, match="did not judge the answers of label"):
        await page.rescored({**JUDGE, "name": "label"}, judge_run=RUN)
    with pytest.raises(NotFound):
        await page.rescored(JUDGE, judge_run=RUN)
