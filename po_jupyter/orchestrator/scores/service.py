"""The scores of a run's tasks: recorded ones summed up, recorded answers scored anew, or judged in a run of
their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple, TypedDict, cast

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput
from po_jupyter.evals.summary import FAILED, ScoreSummary
from po_jupyter.model.pipeline.evals.scores import JUDGE, score_columns
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.scores import RowScores, ScoresOfTask
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.examination.operations import Examine
from po_jupyter.orchestrator.scores.judge_run import JudgedRows, judge_pipeline, judge_seed
from po_jupyter.orchestrator.submission.service import Submissions
from po_jupyter.orchestrator.threads import OwnerThreads
from po_jupyter.orchestrator.views.inspection.rows import AnsweredRow, MapTable
from po_jupyter.orchestrator.views.inspection.service import RunInspection
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Head, Store

_PORTION = 1000  # rows that are scored at once
_SAMPLES = 100  # rows that say what there is to name
_SAMPLED = "sampled_rows_of_this_run"  # beside the seed's own lists
_SHOWN = 300  # characters of what a worst row was asked, and answered
NO_ANSWER = "no answer yet"


class ScoredAnswers(TypedDict):
    """Answers that were scored anew. `run` judges them, None where no judge was asked; `left_out` says by judge
    why rows are not in it, and how many."""

    scores: ScoresOfTask
    run: RunView | None
    left_out: Mapping[str, Mapping[str, int]]


class _Scored(NamedTuple):
    """What is scored: the run, the definition of its task with the scorers asked for, and the seed it may read."""

    head: Head
    task: Task
    definition: JsonObject
    seed: JsonObject
    total: int


class RunScores:
    """Scores of tasks. Every method raises NotFound for an unknown run or task, and for somebody else's run."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        inspection: RunInspection,
        submissions: Submissions,
        *,
        examine: Examine,
        examining: OwnerThreads,
        rows: RowFiles | None = None,
    ) -> None:
        """`examine` scores rows, in threads of `examining`; `rows` keeps what judges are asked where it is much."""
        self._store = store
        self._inspection = inspection
        self._submissions = submissions
        self._examine = examine
        self._examining = examining
        self._rows = rows or RowFiles(settings.data_dir)

    async def recorded(self, run_id: str, owner: str | None, task: str, worst: int = 10) -> ScoresOfTask:
        """The scores that the run recorded itself. A task that scores nothing has none."""

        def read(head: Head, table: MapTable, definition: JsonObject) -> ScoresOfTask:
            scorers = Task.model_validate(definition).scorers if definition.get("score") is not None else ()
            variants = list(definition.get("variants") or ("",))
            summaries = [ScoreSummary(score_columns(scorers), worst) for _ in variants]
            is_map = bool(definition.get("for_each"))
            found = table.recorded_scores() if is_map else self._of_task(head, task)
            for index, ok, scores in found if scorers else ():
                summary = summaries[index % len(variants)]
                if ok:
                    summary.add(index, scores)
                else:
                    summary.add_failed()
            results = [summary.result(task) for summary in summaries]
            result = results[0] if len(results) == 1 else _of_variants(variants, results, worst)
            if is_map:
                _add_values(result, table)
            return result

        return await self._inspection.of_task(run_id, owner, task, read)

    def _of_task(self, head: Head, task: str) -> Iterator[tuple[int, bool, RowScores | None]]:
        """The scores of a task without rows: those of its last end."""
        last: RowScores | None = None
        for record in self._store.records(head["run"]):
            for event in record["events"]:
                if event["type"] == "task.done" and event.get("task") == task:
                    last = event["data"].get("scores")
        if last is not None:
            yield 0, True, last

    async def score(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        score: object,
        *,
        budget: JsonObject | None = None,
        worst: int = 10,
        code_allowed: bool = True,
    ) -> ScoredAnswers:
        """Score the recorded answers of a map by `score`, as a task's field has it. Metrics ask no model.

        A judge is a run of its own over the answers, started here, within `budget`. Raises InvalidPipeline for a
        `score` that is none, InvalidInput for a judge without a budget, and what `Submissions.submit` raises.
        """
        scored, summary, judged = await self._asked(run_id, owner, task, score, worst)
        if judged.rows and not budget:
            raise InvalidInput(
                "a judge is asked about each answer, and that costs: give a budget",
                hint='budget={"usd": 1} in Python, --budget 1 in a terminal.',
            )
        for start in range(0, scored.total, _PORTION):
            await self._score_portion(
                scored, range(start, min(start + _PORTION, scored.total)), summary, judged
            )
        result = summary.result(task)
        await self._inspection.of_task(
            run_id, owner, task, lambda head, table, definition: _add_values(result, table)
        )
        left_out = {name: dict(counts) for name, counts in judged.left_out.items()}
        run = (
            await self._judge(scored, judged, budget or {}, code_allowed) if any(judged.rows.values()) else None
        )
        return {"scores": result, "run": run, "left_out": left_out}

    async def _asked(
        self, run_id: str, owner: str | None, task: str, score: object, worst: int
    ) -> tuple[_Scored, ScoreSummary, JudgedRows]:
        """What is asked for, checked with the rows that there are."""

        def read(
            head: Head, table: MapTable, definition: JsonObject
        ) -> tuple[Head, JsonObject, list[object], int]:
            if not definition.get("for_each"):
                raise InvalidInput(
                    f"task {task!r:.80} of run {short_id(head['run'])} has no rows to score",
                    hint="Answers of a map (`for_each`) are scored again; a task alone has the scores of its own run.",
                )
            if definition.get("variants"):
                raise InvalidInput(
                    f"the answers of task {task!r:.80} are those of its variants, each with scores of its own",
                    hint="Give the task a `score` and run it again: answers that are in the cache cost nothing.",
                )
            samples = [row.input for row in table.answered(range(min(_SAMPLES, table.columns.total)))]
            return head, definition, samples, table.columns.total

        head, original, samples, total = await self._inspection.of_task(run_id, owner, task, read)
        fits = original.get("output") if original.get("prompt") is not None else original.get("output") or {}
        definition: JsonObject = {
            "name": "score",
            "tasks": [{
                "name": task, "prompt": "-", "for_each": f"{{{{ seed.{_SAMPLED} }}}}",
                "config": original.get("config") or {},
                **({} if fits is None else {"output": fits}), "score": score,
            }],
        }  # fmt: skip
        seed = await self._seed(head, score)
        data = {**(seed.get("data") or {}), _SAMPLED: [row for row in samples if row is not None]}
        checked = await self._examining.of(head["owner"])(
            self._examine, {"what": "check", "definition": definition, "data": data}
        )
        pipeline = checked if isinstance(checked, Pipeline) else validate_pipeline(checked, recorded=True)
        asked = pipeline.tasks[0]
        columns = score_columns(asked.scorers)
        judges = [column.name for column in columns if column.metric == JUDGE]
        measured = [column for column in columns if column.metric != JUDGE]
        scored = _Scored(head, asked, pipeline.to_json(), seed, total)
        return scored, ScoreSummary(measured, worst), JudgedRows(judges)

    async def _seed(self, head: Head, score: object) -> JsonObject:
        """The seed of the run where a score may read it."""
        if "seed" not in json.dumps(score):
            return {}
        definition = await self._examining.of(head["owner"])(self._store.definition, head["run"])
        return dict(definition.get("seed") or {})

    async def _score_portion(
        self, scored: _Scored, indexes: range, summary: ScoreSummary, judged: JudgedRows
    ) -> None:
        def read(head: Head, table: MapTable, definition: JsonObject) -> list[AnsweredRow]:
            return table.answered(indexes)

        head = scored.head
        rows = await self._inspection.of_task(head["run"], head["owner"], scored.task.name, read)
        answers = [[row.index, row.input, row.output] for row in rows if row.state == "done"]
        result = cast(
            "Mapping[str, object]",
            await self._examining.of(head["owner"])(
                self._examine,
                {
                    "what": "score", "definition": scored.definition, "seed": scored.seed, "owner": head["owner"],
                    "rows": answers,
                },
            ),
        )  # fmt: skip
        by_index = dict(
            zip((answer[0] for answer in answers), cast("list[RowScores]", result["scores"]), strict=True)
        )
        for row in rows:
            if row.state == "done":
                summary.add(row.index, by_index[row.index])
            elif row.state == "failed":
                summary.add_failed()
                judged.leave_out(FAILED)
            else:
                judged.leave_out(NO_ANSWER)
        judged.add(answers, cast("Mapping[str, list[JsonObject]]", result["questions"]))

    async def _judge(
        self, scored: _Scored, judged: JudgedRows, budget: JsonObject, code_allowed: bool
    ) -> RunView:
        head = scored.head
        threads = self._examining.of(head["owner"])
        original = await threads(self._store.definition, head["run"])
        llm = dict(original["pipeline"].get("llm") or {})
        if not llm.get("model"):
            own = next((t for t in original["pipeline"]["tasks"] if t["name"] == scored.task.name), None)
            llm |= {"model": _model_of(own)} if _model_of(own) else {}
        body = {
            "pipeline": judge_pipeline(head, scored.task, llm),
            "seed": await threads(judge_seed, head, scored.task.name, judged, self._rows),
            "budget": budget,
        }
        view, _ = await self._submissions.submit(body, owner=head["owner"], code_allowed=code_allowed)
        return view


def _of_variants(names: Sequence[str], results: Sequence[ScoresOfTask], worst: int) -> ScoresOfTask:
    """The scores of variants as those of one task: each is named after its variant."""
    named = list(zip(names, results, strict=True))
    return {
        **results[0],
        "rows": max(result["rows"] for result in results),
        "failed": sum(result["failed"] for result in results),
        "scores": [
            {**one, "name": f"{name}: {one['name']}"} for name, result in named for one in result["scores"]
        ],
        "confusion": [
            {**one, "name": f"{name}: {one['name']}"} for name, result in named for one in result["confusion"]
        ],
        "worst": [row for rows in zip_longest(*(r["worst"] for r in results)) for row in rows if row][:worst],
    }


def _model_of(task: JsonObject | None) -> str | None:
    """The model that a task names, of a cascade the first one."""
    return Task.model_validate(task).llms[0].model if task is not None else None


def _add_values(result: ScoresOfTask, table: MapTable) -> None:
    """Add to the worst rows what they were asked, and answered."""
    rows = {row["index"]: row for row in table.rows([row["index"] for row in result["worst"]], _SHOWN)}
    for worst in result["worst"]:
        row = rows[worst["index"]]
        worst["input"], worst["output"] = row["input"], row["output"]
