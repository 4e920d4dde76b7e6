"""The spans of one run in its worker: run, tasks, rows and calls of models (OpenTelemetry).

Calls follow OpenTelemetry's semantic conventions for generative AI ("Spans", gen_ai.*); what is ours begins with
`po.`. Of a map the first `FIRST_ROWS` rows have a span, then one of `EVERY`, and each row that failed, up to
`MOST_FAILED`; so have their calls: a map of 100,000 rows is no flood, and its spans cost less than a hundredth of it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.ports import CallFrame, Observer
from po_jupyter.errors import PoError
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage
from po_jupyter.telemetry import tracing
from po_jupyter.telemetry.redaction import redactor
from po_jupyter.telemetry.spans import OpenSpan, SpanRecorder

if TYPE_CHECKING:
    from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
    from po_jupyter.model.values.json import JsonObject

FIRST_ROWS = 10
EVERY = 100
MOST_FAILED = 1000
_MOST_TEXT = 100_000  # characters of a prompt or an answer
# Well-known values of `gen_ai.provider.name`, where they are not our own name of the provider.
_PROVIDERS = {
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "grok": "x_ai",
    "xai": "x_ai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
}
_attempt: ContextVar[OpenSpan | None] = ContextVar("po_attempt_span", default=None)
_row: ContextVar[OpenSpan | None] = ContextVar("po_row_span", default=None)
_call: ContextVar[OpenSpan | None] = ContextVar("po_call_span", default=None)


class TraceObserver(Observer):
    """An Observer that makes spans. Each is the child of the span that is active in its own asyncio context."""

    __slots__ = ("_content", "_failed", "_most_text", "_recorder", "_run", "_run_span")

    def __init__(
        self, tracer: Tracer, run: str, pipeline: str, created_at: str | None, parent: str | None
    ) -> None:
        """Opens the span of the run, below the context `parent` that its request came with; `created_at` is given to
        the first worker of the run, for the time in the queue."""
        self._run = run
        self._content = tracing.captures_content()
        self._most_text = (
            SpanLimits().max_span_attribute_length
        )  # OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT; None: as it is
        self._failed = 0
        above = tracing.parent_context(parent)
        attributes = {"po.run": run, "po.pipeline": pipeline}
        queued_at = _nanoseconds(created_at) if created_at is not None else None
        if queued_at is not None:
            tracer.start_span("queue", above, attributes=attributes, start_time=queued_at).end()
        self._run_span = tracer.start_span(f"run {pipeline}", above, SpanKind.CONSUMER, attributes)
        otel.attach(set_span_in_context(self._run_span))
        self._recorder: SpanRecorder | None = None
        # The sampler is asked for the run, and for nothing in it.
        if isinstance(tracer, SdkTracer) and isinstance(self._run_span, ReadableSpan):
            self._recorder = SpanRecorder(tracer, self._run_span)

    @property
    def is_recorded(self) -> bool:
        """Whether the sampler (`OTEL_TRACES_SAMPLER`) takes this run; the spans of one that it does not are none."""
        return self._run_span.is_recording()

    def end_run(self, state: str) -> None:
        """The run left this worker in `state` (or as `released`, `overtaken`)."""
        self._run_span.set_attribute("po.state", state)
        if state in ("failed", "dead"):
            self._run_span.set_status(StatusCode.ERROR)
        self._run_span.end()

    # -- tasks and rows -------------------------------------------------------------------------

    def on_task_start(self, task: Task, attempt: int) -> None:
        """Open the span of an attempt, in the context of the attempt's own asyncio task."""
        span = self._start(f"task {task.name}")
        _attempt.set(span)
        _activate(span)

    def on_task_end(
        self, task: Task, attempt: int, seconds: float, usage: Usage, error: BaseException | None
    ) -> None:
        """Close it."""
        if (span := _attempt.get()) is not None:
            _close(span, {"po.run": self._run, "po.task": task.name, "po.attempt": attempt}, usage, error)

    def on_row_start(self, task: Task, index: int, attempt: int) -> None:
        """Open the span of a row that has one."""
        if _has_span(index):
            self._open_row(task)

    def _open_row(self, task: Task) -> OpenSpan | None:
        # One asyncio task works on many rows after each other: the row before is not the parent of this one.
        attempt = _attempt.get()
        span = self._start(f"row {task.name}", attempt.context if attempt is not None else None)
        _row.set(span)
        _activate(span)
        return span

    def on_row_end(
        self, task: Task, index: int, attempt: int, usage: Usage, error: BaseException | None
    ) -> None:
        """Close it; a row that failed has one in any case."""
        if _has_span(index):
            span = _row.get()
        elif isinstance(error, PoError) and self._failed < MOST_FAILED:
            self._failed += 1
            span = self._open_row(task)
        else:
            return
        if span is not None:
            about = {"po.run": self._run, "po.task": task.name, "po.row": index, "po.attempt": attempt}
            _close(span, about, usage, error)
            _row.set(None)
            _activate(_attempt.get())

    # -- calls ----------------------------------------------------------------------------------

    def on_call_start(self, frame: CallFrame, stage: str, request: ChatRequest) -> None:
        """Open the span of a call."""
        if frame.index is None or _has_span(frame.index):
            _call.set(self._start(f"{_operation(request)} {request.model_name}", kind=SpanKind.CLIENT))

    def on_call_retry(self, frame: CallFrame, stage: str, tries: int, error: Exception) -> None:
        """Note the try in the span."""
        if (span := _call_of(frame)) is not None:
            span.add_event("retry", {"po.tries": tries, "error.type": _code(error)})

    def on_call_end(
        self,
        frame: CallFrame,
        stage: str,
        request: ChatRequest,
        response: ChatResponse | None,
        usage: Usage | None,
        error: BaseException | None,
    ) -> None:
        """Close it, with what the answer says of itself."""
        if (span := _call_of(frame)) is None:
            return
        _call.set(None)
        provider = request.provider
        about: dict[str, Any] = {
            "gen_ai.operation.name": _operation(request),
            "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
            "gen_ai.request.model": request.model_name,
            "po.run": self._run,
            "po.task": frame.task.name,
            "po.stage": stage,
        }
        if request.temperature is not None:
            about["gen_ai.request.temperature"] = request.temperature
        if request.max_tokens is not None:
            about["gen_ai.request.max_tokens"] = request.max_tokens
        if request.seed is not None:
            about["gen_ai.request.seed"] = request.seed
        if frame.index is not None:
            about["po.row"] = frame.index
        if self._content:
            about["gen_ai.input.messages"] = _text(request.messages)[: self._most_text]
        if response is not None:
            about["gen_ai.response.model"] = response.model
        if response is not None and not request.embed:
            about["gen_ai.response.finish_reasons"] = (response.finish,)
            if self._content:
                about["gen_ai.output.messages"] = _text([response.message], response.finish)[: self._most_text]
        _close(span, about, usage, error)

    def _start(
        self, name: str, parent: SpanContext | None = None, kind: SpanKind = SpanKind.INTERNAL
    ) -> OpenSpan | None:
        """Begin a span below `parent`, or what is active; None where that is kept by nobody."""
        if self._recorder is None:
            return None
        return self._recorder.start(name, parent or get_current_span().get_span_context(), kind)


