"""A run, asked how good its answers are: what changed from another run, scores, and what people said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from po_jupyter.client.blocking import Blocking
from po_jupyter.client.http.reviews import ReviewJson
from po_jupyter.client.inputs.control_bodies import BudgetInput
from po_jupyter.client.reviews.corrections import AS_IT_IS
from po_jupyter.model.run.view import RunView

# The rest is imported by who asks for it: it would be a sixth of what a client starts with.
if TYPE_CHECKING:
    from po_jupyter.client.evals.comparison import Comparison
    from po_jupyter.client.evals.scores import Scores
    from po_jupyter.client.evals.variants import VariantComparison
    from po_jupyter.client.reviews.run_reviews import RunReviews


class RunEvals(Protocol):
    """The part of `po_jupyter.client.run.Run` that judges answers; no model is asked but by a judge."""

    @property
    def id(self) -> str:
        """Its whole id."""
        ...

    @property
    def view(self) -> RunView:
        """How it stands."""
        ...

    @property
    def client(self) -> Blocking:
        """What asks for it."""
        ...

    def compare(
        self,
        other: RunEvals | str,
        task: str | None = None,
        *,
        everything: bool = False,
        gold: str | None = None,
    ) -> Comparison:
        """The rows of a map here (A) and in another run (B): those whose answers differ, or with `everything` all,
        those first; `task` may be left out where there is one map.

        Rows are joined by their input, what is left by its place. `str()` of it says how many answers agree and what
        each run paid, `frame()` has the rows. Scores that both runs have stand beside each other, those that are right
        or wrong with McNemar's test. `gold` is a field of the rows that says what is right, or `"corrections"`: what
        people said in reviews. Nothing is asked of a model. Raises InvalidInput, NotFound.
        """
        from po_jupyter.client.evals.comparison import compare_runs

        b = other if isinstance(other, str) else other.id
        return self.client.call(
            compare_runs(self.client.aio, self.view, b, task, everything=everything, gold=gold)
        )

    def compare_variants(self, task: str | None = None) -> VariantComparison:
        """The `variants` of a map beside each other: rate, scores with their intervals, cost and seconds of each, and
        McNemar's test of each pair. Nothing is asked of a model. Raises InvalidInput for a map without variants."""
        from po_jupyter.client.evals.variants import compare_variants

        return self.client.call(compare_variants(self.client.aio, self.view, task))

    def scores(self, task: str | None = None) -> Scores:
        """The scores that the run recorded of a task with a `score`: means, intervals, confusion, worst rows."""
        from po_jupyter.client.evals.scores import recorded_scores

        return self.client.call(recorded_scores(self.client.aio, self.view, task))

    def score(
        self, task: str | None = None, *, expect: str | None = None, judge: str | None = None,
        metrics: Sequence[str] | str | None = None, budget: BudgetInput | None = None, **fields: Any,
    ) -> Scores:  # fmt: skip
        """Score recorded answers, without a call; a `judge` is a run within the `budget`. `fields` as of a `score`."""
        from po_jupyter.client.evals.scores import score_answers, score_body

        asked = score_body(expect, metrics, judge, **fields)
        return self.client.call(score_answers(self.client.aio, self.view, task, asked, budget))

    @property
    def reviews(self) -> RunReviews:
        """What people said of its rows: `run.reviews("label")`, and `sample`, `summary`."""
        from po_jupyter.client.reviews.run_reviews import RunReviews

        return RunReviews(self.client, self.view)

    def review(self, task: str, row: int, output: Any = AS_IT_IS, *, note: str = "") -> ReviewJson:
        """Say of a row's answer that it is right as it is, or with `output` what would be (judged by the task's
        schema). Durable beside the answer, which stays; `frame(corrected=True)` has it. InvalidInput, Conflict."""
        return self.reviews.add(task, row, output, note=note)
