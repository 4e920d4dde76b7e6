"""A look into one run over HTTP: its rows as a table, its calls, its pipeline, and where its rows are from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from po_jupyter.client.http.payloads import (
    ModelCallJson,
    ModelCallsJson,
    ProvenanceJson,
    RowTableJson,
    RunPipelineJson,
)
from po_jupyter.client.http.transport import Transport, path_segment
from po_jupyter.model.values.json import JsonObject


class RunInspector:
    """Asks one orchestrator about the inside of runs. Every method raises NotFound for an unknown run."""

    def __init__(self, transport: Transport) -> None:
        """Nothing is asked yet."""
        self._transport = transport

    async def row_table(self, run_id: str, task: str, **query: object) -> RowTableJson:
        """Rows of a map as a table; `query` as in `GET runs/{id}/tasks/{task}/rows`."""
        path = f"runs/{path_segment(run_id)}/tasks/{path_segment(task)}/rows"
        return cast("RowTableJson", await self._transport.json("GET", path, params=_present(query)))

    async def model_calls(self, run_id: str, **query: object) -> ModelCallsJson:
        """Calls to models, one entry each; `query` as in `GET runs/{id}/model-calls`."""
        path = f"runs/{path_segment(run_id)}/model-calls"
        return cast("ModelCallsJson", await self._transport.json("GET", path, params=_present(query)))

    async def model_call(self, run_id: str, number: int) -> ModelCallJson:
        """One call with what was sent and what came back. NotFound."""
        path = f"runs/{path_segment(run_id)}/model-calls/{number}"
        return cast("ModelCallJson", (await self._transport.json("GET", path))["call"])

    async def run_pipeline(self, run_id: str) -> RunPipelineJson:
        """The definition that a run was submitted with, and the tasks that each of its tasks waits for."""
        path = f"runs/{path_segment(run_id)}/pipeline"
        return cast("RunPipelineJson", await self._transport.json("GET", path))

    async def provenance(self, run_id: str, task: str) -> list[ProvenanceJson]:
        """Where each row of a map is from; see `Run.frame`."""
        path = f"runs/{path_segment(run_id)}/provenance"
        return list((await self._transport.json("GET", path, params={"task": task}))["rows"])


def _present(query: Mapping[str, object]) -> JsonObject:
    return {name: value for name, value in query.items() if value is not None}
