"""Reuse of row outcomes: a map that runs again takes what earlier runs paid for, by content (P12, G17).

    definition   everything besides the row that makes its outcome: prompt, schema, model, code        → a hash
    row key      definition + the row, as it is asked (a prompt task: its messages; Python: the item) → in each item
    index        a small document for each definition: the owner's newest runs with outcomes of it

A run that starts a map puts itself into the index, then goes through the runs that it finds there, newest first,
until every row has an outcome or there are no more runs. It copies payloads: a run that others copied from can be
deleted. Only successes are copied, and each outcome once: a row that is there twice is asked twice.

A Python row may read more than its item. The hashes of what the map's code read of the seed, of other tasks and of its
index are kept with the outcome, which is copied only where these are the same. So are those of the addresses where its
models were asked: behind another base URL is another model of that name. (Outcomes of versions that kept no address are
copied whatever it was.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import structlog

from po_jupyter.engine.maps.dependencies import MODELS, AnswerNotes, ReusableOutcome, RowDependencies
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.state.resume import keeps_unchanged
from po_jupyter.errors import Conflict, NotFound, StoreError
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store import documents
from po_jupyter.store.protocol import DocumentStore, ItemRecord, LogStore, Ref

_log = structlog.get_logger(__name__)

KIND = "row-outcomes"
_RUNS = 16  # newest runs that are remembered for each definition
_DEFINITIONS = 64  # definitions in one document; there are 256 documents, so the index has a bound
_OUTCOMES = 1_000_000  # outcomes that one map looks through at most
_CHUNK = 500  # outcomes copied at once
_TRIES = 20  # of writing the index, which is no more than a hint

IndexDocument: TypeAlias = dict[
    str, list[str]
]  # runs by definition; the definition that was used last is the last


_NOTHING: dict[str, Any] = {}


class _EarlierOutcome(NamedTuple):
    row: int
    key: str
    output: Ref
    dependencies: JsonObject
    addresses: dict[str, str]
    origin: str
    notes: AnswerNotes


class _OwnMap(NamedTuple):
    """The map itself, where it has outcomes already. `renewed`: rows before it were asked for again since it had them
    all."""

    run: str
    task: str
    renewed: bool


class RowConditions(NamedTuple):
    """The conditions that rows of this run are worked under, besides their key.

    `dependencies` as in `RowCode`; `address(ref)` is the hash of where a model is asked, None where that is not known.
    """

    dependencies: RowDependencies | None
    address: Callable[[str], str | None]

    def hold_for(self, earlier: _EarlierOutcome, index: int) -> bool:
        """Whether the conditions of an earlier outcome hold for row `index`."""
        if not earlier.addresses and not earlier.dependencies:
            return True  # of 50,000 rows nearly all
        if any(self.address(ref) != address for ref, address in earlier.addresses.items()):
            return False
        if not earlier.dependencies:
            return True
        return self.dependencies is not None and self.dependencies.match(earlier.dependencies, index)


async def reuse_outcomes(state: MapState) -> None:
    """Copy what earlier runs paid for, and put this run into the index. Raises Drained and StoreError."""
    parts, task, log, options = state.parts, state.task, state.parts.log, state.parts.inputs.options
    definitions = state.code.definitions
    if not definitions:
        return
    off = task.cache is False or options.cache is False
    runs = [] if off else await asyncio.to_thread(_earlier_runs, log.store, definitions, log.run)
    if task.name in parts.history.anew:
        return
    # Rows before it were asked for again: what is as it was has its outcome in this run, which is no other run's.
    renewed = task.name in parts.history.renewed
    if not renewed and log.state.tasks[task.name].cleared_at:
        return
    if "refresh" in (task.cache, options.cache) or options.fresh:
        runs = []
    if not runs and not renewed:
        return
    learned = state.code.learned
    own = _OwnMap(log.run, task.name, renewed) if renewed or state.table else None
    indexes = await asyncio.to_thread(_indexes_by_key, state)
    chunks = find(log.store, runs, indexes, RowConditions(state.code.dependencies, parts.calls.address), own)
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        parts.boundary.checkpoint()
        for outcome in chunk:
            if learned is not None and outcome.notes.sampled is None and outcome.row in learned.sample:
                continue  # it was not in the sample there: both models are asked, to compare them
            key = state.code.key(state.row(outcome.row))
            state.copy_outcome(key, outcome)
        await log.flush()


def _indexes_by_key(state: MapState) -> dict[str, list[int]]:
    indexes: dict[str, list[int]] = {}
    for index in state.open_indexes():
        indexes.setdefault(state.code.key(state.row(index)), []).append(index)
    return indexes


def _earlier_runs(store: DocumentStore, definitions: Sequence[str], run: str) -> list[str]:
    """Put `run` into the index for each definition; earlier runs with outcomes of any, the newest first. Blocks."""
    runs = [announce(store, definition, run) for definition in definitions]
    return runs[0] if len(runs) == 1 else sorted(set().union(*runs), reverse=True)  # ids sort by time


def announce(store: DocumentStore, definition: str, run: str) -> list[str]:
    """Put `run` into the index; earlier runs with outcomes of that definition, newest first. Blocks."""
    earlier: list[str] = []

    def change(index: IndexDocument | None) -> IndexDocument:
        nonlocal earlier
        changed = dict(index or {})
        earlier = [other for other in changed.pop(definition, []) if other != run]
        changed[definition] = [run, *earlier][:_RUNS]
        while len(changed) > _DEFINITIONS:
            changed.pop(next(iter(changed)))
        return changed

    with suppress(Conflict):
        documents.update(store, KIND, definition[:2], change, tries=_TRIES)
    return earlier


def find(
    store: LogStore,
    runs: Iterable[str],
    indexes: Mapping[str, list[int]],
    conditions: RowConditions,
    own: _OwnMap | None = None,
) -> Iterator[list[ReusableOutcome]]:
    """Outcomes of `runs` for rows of this map, in chunks; `indexes` are the rows without an outcome, by key. What
    `own` has taken over already, before its worker died, is not taken twice. Blocks."""
    remaining = {key: dict.fromkeys(rows) for key, rows in indexes.items()}
    copied: set[str] = set()  # origins: a copy of a copy is no second outcome
    seen = 0
    superseded: list[_EarlierOutcome] = []
    if own is not None:
        superseded, copied = _own_outcomes(store, own, remaining)
    for run in [*([own.run] if own is not None and own.renewed else []), *runs]:
        if not remaining or seen > _OUTCOMES:
            return
        try:
            outcomes = superseded if own is not None and run == own.run else _outcomes(store, run, remaining)
            seen += len(outcomes)
            chunk: list[ReusableOutcome] = []
            for outcome in outcomes:
                index = _next_row(remaining, outcome, conditions) if outcome.origin not in copied else None
                if index is not None:
                    copied.add(outcome.origin)
                    output = store.payload(run, outcome.output)
                    chunk.append(
                        ReusableOutcome(index, output, outcome.origin, outcome.addresses, outcome.notes)
                    )
                if len(chunk) >= _CHUNK:
                    yield chunk
                    chunk = []
            yield chunk
        except NotFound:
            continue  # deleted since, or just now
        except StoreError as error:
            _log.warning("outcomes of an earlier run cannot be read", earlier=run, error=error.message)


def _outcomes(store: LogStore, run: str, keys: Mapping[str, object]) -> list[_EarlierOutcome]:
    """Successes of `run` with one of `keys`: the newest of each row, none that a restart made void."""
    outcomes: dict[tuple[str, int], _EarlierOutcome] = {}
    for record in store.records(run):
        for item in record["items"]:
            if (outcome := _reusable(item, run, keys)) is not None:
                outcomes[item["task"], item["index"]] = outcome
        for event in record["events"]:
            data = event["data"] if event["type"] == "run.resumed" else _NOTHING
            void = None if keeps_unchanged(data) else data.get("clear")
            if void:
                outcomes = {row: outcome for row, outcome in outcomes.items() if row[0] not in void}
    return list(outcomes.values())


def _own_outcomes(
    store: LogStore, own: _OwnMap, keys: Mapping[str, object]
) -> tuple[list[_EarlierOutcome], set[str]]:
    """Successes that the map had before rows in front of it were asked for again, the newest of each row; and the
    origins of those that count."""
    counting: dict[int, _EarlierOutcome] = {}
    superseded: dict[int, _EarlierOutcome] = {}
    for record in store.records(own.run):
        for item in record["items"]:
            if item["task"] != own.task:
                continue
            if (outcome := _reusable(item, own.run, keys)) is not None:
                counting[item["index"]] = outcome
            elif not item["ok"]:
                counting.pop(item["index"], None)
        for event in record["events"]:
            if event["type"] == "run.resumed" and own.task in event["data"].get("clear", ()):
                superseded = superseded | counting if keeps_unchanged(event["data"]) else {}
                counting = {}
    return list(superseded.values()), {outcome.origin for outcome in counting.values()}


def _reusable(item: ItemRecord, run: str, keys: Mapping[str, object]) -> _EarlierOutcome | None:
    key, output = item.get("key"), item.get("output")
    # Artifacts of a row are files of its run; copying the outcome would lose them.
    if not item["ok"] or key is None or key not in keys or not output or item.get("artifacts"):
        return None
    origin = item.get("reused") or f"{run}/{item['task']}/{item['index']}"
    looked, notes = item.get("looked"), AnswerNotes.of(item)
    if not looked:
        return _EarlierOutcome(item["index"], key, Ref(*output), _NOTHING, _NOTHING, origin, notes)
    addresses = {name.removeprefix(MODELS): value for name, value in looked.items() if name.startswith(MODELS)}
    dependencies = {name: value for name, value in looked.items() if not name.startswith(MODELS)}
    return _EarlierOutcome(item["index"], key, Ref(*output), dependencies, addresses, origin, notes)


def _next_row(
    remaining: dict[str, dict[int, None]], outcome: _EarlierOutcome, conditions: RowConditions
) -> int | None:
    """The row that gets the outcome, taken off `remaining`."""
    indexes = remaining.get(outcome.key)
    if indexes is None:
        return None
    # Of what an outcome may depend on only the index differs from row to row: one look is enough.
    place = outcome.row if outcome.row in indexes else next(iter(indexes))  # equal rows keep each its own
    index = int(outcome.dependencies.get("index", place))
    if index not in indexes or not conditions.hold_for(outcome, index):
        return None
    del indexes[index]
    if not indexes:
        del remaining[outcome.key]
    return index
