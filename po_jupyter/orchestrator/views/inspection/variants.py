"""The variants of a map beside each other: what each answered, what it cost, and how good it is."""

from __future__ import annotations

from itertools import combinations

from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.evals.scores import score_columns
from po_jupyter.model.run.comparing import VariantPair, VariantsOfTask, VariantSummary
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.inspection.row_contents import RowContent
from po_jupyter.orchestrator.views.inspection.rows import MapTable
from po_jupyter.orchestrator.views.inspection.side_scores import SideScores, paired, scorers_of, side_scores


def variants_beside(table: MapTable, definition: JsonObject, contents: list[RowContent]) -> VariantsOfTask:
    """The variants of the map with that definition; `contents` are those of its rows, as far as they were read. Raises
    InvalidInput for a task without variants."""
    names = list(definition.get("variants") or ())
    if not names:
        raise InvalidInput(
            f"task {definition.get('name')!r:.80} has no variants to compare",
            hint="po compare A B compares a map of two runs; `variants:` of a map asks several prompts in one.",
        )
    while not table.contents(contents):
        pass  # it goes on with the rows that were not read yet
    scores = _scores(table, definition, len(names))
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


def _scores(table: MapTable, definition: JsonObject, count: int) -> list[SideScores]:
    """The scores of each variant, by the number of the row in the list."""
    columns = score_columns(scorers_of({**definition, "variants": None}))
    of_variants: list[list[tuple[int, bool, RowScores | None]]] = [[] for _ in range(count)]
    for index, ok, scores in table.recorded_scores() if columns else ():
        of_variants[index % count].append((index // count, ok, scores))
    return [side_scores(columns, scored) for scored in of_variants]


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
