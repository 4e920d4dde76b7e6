"""The handle of a run: state, results and control, all asked of the orchestrator."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Generator, Iterable, Iterator, Mapping
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from po_jupyter.client import background_loop as loop
from po_jupyter.client.async_client import AsyncClient, TextDelta
from po_jupyter.client.blocking import Blocking
from po_jupyter.client.frames import frame_library, pandas_frame, polars_frame, with_provenance
from po_jupyter.client.http.inspection_payloads import ModelCallJson, TableRowJson
from po_jupyter.client.http.payloads import ArtifactJson, RowJson, StageLogJson
from po_jupyter.client.http.sse import SseMessage
from po_jupyter.client.inputs.control_bodies import BudgetInput, budget_body, rows_body
from po_jupyter.client.inputs.pipelines import pipeline_body
from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.client.paging import CursorPage, collect_pages
from po_jupyter.client.reviews.corrections import all_reviews, corrected_rows, verdicts
from po_jupyter.client.row_uploads import upload_rows
from po_jupyter.client.run_evals import RunEvals
from po_jupyter.client.run_outputs import RunOutputs, not_ended
from po_jupyter.errors import Conflict, InvalidInput, PoError, from_json
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation.reports.content import MOST_ROWS

if TYPE_CHECKING:
    from po_jupyter.client.evals.scores import Scores
    from po_jupyter.client.reports import Report
    from po_jupyter.client.reviews.row_details import RowDetails
    from po_jupyter.model.pipeline.pipeline import Pipeline

_ROWS_PAGE, _CALLS_PAGE, _TABLE_PAGE = 5000, 1000, 500  # fetched at once
_FRESH = 0.5  # seconds that a view is believed before it is asked for again


class Run(RunEvals):
    """One run. Its properties ask the orchestrator; nothing here has to stay alive for the run to go on.

    `run.wait()` blocks and `await run` waits on any event loop; interrupting either detaches, it does not
    cancel.
    """

    def __init__(self, client: Blocking, view: RunView) -> None:
        """A handle with a first view; nothing is asked yet."""
        self._client: Blocking | None = client
        self._view = view
        self._seen = time.monotonic()
        self.outputs: Mapping[str, Any] = RunOutputs(self)

    def __repr__(self) -> str:
        """Its short id, pipeline and last known state."""
        return f"<run {self.short} of {self._view.pipeline} {self._view.version}: {self._view.state}>"

    # A run in a pickle is its id and what was known of it: no connection, no token (P10) and no rows.
    def __getstate__(self) -> JsonObject:
        """The last view as JSON, without the seed."""
        return self._view.model_dump(mode="json", exclude={"seed"})

    def __setstate__(self, view: JsonObject) -> None:
        """The same run, asked of the orchestrator that is found where it is used."""
        self._client = None
        self._view = RunView.model_validate({**view, "seed": {}})
        self._seen = float("-inf")
        self.outputs = RunOutputs(self)

    def __copy__(self) -> Run:
        """Another handle of the same run, on the same connection."""
        return Run(self.client, self._view)

    def __deepcopy__(self, memo: object) -> Run:
        """The same as a copy: there is one run and one connection."""
        return self.__copy__()

    @property
    def client(self) -> Blocking:
        """The client that the run came from; a run from a pickle connects at its first question, as `po.connect()`."""
        if self._client is None:
            # By name, as users call it: how an orchestrator is found is no business of what blocks.
            self._client = import_module("po_jupyter").connect()
        return self._client

    @property
    def id(self) -> str:
        """22 hex digits that sort by time."""
        return self._view.id

    @property
    def short(self) -> str:
        """The last six characters of the id: what people see and type."""
        return short_id(self._view.id)

    @property
    def view(self) -> RunView:
        """Everything about the run, at most half a second old."""
        if time.monotonic() - self._seen > _FRESH:
            self.refresh()
        return self._view

    def refresh(self) -> RunView:
        """The run as it is now."""
        return self._update(self.client.call(self._aio.run(self.id, quiet=True)))

    @property
    def _aio(self) -> AsyncClient:
        return self.client.aio

    def _update(self, view: RunView) -> RunView:
        self._view, self._seen = view, time.monotonic()
        return view

    def _control(self, request: Coroutine[Any, Any, RunView]) -> Run:
        """Itself, after a request that answers with the changed run."""
        self._update(self.client.call(request))
        return self

    @property
    def state(self) -> str:
        """`pending`, `running`, `waiting`, `done`, `failed`, `cancelled`, `dead` or `moved`."""
        return self.view.state

    @property
    def usage(self) -> Usage:
        """Tokens, calls and cost so far."""
        return self.view.usage

    @property
    def error(self) -> PoError | None:
        """Why the run failed, or None."""
        return from_json(self.view.error) if self.view.error else None

    def raise_for_error(self) -> Run:
        """Raise the run's error if it has one; the run otherwise."""
        error = self.error
        if error is not None:
            raise error
        return self

    # -- watching -------------------------------------------------------------------------------
    def events(self, since: int = 0) -> Iterator[JsonObject]:
        """The events so far with an offset above `since`, in order."""
        while True:
            page = self.client.call(self._aio.history(self.id, since))
            yield from page
            if not page:
                return
            since = int(page[-1]["offset"])

    def follow(self) -> Iterator[RunView | TextDelta]:
        """The run now and after each change, with texts in between, until it ended. Blocks between values."""
        for value in self.client.iterate(self._aio.follow(self.id)):
            if isinstance(value, RunView):
                self._update(value)
            yield value

    def stream(self, since: int = 0) -> Iterator[SseMessage]:
        """Every event above `since`, then `end`; survives a lost connection. Blocks between values."""
        return self.client.iterate(self._aio.events(self.id, since))

    def wait(self, timeout: float | None = None) -> Run:
        """Block until the run ended, however it ended. An interrupt detaches: KeyboardInterrupt is raised here, the run
        goes on. Raises TimeoutError after `timeout` seconds, which says how the run stands."""
        try:
            self._update(self.client.call(self._aio.wait_end(self.id), timeout))
        except TimeoutError as error:
            error.args = (not_ended(self, timeout),)
            raise
        return self

    def __await__(self) -> Generator[Any, None, Run]:
        """Wait on the caller's own event loop until the run ended."""
        return self._wait_async().__await__()

    async def _wait_async(self) -> Run:
        self._update(await loop.await_future(loop.spawn(self._aio.wait_end(self.id))))
        return self

    # -- control --------------------------------------------------------------------------------
    def cancel(self) -> Run:
        """Ask the run to stop; what is finished is kept."""
        return self._control(self._aio.cancel(self.id))

    def resume(
        self,
        from_task: str | None = None,
        only_failed: bool = False,
        budget: BudgetInput | None = None,
        *,
        rows: Mapping[str, Iterable[int]] | None = None,
        include_done: bool = False,
    ) -> Run:
        """Go on with an ended run: what failed, everything from `from_task` on, only the failed rows, or only these.

        `rows` are numbers of rows by map, `{"label": [3, 17]}`, as `rows()` and the run's page have them: only those
        are asked for again, then what follows their maps runs again. A row that is done would be paid again, so it is
        a Conflict unless `include_done`. `rows={}` is InvalidInput.
        """
        limits = budget_body(budget)
        return self._control(
            self._aio.resume(
                self.id, from_task=from_task, only_failed=only_failed, budget=limits, rows=rows_body(rows),
                include_done=include_done,
            )
        )  # fmt: skip

    def restart(self, task: str | None = None, *, only: bool = False, clear_usage: bool = False) -> Run:
        """Do the ended run again as new attempts: all of it, `task` and what follows, or with `only` that task
        alone.

        Earlier checkpoints stay in its log. After `only`, `resume()` goes on with what is left. `clear_usage`
        counts usage, and with it the budget, from zero.
        """
        return self._control(self._aio.restart(self.id, task, only=only, clear_usage=clear_usage))

    def fork(
        self, from_task: str, seed: Any = None, pipeline: Pipeline | Mapping[str, object] | str | None = None
    ) -> Run:
        """A new run that takes over the checkpoints of the tasks before `from_task` and goes on from there,
        with another seed (data, rows or a `Seed`) or pipeline if given. This run stays as it is."""
        envelope = None if seed is None else seed_of(seed, self._view.name)
        definition = None if pipeline is None else pipeline_body(pipeline)
        return Run(self.client, self.client.call(self._fork(from_task, envelope, definition)))

    async def _fork(self, from_task: str, seed: Seed | None, pipeline: JsonObject | str | None) -> RunView:
        envelope: JsonObject | None = None
        if seed is not None:
            uploaded = await upload_rows(self._aio, seed)
            envelope = uploaded.model_dump(mode="json", exclude_none=True)
        return await self._aio.fork(self.id, from_task, seed=envelope, pipeline=pipeline)

    def approve(self, note: str = "", *, task: str | None = None) -> Run:
        """Open the gate that the run waits at: that of `task`, or the one that was seen here last. Conflict when it
        waits at another one by now."""
        return self._decide("approve", note, task)

    def reject(self, note: str = "", *, task: str | None = None) -> Run:
        """Refuse at the gate, which is chosen as in `approve`: the run ends `cancelled`."""
        return self._decide("reject", note, task)

    def _decide(self, decision: str, note: str, task: str | None) -> Run:
        gate = self._view.gate or self.refresh().gate
        try:
            return self._control(self._aio.gate(self.id, decision, note, task=task or (gate or {}).get("task")))
        except Conflict:
            self.refresh()  # the next decision is about the gate that there is now
            raise

    def move(self, to: str, group: str = "") -> Run:
        """Hand the run over to the hub's service of shared runs (`"shared"`), for oneself or a `group`, with all that
        it did: it goes on there, and what is here says so. Again, it finishes a move that was interrupted."""
        return self._control(self._aio.moves.move(self.id, to, group))

    def delete(self) -> None:
        """Remove the ended run with all that is its own."""
        self.client.call(self._aio.delete(self.id))

    # -- results --------------------------------------------------------------------------------
    def artifacts(self) -> list[ArtifactJson]:
        """Files that finished tasks wrote: `{name, task, bytes, sha256, path}` each, by name."""
        return self.client.call(self._aio.artifacts(self.id))

    def artifact(self, name: str) -> bytes:
        """The content of one of `artifacts()`. NotFound."""
        return self.client.call(self._aio.artifact(self.id, name))

    def items(self, task: str, state: str | None = None, *, result: bool = False) -> list[RowJson]:
        """Rows of a map so far in order, `{index, ok, output, error, usage}`; `state`: `done` or `failed`. Of an
        operator what it asked a model about; with `result` the rows that it made, once it is done."""
        return self._items(task, state=state, result="true" if result else None)

    def _items(self, task: str, **which: str | None) -> list[RowJson]:
        async def fetch(cursor: str | None, size: int) -> CursorPage[RowJson]:
            return await self._aio.items(self.id, task, cursor=cursor, limit=size, **which)

        return self.client.call(collect_pages(fetch, _ROWS_PAGE))

    def calls(self, task: str | None = None, state: str | None = None) -> list[JsonObject]:
        """The journal of calls to models, without the answers; `state="unknown"`: whose outcome was lost."""

        async def fetch(cursor: str | None, size: int) -> CursorPage[JsonObject]:
            return await self._aio.calls(self.id, task=task, state=state, cursor=cursor, limit=size)

        return self.client.call(collect_pages(fetch, _CALLS_PAGE))

    def rows(
        self, task: str, *, state: str | None = None, sort: str = "index", desc: bool = False, q: str = "",
        limit: int = 100,
    ) -> list[TableRowJson]:  # fmt: skip
        """The first `limit` rows of a map as a table, `{index, state, input, output, error, attempts, tokens, cost_usd,
        seconds, model, flags, clipped}`: in a `state`, with the text `q`, sorted; long values cut."""

        async def fetch(cursor: str | None, size: int) -> CursorPage[TableRowJson]:
            page = await self._aio.inspection.rows(
                self.id, task, state=state, sort=sort, desc=desc, q=q, start=int(cursor or 0), limit=size
            )
            return page["rows"], None if page["next"] is None else str(page["next"])

        return self.client.call(collect_pages(fetch, _TABLE_PAGE, limit))

    def row(self, task: str, index: int) -> RowDetails:
        """One row of a map, whole, with its `provenance`, `correction` and `calls`: what was sent and the raw answers,
        of a row that was reused those of the run that paid. NotFound."""
        from po_jupyter.client.reviews.row_details import row_details

        return self.client.call(row_details(self._aio, self.id, task, index))

    def model_calls(
        self, task: str | None = None, row: int | None = None, state: str | None = None, limit: int = 1000
    ) -> list[ModelCallJson]:
        """The first `limit` calls to models, one entry each: `{n, task, row, kind, state, model, seconds, ...}`."""

        async def fetch(cursor: str | None, size: int) -> CursorPage[ModelCallJson]:
            calls, following = await self._aio.inspection.calls(
                self.id, task=task, row=row, state=state, start=int(cursor or 0), limit=size
            )
            return calls, None if following is None else str(following)

        return self.client.call(collect_pages(fetch, _TABLE_PAGE, limit))

    def model_call(self, number: int) -> ModelCallJson:
        """One call by its `n`: with its `messages` as they were sent, and the `answer`. NotFound."""
        return self.client.call(self._aio.inspection.call(self.id, number))

    def logs(self, task: str | None = None, stage: str | None = None) -> list[StageLogJson]:
        """The output of stages: `{task, stage, name, bytes, text, cut}` of each log, `text` its last 64 KB."""
        return self.client.call(self._aio.logs(self.id, task=task, stage=stage))

    def frame(
        self, task: str, library: Literal["pandas", "polars"] = "pandas", *, provenance: bool = False,
        corrected: bool = False, scores: Scores | None = None,
    ) -> Any:  # fmt: skip
        """The rows of a map so far as a DataFrame, at any moment: the fields of an object output as columns, then `ok`,
        `error`, tokens, `cost`, `cached` (calls answered from the cache) and `unknown` (calls whose outcome was lost).

        Scores have columns `score_NAME`: those of the run, or `scores` that `run.score` gave. It has the index of the
        frame that was the seed: `df.join(run.frame("label"))` puts each answer beside its row, whatever the order of
        `df` is now; rows of a list are numbered from 0. polars: the index is the column `index`, for rows without one
        `with_row_index()`'s.
        Of an operator (`where`, `group_by`, ...) it has the rows that it made, once it is done, of a group its `rows`.

        A row that an earlier run paid for costs nothing here. `provenance` adds where each answer is from: `model` as
        the server named it, `prompt_hash` (of the request as it was sent), `asked_at`, `attempt`, and `reused_from`
        (RUN/TASK/INDEX of the row of an earlier run, whose the others then are). `corrected` puts what people said in
        reviews in the place of answers, and adds `corrected` (whether), `reviewed_by` and `disputed`. Raises PoError.
        """
        module, rows = frame_library(library), self._items(task, result="true")
        if corrected:
            rows = corrected_rows(rows, verdicts(self.client.call(all_reviews(self._aio, self.id, task))))
        if scores is not None:
            rows = self.client.call(scores.added_to(rows, task))
        if provenance:
            rows = with_provenance(rows, self.client.call(self._aio.inspection.provenance(self.id, task)))
        return (pandas_frame if library == "pandas" else polars_frame)(module, rows, self._index_of(rows))

    def save_rows(
        self, task: str, path: str | PathLike[str], *, state: str | None = None, sort: str = "index",
        desc: bool = False, q: str = "", corrected: bool = False, variant: str | None = None,
    ) -> int:  # fmt: skip
        """Write the rows of a map to a file, as many as there are: `.csv`, `.jsonl`, or `.parquet` (needs the extra
        `parquet`). The same rows and columns as `rows()`, whole; a field of an object answer is the column
        `output.NAME`; `corrected` as in `frame`; of a `variant` its own. How many were written."""
        from po_jupyter.client.row_export import RowsWanted, export_rows

        if any(t.name == task and t.kind == "operator" for t in self.view.tasks):
            hint = f'run.frame("{task}").to_csv("{task}.csv") writes them.'
            raise InvalidInput(f"task {task!r} asks no model: its rows are in its frame", hint=hint)
        wanted = RowsWanted(task, state, sort, desc, q, corrected, variant)
        return self.client.call(export_rows(self._aio, self.id, wanted, path))

    def report(self, path: str | PathLike[str] | None = None, *, rows: int = MOST_ROWS) -> Report:
        """The run as one file for others: pipeline, prompts, models, cost, failures, and the first `rows` rows of each
        map, with how many are left out.

        `path` is written: `.html` (self-contained, no script), `.md`, or `.ipynb`, a notebook with parameters that
        does the run again. The result shows itself in a notebook, and has all three as text.
        """
        from po_jupyter.client.reports import make_report

        report = self.client.call(make_report(self._aio, self.refresh(), rows))
        if path is not None:
            report.save(path)
        return report

    def _index_of(self, rows: list[RowJson]) -> JsonObject | None:
        """Names and types of the index that the rows have labels of; None for rows without."""
        path = rows[0].get("of") if rows else None
        if path is None:
            return None
        if path not in (self._view.seed.get("index") or {}):
            self.refresh()
        index: JsonObject | None = (self._view.seed.get("index") or {}).get(path)
        return index
