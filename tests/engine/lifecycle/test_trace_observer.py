"""The spans of a run: what they say, and whose children they are."""

from __future__ import annotations

import asyncio
import contextvars
import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, SamplingResult, StaticSampler

from po_jupyter.config import Settings
from po_jupyter.engine.lifecycle.observers import Observers
from po_jupyter.engine.lifecycle.trace_observer import EVERY, FIRST_ROWS, TraceObserver, _text
from po_jupyter.engine.ports import Observer
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import open_session
from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import Message, ToolCall
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage
from po_jupyter.telemetry import tracing
from tests.support.engine import RUN, Bench

PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


async def spans_of(
    bench: Bench, sampler: Sampler = ALWAYS_ON, also: Observer | None = None
) -> dict[str, list[ReadableSpan]]:
    """The spans of a run that is worked off, by name."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = TraceObserver(provider.get_tracer("test"), RUN, "p", "2026-11-22T12:00:00.000Z", PARENT)
    session = await open_session(
        bench.store, bench.store.claim(RUN, {"pid": 1}), settings=Settings(data_dir=bench.tmp),
        providers=Providers({}, opened={"fake": bench.fake}), observer=Observers(spans, *([also] if also else [])),
    )  # fmt: skip
    state = await RunExecutor(session).run()
    await session.aclose()
    spans.end_run(state)
    named: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        named.setdefault(span.name, []).append(span)
    return named


async def test_the_tree_of_a_run(bench: Bench) -> None:
    bench.fake.enqueue("one", ModelRefused("a secret text"), ModelUnavailable("busy"), "three")
    retry = {"llm": {"retry": {"initial_delay": 0}}}
    rows = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(3)", "max_concurrency": 1, **retry}
    bench.create([rows])
    named = await spans_of(bench)
    (run,), (task,) = named["run p"], named["task m"]
    assert run.parent is not None and f"{run.parent.span_id:016x}" == "b" * 16
    assert run.context is not None and f"{run.context.trace_id:032x}" == "a" * 32
    assert task.parent is not None and task.parent.span_id == run.context.span_id
    assert task.attributes is not None and "gen_ai.usage.input_tokens" not in task.attributes, (
        "its rows have it"
    )
    calls = named["chat echo"]
    assert [span.attributes and span.attributes.get("error.type") for span in calls] == [
        None, "model_refused", None,
    ]  # fmt: skip
    assert [event.name for event in calls[2].events] == ["retry"]
    row_ids = {span.context.span_id for span in named["row m"] if span.context}
    assert {span.parent.span_id for span in calls if span.parent} == row_ids
    assert {span.parent.span_id for span in named["row m"] if span.parent} == {task.context.span_id}
    everything = json.dumps([span.to_json() for spans in named.values() for span in spans])
    assert "secret text" not in everything and "row 0" not in everything


async def test_a_large_map_has_few_spans(bench: Bench) -> None:
    rows = FIRST_ROWS + 2 * EVERY + 5
    bench.create([{"name": "m", "prompt": "row {{ item }}", "for_each": f"range({rows})"}])
    named = await spans_of(bench)
    assert len(named["row m"]) == len(named["chat echo"]) == FIRST_ROWS + 2


async def test_the_sampler_is_asked_for_the_run_alone(bench: Bench) -> None:
    """Below it there is nothing to decide: what would be left out is not begun."""
    asked: list[str] = []

    class Counting(StaticSampler):
        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, *more: Any, **named: Any
        ) -> SamplingResult:
            asked.append(name)
            return super().should_sample(parent_context, trace_id, name, *more, **named)

    bench.create([{"name": "m", "prompt": "row {{ item }}", "for_each": "range(30)"}])
    named = await spans_of(bench, Counting(Decision.RECORD_AND_SAMPLE))
    assert asked == ["queue", "run p"]
    assert len(named["row m"]) == FIRST_ROWS
    spans = [span for some in named.values() for span in some]
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    assert len({span.context.span_id for span in spans if span.context}) == len(spans)


async def test_after_a_row_with_a_span_the_task_is_active_again(bench: Bench) -> None:
    """One asyncio task works on many rows: what a person's code traces in the next is not below the row before."""
    found: dict[int, str | None] = {}

    class Looking(Observer):
        def on_row_start(self, task: Task, index: int, attempt: int) -> None:
            found[index] = tracing.traceparent()

    rows = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(12)", "max_concurrency": 1}
    bench.create([rows])
    named = await spans_of(bench, also=Looking())
    (task,) = named["task m"]
    ids = {index: str(header).split("-")[2] for index, header in found.items()}
    assert task.context is not None
    assert {ids[10], ids[11]} == {f"{task.context.span_id:016x}"}
    assert sorted(ids[index] for index in range(FIRST_ROWS)) == sorted(
        f"{span.context.span_id:016x}" for span in named["row m"] if span.context
    )


