"""What the run of a judge said of recorded answers, by their rows; its own are in the order of these."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, NamedTuple

from po_jupyter.engine.scores.judge import REASON, SCORE
from po_jupyter.errors import InvalidInput
from po_jupyter.evals.metrics import Measured
from po_jupyter.model.run.names import short_id
from po_jupyter.model.values.json import JsonValue
from po_jupyter.orchestrator.views.inspection.rows import MapTable

NOT_JUDGED = "not judged yet"
NOT_ASKED = "the judge was not asked about this row"
OTHER_ANSWER = "the judge was asked about an earlier answer"


class AnswerVerdict(NamedTuple):
    """What a judge said of `output`."""

    output: JsonValue
    measured: Measured


def verdicts_on(table: MapTable, run: str, indexes: range) -> dict[int, AnswerVerdict]:
    """What a judge said of the answers of these rows, by their index; `table` is that of the map of the judge in `run`.
    Raises InvalidInput where its rows are no answers."""
    total = table.columns.total

    def judged_row(value: Any) -> int:
        if not isinstance(value, Mapping) or not isinstance(value.get("index"), int):
            raise InvalidInput(f"run {short_id(run)} did not judge recorded answers")
        return int(value["index"])

    first = bisect_left(
        range(total), indexes.start, key=lambda place: judged_row(table.answered([place])[0].input)
    )
    rows = table.answered(range(first, min(first + len(indexes), total)))
    failed = [row.index for row in rows if row.state == "failed"]
    errors = {row["index"]: row["error"] for row in table.rows(failed)}
    found: dict[int, AnswerVerdict] = {}
    for row in rows:
        if (index := judged_row(row.input)) not in indexes:
            break
        if row.state == "done":
            measured = Measured(float(row.output[SCORE]), str(row.output[REASON]))
        elif (error := errors.get(row.index)) is not None:
            measured = Measured(None, f"the judge: {error.get('message')}")
        else:
            measured = Measured(None, NOT_JUDGED)
        found[index] = AnswerVerdict(row.input["output"], measured)
    return found


def verdict_on(verdict: AnswerVerdict | None, output: JsonValue) -> Measured:
    """What was said of the answer of now; why nothing was, where that is so."""
    if verdict is None:
        return Measured(None, NOT_ASKED)
    return verdict.measured if verdict.output == output else Measured(None, OTHER_ANSWER)
