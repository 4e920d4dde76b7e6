"""The scores of a run's task, as a person gets them: recorded by the run, or made anew of its recorded answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from po_jupyter.client.evals.variants import VariantComparison
from po_jupyter.client.frames import frame_library
from po_jupyter.client.http.payloads import RowJson
from po_jupyter.client.inputs.control_bodies import BudgetInput, budget_body
from po_jupyter.errors import InvalidInput, NotFound, PoError
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.comparing import ScoresWithVariants
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.scores import MeanScore, RowScores, WorstRow
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation.comparisons import pairs_html, pairs_text
from po_jupyter.presentation.score_plot import ScorePlot, score_figure
from po_jupyter.presentation.scores import scores_html, scores_text

if TYPE_CHECKING:
    from po_jupyter.client.async_client import AsyncClient

WORST = 10
ReadRows = Callable[[], Awaitable[dict[int, RowScores]]]  # the scores of rows by their index


class Scores:
    """The scores of one task. It draws itself in a cell; `plot()` is a figure, `frame()` a DataFrame of the means.

    The values of single rows are columns of `run.frame("label", scores=scores)`; the lowest ones are in `worst`. Of a
    map with variants each score is there once for each, as `short: exact`, and `variants` compares them. `summary` has
    all of it as JSON; `judge_run` is the id of the run that judged, None without one.
    """

    def __init__(
        self, summary: ScoresWithVariants, judge_run: str | None = None, rows: ReadRows | None = None
    ) -> None:
        """Scores as the server has them; `rows` reads those of single rows, None: they are those that the run
        recorded."""
        self.summary, self.judge_run, self._rows = summary, judge_run, rows

    @property
    def task(self) -> str:
        """The task whose answers are scored."""
        return self.summary["task"]

    @property
    def names(self) -> list[str]:
        """What the scores are called."""
        return [score["name"] for score in self.summary["scores"]]

    def __getitem__(self, name: str) -> MeanScore:
        """One score by its name: `{mean, interval, scored, right, missing, ...}`. NotFound."""
        for score in self.summary["scores"]:
            if score["name"] == name:
                return score
        raise NotFound(f"task {self.task!r} has no score {name!r:.60}{did_you_mean(name, self.names)}")

    @property
    def worst(self) -> list[WorstRow]:
        """The rows with the lowest scores, the lowest first: `{index, values, notes, input, output}`."""
        return self.summary["worst"]

    @property
    def variants(self) -> VariantComparison | None:
        """The variants of the map beside each other by these scores, with McNemar's test of each pair; None for a map
        without, and one that nothing scores."""
        found = self.summary.get("variants")
        return VariantComparison(found) if found is not None else None

    def frame(self) -> Any:
        """The scores as a DataFrame of pandas, one row each; of a map with variants for each `variant`."""
        found = self.summary.get("variants")
        cells = [_cells(score, self.summary["rows"]) for score in self.summary["scores"]]
        columns = list(_cells(None, 0))
        if found is not None:
            cells = [
                {"variant": one["name"], **_cells(score, one["done"] + one["failed"])}
                for one in found["variants"]
                for score in one["scores"]
            ]
            columns.insert(0, "variant")
        return frame_library("pandas").DataFrame(cells, columns=columns).set_index("score")

    async def added_to(self, rows: list[RowJson], task: str) -> list[RowJson]:
        """Rows of the map with these scores in the place of those that its run recorded. Raises InvalidInput for
        rows of another task."""
        if task != self.task:
            raise InvalidInput(f"these are the scores of task {self.task!r}, and not of {task!r:.60}")
        if self._rows is None:
            return rows
        values = await self._rows()
        nothing: RowScores = {"values": dict.fromkeys(next(iter(values.values()), {"values": {}})["values"])}
        return [{**row, "scores": values.get(row["index"], nothing)} for row in rows]

    def plot(self) -> ScorePlot:
        """Means with their intervals, and the confusion matrix, as a picture; its `figure` is one of matplotlib. Raises
        PoError without that."""
        return ScorePlot(score_figure(self.summary))

    def __str__(self) -> str:
        """All of it as text."""
        return "\n\n".join(filter(None, (scores_text(self.summary), pairs_text(self.summary.get("variants")))))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return scores_html(self.summary) + pairs_html(self.summary.get("variants"))


def _cells(score: MeanScore | None, rows: int) -> JsonObject:
    interval: list[float] | list[None] = (score and score["interval"]) or [None, None]
    return {
        "score": score and score["name"], "mean": score and score["mean"], "low": interval[0], "high": interval[1],
        "scored": score and score["scored"], "rows": rows,
    }  # fmt: skip


def score_body(
    expect: str | None,
    metrics: Sequence[str] | str | None,
    judge: str | None,
    model: str | None = None,
    scale: Sequence[int] | None = None,
    on: str | None = None,
    **fields: Any,
) -> JsonObject | list[JsonObject]:
    """The field `score` for what was asked: metrics, a judge, or both. Raises InvalidInput for neither."""
    measured = {"expect": expect, "metrics": metrics, "on": on, **fields}
    judged = {
        "judge": judge,
        "expect": expect,
        "on": on,
        "llm": {"model": model} if model else None,
        "scale": scale,
    }
    known = [
        {name: value for name, value in scorer.items() if value is not None}
        for scorer, wanted in ((measured, bool(metrics) or judge is None), (judged, judge is not None))
        if wanted
    ]
    if known == [{}]:
        raise InvalidInput("scores need `expect`, what is right, or `metrics`, or a `judge`")
    for scorer in known:
        if isinstance(scorer.get("metrics"), tuple):
            scorer["metrics"] = list(scorer["metrics"])
        if isinstance(scorer.get("scale"), tuple):
            scorer["scale"] = list(scorer["scale"])
    return known if len(known) > 1 else known[0]


def scored_task(run: RunView, task: str | None) -> str:
    """The task that is meant; without a name the only map, or the only task. Raises InvalidInput."""
    if task is not None:
        return task
    maps = [t.name for t in run.tasks if t.items is not None] or [t.name for t in run.tasks]
    if len(maps) == 1:
        return maps[0]
    raise InvalidInput(f"which task is to be scored? {', '.join(maps)}", hint="Name it: --task TASK.")


async def recorded_scores(aio: AsyncClient, run: RunView, task: str | None, worst: int = WORST) -> Scores:
    """The scores that a run recorded."""
    return Scores(await aio.inspection.scores(run.id, scored_task(run, task), worst))


async def score_answers(
    aio: AsyncClient,
    run: RunView,
    task: str | None,
    score: object,
    budget: BudgetInput | None,
    worst: int = WORST,
) -> Scores:
    """Score recorded answers anew, and wait for the judge, if one is asked. Raises PoError when its run fails."""
    name, judge_run = scored_task(run, task), None
    answer = await aio.inspection.score(run.id, name, score, budget_body(budget), worst)
    if answer["run"] is not None:
        judging = await aio.wait_end(RunView.model_validate(answer["run"]).id)
        if judging.state != "done":
            short, why = short_id(judging.id), (judging.error or {}).get("message", "")
            raise PoError(
                f"the run that judges, {short}, ended {judging.state}: {why}",
                hint=f"What was judged is kept: po resume {short}",
            )
        judge_run = judging.id
        answer = await aio.inspection.score(run.id, name, score, worst=worst, judge_run=judge_run)

    async def rows() -> dict[int, RowScores]:
        found: dict[int, RowScores] = {}
        start: int | None = 0
        while start is not None:
            page, start = await aio.inspection.score_rows(run.id, name, score, judge_run, start)
            found |= {row["index"]: row["scores"] for row in page}
        return found

    return Scores(answer["scores"], judge_run, rows)