async def test_prompts_and_answers_when_somebody_asks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    bench.create([{"name": "a", "prompt": "who is Ada"}])
    ((call,),) = [(await spans_of(bench))["chat echo"]]
    assert call.attributes is not None
    assert json.loads(str(call.attributes["gen_ai.input.messages"]))[-1] == {
        "role": "user",
        "parts": [{"type": "text", "content": "who is Ada"}],
    }
    (answer,) = json.loads(str(call.attributes["gen_ai.output.messages"]))
    assert (answer["role"], answer["finish_reason"], answer["parts"][0]["type"]) == (
        "assistant",
        "stop",
        "text",
    )


def test_what_a_cancelled_run_had_in_flight_is_no_failure() -> None:
    """Its tasks and calls end with an error of asyncio's own."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def work() -> None:
        spans = TraceObserver(provider.get_tracer("test"), RUN, "p", None, None)
        task = Task(name="a", prompt="x")
        spans.on_task_start(task, 1)
        spans.on_task_end(task, 1, 0.1, Usage(), asyncio.CancelledError())
        spans.end_run("cancelled")

    contextvars.copy_context().run(work)
    span = exporter.get_finished_spans()[0]
    assert span.name == "task a" and span.status.is_unset
    assert span.attributes is not None and span.attributes["po.interrupted"] is True


def test_messages_are_as_the_conventions_have_them() -> None:
    """gen-ai-input-messages.json: a role and parts, of text, calls of tools and their results."""
    call = ToolCall("c1", "price", {"sku": "A1"})
    turns = [Message("user", "cut \ud83d"), Message("assistant", "", tool_calls=(call,))]
    text = _text([*turns, Message("tool", "2.5", tool_call_id="c1")])
    assert text.encode(), "an exporter writes UTF-8"
    assert [message["parts"] for message in json.loads(text)] == [
        [{"type": "text", "content": "cut ?"}],
        [{"type": "tool_call", "id": "c1", "name": "price", "arguments": '{"sku": "A1"}'}],
        [{"type": "tool_call_response", "id": "c1", "result": "2.5"}],
    ]


async def test_a_vector_is_no_chat(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is kilobytes of numbers: no message, whoever asks for messages."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    bench.create([{"name": "a", "embed": "a text"}])
    ((call,),) = [(await spans_of(bench))["embeddings echo"]]
    assert call.attributes is not None
    assert call.attributes["gen_ai.operation.name"] == "embeddings"
    assert not {"gen_ai.output.messages", "gen_ai.response.finish_reasons"} & {*call.attributes}


async def test_prompts_are_as_long_as_the_standard_variable_says(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "12")
    bench.create([{"name": "a", "prompt": "who is Ada"}])
    ((call,),) = [(await spans_of(bench))["chat echo"]]
    assert call.attributes is not None
    assert len(str(call.attributes["gen_ai.input.messages"])) == 12
