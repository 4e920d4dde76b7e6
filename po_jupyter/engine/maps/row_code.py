"""The code of a map's rows: templates or functions, loaded once for all rows, and the key that names a row's work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from po_jupyter.engine.base.json_values import copy_json
from po_jupyter.engine.files.named_files import NamedFile
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import Stage
from po_jupyter.engine.maps.common_prefix import CommonPrefix
from po_jupyter.engine.maps.definition import definition_hash
from po_jupyter.engine.maps.dependencies import RowDependencies
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.engine.python.inputs import TaskInputs
from po_jupyter.engine.python.python_task import PythonTask
from po_jupyter.engine.votes.learned_cascade import LearnedCascade
from po_jupyter.engine.votes.voted_output import RunStages, VotedOutput, voted_output
from po_jupyter.errors import PoError
from po_jupyter.llm.chat import Message
from po_jupyter.model.pipeline.pipeline import STAGES, Task
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.task_kind import ASKS_MODEL
from po_jupyter.telemetry.redaction import redactor

if TYPE_CHECKING:
    from po_jupyter.engine.scores.scoring import Scoring


class MapRow(NamedTuple):
    """One row. `names` are what its templates see, `messages` its first request.

    `messages` is None for a Python row, and for a prompt that cannot be rendered: its stage will raise the error.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a MapRow
    item: Any
    names: Mapping[str, Any]
    messages: tuple[Message, ...] | None


class RowCode(Protocol):
    """The code of all rows of a map (`PromptRows`, `PythonRows`).

    definition    see `definition_hash`
    definitions   of all its rows: several of a map with variants, none where it is not known
    stage         the stage that stands for all of a row's in views
    dependencies  the record of what rows read besides their item; None: nothing that is not in the key
    scoring       scores its answers; None where nobody asks for that
    learned       the cascade that learns its threshold; None where there is none
    """

    definition: str | None
    definitions: tuple[str, ...]
    stage: str
    dependencies: RowDependencies | None
    scoring: Scoring | None
    learned: LearnedCascade | None

    def prepare(self, index: int, item: Any) -> MapRow:
        """Make a row ready for `key` and `stages`."""

    def key(self, row: MapRow) -> str:
        """The hash of the row's content and everything that makes its outcome: equal keys, equal work."""

    def stages(self, calls: ModelCalls, row: MapRow) -> dict[str, Stage]:
        """The stages of one attempt of a row."""

    async def output(self, calls: ModelCalls, row: MapRow, frame: Frame, run: RunStages) -> VotedOutput:
        """The output of one attempt of a row; `run` goes through stages."""

    def stage_item(self, row: MapRow) -> Any:
        """The item as the stages of an attempt get it."""

    def finish(self, output: Any) -> Any:
        """The output of the stages as it is stored."""

    def share(self, rows: Sequence[MapRow]) -> None:
        """Mark in the requests of all rows from now on what those of `rows` have in common."""


class PromptRows:
    """The compiled prompt of a map. `contents` are hashes of the run's artifacts, where rows show files."""

    def __init__(
        self,
        prompt: PromptTask,
        names: Mapping[str, Any],
        definition: str | None,
        contents: Mapping[str, str],
        scoring: Scoring | None = None,
    ) -> None:
        """The prompt with the names that templates of all rows see."""
        self.learned: LearnedCascade | None = None
        self.scoring = scoring
        self.definition = definition
        self.definitions: tuple[str, ...] = () if definition is None else (definition,)
        self.stage = "inference"
        self.dependencies: RowDependencies | None = None
        self.prompt = prompt
        self._names = names
        self._contents = contents
        self._has_files = prompt.has_files
        self._common: CommonPrefix | None = None

    def with_prompt(self, prompt: PromptTask, definition: str | None) -> PromptRows:
        """The same with another prompt, and its definition."""
        return PromptRows(prompt, self._names, definition, self._contents, self.scoring)

    def prepare(self, index: int, item: Any) -> MapRow:
        """See `RowCode`."""
        names = {**self._names, "item": item, "index": index}
        try:
            if self._has_files:
                self.prompt.images(names)
                self.prompt.files(names)
            messages = self.prompt.first(names)
            return MapRow(index, item, names, self._common.mark(messages) if self._common else messages)
        except PoError:
            return MapRow(index, item, names, None)

    def key(self, row: MapRow) -> str:
        """See `RowCode`: the row is named by its first request, and its files by their content."""
        if row.messages is None:
            return _key(self.definition, _json(row.item) + _scored_index(self.scoring, row))
        text = "".join([f"{m.role} {len(m.content)} {m.content}" for m in row.messages])
        if self._has_files:
            # An artifact by its content; behind a URL the same picture or document is assumed to stay.
            text += self._contents_of(self.prompt.images(row.names))
            if files := self.prompt.files(row.names):
                text += self._contents_of(files)
        if self.prompt.reads_item or (self.scoring is not None and "item" in self.scoring.names):
            text += f"\n{_json(row.item)}"
        text += _scored_index(self.scoring, row)
        return _key(self.definition, text)

    def _contents_of(self, files: Sequence[NamedFile]) -> str:
        return json.dumps([self._contents.get(file.text, file.text) for file in files])

    def share(self, rows: Sequence[MapRow]) -> None:
        """See `RowCode`."""
        messages = [row.messages for row in rows if row.messages is not None]
        if len(messages) == len(rows):
            self._common = CommonPrefix(messages)

    def stages(self, calls: ModelCalls, row: MapRow) -> dict[str, Stage]:
        """See `RowCode`."""
        return self.prompt.stages(calls, row.names, first=row.messages)

    async def output(self, calls: ModelCalls, row: MapRow, frame: Frame, run: RunStages) -> VotedOutput:
        """See `RowCode`."""
        return await voted_output(
            self.prompt, calls, frame, row.names, lambda asked: self.stages(asked, row), run, self.learned
        )

    def stage_item(self, row: MapRow) -> Any:
        """See `RowCode`."""
        return row.item

    def finish(self, output: Any) -> Any:
        """See `RowCode`."""
        return redactor.scrub(output)


