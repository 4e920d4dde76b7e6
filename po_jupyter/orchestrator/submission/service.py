"""Submissions: runs are made durable and handed to the dispatcher; the files of rows that they name are received."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.dispatch.protocol import Dispatcher
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.submission.request import (
    Submission,
    parse_submission,
    read_submission,
    redeemed_run,
)
from po_jupyter.orchestrator.submission.row_uploads import RowUpload
from po_jupyter.orchestrator.threads import OwnerThreads, ToThread
from po_jupyter.orchestrator.views.projections import RunProjections, brief
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Head, NewRun, Store


class Submissions:
    """Submit, estimate, validate, upload."""

    def __init__(
        self,
        store: Store,
        projections: RunProjections,
        runs: RunQueries,
        planner: RunPlanner,
        dispatcher: Dispatcher,
        row_files: RowFiles,
        *,
        prepare_interpreter: Callable[[str], Awaitable[object]],
        to_thread: ToThread,
        submitting: OwnerThreads,
        reading: OwnerThreads,
    ) -> None:
        """Submissions are checked in threads of `submitting`, what starts nothing in those of `reading`: neither can
        keep the other, or all the rest, from being served.

        `prepare_interpreter` starts what forks workers of a run's own interpreter; raises VersionMismatch when it
        cannot."""
        self._store = store
        self._projections = projections
        self._runs = runs
        self._planner = planner
        self._dispatcher = dispatcher
        self._row_files = row_files
        self._prepare_interpreter = prepare_interpreter
        self._to_thread = to_thread
        self._submitting = submitting
        self._reading = reading

    # -- runs -----------------------------------------------------------------------------------

    async def submit(
        self, body: Mapping[str, object], *, owner: str, code_allowed: bool = True
    ) -> tuple[RunView, bool]:
        """Make a run of a `POST runs` body durable and start it; (the run, was it new).

        Raises InvalidInput with every violation, NotFound (a registered pipeline), Forbidden, VersionMismatch,
        Conflict (the idempotency key was used with another body). Nothing is stored then.
        """
        if isinstance(body.get("idempotency_key"), str):
            earlier = await self._to_thread(redeemed_run, self._store, body, owner)
            if earlier is not None:
                return await self._runs.view(earlier), False
        made = await self._submitting.of(owner)(self._read_and_create, body, owner, code_allowed)
        if isinstance(made, Submission):
            if made.interpreter is not None:
                await self._prepare_interpreter(made.interpreter)
            made = await self._submitting.of(owner)(self._create, made, owner, code_allowed)
        new, head, created = made
        if created:
            await self._dispatcher.submitted(head, RunDefinition.from_json(new.definition))
        return await self._runs.view(head), created

    def _read_and_create(
        self, body: Mapping[str, object], owner: str, code_allowed: bool
    ) -> Submission | tuple[NewRun, Head, bool]:
        """The run of a body, made; or what the body says where an interpreter has to be made ready first."""
        submission = read_submission(body, code_allowed=code_allowed)
        if submission.interpreter is not None:
            return submission
        return self._create(submission, owner, code_allowed)

    def _create(self, submission: Submission, owner: str, code_allowed: bool) -> tuple[NewRun, Head, bool]:
        new = self._planner.plan(submission, owner, code_allowed=code_allowed)
        head, created = self._store.create_run(new)
        if created:
            state = fold(RunState(head["run"]), [{**e, "offset": i} for i, e in enumerate(new.events, 1)])
            self._projections.remember(state, brief(new.definition["seed"]))
        return new, head, created

    async def validate(self, body: Mapping[str, object], *, owner: str = "local") -> Mapping[str, Any]:
        """Check `{pipeline, seed?, name?, model?, budget?, analysis?}` as `submit` would: `{ok, pipeline, warnings,
        analysis?}`; `name` is the pipeline's where its text has none. Raises InvalidPipeline, InvalidSeed."""
        if set(body) - {"pipeline", "seed", "name", "model", "budget", "analysis"}:
            raise InvalidInput("the body is {pipeline, seed?, name?, model?, budget?, analysis?}")
        name, model = body.get("name"), body.get("model")
        submission = parse_submission({
            "pipeline": body.get("pipeline"), "seed": body.get("seed"), "budget": body.get("budget"),
            "options": {} if model is None else {"model": model},
        })  # fmt: skip
        return await self._reading.of(owner)(
            self._planner.validate, submission, owner,
            name=None if name is None else str(name), analysis=bool(body.get("analysis")),
        )  # fmt: skip

    async def estimate(
        self, body: Mapping[str, object], *, owner: str, code_allowed: bool = True
    ) -> JsonObject:
        """The estimate of what a `POST runs` body asks of models (see `engine.planning.estimate`); starts nothing.
        Raises as `submit`."""
        submission = await self._to_thread(read_submission, body, code_allowed=code_allowed)
        return await self._reading.of(owner)(
            self._planner.estimate, submission, owner, code_allowed=code_allowed
        )

    # -- files of rows --------------------------------------------------------------------------

    async def receive_rows(self, digest: str, owner: str) -> RowUpload:
        """Begin to receive a file of rows; `digest` is its SHA-256. InvalidInput, StoreUnusable."""
        return RowUpload(await self._to_thread(self._row_files.receive, owner, digest), self._to_thread)

    async def row_file(self, digest: str, owner: str) -> JsonObject:
        """`{sha256, bytes, rows}` of a file of rows. NotFound."""
        return await self._to_thread(self._row_files.info, owner, digest)
