"""A look into runs over HTTP: rows as a table, calls, course and cost."""

from __future__ import annotations

from typing import cast

from po_jupyter.client.http.inspection_payloads import ComparisonJson, ModelCallJson, TableJson, TableRowJson
from po_jupyter.client.http.payloads import ProvenanceJson, RunPipelineJson
from po_jupyter.client.http.reviews import AsyncReviews
from po_jupyter.client.http.transport import Transport, path_segment
from po_jupyter.model.run.comparing import ScoresWithVariants, VariantsOfTask
from po_jupyter.model.run.scores import ExpectedAnswer, ScoredRow
from po_jupyter.model.values.json import JsonObject


class AsyncInspection:
    """The routes of pages about one run; `AsyncClient.inspection`. Each raises NotFound."""

    def __init__(self, transport: Transport) -> None:
        """Asks nothing yet."""
        self._transport = transport
        self.reviews = AsyncReviews(transport)

    async def rows(
        self,
        run_id: str,
        task: str,
        *,
        state: str | None = None,
        sort: str = "index",
        desc: bool = False,
        q: str = "",
        variant: str | None = None,
        start: int = 0,
        limit: int = 100,
    ) -> TableJson:
        """A page of a map's rows: those in a `state`, of a `variant`, with the text `q` in input, output or error;
        sorted by `index`, `state`, `attempts`, `tokens`, `cost_usd`, `seconds` or `output`. InvalidInput."""
        params = {
            "state": state, "sort": sort, "desc": int(desc), "q": q, "variant": variant, "start": start,
            "limit": limit,
        }  # fmt: skip
        return cast("TableJson", await self._get(run_id, f"tasks/{path_segment(task)}/rows", **params))

    async def row(self, run_id: str, task: str, index: int) -> TableRowJson:
        """One row, whole."""
        data = await self._get(run_id, f"tasks/{path_segment(task)}/rows/{index}")
        return cast("TableRowJson", data["row"])

    async def expected(self, run_id: str, task: str, index: int) -> list[ExpectedAnswer]:
        """What the scores of a map expect of a row."""
        data = await self._get(run_id, f"tasks/{path_segment(task)}/rows/{index}/expected")
        return cast("list[ExpectedAnswer]", data["expected"])

    async def compare(
        self,
        run_id: str,
        other: str,
        task: str,
        *,
        everything: bool = False,
        start: int = 0,
        limit: int = 100,
        gold: str | None = None,
    ) -> ComparisonJson:
        """A page of a map in two runs: rows that changed, or with `everything` all. InvalidInput."""
        show = "all" if everything else "changed"
        params = {"with": other, "task": task, "show": show, "start": str(start), "gold": gold}
        return cast("ComparisonJson", await self._get(run_id, "compare", limit=limit, **params))

    async def calls(
        self,
        run_id: str,
        *,
        task: str | None = None,
        row: int | None = None,
        state: str | None = None,
        start: int = 0,
        limit: int = 100,
    ) -> tuple[list[ModelCallJson], int | None]:
        """A page of calls to models, one entry each, and the start of the next page."""
        params = {"task": task, "row": row, "state": state, "start": start, "limit": limit}
        data = await self._get(run_id, "model-calls", **params)
        return cast("list[ModelCallJson]", data["calls"]), data["next"]

    async def call(self, run_id: str, number: int) -> ModelCallJson:
        """One call: with its messages as they were sent, and the answer."""
        return cast("ModelCallJson", (await self._get(run_id, f"model-calls/{number}"))["call"])

    async def run_pipeline(self, run_id: str) -> RunPipelineJson:
        """The definition that a run was submitted with, and the tasks that each of its tasks waits for."""
        return cast("RunPipelineJson", await self._get(run_id, "pipeline"))

    async def scores(self, run_id: str, task: str, worst: int = 10) -> ScoresWithVariants:
        """The scores that a run recorded of a task."""
        return cast("ScoresWithVariants", (await self._get(run_id, "scores", task=task, worst=worst))["scores"])

    async def score(
        self, run_id: str, task: str, score: object, budget: JsonObject | None = None, worst: int = 10,
        judge_run: str | None = None,
    ) -> JsonObject:  # fmt: skip
        """`{scores, run, left_out}`: recorded answers scored anew; `run` judges them, None without a judge and where
        `judge_run` did."""
        body: JsonObject = {
            "task": task,
            "score": score,
            "worst": worst,
            "budget": budget,
            "judge_run": judge_run,
        }
        return await self._transport.json("POST", f"runs/{path_segment(run_id)}/score", body=body)

    async def score_rows(
        self, run_id: str, task: str, score: object, judge_run: str | None = None, start: int = 0
    ) -> tuple[list[ScoredRow], int | None]:
        """The scores of single rows from number `start` of the map on, and the start of the next page."""
        body: JsonObject = {"task": task, "score": score, "judge_run": judge_run, "start": start}
        data = await self._transport.json("POST", f"runs/{path_segment(run_id)}/score/rows", body=body)
        return list(data["rows"]), data["next"]

    async def variants(self, run_id: str, task: str) -> VariantsOfTask:
        """The variants of a map beside each other. InvalidInput for a task without."""
        return cast("VariantsOfTask", (await self._get(run_id, "variants", task=task))["variants"])

    async def provenance(self, run_id: str, task: str, row: int | None = None) -> list[ProvenanceJson]:
        """Where each row of a map is from, or that `row` alone; see `Run.frame`."""
        return list((await self._get(run_id, "provenance", task=task, row=row))["rows"])

    async def timeline(self, run_id: str) -> JsonObject:
        """`{spans, cut, notes}`: `{task, stage, attempt, state, started_at, ended_at, wait, reason, rows?}` each."""
        return await self._get(run_id, "timeline")

    async def spending(self, run_id: str) -> JsonObject:
        """`{points, total, by_task, by_model, budget, notes}`; a point is `[time, dollars so far, tokens so far]`."""
        return await self._get(run_id, "spending")

    async def _get(self, run_id: str, path: str, **params: str | int | None) -> JsonObject:
        known = {name: str(value) for name, value in params.items() if value not in (None, "")}
        return await self._transport.json("GET", f"runs/{path_segment(run_id)}/{path}", params=known)
