"""The inputs of a run: definition, seed, settings and place, as they were when a worker took the run over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from po_jupyter.config import Settings
from po_jupyter.model.pipeline.evals.scores import Scorer, judge_llm
from po_jupyter.model.pipeline.pipeline import LLM, Pipeline, Task
from po_jupyter.model.run.definition import RunDefinition, RunOptions
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.json import JsonValue

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import RunStartedData


@dataclass(frozen=True, slots=True)
class RunInputs:
    """The inputs of one run; they do not change while a worker has it.

    run         the id               owner      whose budget of the day and whose cache it uses
    fence       of the lease         worker     `{pid, fence, ...}` as in `run.started`
    definition  as submitted         pipeline   its pipeline, parsed, without tasks that tasks added
    seed        as submitted         seed_data  its data, with rows for references to files of rows: what tasks see
    settings    of this process      run_dir    the directory of the run's files
    """

    run: str
    owner: str
    fence: int
    definition: RunDefinition
    pipeline: Pipeline
    seed: Seed
    seed_data: Mapping[str, JsonValue]
    settings: Settings
    run_dir: Path
    worker: RunStartedData

    @property
    def options(self) -> RunOptions:
        """The options of the run, in which it differs from its pipeline."""
        return self.definition.options

    @property
    def is_child(self) -> bool:
        """Whether the run works on rows of a map of another run."""
        return self.definition.parent is not None

    @property
    def whole_run(self) -> str:
        """The run as code, templates and the cache of calls know it: of a child run its parent."""
        parent = self.definition.parent
        return self.run if parent is None else parent["run"]

    def attempt_of_whole(self, attempt: int) -> int:
        """The attempt of a task as templates know it: of a child run that of its parent's map."""
        parent = self.definition.parent
        return attempt if parent is None else parent["number"]

    def llm_of(self, task: Task) -> LLM:
        """The model settings of a task, the pipeline's filled in; of a task that another one added too."""
        return self.pipeline.llm_of(task)

    def llms_of(self, task: Task) -> tuple[LLM, ...]:
        """The model settings of each model of a task's cascade, in turn. A run with a model of its own has one."""
        return (self.llm_of(task),) if self.options.model else self.pipeline.llms_of(task)

    def judge_llm(self, task: Task, scorer: Scorer) -> LLM:
        """The model settings of a judge: its own, the pipeline's filled in, and its model: the run's, else its own, the
        pipeline's, or that of the task."""
        own = judge_llm(scorer, self.pipeline.llm)
        return own.model_copy(update={"model": self.options.model or own.model or self.model_of(task)})

    def model_of(self, task: Task, number: int = 0) -> str:
        """The model ref of a task, of a cascade of that model of it: the run's, else the task's, the pipeline's, the
        setting `default_model`. The run's is one that answers: a task of embeddings keeps its own."""
        own = self.llms_of(task)[number].model or self.settings.default_model
        return own if task.embed is not None else self.options.model or own
