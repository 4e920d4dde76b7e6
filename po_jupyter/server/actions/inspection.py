"""A look into one run: rows of a map as a table, calls, course and cost over time."""

from __future__ import annotations

from po_jupyter.errors import NotFound
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.shapes import (
    CompareQuery,
    ModelCallsQuery,
    ProvenanceQuery,
    Query,
    RowsQuery,
    VariantsQuery,
)

_MOST = 10**9 - 1  # of rows and of calls


async def rows(request: ApiRequest[RowsQuery, None]) -> JsonResponse:
    """Rows of a map as a table, sorted, filtered, searched: `{index, state, input, output, error, attempts, tokens,
    cost_usd, seconds, model, flags, clipped}` each, with `variant` and `scores` where the task has them; it has the
    `variants` and `scores` of these names. Values are cut at 2,000 characters."""
    query = request.query
    page = await request.orchestrator.inspection.rows(
        request.path["id"], request.owner, request.path["task"],
        start=query.start, limit=query.limit, state=query.state, sort=query.sort, desc=query.desc, q=query.q,
        variant=query.variant,
    )  # fmt: skip
    return JsonResponse(page)


async def row(request: ApiRequest[Query, None]) -> JsonResponse:
    """One row of a map, whole."""
    found = await request.orchestrator.inspection.row(
        request.path["id"], request.owner, request.path["task"], _number(request.path["index"], "row")
    )
    return JsonResponse({"row": found})


async def row_expected(request: ApiRequest[Query, None]) -> JsonResponse:
    """What the scorers of a map expect of one row: `{scores, value, problem}` each, for the scores of these names."""
    found = await request.orchestrator.scores.expected(
        request.path["id"], request.owner, request.path["task"], _number(request.path["index"], "row")
    )
    return JsonResponse({"expected": [{**one} for one in found]})


async def compare(request: ApiRequest[CompareQuery, None]) -> JsonResponse:
    """A map of this run (`a`) beside the same one of another (`b`): `{change, by_input, a, b}` each, the sides as in
    `rows`, null where a run has no such row. `change` is `changed`, `only_a`, `only_b`, `failed` (in both), `open` or
    `same`. Rows are joined by their input, what is left by its place. `gold` is a field of the
    rows, or `corrections`: then the summary says how many answers are that, too. Nothing is asked of a model."""
    query = request.query
    page = await request.orchestrator.inspection.compare(
        request.path["id"], request.owner, query.other, query.task,
        everything=query.show == "all", start=query.start, limit=query.limit,
        gold=query.gold,
    )  # fmt: skip
    return JsonResponse(page)


async def variants(request: ApiRequest[VariantsQuery, None]) -> JsonResponse:
    """The variants of a map beside each other: what each answered and paid, its scores with their intervals, and by
    pair how many answers are alike, with McNemar's test of scores that are right or wrong. Nothing is asked of a
    model."""
    found = await request.orchestrator.inspection.variants(
        request.path["id"], request.owner, request.query.task
    )
    return JsonResponse({"variants": {**found}})


async def model_calls(request: ApiRequest[ModelCallsQuery, None]) -> JsonResponse:
    """Calls to models, one entry each: `{n, key, task, row, attempt, round, kind, state, model, started_at, seconds,
    input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_usd, cached, batch, finish, error}`."""
    query = request.query
    page = await request.orchestrator.inspection.calls(
        request.path["id"], request.owner, task=query.task, row=query.row,
        state=query.state, start=query.start, limit=query.limit,
    )  # fmt: skip
    return JsonResponse(page)


async def model_call(request: ApiRequest[Query, None]) -> JsonResponse:
    """One call: messages as they were sent, answer, schema, error. `messages` are `rendered` again, and `exact` when
    their hash is that of what was sent; null when they cannot be known, and `why`."""
    found = await request.orchestrator.inspection.call(
        request.path["id"], request.owner, _number(request.path["n"], "call")
    )
    return JsonResponse({"call": found})


async def provenance(request: ApiRequest[ProvenanceQuery, None]) -> JsonResponse:
    """Where each row of a map is from: `{index, model, prompt_hash, asked_at, attempt, reused_from}` each, of all rows
    with an outcome, or of one `row`. `prompt_hash` is of the request as it was sent, `reused_from` the
    `RUN/TASK/INDEX` that paid."""
    rows = await request.orchestrator.inspection.provenance(
        request.path["id"], request.owner, request.query.task, request.query.row
    )
    return JsonResponse({"rows": rows})


async def timeline(request: ApiRequest[Query, None]) -> JsonResponse:
    """Spans of tasks, attempts and stages: `{task, stage, attempt, state, started_at, ended_at, wait, reason, rows?}`
    each, at most 5,000."""
    return JsonResponse(await request.orchestrator.inspection.timeline(request.path["id"], request.owner))


async def spending(request: ApiRequest[Query, None]) -> JsonResponse:
    """Dollars and tokens over time, by task and by model, and the budget."""
    return JsonResponse(await request.orchestrator.inspection.spending(request.path["id"], request.owner))


def _number(text: str, kind: str) -> int:
    if (number := whole_number(text, _MOST)) is None:
        raise NotFound(f"there is no {kind} {text!r:.40}: they are numbered from 0")
    return number
