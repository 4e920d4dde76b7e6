"""Running the same map again does not pay again: outcomes of rows are found by content in earlier runs (P12, G17).

    definition   what makes the outcome of a row besides the row: prompt, schema, model, code        → a hash
    row key      definition + the row, as it is asked (a prompt task: its messages; Python: the item) → in each item
    index        a small document for each definition: the owner's newest runs with outcomes of it

A run that starts a map puts itself into the index, then goes through the runs that it finds there, newest first,
until every row has an outcome or there are no more runs. It copies payloads: a run that others copied from can be
deleted. Only successes are taken, and each outcome once: a row that is there twice is asked twice.

A Python row may look at more than its item. What of the seed, of other tasks and of its index the map's code looked at
is kept with the outcome, which is taken only where that is the same.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from jinja2 import meta

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.maps.dependencies import RowDependencies, digest
from po_jupyter.engine.prompts.templates import ENVIRONMENT
from po_jupyter.engine.python.python_task import Functions
from po_jupyter.errors import NotFound, StoreError
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.digests import short_digest
from po_jupyter.store.protocol import DocumentStore, LogStore, Ref

_log = structlog.get_logger(__name__)

KIND = "row-outcomes"
_RUNS = 16  # newest runs that are remembered for each definition
_DEFINITIONS = 64  # definitions in one document; there are 256 documents, so the index has a bound
_OUTCOMES = 1_000_000  # outcomes that one map looks through at most
_CHUNK = 500  # outcomes copied at once
_SWAPS = 20


class Found(NamedTuple):
    """An outcome of an earlier run for one row of this one."""

    row: int
    output: Any
    origin: str  # RUN/TASK/INDEX of the row that paid for it


def definition_of(inputs: RunInputs, task: Task, functions: Functions | None = None) -> str | None:
    """The hash of what, besides its content, makes the outcome of a row; None when that cannot be known before.

    `functions` are the stage functions of a Python task: the files that they come from count as its code.
    """
    said = task.model_dump(
        mode="json",
        exclude_defaults=True,
        include={
            "task",
            "source",
            "system",
            "prompt",
            "output",
            "refine",
            "config",
            "images",
            "tools",
            "max_tool_rounds",
        },
    )
    llm = inputs.llm_of(task)
    said["llm"] = llm.model_dump(mode="json", exclude_none=True, exclude={"retry", "timeout"})
    said["llm"]["model"] = inputs.model_of(task)
    said["llm"].setdefault("max_tokens", inputs.settings.default_max_tokens)
    if functions is not None and task.source is None:
        said["module"] = task.task or task.name
        said["files"] = _files(functions)
    if task.refine.critique is not None:
        # Rendered only once there is an answer, so what it names has to be known as a whole.
        named = meta.find_undeclared_variables(ENVIRONMENT.parse(task.refine.critique))
        if named & {"tasks", "run"}:
            return None
        if "seed" in named:
            said["seed"] = digest(inputs.seed.data)
        if "seed_name" in named:
            said["seed_name"] = inputs.seed.name
    return digest([inputs.owner, said])


def _files(functions: Functions) -> list[str]:
    """Hashes of the files that stage functions of an installed module come from."""
    found: set[str] = set()
    for fn in functions.values():
        try:
            path = inspect.getsourcefile(inspect.unwrap(fn))
            if path is not None:
                found.add(short_digest(Path(path).read_bytes()))
        except (OSError, TypeError):
            found.add("unreadable")
    return sorted(found)


def announce(store: DocumentStore, definition: str, run: str) -> list[str]:
    """Put `run` into the index; earlier runs with outcomes of that definition, newest first. Blocks."""
    name = definition[:2]
    for _ in range(_SWAPS):
        old = store.get(KIND, name)
        known: dict[str, list[str]] = dict(old or {})
        before = [r for r in known.pop(definition, []) if r != run]
        known[definition] = [run, *before][:_RUNS]  # last: the one used last
        while len(known) > _DEFINITIONS:
            known.pop(next(iter(known)))
        if store.swap(KIND, name, old, known):
            return before
    return before


def find(
    store: LogStore, runs: Iterable[str], wanted: Mapping[str, list[int]], dependencies: RowDependencies | None
) -> Iterator[list[Found]]:
    """Outcomes of `runs` for rows of this map, in chunks; `wanted` are row indexes by key. Blocks."""
    todo = {key: deque(indexes) for key, indexes in wanted.items()}
    taken: set[str] = set()  # by origin: a copy of a copy is no second outcome
    seen = 0
    for run in runs:
        if not todo or seen > _OUTCOMES:
            return
        try:
            there = _outcomes(store, run, todo)
            seen += len(there)
            chunk: list[Found] = []
            for key, ref, said, origin in there.values():
                index = _take(todo, key, said, dependencies) if origin not in taken else None
                if index is not None:
                    taken.add(origin)
                    chunk.append(Found(index, store.payload(run, ref), origin))
                if len(chunk) >= _CHUNK:
                    yield chunk
                    chunk = []
            yield chunk
        except NotFound:
            continue  # deleted since, or just now
        except StoreError as error:
            _log.warning("outcomes of an earlier run cannot be read", earlier=run, error=error.message)


_Outcome = tuple[str, Ref, Mapping[str, Any], str]  # key, payload, what was looked at, origin


def _outcomes(store: LogStore, run: str, todo: Mapping[str, Any]) -> dict[tuple[str, int], _Outcome]:
    """Successes of `run` with a wanted key, by task and row: the newest of each, none that a restart made void."""
    there: dict[tuple[str, int], _Outcome] = {}
    for record in store.records(run):
        for item in record["items"]:
            # Artifacts of a row are files of its run; copying the outcome would lose them.
            if item["ok"] and item.get("key") in todo and item.get("output") and not item.get("artifacts"):
                task, index = item["task"], item["index"]
                origin = item.get("reused") or f"{run}/{task}/{index}"
                there[task, index] = (item["key"], Ref(*item["output"]), item.get("looked") or {}, origin)
        for event in record["events"]:
            void = event["data"].get("clear") if event["type"] == "run.resumed" else None
            if void:
                there = {place: outcome for place, outcome in there.items() if place[0] not in void}
    return there


def _take(
    todo: dict[str, deque[int]], key: str, said: Mapping[str, Any], dependencies: RowDependencies | None
) -> int | None:
    """The row that gets the outcome, taken off `todo`."""
    indexes = todo.get(key)
    if indexes is None:
        return None
    index = next(
        (i for i in indexes if not said or (dependencies is not None and dependencies.match(said, i))), None
    )
    if index is not None:
        indexes.remove(index)
        if not indexes:
            del todo[key]
    return index
