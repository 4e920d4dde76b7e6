"""Scores of two sides of the same rows, beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from po_jupyter.evals.mcnemar import mcnemar
from po_jupyter.evals.summary import is_proportion
from po_jupyter.model.pipeline.evals.scores import ScoreColumn
from po_jupyter.model.run.comparing import PairedScore
from po_jupyter.model.run.scores import MeanScore


def paired_score(
    column: ScoreColumn, a: MeanScore, b: MeanScore, values: Iterable[tuple[float | None, float | None]]
) -> PairedScore:
    """A score of A and B; `values` has those of each row that both have, None where one is missing."""
    counts = Counter(pair for pair in values if None not in pair)
    rows = counts.total()
    is_binary = is_proportion(column) and all(value in (0.0, 1.0) for pair in counts for value in pair)
    paired: PairedScore = {
        "name": column.name, "metric": column.metric, "a": a, "b": b, "rows": rows, "both": None, "a_only": None,
        "b_only": None, "neither": None, "p": None, "method": None,
    }  # fmt: skip
    if rows and is_binary:
        a_only, b_only = counts[1.0, 0.0], counts[0.0, 1.0]
        test = mcnemar(a_only, b_only)
        paired |= {
            "both": counts[1.0, 1.0], "a_only": a_only, "b_only": b_only, "neither": counts[0.0, 0.0], "p": test.p,
            "method": test.method,
        }  # fmt: skip
    return paired