class PythonRows:
    """The loaded functions of a map."""

    def __init__(
        self,
        python: PythonTask,
        inputs: TaskInputs,
        definition: str | None,
        dependencies: RowDependencies,
        scoring: Scoring | None = None,
    ) -> None:
        """The functions with what they may read besides the row."""
        self.learned: LearnedCascade | None = None
        self.scoring = scoring
        self.definition = definition
        self.definitions: tuple[str, ...] = () if definition is None else (definition,)
        functions = python.functions
        self.stage = "inference" if "inference" in functions else next(s for s in STAGES if s in functions)
        self.dependencies: RowDependencies | None = dependencies
        self._python = python
        self._inputs = inputs

    def prepare(self, index: int, item: Any) -> MapRow:
        """See `RowCode`."""
        return MapRow(index, item, {}, None)

    def key(self, row: MapRow) -> str:
        """See `RowCode`: the row is named by its item."""
        return _key(self.definition, _json(row.item) + _scored_index(self.scoring, row))

    def stages(self, calls: ModelCalls, row: MapRow) -> dict[str, Stage]:
        """See `RowCode`."""
        return self._python.stages(calls, self._inputs)

    async def output(self, calls: ModelCalls, row: MapRow, frame: Frame, run: RunStages) -> VotedOutput:
        """See `RowCode`."""
        return VotedOutput(await run(self.stages(calls, row), frame))

    def stage_item(self, row: MapRow) -> Any:
        """See `RowCode`: a copy, which the stages may change."""
        return copy_json(row.item)

    def share(self, rows: Sequence[MapRow]) -> None:
        """See `RowCode`: what Python asks is not known before."""

    def finish(self, output: Any) -> Any:
        """See `RowCode`."""
        return redactor.scrub(output)


async def load_row_code(parts: MapParts, task: Task, names: Mapping[str, Any]) -> RowCode:
    """Load the code of a map; `names` are what templates see of the run. Raises TemplateFailed, StageFailed."""
    scoring = await parts.tasks.scoring(task)
    if task.kind in ASKS_MODEL:
        prompt = parts.tasks.prompt_task(task)
        await prompt.load()
        contents = await asyncio.to_thread(parts.files.digests) if prompt.has_files else {}
        definition = await asyncio.to_thread(definition_hash, parts.inputs, task)
        return PromptRows(prompt, names, definition, contents, scoring)
    python = await parts.tasks.python_task(task)
    outputs = parts.outputs.outputs_for(task)
    dependencies = RowDependencies(parts.inputs, parts.files, outputs)
    inputs = TaskInputs(parts.inputs.seed_data, outputs, dependencies)
    definition = await asyncio.to_thread(definition_hash, parts.inputs, task, python.functions)
    return PythonRows(python, inputs, definition, dependencies, scoring)


def _scored_index(scoring: Scoring | None, row: MapRow) -> str:
    """The index in the key of a row whose scores are made of it."""
    return f"\n{row.index}" if scoring is not None and "index" in scoring.names else ""


def _json(item: Any) -> str:
    return json.dumps(item, sort_keys=True, separators=(",", ":"))


def _key(definition: str | None, text: str) -> str:
    return short_digest(f"{definition}\n{text}")