def _has_span(index: int) -> bool:
    """Whether a row and its calls have spans, however it ends."""
    return index < FIRST_ROWS or index % EVERY == 0


def _call_of(frame: CallFrame) -> OpenSpan | None:
    return _call.get() if frame.index is None or _has_span(frame.index) else None


def _activate(span: OpenSpan | None) -> None:
    """Make it the parent of what is traced from now on, by us or by a person's code."""
    if span is not None:
        otel.attach(set_span_in_context(NonRecordingSpan(span.context)))


def _close(
    span: OpenSpan, attributes: dict[str, Any], usage: Usage | None, error: BaseException | None
) -> None:
    """End the span, with `attributes` and those of its usage."""
    # A map's own is nothing: that of its rows is theirs, and a zero would be read as the sum of them.
    if usage is not None and (usage.input_tokens or usage.output_tokens):
        attributes["gen_ai.usage.input_tokens"] = usage.input_tokens
        attributes["gen_ai.usage.output_tokens"] = usage.output_tokens
        if usage.cached_tokens:
            attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
        if usage.cost is not None:
            attributes["po.cost_usd"] = usage.cost
    # Or a drain: no failure. What a cancelled run had in flight ends with asyncio's own error.
    is_stop = isinstance(error, Interrupt | asyncio.CancelledError)
    if is_stop:
        attributes["po.interrupted"] = True
    elif error is not None:
        # The code alone: a message may quote what a model or a person wrote.
        attributes["error.type"] = _code(error)
    span.end(attributes, failed=error is not None and not is_stop)


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, PoError) else type(error).__name__


def _operation(request: ChatRequest) -> str:
    return "embeddings" if request.embed else "chat"


def _text(messages: Sequence[Message], finish: str | None = None) -> str:
    """The newest messages as the conventions' JSON, of which no more than `_MOST_TEXT` characters are looked at;
    `finish` is said of an answer."""
    left, kept = _MOST_TEXT, []
    about = {} if finish is None else {"finish_reason": finish}
    for message in reversed(messages):
        if left <= 0:
            break
        kept.append({"role": message.role, "parts": _parts(message, left), **about})
        left -= len(message.content)
    # Half of a pair of surrogates, as a cut answer may end with, is no UTF-8: the exporter would lose its whole batch.
    return json.dumps(kept[::-1], ensure_ascii=False).encode("utf-8", "replace").decode()


def _parts(message: Message, most: int) -> list[JsonObject]:
    """The parts of a message; of pictures and files none."""
    text = redactor.text(message.content[:most])
    if message.tool_call_id:
        return [{"type": "tool_call_response", "id": message.tool_call_id, "result": text}]
    parts: list[JsonObject] = [{"type": "text", "content": text}] if text else []
    for call in message.tool_calls:
        arguments = redactor.text(json.dumps(call.arguments)[:most])
        parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments})
    return parts


def _nanoseconds(at: str) -> int | None:
    """An ISO time as nanoseconds since 1970; None when it cannot be read or lies ahead."""
    try:
        ns = int(datetime.fromisoformat(at).timestamp() * 1e9)
    except ValueError:
        return None
    return ns if ns <= time.time_ns() else None
