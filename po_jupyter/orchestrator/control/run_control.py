"""What people ask of a run that there is: cancel, resume, decide, delete. One part of the orchestrator."""

from __future__ import annotations

from typing import Any, Literal

from po_jupyter.engine.state.resume import gate_words, plan
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, InvalidInput
from po_jupyter.model.pipeline.pipeline import RunBudget
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.orchestrator.control.conditional_append import Asked, ask
from po_jupyter.orchestrator.maintenance.retention import remove_run_dir
from po_jupyter.orchestrator.submission import request as submission
from po_jupyter.orchestrator.submission.service import Submitting
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.store.protocol import Head
from po_jupyter.telemetry.correlation import request_id


class Directing(Submitting):
    """Each request is in the run's log when its method returns, whoever has the workers."""

    _daily: DailyUsage

    async def cancel(self, run_id: str, owner: str | None) -> RunView:
        """Stop the run; what is finished is kept. The request is durable when this returns. Conflict when it
        ended in another way already; cancelling twice is one cancel."""
        head = await self.find(run_id, owner)
        if head["state"] == "cancelled":
            return await self._view(head)
        if head["state"] in ENDED:
            raise Conflict(f"run {head['run'][-6:]} is {head['state']} already")
        state = await self._do(self._views.state, head)
        if not state.cancel_requested:
            await self._do(
                self._store.request, head["run"], [draft("run.cancel_requested", by=owner or "admin")]
            )
        return await self._changed(head["run"])

    async def resume(
        self,
        run_id: str,
        owner: str | None,
        from_task: str | None = None,
        only_failed: bool = False,
        budget: dict[str, Any] | None = None,
        *,
        code_allowed: bool = True,
    ) -> RunView:
        """Make what failed pending again (with `from_task` that task and everything after it too) and go on.

        Conflict unless the run is failed, cancelled or dead (or done, with `only_failed`).
        """
        if budget is not None:
            from pydantic import ValidationError

            from po_jupyter.model.pipeline.violations import violations_of

            try:
                wanted = RunBudget.model_validate(budget)
                budget = {k: v for k, v in wanted.model_dump(exclude_none=True).items() if v}
            except ValidationError as error:
                known = tuple(RunBudget.model_fields)
                raise InvalidInput(violations=violations_of(error, known=known, what="a budget")) from None
        head = await self.find(run_id, owner)

        def words(now: Head, state: RunState) -> Asked:
            self._check_agents(head["run"], code_allowed)
            if budget:
                submission.check_tasks(wanted, self._views.pipeline(head["run"]))
            todo = plan(self._views.pipeline(head["run"]), state, from_task=from_task, only_failed=only_failed)
            gates = [draft("gate.opened", t, **gate_words(state, t)) for t in todo.ask]
            resumed = draft(
                "run.resumed", by=owner or "admin", from_task=from_task, only_failed=only_failed,
                budget=budget or {}, reset=list(todo.reset), clear=list(todo.clear), request=request_id.get(),
            )  # fmt: skip
            return Asked([resumed, *gates], "pending")

        await self._do(ask, self._store, self._views, head["run"], words)
        return await self._changed(head["run"])

    async def gate(self, run_id: str, owner: str | None, decision: str, note: str = "") -> RunView:
        """Decide the open gate: `approve` or `reject`. Conflict when none is open (any more)."""
        if decision not in ("approve", "reject"):
            raise InvalidInput(f"a decision is `approve` or `reject`, not {decision!r:.40}")
        verdict: Literal["approve", "reject"] = "approve" if decision == "approve" else "reject"
        head = await self.find(run_id, owner)

        def words(now: Head, state: RunState) -> Asked:
            task = next((t.name for t in state.tasks.values() if t.gate == "open"), None)
            if task is None or now["state"] in ENDED:
                raise Conflict(f"run {now['run'][-6:]} has no open gate")
            events = [draft("gate.decided", task, decision=verdict, note=note, by=owner or "admin")]
            waiting = now["state"] == "waiting" and decision == "approve"
            if waiting:
                events.append(draft("run.resumed", by=owner or "admin"))
            return Asked(events, "pending" if waiting else None)

        await self._do(ask, self._store, self._views, head["run"], words)
        return await self._changed(head["run"])

    async def delete(self, run_id: str, owner: str | None) -> None:
        """Remove an ended run with its files. Conflict when it has not ended."""
        head = await self.find(run_id, owner)

        def remove() -> None:
            self._daily.count([head])
            self._store.delete_run(head["run"])
            remove_run_dir(self.settings.data_dir, head["run"])
            self._views.forget(head["run"])

        await self._do(remove)
        self.feed.changed(head["run"])
