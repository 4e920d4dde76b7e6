"""Outputs of the run's tasks, read from the log when they are used, and what templates see of the run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.prompts.row_origins import OriginRows, RowOrigin, find_origin
from po_jupyter.engine.prompts.templates import RowsExpression, template_names
from po_jupyter.engine.replay.history import History
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.run.parent_run import ParentOutputs, output_from_log
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.model.values.lazy_list import LazyList
from po_jupyter.store.files.row_files import FileRows

_RECENT = 64  # outputs in memory


class OutputStore:
    """The outputs of one run; the 64 used last are in memory, the others in the store. A `TaskOutputs`."""

    def __init__(
        self, inputs: RunInputs, log: RunLog, history: History, parent: ParentOutputs | None = None
    ) -> None:
        """The outputs that `log` has, and those of maps by the rows of `history`; those of a child run are its
        parent's."""
        self._parent = parent
        self._inputs = inputs
        self._log = log
        self._history = history
        self._recent: OrderedDict[str, JsonValue] = OrderedDict()

    def output(self, name: str) -> JsonValue:
        """The output of a task; None without one. Reads the store when it is not in memory."""
        if name in self._recent:
            self._recent.move_to_end(name)
            return self._recent[name]
        log = self._log
        if self._parent is not None:
            value = self._parent.output(name)
        else:
            value = output_from_log(log.store, log.state, name, self._history.table)
        if value is not None:
            self.put(name, value)
        return value

    def put(self, name: str, value: JsonValue) -> None:
        """Keep the output of a task in memory."""
        self._recent[name] = value
        self._recent.move_to_end(name)
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def forget(self, name: str) -> None:
        """Drop the output of a task from memory: it changed, or it is large."""
        self._recent.pop(name, None)

    def outputs_for(self, task: Task) -> UpstreamOutputs:
        """The outputs that a task may use: of every task that is finished for sure when it starts."""
        return UpstreamOutputs(self, self._log, task.name)

    def names(self, task: Task, attempt: int) -> JsonObject:
        """The names that templates of a task see; `item` and `index` are added for each row."""
        inputs = self._inputs
        return template_names(
            seed=inputs.seed_data,
            seed_name=inputs.seed.name,
            tasks=self.outputs_for(task),
            config=task.config,
            run={
                "id": inputs.whole_run,
                "name": inputs.seed.name,
                "pipeline": inputs.pipeline.name,
                "version": inputs.pipeline.version,
                "attempt": inputs.attempt_of_whole(attempt),
            },
        )

    def reads_rows(self, task: Task) -> bool:
        """Whether the task may see rows that are read one by one: of an earlier map, or of a file."""
        if any(isinstance(value, FileRows) for value in self._inputs.seed_data.values()):
            return True
        pipeline = self._log.pipeline
        return bool(pipeline.maps) and not pipeline.maps.isdisjoint(pipeline.upstream_of(task.name))

    def for_each(self, task: Task, names: Mapping[str, JsonValue]) -> Sequence[JsonValue]:
        """The rows of a map, perhaps each read when it is used; `OriginRows` where they are rows of the seed. Blocks on
        the store. Raises TemplateFailed."""
        assert task.for_each is not None
        expression = RowsExpression(task.for_each, task=task.name)
        rows = expression.evaluate(names)
        if isinstance(rows, FileRows):
            rows.open()
        origin = find_origin(expression.source, names, rows, self._origin_of_map)
        return rows if origin is None else OriginRows(rows, origin)

    def _origin_of_map(self, name: str) -> RowOrigin | None:
        """The rows of the seed that the rows of an earlier map are."""
        task = self._log.state.tasks.get(name)
        if task is None or task.rows_of is None or task.items is None:
            return None
        if self._log.pipeline.task(name).operator is not None:
            return None  # its rows say themselves where they are
        places = self._history.places.get(name)
        # A map whose rows are the seed's own, in order, keeps no places.
        return RowOrigin(task.rows_of, None if places is None else _Places(places, task.items.total))


class _Places(LazyList):
    """The places of a map's rows; a row without an outcome, which had none to keep, is at -1."""

    def __init__(self, places: Mapping[int, int], total: int) -> None:
        self._places = places
        self._total = total

    def __len__(self) -> int:
        return self._total

    def read(self, index: int) -> int:
        return self._places.get(index, -1)


class UpstreamOutputs(Mapping[str, JsonValue]):
    """`tasks` of templates and stages: the outputs of the tasks before one, each read when it is used."""

    def __init__(self, outputs: OutputStore, log: RunLog, task: str) -> None:
        """The outputs of the tasks that `task` waits for."""
        self._outputs = outputs
        self._log = log
        self._task = task

    @cached_property
    def _names(self) -> dict[str, None]:
        pipeline = self._log.pipeline
        upstream = pipeline.upstream_of(self._task)
        return {t.name: None for t in pipeline.tasks if t.name in upstream}

    def __getitem__(self, name: str) -> JsonValue:
        """The output of a task; KeyError for one that is not waited for. May block on the store."""
        if name not in self._names:
            raise KeyError(name)
        return self._outputs.output(name)

    def __contains__(self, name: object) -> bool:
        """True for the name of such a task."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """The names of the tasks."""
        return iter(self._names)

    def __len__(self) -> int:
        """The number of tasks."""
        return len(self._names)
