"""The library of a run's tasks: templates compiled and code loaded, once for all attempts and rows."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.ports import TaskOutputs
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.engine.python.python_task import PythonTask, load, only_defines
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.run.resources import RunResources
from po_jupyter.model.pipeline.pipeline import Task

if TYPE_CHECKING:
    from po_jupyter.engine.scores.scoring import Scoring


class TaskLibrary:
    """The executable form of each task of a run, made when it is first used."""

    def __init__(self, inputs: RunInputs, log: RunLog, outputs: TaskOutputs, resources: RunResources) -> None:
        """A library with nothing loaded."""
        self._inputs = inputs
        self._log = log
        self._outputs = outputs
        self._resources = resources
        self._prompts: dict[str, PromptTask] = {}
        self._scoring: dict[str, Scoring] = {}
        self._python: dict[str, asyncio.Future[PythonTask]] = {}

    def prompt_task(self, task: Task) -> PromptTask:
        """The compiled prompt task. Raises TemplateFailed."""
        if task.name not in self._prompts:
            self._prompts[task.name] = PromptTask(task, self._resources.threads.run)
        return self._prompts[task.name]

    async def python_task(self, task: Task) -> PythonTask:
        """The task's code, loaded in a thread where that can take long. Raises StageFailed."""
        if task.name not in self._python:
            threads = self._resources.threads
            functions = load(task) if only_defines(task) else await threads.run(partial(load, task))
            future = asyncio.get_running_loop().create_future()
            future.set_result(
                PythonTask(
                    task,
                    functions,
                    inputs=self._inputs,
                    files=self._resources.files,
                    threads=threads,
                    epoch=lambda: self._log.state.tasks[task.name].cleared_at,
                    reads_rows=self._outputs.reads_rows(task),
                )
            )
            self._python.setdefault(task.name, future)
        return await self._python[task.name]

    async def scoring(self, task: Task) -> Scoring | None:
        """What scores the task's answers, None for nothing. Raises TemplateFailed, InvalidInput."""
        if not task.scorers:
            return None
        if task.name not in self._scoring:
            from po_jupyter.engine.scores.scoring import Scoring  # few tasks are scored

            run = self._resources.threads.run
            has_code = any(scorer.python for scorer in task.scorers)
            make = partial(Scoring, self._inputs, task, run)
            self._scoring[task.name] = await run(make) if has_code else make()
        return self._scoring[task.name]
