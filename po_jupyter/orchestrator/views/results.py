"""Results: what is in a run. Outputs, files, rows of maps, logs, calls."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import BinaryIO

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views import stage_logs
from po_jupyter.orchestrator.views.artifacts import ArtifactInfo
from po_jupyter.orchestrator.views.child_artifacts import WholeArtifacts
from po_jupyter.orchestrator.views.operator_rows import operator_page
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.orchestrator.views.row_labels import RowLabels, add_variants
from po_jupyter.orchestrator.views.row_pages import RowOutcome
from po_jupyter.orchestrator.views.stage_logs import StageLogView
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.objects.shared_files import SharedFiles
from po_jupyter.store.protocol import Head


class RunResults:
    """Reads the results of runs. Every method raises NotFound for an unknown run, and for somebody else's."""

    def __init__(
        self,
        settings: Settings,
        projections: RunProjections,
        runs: RunQueries,
        to_thread: ToThread,
        rows: RowFiles | None = None,
        files: SharedFiles | None = None,
    ) -> None:
        """Reads the store and the directories of runs in threads. `rows` has the files of rows that seeds name
        (default: those of the data directory), `files` are those that nodes share."""
        self._artifacts = WholeArtifacts(settings.data_dir, projections, runs.head, files)
        self._settings = settings
        self._projections = projections
        self._runs = runs
        self._to_thread = to_thread
        self._labels = RowLabels(rows or RowFiles(settings.data_dir), projections.seed)

    def _directory(self, head: Head) -> Path:
        return self._settings.data_dir / "runs" / head["run"]

    async def pipeline(self, run_id: str, owner: str | None) -> JsonObject:
        """`pipeline`: the definition as it was submitted; `needs`: the tasks that each task waits for, tasks that
        were added meanwhile among them; `options`: those of the run that differ from the defaults."""
        head = await self._runs.find_readable(run_id, owner)

        def read() -> JsonObject:
            needs = self._projections.pipeline(head["run"]).needs
            definition = self._projections.definition(head["run"])
            return {
                "pipeline": dict(definition.pipeline),
                "needs": {name: list(before) for name, before in needs.items()},
                "options": definition.options.to_json(),
            }

        return await self._to_thread(read)

    async def outputs(self, run_id: str, owner: str | None, task: str | None = None) -> JsonObject:
        """Outputs of the finished tasks (or of one), by name."""
        head = await self._runs.find_readable(run_id, owner)
        return await self._to_thread(self._projections.outputs, head, task)

    async def artifacts(self, run_id: str, owner: str | None) -> list[ArtifactInfo]:
        """The run's artifacts by name, with those of the pipelines that its tasks run."""
        head = await self._runs.find_readable(run_id, owner)
        return await self._to_thread(self._artifacts.listed, head)

    async def artifact(self, run_id: str, owner: str | None, name: str) -> BinaryIO:
        """The file of an artifact, open for reading: close it. NotFound; Unavailable for one of another node while the
        place that they share is away."""
        head = await self._runs.find_readable(run_id, owner)
        return await self._to_thread(self._artifacts.opened, head, name)

    async def items(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        *,
        result: bool = False,
    ) -> tuple[list[RowOutcome], str | None]:
        """Rows of a map in order, with their labels where the seed has an index, and the cursor of the next page.

        Of an operator they are what it asked about; with `result` they are the rows that it made, of which there are
        none before it is done.
        """
        head = await self._runs.find_readable(run_id, owner)
        start = _offset(cursor)

        def read() -> tuple[list[RowOutcome], int | None]:
            if result and (made := self._projections.operator_rows(head, task)) is not None:
                rows, following = operator_page(made, start, limit)
                self._labels.add(head, made.path, rows)
                return rows, following
            rows, following = self._projections.items(head, task, state, start=start, limit=limit)
            definition = self._projections.pipeline(head["run"]).task(task)
            if result and definition.operator is not None:
                return [], None
            add_variants(rows, definition.variants)
            self._labels.add(head, self._projections.state(head).tasks[task].rows_of, rows)
            return rows, following

        page, following = await self._to_thread(read)
        return page, None if following is None else str(following)

    async def logs(
        self, run_id: str, owner: str | None, task: str | None = None, stage: str | None = None
    ) -> list[StageLogView]:
        """The stages' logs: what they printed and logged."""
        head = await self._runs.find_readable(run_id, owner)
        return await self._to_thread(
            lambda: stage_logs.logs(self._directory(head), self._projections.state(head), task, stage)
        )

    async def calls(
        self,
        run_id: str,
        owner: str | None,
        task: str | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        state: str | None = None,
    ) -> tuple[list[JsonObject], str | None]:
        """The journal of calls in order, without the answers, as `RunProjections.calls` shows them; of those in one
        `state` when given."""
        head = await self._runs.find_readable(run_id, owner)
        start = _offset(cursor)

        def read() -> list[JsonObject]:
            return list(islice(self._projections.calls(head, task, state), start, start + limit + 1))

        page = await self._to_thread(read)
        return page[:limit], str(start + limit) if len(page) > limit else None


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if (offset := whole_number(cursor)) is None:
        raise InvalidInput("that is not a cursor of this list")
    return offset
