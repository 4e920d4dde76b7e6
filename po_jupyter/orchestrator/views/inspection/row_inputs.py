"""Inputs of a map's rows: the rows of the seed, or of an earlier task, that it went over."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

from po_jupyter.engine.operators.result_rows import is_result, read_result
from po_jupyter.engine.replay.history import expand_output, map_of_marker
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.row_index import keys_of
from po_jupyter.model.values.lazy_list import LazyList, RepeatedList
from po_jupyter.orchestrator.views.inspection.row_columns import MapColumns
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Head, Ref, Store

_KEPT = 4  # definitions, which may have large seeds
_CHAIN = re.compile(r"\s*\{\{\s*(seed|tasks)((?:\.\w+)+)\s*\}\}\s*")


class RowInputs:
    """Reads inputs. Blocks on the store and the disk: call it in a thread. Safe for several threads."""

    def __init__(self, files: RowFiles, store: Store, projections: RunProjections) -> None:
        """Nothing is read yet."""
        self._files = files
        self._store = store
        self._projections = projections
        self._lock = Lock()
        self._definitions: OrderedDict[str, RunDefinition] = OrderedDict()

    def definition(self, run: str) -> RunDefinition:
        """The definition of a run, kept for the runs read last. NotFound."""
        with self._lock:
            kept = self._definitions.get(run)
            if kept is not None:
                self._definitions.move_to_end(run)
                return kept
        definition = RunDefinition.from_json(self._store.definition(run))
        if definition.parent is not None:  # it has the rows of its parent
            whole = self._store.definition(definition.parent["run"])
            definition = replace(definition, seed=whole["seed"])
        with self._lock:
            self._definitions[run] = definition
            while len(self._definitions) > _KEPT:
                self._definitions.popitem(last=False)
        return definition

    def seed_data(self, head: Head) -> Mapping[str, Any]:
        """The data of the seed, with rows for references to files of rows, each read when it is used."""
        data = self.definition(head["run"]).seed.get("data") or {}
        return self._files.with_rows(head["owner"], data)

    def task(self, head: Head, name: str) -> Mapping[str, Any]:
        """The definition of a task, one that another task added too; empty for one that there is not."""
        for task in self.definition(head["run"]).pipeline.get("tasks") or ():
            if task.get("name") == name:
                return dict(task)
        added = self._projections.state(head).added.get(name)
        return {} if added is None else added.definition

    def of(self, head: Head, task: str, maps: MapColumns) -> MapInputs:
        """The inputs of the rows of a map."""
        columns = maps.of(task)
        definition = self.task(head, task)
        if _asks_about_its_own(definition):
            return MapInputs(None, exact=False)
        chain = _CHAIN.fullmatch(str(definition.get("for_each") or ""))
        keys = chain[2].split(".")[1:] if chain is not None else []
        rows: Any = None
        made_at: Callable[[int], int] | None = None
        if chain is not None and chain[1] == "tasks":
            state = self._projections.state(head)
            rows = _value_at(self._output(state, keys[0], maps), keys[1:])
            made_at = _made_at(state, keys, maps)
        elif chain is not None:
            rows = _value_at(self.seed_data(head), keys)
        elif columns.rows_of is not None:
            rows = _value_at(self.seed_data(head), keys_of(columns.rows_of))
        if not isinstance(rows, list | LazyList):
            rows = None
        elif chain is not None and (variants := definition.get("variants")):
            rows, made_at = RepeatedList(rows, len(variants)), _of_list(made_at, len(variants))
        return MapInputs(rows, chain is not None, made_at)

    def _output(self, state: RunState, task: str, maps: MapColumns) -> Any:
        now = state.tasks.get(task)
        if now is None or now.output is None:
            return None
        value = self._store.payload(state.run, Ref(*now.output))
        if now.items is not None and is_result(value):
            return read_result(value).values
        mapped = map_of_marker(value) if now.items is not None else None
        return value if mapped is None else expand_output(self._store, state.run, value, maps.of(mapped).table)


class MapInputs:
    """The inputs of one map. `exact`: they are what its rows were made of, and not only the seed's rows behind them;
    but for rows whose input `has_changed`."""

    def __init__(
        self, rows: Sequence[Any] | None, exact: bool, made_at: Callable[[int], int] | None = None
    ) -> None:
        """`rows` None: they cannot be told. `made_at`: the number of the record that one is from; None for the seed."""
        self._rows = rows
        self._made_at = made_at
        self.exact = exact

    def has_changed(self, index: int, recorded: int | None) -> bool:
        """Whether the input is newer than what is in record `recorded` of a row: that was made of another one."""
        return recorded is not None and self._made_at is not None and recorded < self._made_at(index)

    def input(self, index: int, place: int | None, *, has_outcome: bool) -> Any:
        """The input of a row, None where it cannot be told; `place` is that in the seed which its outcome names."""
        if self._rows is None or not (self.exact or has_outcome):
            return None
        at = index if place is None or self.exact else place
        return self._rows[at] if 0 <= at < len(self._rows) else None


def _of_list(made_at: Callable[[int], int] | None, times: int) -> Callable[[int], int] | None:
    return None if made_at is None else lambda index: made_at(index // times)


def _made_at(state: RunState, keys: Sequence[str], maps: MapColumns) -> Callable[[int], int] | None:
    """The numbers of the records with the rows that task `keys[0]` gave."""
    task = state.tasks.get(keys[0])
    if task is None or task.output is None:
        return None
    whole = task.output[0]
    if task.items is None or keys[1:]:
        return lambda index: whole
    rows = maps.of(keys[0]).table  # of a map that did some of its rows again the others are as they were
    return lambda index: rows.record_number(index) if index in rows else whole


def _asks_about_its_own(task: Mapping[str, Any]) -> bool:
    """Whether the rows that a task asks about are groups or pairs, and not those of its list."""
    if task.get("group_by") is not None or task.get("join") is not None:
        return True
    top = task.get("top_k")
    return isinstance(top, Mapping) and bool(top.get("pairs"))


def _value_at(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value
