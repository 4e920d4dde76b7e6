"""Protocols between the sub-rooms of the engine: each part of a run is used by one of these, not by its class.

A port names only what its users need, so a test may hand over ten lines instead of a run. This module imports values
of the floors below and nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from po_jupyter.model.pipeline.pipeline import CallRetry, Task
from po_jupyter.model.run.events import EventDraft
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject, JsonValue

if TYPE_CHECKING:
    from po_jupyter.errors import StoreError
    from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, OnText, Tool, ToolCall
    from po_jupyter.store.protocol import CallDraft, ItemDraft


class CommitPlace(Protocol):
    """The place of a durable commit: the number of its record, and a reference to each of its payloads."""

    @property
    def n(self) -> int:
        """The number of the record."""

    @property
    def refs(self) -> Sequence[Sequence[int]]:
        """References of the payloads, in their order."""


class EventLog(Protocol):
    """The log of the run, to add to: events at leisure, or a durable transaction (`replay.run_log.RunLog`)."""

    @property
    def run(self) -> str:
        """The id of the run."""

    @property
    def closed(self) -> bool:
        """True once the run has left this worker: nothing more is written."""

    def payload(self, ref: Iterable[int]) -> JsonValue:
        """The value behind a reference. Blocks on the store."""

    def emit(self, *events: EventDraft, state: str | None = None) -> None:
        """Events that go along with the next commit, or 50 ms later."""

    async def commit(
        self,
        *events: EventDraft,
        items: tuple[ItemDraft, ...] = (),
        calls: tuple[CallDraft, ...] = (),
        payloads: tuple[JsonValue, ...] = (),
        state: str | None = None,
        release: bool = False,
    ) -> CommitPlace:
        """One durable transaction. Raises StoreError, Stopped once the log is closed."""

    def commit_soon(
        self,
        *events: EventDraft,
        items: tuple[ItemDraft, ...] = (),
        calls: tuple[CallDraft, ...] = (),
        payloads: tuple[JsonValue, ...] = (),
        then: Callable[[CommitPlace], None] | None = None,
    ) -> None:
        """Queue a transaction, in order; `then` is called with its place once it is durable."""

    async def flush(self) -> None:
        """Wait until everything emitted and queued is durable."""


class Boundary(Protocol):
    """The points at which work ends early: a drain, or the end of the run (`run.signals.RunSignals`)."""

    @property
    def draining(self) -> bool:
        """True once nothing new is started: the run's lease is released."""

    def checkpoint(self) -> None:
        """Raise the Interrupt that is due; called between stages and before calls."""

    async def sleep(self, seconds: float) -> None:
        """Wait; a drain ends the wait with Drained."""

    def hold(self, shortage: StoreError) -> None:
        """Give the run back until the machine has what it needs: a stage met a full disk."""

    def rest(self, task: str, resting: bool) -> None:
        """Note that a task only waits for an answer that may take hours, or that it works again."""


class ArtifactReader(Protocol):
    """Artifacts as an attempt sees them (`files.artifacts.AttemptFiles`)."""

    def read(self, name: str, most: int | None = None) -> bytes:
        """The content of an artifact. Blocks. Raises NotFound, InvalidInput for one of more than `most` bytes."""

    def names(self) -> list[str]:
        """Names of the artifacts. Blocks."""


class RunFileShare(Protocol):
    """The files of a run where other nodes find them (`worker.file_share`). Both wait, visibly, while that place cannot
    be used. Raise an Interrupt when the run leaves meanwhile."""

    async def keep(self, files: Sequence[tuple[str, int, str]]) -> None:
        """Put files there: the path of each in the run's directory, the fence under which it was written, its SHA-256.
        Raises InvalidInput for one that was changed since."""

    async def fetch(self, files: Sequence[tuple[str, int, str]], rows: Sequence[str]) -> Mapping[str, str]:
        """Bring files here, and rows of the seed by their SHA-256; by path, why one could not be brought."""


class CallFrame(Protocol):
    """The part of an attempt's frame that a call needs (`lifecycle.frame.Frame`)."""

    @property
    def task(self) -> Task:
        """The task of the attempt."""

    @property
    def attempt(self) -> int:
        """The number of the attempt, from 1."""

    @property
    def index(self) -> int | None:
        """The row of a map; None for a task that is none."""

    @property
    def round(self) -> int:
        """The round of refinement, from 0."""

    def extend(self, seconds: float) -> None:
        """Give the running stage that much more time."""

    def waiting(self) -> AbstractContextManager[None]:
        """Stop the clock of the running stage meanwhile."""


class ToolCaller(Protocol):
    """The tools of one question (`tools.toolbox.Toolbox`)."""

    async def offered(self) -> tuple[Tool, ...]:
        """The tools as a model sees them. Raises InvalidInput, ToolFailed."""

    async def answer(self, call: ToolCall) -> Message:
        """Call a tool; the turn with its result. Raises ToolFailed."""


