"""Projections of runs: the states that their logs fold to, cached by head so that lists are cheap."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from po_jupyter.engine.operators.result_rows import ResultRows, is_result, read_result
from po_jupyter.engine.replay.history import expand_output, map_of_marker
from po_jupyter.engine.replay.row_table import DONE, FAILED
from po_jupyter.engine.state.effective_pipeline import effective_pipeline
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState, run_view_of
from po_jupyter.errors import CorruptRow, InvalidInput, NotFound, PoError
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.review import RecordedReview
from po_jupyter.model.run.row_index import without_values
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.chunked_json import json_chunks
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.row_pages import RowOutcome, RowPages
from po_jupyter.orchestrator.views.snapshots import FoldedRun, StateSnapshots
from po_jupyter.store.protocol import Head, Record, Ref, Store

_KEPT = 500  # runs whose state is kept in memory
_FEW_TASKS = 100  # whose view is a matter of a millisecond
_PAGE = 2000  # events read at once
_SEED_SHOWN = 32_768  # bytes of a seed's data that lists and streams carry with every run


class RunProjections:
    """Reads runs. Every method blocks on the store: call them in a thread. Safe for several threads."""

    def __init__(self, store: Store) -> None:
        """Nothing is cached yet."""
        self._store = store
        self._snapshots = StateSnapshots(store)
        self._states: OrderedDict[str, FoldedRun] = OrderedDict()
        self._lock = Lock()
        self._rows = RowPages(store)

    def state(self, head: Head) -> RunState:
        """The fold of the run's events up to (at least) `head`."""
        return self._folded(head).state

    def _folded(self, head: Head) -> FoldedRun:
        known = self._cached(head["run"])
        if known is None:
            known = self._snapshots.read([head]).get(head["run"])
        folded = self._fold(head, known)
        if folded.is_worth_keeping:
            self.keep([folded])
        return folded

    def _cached(self, run: str) -> FoldedRun | None:
        with self._lock:
            cached = self._states.get(run)
            if cached is not None:
                self._states.move_to_end(run)
            return cached

    def _fold(self, head: Head, known: FoldedRun | None) -> FoldedRun:
        """The fold up to `head`, from what is known of the run."""
        if known is None:
            known = FoldedRun(RunState(head["run"]), brief(self.seed(head["run"])))
        state = known.state
        while state.offset < head["offset"]:
            events = self._store.events(head["run"], since=state.offset, limit=_PAGE)
            if not events:
                break
            state = fold(state, events)
        folded = known._replace(state=state)
        self._remember(folded)
        return folded

    def keep(self, runs: Sequence[FoldedRun]) -> None:
        """Keep snapshots of runs that were folded, where it is worth it."""
        self._snapshots.keep(runs)
        for folded in runs:
            if (
                folded.is_worth_keeping
            ):  # or what was tried: a state that is too large is not tried again at once
                self._remember(folded._replace(kept=folded.state.offset))

    def fold_all(self, heads: Sequence[Head]) -> dict[str, FoldedRun | PoError]:
        """Many runs up to their heads, with few reads; in the place of one that cannot be read the error."""
        cached = {head["run"]: folded for head in heads if (folded := self._cached(head["run"])) is not None}
        known = cached | self._snapshots.read([head for head in heads if head["run"] not in cached])
        found: dict[str, FoldedRun | PoError] = {}
        for head in heads:
            try:
                found[head["run"]] = self._fold(head, known.get(head["run"]))
            except (CorruptRow, NotFound) as error:
                found[head["run"]] = error
        self.keep([folded for folded in found.values() if isinstance(folded, FoldedRun)])
        return found

    def seed(self, run: str) -> Mapping[str, Any]:
        """The whole seed, as the run was submitted with it."""
        return RunDefinition.from_json(self._store.definition(run)).seed

    def definition(self, run: str) -> RunDefinition:
        """The run as it was submitted."""
        return RunDefinition.from_json(self._store.definition(run))

    def remember(self, state: RunState, seed: Mapping[str, Any]) -> None:
        """Cache a state that was folded elsewhere; `seed` as `brief` makes it."""
        self._remember(FoldedRun(state, seed))

    def _remember(self, folded: FoldedRun) -> None:
        run = folded.state.run
        with self._lock:
            cached = self._states.get(run)
            if cached is None or cached.state.offset <= folded.state.offset:
                self._states[run] = folded
            while len(self._states) > _KEPT:
                self._states.popitem(last=False)

    def forget(self, run: str) -> None:
        """Drop what is cached of a run that is gone."""
        with self._lock:
            self._states.pop(run, None)
        self._rows.forget(run)

    def view(
        self,
        head: Head,
        *,
        position: int | None = None,
        waiting: str | None = None,
        whole_seed: bool = False,
    ) -> RunView:
        """The run as everybody sees it; a seed too large for lists comes only with `whole_seed`."""
        folded = self._folded(head)
        seed = folded.seed
        if whole_seed and "data" not in seed:
            seed = self.seed(head["run"])
        return run_view_of(folded.state, seed, position=position, waiting=waiting)

    def known_view(
        self, head: Head, *, position: int | None, waiting: str | None, whole_seed: bool
    ) -> RunView | None:
        """As `view`, of what is in memory alone; None where the store has to be read, or it would take long. Does not
        block."""
        known = self._cached(head["run"])
        if known is None or known.state.offset < head["offset"] or len(known.state.tasks) > _FEW_TASKS:
            return None
        if (whole_seed and "data" not in known.seed) or known.is_worth_keeping:
            return None
        return run_view_of(known.state, known.seed, position=position, waiting=waiting)

    def pipeline(self, run: str) -> Pipeline:
        """The run's own snapshot of its pipeline, with what its tasks added."""
        pipeline = validate_pipeline(
            RunDefinition.from_json(self._store.definition(run)).pipeline, recorded=True
        )
        return effective_pipeline(pipeline, self.state(self._store.head(run)))

    # -- results --------------------------------------------------------------------------------

    def outputs(self, head: Head, task: str | None = None) -> JsonObject:
        """Outputs of finished tasks by name. NotFound for a task that does not exist."""
        folded = self.state(head)
        if task is not None and task not in folded.tasks:
            raise NotFound(
                f"run {short_id(head['run'])} has no task {task!r}{did_you_mean(task, list(folded.tasks))}"
            )
        outputs: JsonObject = {}
        for name, now in folded.tasks.items():
            if (task is None or name == task) and now.output is not None:
                value = self._store.payload(head["run"], Ref(*now.output))
                mapped = map_of_marker(value) if now.items is not None else None
                if mapped is not None:
                    rows = self._rows.table(head, mapped)
                    value = list(expand_output(self._store, head["run"], value, rows))
                elif now.items is not None and is_result(value):
                    value = read_result(value).values
                outputs[name] = value
        return outputs

    def items(
        self, head: Head, task: str, state: str | None = None, *, start: int = 0, limit: int | None = None
    ) -> tuple[list[RowOutcome], int | None]:
        """The newest outcome of each row of a map, in row order, from row `start`; and the row that the next page
        starts with, or None."""
        folded = self.state(head)
        if task not in folded.tasks:
            raise NotFound(
                f"run {short_id(head['run'])} has no task {task!r}{did_you_mean(task, list(folded.tasks))}"
            )
        if state not in (None, "done", "failed"):
            raise InvalidInput(f"rows are `done` or `failed`, not {state!r}")
        outcome = {"done": DONE, "failed": FAILED}.get(state or "")
        return self._rows.page(head, task, outcome, start, limit)

    def operator_rows(self, head: Head, task: str) -> ResultRows | None:
        """The rows that an operator made; None for a task that has none, or is not done."""
        now = self.state(head).tasks.get(task)
        if now is None or now.output is None or now.items is None:
            return None
        value = self._store.payload(head["run"], Ref(*now.output))
        return read_result(value) if is_result(value) else None

    def reviews(self, head: Head, task: str) -> list[RecordedReview]:
        """What people said of a map's rows, of each person the last of a row; in row order."""
        return self._rows.reviews(head, task)

    def review(self, head: Head, review_id: str) -> RecordedReview | None:
        """The review that one request asked for, if it was recorded."""
        return self._rows.review(head, review_id)

    def calls(self, head: Head, task: str | None = None, state: str | None = None) -> Iterator[JsonObject]:
        """The journal, in order, without the answers: `{n, key, kind, state, ...}`.

        A response is `done` or `failed`. An intent is `answered`; or `withdrawn`: it was given up while nothing of
        it was in flight; or `in_flight` while the worker that wrote it has the run; or `unknown`: it was about to
        be sent, and nobody knows what came of it (P3).
        """
        calls = [
            (record, call)
            for record in self._store.records(head["run"])
            for call in record["calls"]
            if task is None or _task_of(call, record) == task
        ]
        # Whatever closes an intent closes the last one before it.
        open_: dict[str, list[int]] = {}
        closed: dict[int, str] = {}
        for i, (_, call) in enumerate(calls):
            if call["kind"] == "intent":
                open_.setdefault(call["key"], []).append(i)
            elif before := open_.get(call["key"]):
                closed[before.pop()] = "answered" if call["kind"] == "response" else "withdrawn"
        for i, (record, call) in enumerate(calls):
            if call["kind"] == "withdrawn":
                continue
            if call["kind"] == "response":
                now = "done" if call.get("ok") else "failed"
            elif i in closed:
                now = closed[i]
            elif (
                record["fence"] == head["fence"] and head["state"] == "running" and i == open_[call["key"]][-1]
            ):
                now = "in_flight"
            else:
                now = "unknown"
            if state is None or state == now:
                public = {k: v for k, v in call.items() if k != "answer"}
                yield {"n": record["n"], "at": record["at"], "state": now, **public}


def _task_of(call: Mapping[str, Any], record: Record) -> str | None:
    task = call.get("task")
    return str(task) if task is not None else str(call.get("key", "")).split("/")[0]


def unreadable_view(head: Head, error: CorruptRow) -> RunView:
    """The view of a run in whose rows something cannot be read: what its head says, and the error."""
    return RunView.model_validate({**head, "id": head["run"], "seed": {}, "error": error.to_json()})


def brief(seed: Mapping[str, Any]) -> Mapping[str, Any]:
    """The seed as lists carry it: large data are left out, `data_bytes` says how large. So are the labels of an
    index then."""
    size = sum(map(len, json_chunks(seed.get("data"))))
    index = seed.get("index")
    if size + (sum(map(len, json_chunks(index))) if index else 0) <= _SEED_SHOWN:
        return seed
    public = {**{k: v for k, v in seed.items() if k != "data"}, "data_bytes": size}
    return {**public, "index": without_values(index)} if index else public
