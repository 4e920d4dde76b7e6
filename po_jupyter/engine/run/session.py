"""The session of a run in a worker: the parts of the run, opened together and closed in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from po_jupyter.config import Settings
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.calls.attempt_calls import StreamedText
from po_jupyter.engine.calls.factory import CallFactory, ProviderSource
from po_jupyter.engine.files.artifacts import remove_unlisted, settle_database
from po_jupyter.engine.lifecycle.failure_log import FailureLog
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.ports import Observer, RunFileShare
from po_jupyter.engine.replay.history import History, read_history
from po_jupyter.engine.replay.run_log import LINGER, RunLog
from po_jupyter.engine.run.inputs import run_inputs
from po_jupyter.engine.run.outputs import OutputStore
from po_jupyter.engine.run.parent_run import definition_of, parent_outputs, recall
from po_jupyter.engine.run.resources import RunResources
from po_jupyter.engine.run.signals import RunSignals
from po_jupyter.engine.run.tasks import TaskLibrary
from po_jupyter.engine.tools.mcp import GetVariables, own_variables
from po_jupyter.llm.calls.admission import Admission
from po_jupyter.llm.calls.answer_queue import AnswerQueue, AnswerStore
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import Head, Lease, Store

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import RunStartedData


@dataclass(frozen=True, slots=True, eq=False)
class RunSession:
    """The parts of one run under a lease. Made by `open_session`; `RunExecutor` executes it; `aclose` ends it.

    inputs     definition, seed, settings        outputs    outputs of tasks, what templates see
    log        events and the state of the run   calls      model calls: journal, cache, budget
    history    what the log said at first        tasks      templates compiled, code loaded
    signals    drain, checkpoint, sleep, rest    resources  files, threads, MCP servers, snapshots
    observer   watches tasks, rows and calls     map_parts  those of these that a map uses
    """

    inputs: RunInputs
    log: RunLog
    history: History
    signals: RunSignals
    outputs: OutputStore
    calls: CallFactory
    tasks: TaskLibrary
    resources: RunResources
    observer: Observer
    map_parts: MapParts
    _stack: AsyncExitStack

    async def aclose(self) -> None:
        """Write what was emitted and let go of everything; the store stays open. Raises StoreError."""
        await self._stack.aclose()


async def open_session(
    store: Store,
    lease: Lease,
    *,
    settings: Settings,
    providers: ProviderSource,
    run_dir: Path | None = None,
    worker: RunStartedData | None = None,
    admission: Admission | None = None,
    answers: AnswerStore | AnswerQueue | None = None,
    base_url: Callable[[str], str | None] = lambda ref: "",
    watched: Callable[[], bool] = lambda: False,
    on_text: Callable[[StreamedText], None] = lambda piece: None,
    on_commit: Callable[[Head], None] | None = None,
    on_rest: Callable[[bool], None] | None = None,
    linger: Callable[[], float] = lambda: LINGER,
    on_hold: Callable[[], object] = lambda: None,
    on_child: Callable[[str], object] = lambda run: None,
    observer: Observer | None = None,
    mcp_variables: GetVariables = own_variables,
    share: RunFileShare | None = None,
) -> RunSession:
    """Read the definition and the log of the leased run, and make its parts.

    run_dir    the directory of the run's files (default: `DATA_DIR/runs/RUN`); share, where other nodes find them
    worker     fields for `run.started` beside `pid` and `fence`
    admission  lets requests to models go (the limiter); None: at once
    answers    the store of the cache of calls, or a queue before it; None: none. See `CallCache` for `base_url`
    watched    whether somebody reads along: text of answers is streamed to `on_text` only then
    on_commit  gets each new head of the run after it became durable; on_child, as a hint, a child run that changed
    linger     seconds that an event may wait for a commit to go along with
    on_rest    gets whether all tasks that run only wait for answers that may take hours
    on_hold    is called when a stage met a full disk: the run is given back
    observer   watches tasks, rows and calls (default: a `FailureLog`)
    mcp_variables  the variables of an MCP server, by its name (default: those of this process)

    Callbacks are called on the loop. Raises NotFound, and InvalidPipeline for one that this version cannot run.
    """
    directory = run_dir or settings.data_dir / "runs" / lease.run
    definition, history = await _read_aside(store, lease.run, directory)
    inputs = run_inputs(
        definition, lease, owner=history.state.owner, settings=settings, run_dir=directory, worker=worker
    )
    log = RunLog(store, lease, history, inputs.pipeline, on_commit=on_commit, linger=linger)
    signals, observer = RunSignals(log, on_rest=on_rest, on_hold=on_hold), observer or FailureLog(lease.run)
    resources = RunResources(inputs, history, lambda: log.state, mcp_variables, share)
    outputs = OutputStore(inputs, log, history, parent_outputs(store, inputs.definition.parent))
    calls = CallFactory(
        inputs, log, history, boundary=signals, files=resources.files, threads=resources.threads,
        mcp=resources.mcp, observer=observer, providers=providers, running=lambda: signals.running,
        admission=admission, answers=answers, base_url=base_url, watched=watched, on_text=on_text,
    )  # fmt: skip
    tasks = TaskLibrary(inputs, log, outputs, resources)
    map_parts = MapParts(
        inputs, log, history, signals, outputs, calls, tasks, resources.files, resources.snapshots, observer, on_child
    )  # fmt: skip
    return RunSession(
        inputs, log, history, signals, outputs, calls, tasks, resources, observer, map_parts,
        _exit_stack(store, log, calls, resources),
    )  # fmt: skip


async def _read_aside(store: Store, run: str, directory: Path) -> tuple[JsonObject, History]:
    return await asyncio.get_running_loop().run_in_executor(store.thread(run), _read, store, run, directory)


def _read(store: Store, run: str, directory: Path) -> tuple[JsonObject, History]:
    """The definition and the log of a run; files that no commit lists are removed, and what
    attempts without an outcome wrote into its database. Blocks on store and disk."""
    definition, history = definition_of(store, run), read_history(store, run)
    if (parent := definition.get("parent")) is not None:
        recall(history, parent)
    remove_unlisted(directory, history.listed)
    settle_database(directory, history)
    return definition, history


def _exit_stack(store: Store, log: RunLog, calls: CallFactory, resources: RunResources) -> AsyncExitStack:
    """The closing of the parts, the last pushed first."""

    async def close_log() -> None:
        await log.aclose()
        # Of a run that goes on, the next worker does it: an outcome of this one may still be on its way to the disk.
        if resources.files.used_database and log.state.state in ENDED:
            history = await asyncio.to_thread(read_history, store, log.state.run)
            await asyncio.to_thread(settle_database, resources.files.run_dir, history)

    stack = AsyncExitStack()
    stack.push_async_callback(resources.mcp.aclose)
    stack.push_async_callback(calls.aclose)
    stack.push_async_callback(close_log)
    stack.callback(resources.release)
    stack.callback(log.close)  # first: threads that are let go of write nothing more
    return stack
