"""Doing runs again (B13), forks (G5) and dead letters (R1.2): one part of the orchestrator."""

from __future__ import annotations

import builtins
import contextlib
from typing import Any

from po_jupyter.engine.state.effective_pipeline import effective
from po_jupyter.engine.state.resume import gate_words, restart_plan
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.control import fork
from po_jupyter.orchestrator.control.conditional_append import Asked, ask
from po_jupyter.orchestrator.control.run_control import Directing
from po_jupyter.orchestrator.submission import request as submission
from po_jupyter.orchestrator.views import artifacts
from po_jupyter.orchestrator.views.dead_letters import letter
from po_jupyter.store.protocol import Head, NewRun


class JobControl(Directing):
    """Restart, fork, dead letters."""

    # -- again ----------------------------------------------------------------------------------

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
        """Do the ended run again as new attempts: all of it, `task` and what follows, or with `only` that task
        alone.

        Earlier checkpoints stay in the run's log. After `only` the run ends again; a resume goes on with what
        is left. `clear_usage` starts the tasks' usage, and with it the budget, at zero. Conflict unless the run
        has ended, or when the only task lacks what it needs; NotFound for an unknown task.
        """
        if only and task is None:
            raise InvalidInput(
                "`only` says that one task runs, and no task is named", hint="Name it with `task`."
            )
        head = await self.find(run_id, owner)

        def words(now: Head, state: RunState) -> Asked:
            self._check_agents(head["run"], code_allowed)
            todo = restart_plan(self._views.pipeline(head["run"]), state, task=task, only=only)
            gates = [draft("gate.opened", name, **gate_words(state, name)) for name in todo.ask]
            resumed = draft(
                "run.resumed", by=owner or "admin", restart=True, from_task=task, only=task if only else None,
                clear_usage=clear_usage, budget={}, reset=list(todo.reset), clear=list(todo.clear),
            )  # fmt: skip
            return Asked([resumed, *gates], "pending")

        await self._do(ask, self._store, self._views, head["run"], words)
        return await self._changed(head["run"])

    # -- forks ----------------------------------------------------------------------------------

    async def fork(
        self,
        run_id: str,
        owner: str | None,
        from_task: str,
        *,
        seed: Any = None,
        pipeline: Any = None,
        code_allowed: bool = True,
    ) -> RunView:
        """A new run that takes over the checkpoints of the tasks before `from_task` and goes on from there,
        with another seed or pipeline if given. The old run stays as it is. Calls are not taken over: what runs
        asks anew.

        Raises what `submit` does, and NotFound for an unknown task.
        """
        head = await self.find(run_id, owner)
        new = await self._do(self._fork, head, owner, from_task, seed, pipeline, code_allowed)
        created, _ = await self._do(self._store.create_run, new)
        return await self._begin(created, new.definition)

    def _fork(
        self, head: Head, owner: str | None, from_task: str, seed: Any, pipeline: Any, code_allowed: bool
    ) -> NewRun:
        run = head["run"]
        state = self._views.state(self._store.head(run))
        definition = self._store.definition(run)
        now = effective(validate_pipeline(definition["pipeline"]), state)
        if pipeline is None:
            _exists(now, from_task, run)
            pipeline = fork.base(now, state, from_task).to_json()
            budget = {k: v for k, v in state.budget.items() if k in ("usd", "tokens") and v is not None}
        else:
            budget = None
        body = {
            "pipeline": pipeline,
            "seed": definition["seed"] if seed is None else seed,
            "priority": head["priority"],
            "budget": budget or None,
            "interpreter": definition.get("interpreter"),
            "cwd": definition.get("cwd"),
            "options": definition.get("options") or {},
        }
        asked = submission.read(body, code_allowed=code_allowed)
        whose = owner or head["owner"]
        checked, envelope = submission.check(
            asked, lambda name: self._registry.pipeline(name, whose), code_allowed=code_allowed,
            settings=self.settings,
        )  # fmt: skip
        self.blobs.check(whose, envelope.data)
        _exists(checked, from_task, run)
        self._check_models(asked, checked, code_allowed)
        new = submission.new_run(asked, checked, envelope, whose, code_allowed=code_allowed)
        kept = fork.kept(checked, state, from_task)
        copied = fork.copies(self._store, state, kept)
        directory = self.settings.data_dir / "runs"
        artifacts.take_over(directory / run, directory / new.run, [state.tasks[name] for name in kept])
        origin = {"run": run, "from_task": from_task}
        created: EventDraft = {**new.events[0], "data": {**new.events[0]["data"], "forked_from": origin}}
        return new._replace(
            definition={**new.definition, "forked_from": origin},
            events=[created, *copied.events],
            items=copied.items,
            payloads=copied.payloads,
        )

    # -- dead letters ---------------------------------------------------------------------------

    async def dead_letters(
        self, owner: str | None, cursor: str | None = None, limit: int = 50
    ) -> tuple[builtins.list[dict[str, Any]], str | None]:
        """Runs that exhausted their attempts, newest first, each with its context; and the cursor of the next
        page."""

        def read() -> tuple[builtins.list[dict[str, Any]], str | None]:
            page = self._store.runs(owner=owner, states=("dead",), cursor=cursor, limit=max(1, min(limit, 200)))
            letters = []
            for head in page.heads:
                with contextlib.suppress(NotFound):  # deleted since
                    letters.append(letter(self._views.state(head), self._views.pipeline(head["run"])))
            return letters, page.next

        return await self._do(read)

    async def requeue(
        self, run_id: str, owner: str | None, from_task: str | None = None, *, code_allowed: bool = True
    ) -> RunView:
        """Try a dead run again, from `from_task` on if given; its finished work is kept. Conflict when it is
        not dead."""
        head = await self._dead(run_id, owner)
        return await self.resume(head["run"], owner, from_task=from_task, code_allowed=code_allowed)

    async def discard(self, run_id: str, owner: str | None) -> None:
        """Remove a dead run with all that is its own. Conflict when it is not dead."""
        head = await self._dead(run_id, owner)
        await self.delete(head["run"], owner)

    async def _dead(self, run_id: str, owner: str | None) -> Head:
        head = await self.find(run_id, owner)
        if head["state"] != "dead":
            raise Conflict(
                f"run {head['run'][-6:]} is no dead letter, it is {head['state']}",
                hint="`po dead list` shows those that are.",
            )
        return head


def _exists(pipeline: Pipeline, task: str, run: str) -> None:
    if task not in {t.name for t in pipeline.tasks}:
        names = [t.name for t in pipeline.tasks]
        raise NotFound(f"the fork of run {run[-6:]} has no task {task!r}{did_you_mean(task, names)}")
