"""The parts that a map uses, without a run: a real log over a memory store, and model calls that are answered here."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.files.artifacts import RunFiles
from po_jupyter.engine.lifecycle.snapshots import Snapshots
from po_jupyter.engine.maps.map_loading import load_map
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.ports import Observer
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.run.signals import RunSignals
from po_jupyter.llm.batches.protocol import BatchLine, BatchSearch, BatchStatus
from po_jupyter.llm.calls.journal import CallKey
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.engine import RUN, inputs_of, new_run

MODEL = "fake:echo"
ANSWER_USAGE = Usage(input_tokens=3, output_tokens=2, cost=0.0, calls=1)
Answer = Callable[[ChatRequest], str]


class FakeScope:
    """The journal of one attempt: knows nothing, records the answers that batches bring."""

    def __init__(self) -> None:
        self.usage = Usage()

    async def find_answer(self, call: Any) -> ChatResponse | None:
        return None

    async def record_batch_answer(
        self, call: Any, read: Callable[[ChatRequest], ChatResponse], *, batch: str
    ) -> Any:
        response = read(call.request)
        self.usage = self.usage + response.usage
        return response


class FakeCalls:
    """The calls of one attempt, answered by `answer(request)`, which may raise."""

    model, models, lost, addresses = MODEL, 1, 0, MappingProxyType({})

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.scope = FakeScope()
        self.kept = self.dropped = 0

    @property
    def usage(self) -> Usage:
        return self.scope.usage

    def request(self, messages: tuple[Message, ...], **fields: Any) -> ChatRequest:
        return ChatRequest(
            MODEL, messages, **{name: value for name, value in fields.items() if value is not None}
        )

    def open_call(self, request: ChatRequest, *, stage: str, frame: Any, answered: bool = False) -> Any:
        key = CallKey(frame.task.name, frame.index, 1, frame.round, stage, request.request_hash)
        return SimpleNamespace(request=request, key=key)

    async def chat(self, request: ChatRequest, **options: Any) -> ChatResponse:
        text = self._answer(request)
        self.scope.usage = self.scope.usage + ANSWER_USAGE
        return ChatResponse(text, ANSWER_USAGE, MODEL)

    def keep(self) -> None:
        self.kept += 1

    def drop(self) -> None:
        self.dropped += 1


class FakeCallFactory:
    """Makes `FakeCalls`; `made` has them with their row and attempt."""

    def __init__(self, answer: Answer, budget: BudgetGuard | None = None) -> None:
        self.budget = budget
        self.made: list[tuple[int | None, int, FakeCalls]] = []
        self._answer = answer

    def calls(
        self, task: Task, attempt: int, item: int | None = None, *, again: bool | None = None, variant: int = 0
    ) -> Any:
        calls = FakeCalls(self._answer)
        self.made.append((item, attempt, calls))
        return calls

    def model_of(self, task: Task) -> str:
        return MODEL


def map_parts(
    tmp: Path,
    rows: Sequence[Any],
    answer: Answer = lambda request: f"echo: {request.messages[-1].content}",
    *,
    budget: BudgetGuard | None = None,
    options: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    **fields: Any,
) -> MapParts:
    """The parts of a run whose map `m` has these rows; `fields` are those of its task."""
    task = {"name": "m", "prompt": "{{ item }}", "for_each": "[]", **fields}
    store = MemoryStore()
    pipeline = new_run(store, {"name": "p", "llm": {"model": MODEL}, "tasks": [task]}, {}, **(options or {}))
    history = read_history(store, RUN)
    log = RunLog(store, store.claim(RUN, {"pid": 1}), history, pipeline)
    inputs = inputs_of(tmp, [task], options=options, settings=settings)
    prompts: dict[str, PromptTask] = {}
    return MapParts(
        inputs=inputs,
        log=log,
        history=history,
        boundary=RunSignals(log),
        outputs=SimpleNamespace(names=lambda task, attempt: {}, for_each=lambda task, names: rows),
        calls=FakeCallFactory(answer, budget),
        tasks=SimpleNamespace(
            prompt_task=lambda task: prompts.setdefault(task.name, PromptTask(task)), scoring=_unscored
        ),
        files=RunFiles(inputs.run_dir, 1, history, lambda: log.state),
        snapshots=Snapshots(RUN, inputs.run_dir),
        observer=Observer(),
    )


async def map_state(tmp: Path, rows: Sequence[Any], *args: Any, **more: Any) -> MapState:
    """The state of the map of `map_parts`."""
    parts = map_parts(tmp, rows, *args, **more)
    return await load_map(parts, parts.log.pipeline.task("m"), 1)


def events(state: MapState, *types: str) -> list[dict[str, Any]]:
    """The events of these types that are durable."""
    return [e for e in state.parts.log.store.events(RUN, limit=10_000) if e["type"] in types]


def items(state: MapState) -> list[dict[str, Any]]:
    """The outcomes that are durable, in the order of the log."""
    return [item for record in state.parts.log.store.records(RUN) for item in record["items"]]


class FakeBatches:
    """A batch API in memory: a batch ends when it is polled. See `llm.batches.protocol.Batches`.

    `reply(custom_id)` is the text of an answer, an error to raise, or None for no result. `create_errors` are raised
    by creations, in turn; with `made` the batch exists all the same.
    """

    name = "fake"
    max_requests = 100
    max_bytes = 10_000

    def __init__(self) -> None:
        self.batches: dict[str, list[dict[str, Any]]] = {}
        self.cancelled: list[str] = []
        self.reply: Callable[[str], str | Exception | None] = lambda custom_id: "good"
        self.create_errors: list[tuple[Exception, bool]] = []
        self.failed: BatchStatus | None = None
        self.working = 0  # polls until a batch ends
        self._files: dict[str, list[dict[str, Any]]] = {}

    def group(self, request: ChatRequest) -> str:
        return request.model

    def line(self, custom_id: str, request: ChatRequest) -> bytes:
        return json.dumps({"id": custom_id, "text": request.messages[-1].content}).encode()

    async def upload(self, path: Path, token: str) -> str:
        self._files[token] = [json.loads(line) for line in path.read_bytes().splitlines()]
        return token

    async def create(self, token: str, group: str, uploaded: str) -> str:
        error, made = self.create_errors.pop(0) if self.create_errors else (None, True)
        if made:
            self.batches[f"batch-{token}"] = self._files[uploaded]
        if error is not None:
            raise error
        return f"batch-{token}"

    async def find(self, token: str, *, since: float, count: int, others: Collection[str]) -> BatchSearch:
        return BatchSearch(f"batch-{token}" if f"batch-{token}" in self.batches else None)

    async def status(self, id: str) -> BatchStatus:
        if self.working > 0:
            self.working -= 1
            return BatchStatus(id, "working", total=len(self.batches[id]))
        if self.failed is not None:
            failed, self.failed = self.failed, None
            return failed
        return BatchStatus(id, "ended", results=("r",))

    async def cancel(self, id: str) -> None:
        self.cancelled.append(id)

    async def download(self, status: BatchStatus, path: Path) -> None:
        ids = [line["id"] for line in self.batches[status.id]]
        path.write_text("".join(f"{json.dumps({'id': i})}\n" for i in ids if self.reply(i) is not None))

    def parse_line(self, line: bytes) -> BatchLine | None:
        return BatchLine(json.loads(line)["id"], {})

    def read_response(self, request: ChatRequest, line: BatchLine) -> ChatResponse:
        reply = self.reply(line.custom_id)
        if isinstance(reply, Exception):
            raise reply
        return ChatResponse(str(reply), ANSWER_USAGE, MODEL)


async def _unscored(task: Task) -> None:
    """No task is scored."""
