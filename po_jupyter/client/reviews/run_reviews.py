"""Reviews of one run for code without an event loop; `run.reviews`."""

from __future__ import annotations

import secrets
from typing import Any

from po_jupyter.client.blocking import Blocking
from po_jupyter.client.evals.comparison import map_of
from po_jupyter.client.http.reviews import ReviewJson
from po_jupyter.client.reviews.agreement import ReviewSummary, summary_of
from po_jupyter.client.reviews.choices import choices_of
from po_jupyter.client.reviews.condition import RowCondition
from po_jupyter.client.reviews.corrections import AS_IT_IS, all_reviews
from po_jupyter.client.reviews.sampling import matching_rows, sample_of
from po_jupyter.client.reviews.session import answer_schema
from po_jupyter.model.run.view import RunView


class RunReviews:
    """What people say of the answers of one run's rows. `task` may be left out where there is one map. Each method
    raises NotFound and InvalidInput."""

    def __init__(self, client: Blocking, view: RunView) -> None:
        """Asks nothing yet."""
        self._client, self._view = client, view

    def __call__(self, task: str | None = None) -> list[ReviewJson]:
        """What was said, in row order, of each person the last of a row: `{index, by, at, decision, output, recorded,
        note, outdated, disputed, ...}`."""
        return self._client.call(all_reviews(self._client.aio, self._view.id, map_of(self._view, task)))

    def add(
        self,
        task: str | None,
        index: int,
        output: Any = AS_IT_IS,
        *,
        note: str = "",
        request: str | None = None,
    ) -> ReviewJson:
        """Say that the answer of a row is right as it is, or with `output` what would be. See `Run.review`."""
        correction: dict[str, Any] = {"decision": "agree"}
        if output is not AS_IT_IS:
            correction = {"decision": "correct", "output": output}
        return self._client.call(
            self._client.aio.inspection.reviews.add(
                self._view.id, map_of(self._view, task), index, note=note,
                request=request or secrets.token_hex(12), **correction,
            )
        )  # fmt: skip

    def sample(
        self, task: str | None = None, *, where: str | None = None, size: int | None = 50, seed: int = 0
    ) -> list[int]:
        """The numbers of the rows that `%po review` would show: of those for which `where` holds (an expression over
        the columns of `frame`), at most `size`, the same ones for the same seed."""
        condition = RowCondition(where) if where else None
        rows = matching_rows(self._client.aio, self._view.id, map_of(self._view, task), condition)
        return sample_of(self._client.call(rows), size, seed)

    def summary(self, task: str | None = None) -> ReviewSummary:
        """How far people and the model agree, with Cohen's kappa; `str()` of it is for people."""
        name = map_of(self._view, task)
        schema = self._client.call(answer_schema(self._client.aio, self._view.id, name))
        return summary_of(name, self(name), choices_of(schema, most=None))
