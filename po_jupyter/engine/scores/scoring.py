"""The scoring of one task's answers: metrics at once, then each judge, whose calls are calls of the row like any other.

What goes wrong leaves a score missing and says why; the answer is paid, and stays. Only what would go wrong for every
other row too (a budget that is used up, a key that is refused) leaves the row open, as it does with the answer itself:
its recorded answers cost nothing when it is taken up again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.base.threads import OffLoop
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.prompts.templates import template_names
from po_jupyter.engine.scores.judge import REASON, SCORE, JudgePrompt
from po_jupyter.engine.scores.row_metrics import RowMetrics, part_of, put
from po_jupyter.engine.votes.voted_output import RunStages
from po_jupyter.errors import BudgetExceeded, ModelKeyError, PoError, StoreError
from po_jupyter.evals.metrics import Measured
from po_jupyter.model.pipeline.evals.scores import JUDGE
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.json import JsonObject, JsonValue


class Scoring:
    """The scores of one task, compiled once for all its attempts and rows. `names` are those that it reads."""

    def __init__(self, inputs: RunInputs, task: Task, off_loop: OffLoop) -> None:
        """Loads scorers of packages: call it in a thread where there are any. Raises TemplateFailed, InvalidInput."""
        self._off_loop = off_loop
        self._metrics = RowMetrics(
            task.name, task.scorers, [task.scorer_place(n) for n in range(len(task.scorers))]
        )
        self.judges = {
            n: JudgePrompt(task, scorer, task.scorer_place(n), inputs.judge_llm(task, scorer), off_loop)
            for n, scorer in enumerate(task.scorers)
            if scorer.judge is not None
        }
        self.names = self._metrics.names.union(*(judge.names for judge in self.judges.values()))
        self._base = template_names(seed=inputs.seed_data, seed_name=inputs.seed.name, config=task.config)

    async def scores(
        self,
        calls: ModelCalls,
        frame: Frame,
        run: RunStages,
        item: Any,
        output: JsonValue,
        *,
        place: int | None = None,
    ) -> RowScores:
        """The scores of the answer of one attempt; `run` goes through the stages of a judge, `place` is the number of
        the item in its list where that is not the row's.

        Raises an Interrupt, StoreError, BudgetExceeded and ModelKeyError.
        """
        names: JsonObject = dict(self._base)
        if frame.index is not None:
            names |= {"item": item, "index": frame.index if place is None else place}
        if self._metrics.is_slow:
            scores: RowScores = await self._off_loop(self._metrics.measure, names, output)
        else:
            scores = self._metrics.measure(names, output)
        if self.judges:
            calls.keep()  # what a judge makes of the answer does not change that it is one
        for number, judge in self.judges.items():
            column = next(c for c in self._metrics.columns if c.scorer == number and c.metric == JUDGE)
            put(scores, column.name, await self._judged(number, judge, calls, frame, run, names, output))
        return scores

    async def _judged(
        self,
        number: int,
        judge: JudgePrompt,
        calls: ModelCalls,
        frame: Frame,
        run: RunStages,
        names: Mapping[str, JsonValue],
        output: JsonValue,
    ) -> Measured:
        expected = self._metrics.expected(number, {**names, "output": output})
        if expected.problem:
            return Measured(None, expected.problem)
        seen = {**names, "output": part_of(output, judge.scorer.on), "expected": expected.value}
        own = Frame(judge.task, frame.attempt, frame.item, frame.index)
        try:
            answer = await run(judge.stages(calls.judge(number), seen), own)
        except (Interrupt, StoreError, BudgetExceeded, ModelKeyError):
            raise
        except PoError as error:
            return Measured(None, f"the judge: {error.message}")
        return Measured(float(answer[SCORE]), str(answer[REASON]))
