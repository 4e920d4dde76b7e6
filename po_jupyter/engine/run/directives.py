"""Directives of a run's tasks in its worker: checked one task after the other, and committed with its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.control.apply import SourcedDirectives, directive_events, skipped_tasks
from po_jupyter.engine.control.control import DirectiveCollector
from po_jupyter.engine.python.lookup import module_problem
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.run.signals import RunSignals
from po_jupyter.errors import Violation
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.events import EventDraft


class RunDirectives:
    """The directives of one run. `skipping` are tasks that a commit on its way skips: they must not start."""

    def __init__(self, inputs: RunInputs, log: RunLog, signals: RunSignals, prices: PriceBook) -> None:
        """No directives yet."""
        self._prices = prices
        self._inputs = inputs
        self._log = log
        self._signals = signals
        self._lock = asyncio.Lock()
        self.skipping: frozenset[str] = frozenset()

    def collect(self, task: Task) -> DirectiveCollector:
        """The sink for the stages of one attempt; each directive is checked when it comes."""
        return DirectiveCollector(partial(self.events, task))

    def events(self, task: Task, directives: Sequence[SourcedDirectives]) -> list[EventDraft]:
        """The events that the directives of a task are for the run as it is now. Raises ControlInvalid."""
        if not directives:
            return []
        return directive_events(
            self._inputs.pipeline,
            self._log.state,
            task.name,
            directives,
            running=frozenset(self._signals.running) - {task.name},
            problems=self._problems,
        )

    @asynccontextmanager
    async def applied(
        self, task: Task, directives: Sequence[SourcedDirectives]
    ) -> AsyncIterator[list[EventDraft]]:
        """The events to commit inside of the block; no other task's directives are applied meanwhile.

        Raises ControlInvalid.
        """
        async with self._lock:
            events = self.events(task, directives)
            self.skipping = skipped_tasks(events)
            try:
                yield events
            finally:
                self.skipping = frozenset()
                self._log.wake.set()

    def _problems(self, pipeline: Pipeline, added: frozenset[str]) -> list[Violation]:
        # Loaded when a task adds tasks, which few runs do: a worker starts without it.
        from po_jupyter.engine.planning.check import violations

        inputs = self._inputs
        problems = violations(
            pipeline,
            inputs.seed,
            default_model=inputs.settings.default_model,
            prices=self._prices,
        )
        for i, task in enumerate(pipeline.tasks):
            if task.name in added and (problem := module_problem(task)) is not None:
                problems.append(Violation(f"tasks[{i}]", problem))
        return problems
