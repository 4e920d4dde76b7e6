"""What a child run has of its parent: the data of its seed, outputs of the tasks before the map, recorded answers."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from po_jupyter.engine.operators.result_rows import is_result, read_result
from po_jupyter.engine.prompts.row_origins import rows_of_result
from po_jupyter.engine.replay.history import History, JournaledCall, expand_output, map_of_marker, read_history
from po_jupyter.engine.replay.row_table import RowTable
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.model.run.definition import ParentTask
from po_jupyter.model.run.row_spans import parse_spans
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.store.protocol import LogStore, Ref, Store


def output_from_log(store: LogStore, state: RunState, name: str, table: Callable[[str], RowTable]) -> JsonValue:
    """The output of a task of the run of `state`; None without one. Blocks on the store."""
    task = state.tasks.get(name)
    if task is None or task.output is None:
        return None
    value: JsonValue = store.payload(state.run, Ref(*task.output))
    map_name = map_of_marker(value) if task.items is not None else None
    if map_name is not None:
        value = expand_output(store, state.run, value, table(map_name))
    elif task.items is not None and is_result(value):
        value = rows_of_result(read_result(value))
    return value


class ParentOutputs:
    """The outputs of the tasks of a run that another one is a part of. Its log is read when the first is used."""

    def __init__(self, store: LogStore, run: str) -> None:
        """The outputs of `run`."""
        self._store = store
        self._run = run
        self._lock = Lock()
        self._history: History | None = None

    def output(self, name: str) -> JsonValue:
        """The output of a task; None without one. Blocks on the store."""
        with self._lock:
            if self._history is None:
                self._history = read_history(self._store, self._run)
        return output_from_log(self._store, self._history.state, name, self._history.table)


def parent_outputs(store: LogStore, parent: ParentTask | None) -> ParentOutputs | None:
    """The outputs that a child run sees; None for a run that is none."""
    return None if parent is None else ParentOutputs(store, parent["run"])


def definition_of(store: Store, run: str) -> JsonObject:
    """The definition of a run; that of a child run has the seed of its parent. Blocks. Raises NotFound, also for a
    child run whose parent is gone."""
    definition = store.definition(run)
    parent = definition.get("parent")
    if parent is None:
        return definition
    return {**definition, "seed": store.definition(parent["run"])["seed"]}


def recall(history: History, parent: ParentTask) -> None:
    """Have in the history of a child run what its parent's log says of its rows."""
    task, table = parent["task"], history.table(parent["task"])
    history.asked[task] = frozenset(parse_spans(parent["rows"]))
    # Its one attempt is that of the parent's map: in keys of calls it has the number of that.
    history.replays[task] = 1, parent["attempt"]
    redone = history.redone.setdefault(task, {})
    for index, last in parent.get("redone", {}).items():
        if int(index) not in table:
            redone.setdefault(int(index), last)
    calls = history.calls.setdefault(task, {})
    for key, response, counted in parent.get("calls", ()):
        row = int(key.split("/", 2)[1])
        if row not in table:
            call = JournaledCall(1, response.get("answer"), response, reported=1, counted=counted)
            calls.setdefault(row, {}).setdefault(key, call)
