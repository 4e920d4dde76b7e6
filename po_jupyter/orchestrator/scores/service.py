"""The scores of a run's tasks: recorded ones summed up, recorded answers scored anew, or judged in a run of
their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypedDict, cast

from po_jupyter.config import Settings
from po_jupyter.engine.scores.row_metrics import put
from po_jupyter.errors import InvalidInput, NotFound
from po_jupyter.evals.metrics import Measured
from po_jupyter.evals.summary import FAILED
from po_jupyter.model.pipeline.evals.scores import JUDGE, score_columns
from po_jupyter.model.pipeline.evals.variants import judge_problem
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.comparing import ScoresWithVariants
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.scores import ExpectedAnswer, RowScores, ScoredRow, ScoreQuery
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.examination.operations import Examine
from po_jupyter.orchestrator.scores.judge_run import JudgedRows, judge_pipeline, judge_seed, judged_name
from po_jupyter.orchestrator.scores.verdicts import verdict_on, verdicts_on
from po_jupyter.orchestrator.submission.service import Submissions
from po_jupyter.orchestrator.threads import OwnerThreads
from po_jupyter.orchestrator.views.inspection.rows import AnsweredRow, MapTable
from po_jupyter.orchestrator.views.inspection.service import RunInspection
from po_jupyter.orchestrator.views.inspection.side_scores import ScoredRows, scorers_of
from po_jupyter.orchestrator.views.inspection.variants import variants_beside
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

    scores: ScoresWithVariants
    run: RunView | None
    left_out: Mapping[str, Mapping[str, int]]


class _Scored(NamedTuple):
    """What is scored: the run, the definition of its task with the scorers asked for, and the seed it may read."""

    head: Head
    task: Task
    definition: JsonObject
    seed: JsonObject
    total: int
    variants: tuple[str, ...]
    judge_run: str | None

    @property
    def judges(self) -> list[str]:
        """The names of the scores that judges give."""
        return [column.name for column in score_columns(self.task.scorers) if column.metric == JUDGE]


class _Portion(NamedTuple):
    """Some rows, the scores of those with an answer, and what each judge is asked about these, in their order."""

    rows: list[AnsweredRow]
    scores: dict[int, RowScores]
    questions: Mapping[str, list[JsonObject]]

    @property
    def answers(self) -> list[list[object]]:
        """The rows with an answer, `[index, item, output]` each."""
        return [[row.index, row.input, row.output] for row in self.rows if row.state == "done"]


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

    async def recorded(
        self, run_id: str, owner: str | None, task: str, worst: int = 10, *, beside: bool = True
    ) -> ScoresWithVariants:
        """The scores that the run recorded itself. A task that scores nothing has none. With `beside` its variants are
        compared."""

        def read(head: Head, table: MapTable, definition: JsonObject) -> ScoresWithVariants:
            scorers, variants = scorers_of(definition), definition.get("variants")
            found = ScoredRows(score_columns(scorers), variants, worst, keep=bool(variants))
            is_map = bool(definition.get("for_each"))
            for row in (table.recorded_scores() if is_map else self._of_task(head, task)) if scorers else ():
                found.add(*row)
            if not is_map:
                return cast("ScoresWithVariants", found.result(task))
            return _result(found, table, definition, beside=beside and bool(scorers))

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
        self, query: ScoreQuery, *, budget: JsonObject | None = None, worst: int = 10, code_allowed: bool = True
    ) -> ScoredAnswers:
        """Score the recorded answers of a map, of each of its variants. Metrics ask no model.

        A judge is a run of its own over the answers, started here, within `budget`. Raises InvalidPipeline for a
        `score` that is none, InvalidInput for a judge without a budget, and what `Submissions.submit` raises.
        """
        scored = await self._checked(query)
        asks = bool(scored.judges) and scored.judge_run is None
        if asks and not budget:
            raise InvalidInput(
                "a judge is asked about each answer, and that costs: give a budget",
                hint='budget={"usd": 1} in Python, --budget 1 in a terminal.',
            )
        columns = [c for c in score_columns(scored.task.scorers) if c.metric != JUDGE or not asks]
        found = ScoredRows(columns, scored.variants, worst, keep=bool(scored.variants))
        judged = JudgedRows(scored.judges if asks else ())
        for start in range(0, scored.total, _PORTION):
            portion = await self._portion(scored, range(start, min(start + _PORTION, scored.total)))
            for row in portion.rows:
                if row.state in ("done", "failed"):
                    found.add(row.index, row.state == "done", portion.scores.get(row.index))
                if row.state != "done":
                    judged.leave_out(FAILED if row.state == "failed" else NO_ANSWER)
            if asks:
                judged.add(portion.answers, portion.questions)
        result = await self._inspection.of_task(
            query.run, query.owner, query.task, lambda _, table, definition: _result(found, table, definition)
        )
        left_out = {name: dict(counts) for name, counts in judged.left_out.items()}
        run = (
            await self._judge(scored, judged, budget or {}, code_allowed) if any(judged.rows.values()) else None
        )
        return {"scores": result, "run": run, "left_out": left_out}

    async def rows(
        self, query: ScoreQuery, *, start: int = 0, limit: int = _PORTION
    ) -> tuple[list[ScoredRow], int | None]:
        """The scores of single rows from number `start` of the map on, and where the next ones begin. Rows without an
        answer are left out; so are, without `judge_run`, the scores of judges. Raises as `score` does."""
        scored = await self._checked(query)
        end = min(start + limit, scored.total)
        portion = await self._portion(scored, range(min(start, end), end))
        rows: list[ScoredRow] = [{"index": index, "scores": one} for index, one in portion.scores.items()]
        return rows, end if end < scored.total else None

    async def expected(self, run_id: str, owner: str | None, task: str, index: int) -> list[ExpectedAnswer]:
        """What the scorers of a map expect of row `index`; nothing where it is not scored. NotFound for no such row."""

        def read(
            head: Head, table: MapTable, definition: JsonObject
        ) -> tuple[Head, JsonObject, AnsweredRow | None]:
            known = index < table.columns.total
            return head, definition, table.answered([index])[0] if known else None

        head, original, row = await self._inspection.of_task(run_id, owner, task, read)
        if row is None:
            raise NotFound(f"task {task!r:.80} of run {short_id(head['run'])} has no row {index}")
        if (score := original.get("score")) is None:
            return []
        place = index // max(1, len(original.get("variants") or ()))
        found = await self._examining.of(head["owner"])(
            self._examine,
            {
                "what": "expect", "definition": _scoring_alone(original, score), "owner": head["owner"],
                "seed": await self._seed(head, score), "rows": [[place, row.input, row.output]],
            },
        )  # fmt: skip
        return cast("list[ExpectedAnswer]", cast("Mapping[str, object]", found)["expected"])

    async def _checked(self, query: ScoreQuery) -> _Scored:
        """What is asked for, checked with the rows that there are."""
        run_id, owner, task, score, judge_run = query

        def read(
            head: Head, table: MapTable, definition: JsonObject
        ) -> tuple[Head, JsonObject, list[object], int]:
            if not definition.get("for_each"):
                raise InvalidInput(
                    f"task {task!r:.80} of run {short_id(head['run'])} has no rows to score",
                    hint="Answers of a map (`for_each`) are scored again; a task alone has the scores of its own run.",
                )
            samples = [row.input for row in table.answered(range(min(_SAMPLES, table.columns.total)))]
            return head, definition, samples, table.columns.total

        head, original, samples, total = await self._inspection.of_task(run_id, owner, task, read)
        definition = _scoring_alone(original, score)
        seed = await self._seed(head, score)
        data = {**(seed.get("data") or {}), _SAMPLED: [row for row in samples if row is not None]}
        checked = await self._examining.of(head["owner"])(
            self._examine, {"what": "check", "definition": definition, "data": data}
        )
        pipeline = checked if isinstance(checked, Pipeline) else validate_pipeline(checked, recorded=True)
        scoring = pipeline.tasks[0]
        variants = tuple(original.get("variants") or ())
        if variants and (problem := judge_problem(Task.model_validate(original), scoring.scorers)) is not None:
            raise InvalidInput(f"task {task!r:.80}{problem}")
        scored = _Scored(head, scoring, pipeline.to_json(), seed, total, variants, judge_run)
        await self._check_judge(scored)
        return scored

    async def _check_judge(self, scored: _Scored) -> None:
        """Raises InvalidInput where the run that judged has judged other answers, NotFound where it is not there."""
        if (judge_run := scored.judge_run) is None:
            return
        expected = judged_name(scored.head, scored.task.name)

        def check(head: Head, table: MapTable, definition: JsonObject) -> None:
            seed = self._store.definition(head["run"]).get("seed") or {}
            if seed.get("name") != expected:
                raise InvalidInput(f"run {short_id(head['run'])} did not judge the answers of {expected}")

        for judge in scored.judges:
            await self._inspection.of_task(judge_run, scored.head["owner"], judge, check)

    async def _seed(self, head: Head, score: object) -> JsonObject:
        """The seed of the run where a score may read it."""
        if "seed" not in json.dumps(score):
            return {}
        definition = await self._examining.of(head["owner"])(self._store.definition, head["run"])
        return dict(definition.get("seed") or {})

    async def _portion(self, scored: _Scored, indexes: range) -> _Portion:
        """Score these rows; of judges there are the scores that they gave, if they were asked."""
        head, count = scored.head, max(1, len(scored.variants))
        rows = await self._inspection.of_task(
            head["run"], head["owner"], scored.task.name, lambda _, table, definition: table.answered(indexes)
        )
        done = [row for row in rows if row.state == "done"]
        result = cast(
            "Mapping[str, object]",
            await self._examining.of(head["owner"])(
                self._examine,
                {
                    "what": "score", "definition": scored.definition, "seed": scored.seed, "owner": head["owner"],
                    # a score sees the number in the list, as it does while the run goes on
                    "rows": [[row.index // count, row.input, row.output] for row in done],
                },
            ),
        )  # fmt: skip
        values = cast("list[RowScores]", result["scores"])
        questions = cast("Mapping[str, list[JsonObject]]", result["questions"])
        for judge in scored.judges if scored.judge_run is not None else ():
            verdicts = await self._inspection.of_task(
                scored.judge_run or "", head["owner"], judge,
                lambda judging, table, _: verdicts_on(table, judging["run"], indexes),
            )  # fmt: skip
            for row, scores, question in zip(done, values, questions[judge], strict=True):
                why = question.get("missing")
                put(
                    scores,
                    judge,
                    verdict_on(verdicts.get(row.index), row.output) if why is None else Measured(None, why),
                )
        return _Portion(rows, {row.index: scores for row, scores in zip(done, values, strict=True)}, questions)

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


def _scoring_alone(task: JsonObject, score: object) -> JsonObject:
    """A pipeline of a task that has of another one only what a score is checked with."""
    fits = task.get("output") if task.get("prompt") is not None else task.get("output") or {}
    alone = {
        "name": task["name"], "prompt": "-", "for_each": f"{{{{ seed.{_SAMPLED} }}}}",
        "config": task.get("config") or {}, **({} if fits is None else {"output": fits}), "score": score,
    }  # fmt: skip
    return {"name": "score", "tasks": [alone]}


def _result(
    found: ScoredRows, table: MapTable, definition: JsonObject, *, beside: bool = True
) -> ScoresWithVariants:
    """What the scores of a map come to, with what the worst rows were asked and answered, and its variants."""
    result = cast("ScoresWithVariants", found.result(str(definition["name"])))
    rows = {row["index"]: row for row in table.rows([row["index"] for row in result["worst"]], _SHOWN)}
    for worst in result["worst"]:
        row = rows[worst["index"]]
        worst["input"], worst["output"] = row["input"], row["output"]
    if beside and definition.get("variants"):
        result["variants"] = variants_beside(table, definition, found.sides())
    return result


def _model_of(task: JsonObject | None) -> str | None:
    """The model that a task names, of a cascade the first one."""
    return Task.model_validate(task).llms[0].model if task is not None else None
