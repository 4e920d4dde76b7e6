"""Run control: cancel, resume, restart, fork, decide a gate, requeue, discard, delete.

Each request is in the run's log when its method returns, whoever has the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

from pydantic import ValidationError

from po_jupyter.config import Settings
from po_jupyter.engine.state.resume import gate_opened_data, kept_tasks, restart_plan, resume_plan
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, CorruptRow, InvalidInput
from po_jupyter.model.pipeline.pipeline import RunBudget
from po_jupyter.model.pipeline.violations import violations_of
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import actor_of, short_id
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.orchestrator.control.child_runs import check_is_whole, delete_child_runs
from po_jupyter.orchestrator.control.conditional_append import LogAppend, append_if_current
from po_jupyter.orchestrator.control.fork import ForkPlanner
from po_jupyter.orchestrator.control.gates import way_to_gate
from po_jupyter.orchestrator.control.rows_again import RowSelection, check_selection, plan_rows
from po_jupyter.orchestrator.control.run_files import remove_run_files
from po_jupyter.orchestrator.dispatch.protocol import Dispatcher
from po_jupyter.orchestrator.environment.permission import check_may_run
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.submission.request import check_task_budgets
from po_jupyter.orchestrator.threads import OwnerThreads, ToThread
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.store.objects.shared_files import SharedFiles
from po_jupyter.store.protocol import Head, Store
from po_jupyter.telemetry.correlation import actor, request_id


class RunControl:
    """`owner` None may change everybody's runs; somebody else's run is NotFound."""

    def __init__(
        self,
        store: Store,
        projections: RunProjections,
        runs: RunQueries,
        dispatcher: Dispatcher,
        changes: ChangeFeed,
        *,
        settings: Settings,
        forks: ForkPlanner,
        daily_usage: DailyUsage,
        to_thread: ToThread,
        submitting: OwnerThreads,
        files: SharedFiles | None = None,
    ) -> None:
        """Writes to `store` in threads, and tells `dispatcher`. `files` are those that nodes share."""
        self._store = store
        self._projections = projections
        self._runs = runs
        self._dispatcher = dispatcher
        self._changes = changes
        self._settings = settings
        self._forks = forks
        self._files = files
        self._daily_usage = daily_usage
        self._to_thread = to_thread
        self._submitting = submitting

    async def _append(self, run: str, build: Callable[[Head, RunState], LogAppend]) -> RunView:
        """Append to the run's log what `build` makes of it, and have it acted on."""
        await self._to_thread(append_if_current, self._store, self._projections, run, build)
        return await self._changed(run)

    async def _changed(self, run: str) -> RunView:
        await self._dispatcher.changed(run)
        return await self._runs.newest_view(run)

    def _check_may_run(self, run: str, code_allowed: bool) -> None:
        """Raises Forbidden when the caller lacks the scope for the run's code, its own author included. Blocks."""
        definition = RunDefinition.from_json(self._store.definition(run))
        check_may_run(
            self._projections.pipeline(run), self._settings, code_allowed=code_allowed,
            model=definition.options.model, interpreter=definition.interpreter, cwd=definition.cwd,
        )  # fmt: skip

    # -- while it runs --------------------------------------------------------------------------

    async def cancel(self, run_id: str, owner: str | None) -> RunView:
        """Stop the run; what is finished is kept. The request is durable when this returns. Conflict when it
        ended in another way already; cancelling twice is one cancel."""
        head = await self._find_whole(run_id, owner)
        run = head["run"]
        if head["state"] == "cancelled":
            return await self._runs.view(head)
        if head["state"] in ENDED:
            raise Conflict(f"run {short_id(run)} is {head['state']} already")
        state = await self._to_thread(self._projections.state, head)
        if not state.cancel_requested:
            cancel = draft("run.cancel_requested", by=actor.get() or actor_of(owner))
            await self._to_thread(self._store.request, run, [cancel])
        return await self._changed(run)

    async def gate(
        self, run_id: str, owner: str | None, decision: str, note: str = "", *, task: str | None = None
    ) -> RunView:
        """Decide the open gate: `approve` or `reject`. Conflict when none is open (any more), and with `task` when
        the open gate is another task's: who decided on one gate has not seen the next."""
        if decision not in ("approve", "reject"):
            raise InvalidInput(f"a decision is `approve` or `reject`, not {decision!r:.40}")
        verdict: Literal["approve", "reject"] = "approve" if decision == "approve" else "reject"
        whole = await self._runs.find(run_id, owner)
        way = await self._to_thread(way_to_gate, self._store, self._projections, whole, task)
        head, task = way.head, way.task
        by = actor.get() or actor_of(owner)

        def build(now: Head, state: RunState) -> LogAppend:
            opened = next((t.name for t in state.tasks.values() if t.gate == "open"), None)
            if opened is None or now["state"] in ENDED:
                raise Conflict(f"run {short_id(now['run'])} has no open gate")
            if task is not None and task != opened:
                raise Conflict(
                    f"run {short_id(now['run'])} waits at the gate of {opened}, not of {task:.80}",
                    hint=f"Look at what {opened} asks, and decide that.",
                )
            events = [draft("gate.decided", opened, decision=verdict, note=note, by=by)]
            goes_on = now["state"] == "waiting" and verdict == "approve"
            if goes_on:
                events.append(draft("run.resumed", by=by))
            return LogAppend(events, "pending" if goes_on else None)

        decided = await self._append(head["run"], build)
        for outer in way.outer:  # those that see the gate, too: it is decided for them at once
            await self._to_thread(self._store.request, outer.run, [outer.event()])
            await self._dispatcher.changed(outer.run)
        return decided if head["run"] == whole["run"] else await self._runs.newest_view(whole["run"])

    # -- after it ended -------------------------------------------------------------------------

    async def resume(
        self,
        run_id: str,
        owner: str | None,
        from_task: str | None = None,
        only_failed: bool = False,
        budget: Mapping[str, object] | None = None,
        *,
        rows: RowSelection | None = None,
        include_done: bool = False,
        code_allowed: bool = True,
    ) -> RunView:
        """Make what failed pending again (with `from_task` that task and everything after it too) and go on.

        With `rows` (of maps, by task) these rows and what follows their maps, and nothing else; ones that are done only
        with `include_done`. Conflict unless the run is failed, cancelled or dead (or done, with `only_failed` or
        `rows`).
        """
        if rows is not None:
            check_selection(rows, from_task, only_failed)
        larger = _read_budget(budget) if budget is not None else None
        amounts = {k: v for k, v in larger.model_dump(exclude_none=True).items() if v} if larger else {}
        head = await self._find_whole(run_id, owner)
        run = head["run"]

        def build(now: Head, state: RunState) -> LogAppend:
            self._check_may_run(run, code_allowed)
            pipeline = self._projections.pipeline(run)
            if amounts:
                check_task_budgets(larger, pipeline)
            if rows is not None:
                todo, again = plan_rows(self._store, pipeline, state, rows, include_done=include_done)
            else:
                todo = resume_plan(pipeline, state, from_task=from_task, only_failed=only_failed)
                again = {}
            gates = [draft("gate.opened", t, **gate_opened_data(state, t)) for t in todo.reopen]
            resumed = draft(
                "run.resumed", by=actor.get() or actor_of(owner), from_task=from_task, only_failed=only_failed,
                budget=amounts, reset=list(todo.reset), clear=list(todo.clear), keep=kept_tasks(state, todo),
                request=request_id.get(),
            )  # fmt: skip
            if again:
                resumed["data"]["rows"] = again
            return LogAppend([resumed, *gates], "pending")

        return await self._append(run, build)

    async def restart(
        self,
        run_id: str,
        owner: str | None,
        task: str | None = None,
        *,
        only: bool = False,
        clear_usage: bool = False,
        code_allowed: bool = True,
    ) -> RunView:
        """Do the ended run again as new attempts (B13): all of it, `task` and what follows, or with `only` that task
        alone.

        Earlier checkpoints stay in the run's log. After `only` the run ends again; a resume goes on with what
        is left. `clear_usage` starts the tasks' usage, and with it the budget, at zero. Conflict unless the run
        has ended, or when the only task lacks what it needs; NotFound for an unknown task.
        """
        if only and task is None:
            raise InvalidInput(
                "`only` says that one task runs, and no task is named", hint="Name it with `task`."
            )
        head = await self._find_whole(run_id, owner)
        run = head["run"]

        def build(now: Head, state: RunState) -> LogAppend:
            self._check_may_run(run, code_allowed)
            todo = restart_plan(self._projections.pipeline(run), state, task=task, only=only)
            gates = [draft("gate.opened", name, **gate_opened_data(state, name)) for name in todo.reopen]
            resumed = draft(
                "run.resumed", by=actor.get() or actor_of(owner), restart=True, from_task=task,
                only=task if only else None, clear_usage=clear_usage, budget={},
                reset=list(todo.reset), clear=list(todo.clear),
            )  # fmt: skip
            return LogAppend([resumed, *gates], "pending")

        return await self._append(run, build)

    async def fork(
        self,
        run_id: str,
        owner: str | None,
        from_task: str,
        *,
        seed: object = None,
        pipeline: object = None,
        idempotency_key: str | None = None,
        code_allowed: bool = True,
    ) -> RunView:
        """A new run that takes over the checkpoints of the tasks before `from_task` and goes on from there (G5),
        with another seed or pipeline if given. The old run stays as it is. Calls are not taken over: what runs
        asks anew. The same `idempotency_key` with the same content gives the same new run.

        Raises what `submit` does, and NotFound for an unknown task.
        """
        head = await self._find_whole(run_id, owner)
        whose = owner or head["owner"]
        new = await self._submitting.of(whose)(
            self._forks.plan, head, whose, from_task,
            seed=seed, pipeline=pipeline, idempotency_key=idempotency_key, code_allowed=code_allowed,
        )  # fmt: skip
        created, is_new = await self._to_thread(self._store.create_run, new)
        if is_new:
            await self._dispatcher.submitted(created, RunDefinition.from_json(new.definition))
        else:
            await self._to_thread(remove_run_files, self._settings.data_dir, self._files, new.run)
        return await self._runs.view(created)

    async def delete(self, run_id: str, owner: str | None) -> None:
        """Remove an ended run with its files. Conflict when it has not ended."""
        head = await self._find_whole(run_id, owner)
        run = head["run"]

        def remove() -> None:
            for child in self._delete_children(head):
                self._projections.forget(child)
            self._daily_usage.count([head])
            self._store.delete_run(run)
            remove_run_files(self._settings.data_dir, self._files, run)
            self._projections.forget(run)

        try:
            await self._to_thread(remove)
        except Conflict as error:
            for child in error.details.get("runs", ()):
                await self._dispatcher.changed(child)
            raise
        self._changes.changed(run)

    def _delete_children(self, head: Head) -> list[str]:
        if head["state"] not in ENDED or "damage" in head:
            return []  # the store refuses, or nobody knows of any
        with suppress(CorruptRow):
            return delete_child_runs(
                self._store, self._settings.data_dir, self._files, self._projections.state(head),
                self._daily_usage,
            )  # fmt: skip
        return []

    async def _find_whole(self, run_id: str, owner: str | None) -> Head:
        """The run of that id, which is to be changed. NotFound; Conflict for a part of another run."""
        head = await self._runs.find(run_id, owner)
        check_is_whole(head)
        return head

    # -- dead letters ---------------------------------------------------------------------------

    async def requeue(
        self, run_id: str, owner: str | None, from_task: str | None = None, *, code_allowed: bool = True
    ) -> RunView:
        """Try a dead run again, from `from_task` on if given; its finished work is kept (R1.2). Conflict when it is
        not dead."""
        head = await self._dead(run_id, owner)
        return await self.resume(head["run"], owner, from_task=from_task, code_allowed=code_allowed)

    async def discard(self, run_id: str, owner: str | None) -> None:
        """Remove a dead run with all that is its own. Conflict when it is not dead."""
        head = await self._dead(run_id, owner)
        await self.delete(head["run"], owner)

    async def _dead(self, run_id: str, owner: str | None) -> Head:
        head = await self._runs.find(run_id, owner)
        if head["state"] != "dead":
            raise Conflict(
                f"run {short_id(head['run'])} is no dead letter, it is {head['state']}",
                hint="`po dead list` shows those that are.",
            )
        return head


def _read_budget(budget: Mapping[str, object]) -> RunBudget:
    """Raises InvalidInput with every violation."""
    try:
        return RunBudget.model_validate(budget)
    except ValidationError as error:
        known = tuple(RunBudget.model_fields)
        raise InvalidInput(violations=violations_of(error, known=known, what="a budget")) from None
