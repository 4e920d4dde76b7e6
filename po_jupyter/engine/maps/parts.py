"""The parts of a run that its maps use, handed over together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.calls.factory import CallFactory
from po_jupyter.engine.files.artifacts import RunFiles
from po_jupyter.engine.lifecycle.snapshots import Snapshots
from po_jupyter.engine.ports import Boundary, Observer, TaskOutputs
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.engine.python.python_task import PythonTask
from po_jupyter.engine.replay.history import History
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.model.pipeline.pipeline import Task

if TYPE_CHECKING:
    from po_jupyter.engine.scores.scoring import Scoring


class TaskCode(Protocol):
    """The executable form of tasks (`run.tasks.TaskLibrary`)."""

    def prompt_task(self, task: Task) -> PromptTask:
        """The compiled prompt task. Raises TemplateFailed."""

    async def python_task(self, task: Task) -> PythonTask:
        """The task's code, loaded. Raises StageFailed."""

    async def scoring(self, task: Task) -> Scoring | None:
        """What scores the task's answers, None for nothing. Raises TemplateFailed, InvalidInput."""


@dataclass(frozen=True, slots=True)
class MapParts:
    """The parts of one run as each of its maps gets them; `RunSession` has them under the same names."""

    inputs: RunInputs
    log: RunLog
    history: History
    boundary: Boundary
    outputs: TaskOutputs
    calls: CallFactory
    tasks: TaskCode
    files: RunFiles
    snapshots: Snapshots
    observer: Observer
    on_child: Callable[[str], object] = lambda run: None  # a child run was created, or is to look at its log