class ModelCalls(Protocol):
    """The model calls of one attempt of a task or a row (`calls.attempt_calls.AttemptCalls`)."""

    @property
    def model(self) -> str:
        """The model ref of the task."""

    @property
    def usage(self) -> Usage:
        """Usage of the calls so far; a call whose outcome is lost counts as unknown."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """Hashes of where the models of the calls were asked, by model ref; none of a model without an address."""

    @property
    def lost(self) -> int:
        """The number of calls that were stopped before their answer came."""

    @property
    def models(self) -> int:
        """The number of models that may be asked one after the other; of most tasks 1."""

    def of_model(self, number: int) -> ModelCalls:
        """The same calls, with the settings of that model of the cascade, from 0."""

    def judge(self, number: int) -> ModelCalls:
        """The same calls, with the settings of the judge that is scorer `number` of the task, in the stage `score`."""

    def request(self, messages: tuple[Message, ...], **fields: object) -> ChatRequest:
        """A request with these fields, the rest from the task's settings; None is left out."""

    def follow_up(self, request: ChatRequest, answer: ChatResponse, question: str) -> ChatRequest:
        """The request that follows an answer which did not fit."""

    def need_images(self, request: ChatRequest) -> None:
        """Check that the model's provider takes images. Raises InvalidInput."""

    def need_files(self, request: ChatRequest) -> None:
        """Check that the model takes the files of a request, and any where it has none yet. Raises InvalidInput."""

    def files(self) -> ArtifactReader:
        """The artifacts of the run as they are now."""

    def toolbox(self, tools: Sequence[object]) -> ToolCaller:
        """Functions and names of MCP tools, as tools of one question. Raises InvalidInput."""

    async def chat(
        self,
        request: ChatRequest,
        *,
        stage: str,
        frame: CallFrame,
        stream: bool = False,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
    ) -> ChatResponse:
        """Ask the model, or replay its answer. Raises ModelError, BudgetExceeded, Interrupt."""

    def keep(self) -> None:
        """The attempt succeeded: later runs may use its answers."""

    def drop(self) -> None:
        """The attempt failed: no later run uses its answers."""


class DirectiveSink(Protocol):
    """The receiver of the directives that the stages of an attempt give (`control.control.DirectiveCollector`)."""

    def begin(self, stage: str) -> None:
        """A stage starts (again): its directives so far are void."""

    def collect(self, stage: str, source: str, data: Mapping[str, JsonValue]) -> None:
        """Add one directive of a stage. Raises ControlInvalid."""


class Dependencies(Protocol):
    """The record of what an attempt reads besides its row (`maps.dependencies.RowDependencies`)."""

    def record(self, name: str) -> None:
        """`index`, `seed`, `tasks.NAME`, `artifacts`, or `run` was read."""


class TaskOutputs(Protocol):
    """Outputs of the run's tasks, and what templates see of the run (`run.outputs.OutputStore`)."""

    def output(self, name: str) -> JsonValue:
        """The output of a task; None without one. May block on the store."""

    def outputs_for(self, task: Task) -> Mapping[str, JsonValue]:
        """Outputs of the tasks that are finished for sure when `task` starts, read when they are used."""

    def names(self, task: Task, attempt: int) -> JsonObject:
        """The names that templates of a task see; `item` and `index` are added for each row."""

    def reads_rows(self, task: Task) -> bool:
        """True when the task may see rows that are read one by one: of an earlier map, or of a file."""

    def for_each(self, task: Task, names: Mapping[str, JsonValue]) -> Sequence[JsonValue]:
        """The rows of a map. Blocks on the store. Raises TemplateFailed."""


class Observer:
    """A watcher of tasks, rows and calls as they happen: failure log, later traces and metrics.

    The base of observers, no protocol: its methods do nothing, and each observer defines those that it needs.
    Called on the event loop, for each row and each call: a method is quick and raises nothing. Every `start` is
    followed by one `end` with the same task, index and attempt. `error` is what ended it: None for success, an
    Interrupt for a stop or a drain, otherwise a PoError.
    """

    __slots__ = ()

    def on_task_start(self, task: Task, attempt: int) -> None:
        """An attempt of a task starts."""

    def on_task_end(
        self, task: Task, attempt: int, seconds: float, usage: Usage, error: BaseException | None
    ) -> None:
        """An attempt of a task is over. The usage of a map's rows is reported with each row, not here again."""

    def on_map_start(self, task: Task, rows: int) -> None:
        """A map has so many rows in all; it starts, or goes on."""

    def on_row_start(self, task: Task, index: int, attempt: int) -> None:
        """An attempt of a row starts; a row of a batch starts again when its answer has come."""

    def on_row_end(
        self, task: Task, index: int, attempt: int, usage: Usage, error: BaseException | None
    ) -> None:
        """An attempt of a row is over."""

    def on_call_start(self, frame: CallFrame, stage: str, request: ChatRequest) -> None:
        """A call is about to be sent: neither journal nor cache has its answer."""

    def on_call_retry(self, frame: CallFrame, stage: str, tries: int, error: Exception) -> None:
        """A try of a call came to nothing and is followed by another."""

    def on_call_end(
        self,
        frame: CallFrame,
        stage: str,
        request: ChatRequest,
        response: ChatResponse | None,
        usage: Usage | None,
        error: BaseException | None,
    ) -> None:
        """The last try of a call is over: with a `response`, or an `error`. `usage` is None when nobody knows it."""
