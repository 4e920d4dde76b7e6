"""The scores of a run's task, as a person gets them: recorded by the run, or made anew of its recorded answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from po_jupyter.client.inputs.control_bodies import BudgetInput, budget_body
from po_jupyter.errors import InvalidInput, NotFound, PoError
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.scores import MeanScore, ScoresOfTask, WorstRow
from po_jupyter.model.run.view import RunView, TaskView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation.score_plot import ScorePlot, score_figure
from po_jupyter.presentation.scores import scores_html, scores_text

if TYPE_CHECKING:
    from po_jupyter.client.async_client import AsyncClient

WORST = 10


class Scores:
    """The scores of one task. It draws itself in a cell; `plot()` is a figure, `frame()` a DataFrame of the means.

    `summary` has all of it as JSON; `judge_run` is the id of the run that judged, None without one.
    """

    def __init__(self, summary: ScoresOfTask, judge_run: str | None = None) -> None:
        """Scores as the server has them."""
        self.summary, self.judge_run = summary, judge_run

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

    def frame(self) -> Any:
        """The scores as a DataFrame of pandas, one row each."""
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise PoError("frame() needs pandas", hint="Install it here: %pip install pandas") from None
        cells = [_cells(score, self.summary["rows"]) for score in self.summary["scores"]]
        return pandas.DataFrame(cells, columns=list(_cells(None, 0))).set_index("score")

    def plot(self) -> ScorePlot:
        """Means with their intervals, and the confusion matrix, as a picture; its `figure` is one of matplotlib. Raises
        PoError without that."""
        return ScorePlot(score_figure(self.summary))

    def __str__(self) -> str:
        """All of it as text."""
        return scores_text(self.summary)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return scores_html(self.summary)


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
    name = scored_task(run, task)
    answer = await aio.inspection.score(run.id, name, score, budget_body(budget), worst)
    summary: ScoresOfTask = answer["scores"]
    if answer["run"] is None:
        return Scores(summary)
    judging = await aio.wait_end(RunView.model_validate(answer["run"]).id)
    if judging.state != "done":
        short, why = short_id(judging.id), (judging.error or {}).get("message", "")
        raise PoError(
            f"the run that judges, {short}, ended {judging.state}: {why}",
            hint=f"What was judged is kept: po resume {short}",
        )
    for judge in judging.tasks:
        await _add_judged(aio, judging.id, judge, summary, answer["left_out"].get(judge.name, {}), score, worst)
    return Scores(summary, judging.id)


async def _add_judged(
    aio: AsyncClient,
    run: str,
    judge: TaskView,
    summary: ScoresOfTask,
    left_out: Mapping[str, int],
    score: object,
    worst: int,
) -> None:
    """Add what a judge said to the scores of the answers that it judged."""
    judged = await aio.inspection.scores(run, judge.name, worst)
    low, high = _scale(score, judge.name)
    for mean in judged["scores"]:
        reasons = {
            ("the judge failed" if why == "the row failed" else why): n for why, n in mean["missing"].items()
        }
        summary["scores"].append(
            {**mean, "metric": "judge", "low": low, "high": high, "missing": reasons | dict(left_out)}
        )
    summary["rows"] = max(summary["rows"], judged["rows"] + sum(left_out.values()))
    if summary["worst"]:
        return  # of metrics; one list of rows is what a person reads
    for row in judged["worst"]:
        whole = await aio.inspection.row(run, judge.name, row["index"])
        asked, answer = whole["input"], whole["output"]
        if isinstance(asked, Mapping) and isinstance(answer, Mapping):
            summary["worst"].append(
                {
                    "index": asked["index"],
                    "values": {judge.name: row["values"].get(judge.name)},
                    "notes": {judge.name: str(answer.get("reason"))},
                    "input": asked.get("item"),
                    "output": asked.get("output"),
                }
            )


def _scale(score: object, name: str) -> tuple[float, float]:
    """The scale of a judge, as it was asked for."""
    for scorer in score if isinstance(score, list) else [score]:
        if (
            isinstance(scorer, Mapping)
            and scorer.get("judge") is not None
            and scorer.get("name", "judge") == name
        ):
            low, high = scorer.get("scale") or (0, 1)
            return float(low), float(high)
    return 0.0, 1.0
