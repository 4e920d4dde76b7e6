"""The variants of a map beside each other: what each answered, what it cost, and how good it is."""

from __future__ import annotations

from itertools import combinations

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.comparing import VariantPair, VariantsOfTask, VariantSummary
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.inspection.row_contents import RowContent
from po_jupyter.orchestrator.views.inspection.rows import MapTable
from po_jupyter.orchestrator.views.inspection.side_scores import SideScores, paired, recorded


def variants_beside(
    table: MapTable, definition: JsonObject, scores: list[SideScores] | None = None
) -> VariantsOfTask:
    """The variants of the map with that definition, with the `scores` of each, or those that the run recorded. Raises
    InvalidInput for a task without variants."""
    names = list(definition.get("variants") or ())
    if not names:
        raise InvalidInput(
            f"task {definition.get('name')!r:.80} has no variants to compare",
            hint="po compare A B compares a map of two runs; `variants:` of a map asks several prompts in one.",
        )
    scores = scores or recorded(table, definition)
    contents = table.whole_contents()
    total = table.columns.total // len(names)
    return {
        "task": str(definition["name"]),
        "rows": total,
        "variants": [
            _summary(table, name, range(n, total * len(names), len(names)), scores[n]) for n, name in enumerate(names)
        ],
        "pairs": [
            _pair((names[a], names[b]), contents[a :: len(names)], contents[b :: len(names)], (scores[a], scores[b]))
            for a, b in combinations(range(len(names)), 2)
        ],
    }  # fmt: skip


def _summary(table: MapTable, name: str, indexes: range, scores: SideScores) -> VariantSummary:
    numbers = [table.columns.numbers(index) for index in indexes]
    outcomes = [outcome for index in indexes if (outcome := table.columns.table.get(index)) is not None]
    costs = [one.cost_usd for one in numbers]
    return {
        "name": name, "rows": len(indexes), "done": sum(outcome.ok for outcome in outcomes),
        "failed": sum(not outcome.ok for outcome in outcomes), "tokens": sum(one.tokens for one in numbers),
        "cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
        "seconds": round(sum(one.seconds for one in numbers), 3),
        "models": table.columns.models_of(indexes), "scores": list(scores.means.values()),
    }  # fmt: skip


def _pair(
    names: tuple[str, str], a: list[RowContent], b: list[RowContent], scores: tuple[SideScores, SideScores]
) -> VariantPair:
    answered = [
        (x, y) for x, y in zip(a, b, strict=False) if x.state == y.state == "done" and x.output and y.output
    ]
    alike = sum(x.output == y.output for x, y in answered)
    rows = sorted(scores[0].rows.keys() & scores[1].rows.keys())
    return {
        "a": names[0], "b": names[1], "agreement": alike / len(answered) if answered else None,
        "scores": paired(*scores, [(row, row) for row in rows]),
    }  # fmt: skip
