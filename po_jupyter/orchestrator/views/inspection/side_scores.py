"""Scores of a map as a comparison has them: those that its run recorded, and whether answers are what a field of the
row says, or people in reviews."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from po_jupyter.errors import InvalidInput
from po_jupyter.evals.metrics import measure
from po_jupyter.evals.paired import paired_score
from po_jupyter.evals.summary import ScoreSummary
from po_jupyter.model.pipeline.evals.scores import ScoreColumn, Scorer, score_columns
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.comparing import PairedScore
from po_jupyter.model.run.review import RecordedReview, ReviewView, answer_digest, corrections_of
from po_jupyter.model.run.scores import MeanScore, RowScores, ScoresOfTask, WorstRow
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.orchestrator.views.inspection.rows import MapTable

CORRECTIONS = "corrections"
_GOLD = Scorer(name="right", expect="{{ item }}", metrics=("exact",))
_PORTION = 1000  # rows that are read at once


class SideScores(NamedTuple):
    """The scores of some rows of a map: the mean of each, and the values of each row by its name."""

    columns: list[ScoreColumn]
    means: dict[str, MeanScore]
    rows: dict[int, dict[str, float | None]]


def scorers_of(definition: JsonObject) -> tuple[Scorer, ...]:
    """The scorers of a task, none of one that is not scored."""
    return Task.model_validate(definition).scorers if definition.get("score") is not None else ()


class ScoredRows:
    """Scores of the rows of a map as they come, summed up. Of a map with variants, each of which has a row for each row
    of the list, one after the other, they are those of each variant."""

    def __init__(
        self,
        columns: Sequence[ScoreColumn],
        variants: Iterable[str] | None = None,
        worst: int = 0,
        *,
        keep: bool = True,
    ) -> None:
        """Without any row. So many `worst` rows are kept, and with `keep` the values of all, for `sides`."""
        self._columns, self._names, self._worst = list(columns), list(variants or ()), worst
        self._summaries = [ScoreSummary(columns, worst) for _ in self._names or ("",)]
        self._values: list[dict[int, dict[str, float | None]]] = [{} for _ in self._summaries]
        self._keep = keep

    def add(self, index: int, ok: bool, scores: RowScores | None) -> None:
        """Take in a row, as `MapTable.recorded_scores` gives it."""
        row, variant = divmod(index, len(self._summaries))
        if ok:
            self._summaries[variant].add(index, scores)
        else:
            self._summaries[variant].add_failed()
        if self._keep:
            self._values[variant][row] = scores["values"] if ok and scores is not None else {}

    def sides(self) -> list[SideScores]:
        """The scores of each variant, by the number of the row in the list; without variants those of the map."""
        means = [{one["name"]: one for one in summary.result("")["scores"]} for summary in self._summaries]
        return [SideScores(self._columns, *side) for side in zip(means, self._values, strict=True)]

    def result(self, task: str) -> ScoresOfTask:
        """The numbers; with variants each is named after its own."""
        results = [summary.result(task) for summary in self._summaries]
        return _of_variants(self._names, results, self._worst) if self._names else results[0]


def _of_variants(names: Sequence[str], results: Sequence[ScoresOfTask], worst: int) -> ScoresOfTask:
    """The scores of variants as those of one task."""
    named = list(zip(names, results, strict=True))
    lowest: list[list[WorstRow]] = [
        [{**row, "variant": name, "row": row["index"] // len(names)} for row in result["worst"]]
        for name, result in named
    ]
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
        "worst": [row for rows in zip_longest(*lowest) for row in rows if row][:worst],
    }


def recorded(table: MapTable, definition: JsonObject) -> list[SideScores]:
    """The scores that a run recorded of each variant of a map, or of the map."""
    columns = score_columns(scorers_of(definition))
    return _sides(columns, table.recorded_scores() if columns else (), definition.get("variants"))


def recorded_of(table: MapTable, definition: Mapping[str, JsonValue], rows: Container[int]) -> SideScores:
    """The scores that a run recorded of these rows of a map, whichever variants answered them."""
    columns = score_columns(scorers_of({**definition, "variants": None}))
    scored = (row for row in table.recorded_scores() if row[0] in rows) if columns else ()
    return _sides(columns, scored)[0]


def _sides(
    columns: Sequence[ScoreColumn],
    scored: Iterable[tuple[int, bool, RowScores | None]],
    variants: Iterable[str] | None = None,
) -> list[SideScores]:
    found = ScoredRows(columns, variants)
    for row in scored:
        found.add(*row)
    return found.sides()


def against_field(table: MapTable, field: str, rows: Container[int]) -> SideScores:
    """Whether each answer to these `rows` is what `field` of its row says; of an answer with fields that of the same
    name, or its only one. Raises InvalidInput where no row of the map has the field."""
    known = False

    def scored() -> Iterable[tuple[int, bool, RowScores | None]]:
        nonlocal known
        total = table.columns.total
        for start in range(0, total, _PORTION):
            for row in table.answered(range(start, min(start + _PORTION, total))):
                has_field = isinstance(row.input, Mapping) and field in row.input
                known = known or has_field
                if row.index in rows and row.state in ("done", "failed"):
                    yield (
                        row.index,
                        row.state == "done",
                        _right(_part(table.plain_answer(row.output), field), row.input[field])
                        if has_field
                        else None,
                    )

    (scores,) = _sides(score_columns((_GOLD,)), scored())
    if not known:
        raise InvalidInput(
            f"no row has a field {field!r:.80} to compare answers with",
            hint="--gold FIELD names a field of the rows, or `corrections` what people said in reviews.",
        )
    return scores


def against(table: MapTable, gold: Mapping[int, JsonValue]) -> SideScores:
    """Whether the answers of rows are what `gold` says."""
    rows = table.answered(sorted(gold))
    scored = (
        (row.index, row.state == "done", _right(table.plain_answer(row.output), gold[row.index]))
        for row in rows
    )
    return _sides(score_columns((_GOLD,)), scored)[0]


def corrections_in(table: MapTable, reviews: Sequence[RecordedReview]) -> dict[int, JsonValue]:
    """What is right of rows according to the reviews of the answers of now."""
    rows = {row.index: row for row in table.answered(sorted({review["index"] for review in reviews}))}
    views: list[ReviewView] = []
    for review in reviews:
        row = rows[review["index"]]
        ok = row.state == "done"
        right = table.plain_answer(row.output if review["decision"] == "agree" else review["output"])
        views.append({
            **review,  # type: ignore[typeddict-item]  # a recorded review has no `row`
            "output": right, "ok": ok, "recorded": row.output, "mine": False, "disputed": False,
            "outdated": review["answer"] != answer_digest(ok, row.output),
        })  # fmt: skip
    return corrections_of(views)


def paired(a: SideScores, b: SideScores, pairs: Iterable[tuple[int, int]]) -> list[PairedScore]:
    """The scores that both sides have, over the rows that are pairs."""
    both = [(a.rows[i], b.rows[j]) for i, j in pairs if i in a.rows and j in b.rows]
    same = {(column.name, column.metric) for column in b.columns}
    return [
        paired_score(
            column, a.means[column.name], b.means[column.name],
            ((one.get(column.name), other.get(column.name)) for one, other in both),
        )
        for column in a.columns
        if (column.name, column.metric) in same and column.name in a.means
    ]  # fmt: skip


def _right(output: JsonValue, expected: JsonValue) -> RowScores:
    return {
        "values": {column.name: measure("exact", output, expected).value for column in score_columns((_GOLD,))}
    }


def _part(output: JsonValue, field: str) -> JsonValue:
    """The part of an answer that is compared with a field of its row."""
    if not isinstance(output, Mapping):
        return output
    return output[field] if field in output else next(iter(output.values())) if len(output) == 1 else output
