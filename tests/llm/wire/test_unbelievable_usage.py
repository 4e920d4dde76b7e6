"""Usage that cannot be true is not believed: `{}`, zeros, numbers as text, counts of a part. Every wire's reader."""

from __future__ import annotations

import json

import httpx
import pytest

from po_jupyter.errors import ModelError
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, Tool, ToolCall
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.tokens import estimate
from po_jupyter.llm.providers.anthropic.messages import MessagesReader
from po_jupyter.llm.providers.cli_agents.agents import AGENTS, AgentOutput
from po_jupyter.llm.providers.compatible.chat_completions import ChatReader
from po_jupyter.llm.providers.compatible.family import OPENAI, QUIRKS
from po_jupyter.llm.providers.gemini.generate_content import GeminiReader
from po_jupyter.llm.providers.openai.responses import ResponsesReader
from po_jupyter.llm.wire.bodies import HttpResponse
from po_jupyter.llm.wire.usage import checked_usage, token_count, usage_from
from po_jupyter.model.run.usage import Usage

WORDS = "one more word and " * 100
REQUEST = ChatRequest("openai:gpt-4o", (Message("user", "Tell me about the sea, at length."),))


def chat_reader(quirks=OPENAI):
    return ChatReader("openai", REQUEST, None, "OPENAI_API_KEY", quirks)


def chat(usage):
    choice = {"message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
    return chat_reader(), {"choices": [choice], **({} if usage is None else {"usage": usage})}


def responses(usage):
    content = [{"type": "output_text", "text": WORDS}]
    body = {"status": "completed", "output": [{"type": "message", "content": content}], "usage": usage}
    return ResponsesReader("openai", REQUEST, None, "OPENAI_API_KEY"), body


def anthropic(usage):
    body = {"type": "message", "content": [{"type": "text", "text": WORDS}], "stop_reason": "end_turn"}
    return MessagesReader("anthropic", REQUEST, None, "ANTHROPIC_API_KEY"), {**body, "usage": usage}


def gemini(usage):
    candidate = {"content": {"parts": [{"text": WORDS}]}, "finishReason": "STOP"}
    return GeminiReader("gemini", REQUEST, None, "K"), {"candidates": [candidate], "usageMetadata": usage}


WIRES = {
    chat: ("prompt_tokens", "completion_tokens"),
    responses: ("input_tokens", "output_tokens"),
    anthropic: ("input_tokens", "output_tokens"),
    gemini: ("promptTokenCount", "candidatesTokenCount"),
}


def read(wire, usage) -> ChatResponse:
    reader, body = wire(usage)
    return reader.read_response(HttpResponse(200, httpx.Headers(), json.dumps(body).encode()))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("broken", [{}, None, "none", [], 0, -5, False, "", "many", 1e400, "nan", 10**30])
def test_a_count_of_nothing_for_an_answer_is_not_believed(wire, broken):
    usage = dict.fromkeys(WIRES[wire], broken) if not isinstance(broken, dict | list) else broken
    answer = read(wire, usage)
    assert answer.estimated and answer.usage.calls == 1
    assert answer.usage.output_tokens == estimate(WORDS) and answer.usage.input_tokens > 8


@pytest.mark.parametrize("wire", WIRES)
def test_numbers_as_text_are_numbers(wire):
    asked, answered = WIRES[wire]
    for values in (("30", "400"), ("30.0", " 400 "), (30, 400), (30.0, 400.0)):
        answer = read(wire, {asked: values[0], answered: values[1]})
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (30, 400) and not answer.estimated


@pytest.mark.parametrize("wire", WIRES)
def test_what_was_counted_of_one_side_stays(wire):
    asked, answered = WIRES[wire]
    only_question = read(wire, {asked: 30, answered: 0})
    assert only_question.estimated and only_question.usage.input_tokens == 30
    assert only_question.usage.output_tokens == estimate(WORDS)
    only_answer = read(wire, {asked: 0, answered: 777})
    assert only_answer.estimated and only_answer.usage.output_tokens == 777
    assert only_answer.usage.input_tokens > 8


def chunks(*events) -> ChatResponse:
    reader = chat_reader()
    for event in events:
        reader.feed(json.dumps(event).encode())
    reader.flush()
    return reader.finish_stream()


def test_an_empty_usage_behind_a_full_one_says_nothing():
    text = {"choices": [{"delta": {"content": WORDS}, "finish_reason": "stop"}]}
    full = {"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 400}}
    for empty in ({}, {"prompt_tokens": 0, "completion_tokens": 0}):
        answer = chunks(text, full, {"choices": [], "usage": empty})
        assert answer.usage.output_tokens == 400 and not answer.estimated
    assert chunks(text, {"choices": [], "usage": {}}).estimated


def messages_stream(*events):
    reader, _ = anthropic({})
    for event in events:
        reader.feed(json.dumps(event).encode())
    return reader


START = {"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
PIECE = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}}


def test_the_count_at_the_start_of_a_stream_is_not_that_of_its_answer():
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    answer = messages_stream(START, BLOCK, PIECE, end).finish_stream()
    assert answer.estimated and answer.usage.input_tokens == 25
    assert answer.usage.output_tokens == estimate(WORDS)
    told = messages_stream(START, BLOCK, PIECE, {**end, "usage": {"output_tokens": 9}}).finish_stream()
    assert (told.usage.output_tokens, told.estimated) == (9, False)


def test_an_answer_that_breaks_off_counts_with_what_had_come():
    error = ModelError("broken")
    messages_stream(START, BLOCK, PIECE).annotate(error)
    assert error.usage["output_tokens"] == estimate(WORDS)
    reader = chat_reader()
    first = {"choices": [{"delta": {"content": WORDS}}], "usage": {"prompt_tokens": 30, "completion_tokens": 1}}
    reader.feed(json.dumps(first).encode())
    broken = ModelError("broken")
    reader.annotate(broken)
    assert (broken.usage["input_tokens"], broken.usage["output_tokens"]) == (30, estimate(WORDS))


def test_a_truncated_answer_of_no_tokens_is_paid_for_too():
    reader, body = chat({"prompt_tokens": 0, "completion_tokens": 0})
    body["choices"][0]["finish_reason"] = "length"
    with pytest.raises(ModelError) as caught:
        reader.read_response(HttpResponse(200, httpx.Headers(), json.dumps(body).encode()))
    assert caught.value.usage["output_tokens"] == estimate(WORDS)


def test_calls_of_tools_are_an_answer_of_their_own_size():
    call = {"id": "c", "function": {"name": "look", "arguments": json.dumps({"where": "x" * 400})}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 9}}
    answer = chat_reader().read_response(HttpResponse(200, httpx.Headers(), json.dumps(body).encode()))
    assert answer.estimated and answer.usage.output_tokens >= 100


def test_a_reported_cost_may_be_text_and_one_of_nothing_goes_with_its_tokens():
    reader = chat_reader(QUIRKS["openrouter"])
    reader.read_usage({"usage": {"prompt_tokens": 3, "completion_tokens": 4, "cost": "0.25"}})
    assert reader.usage == usage_from(3, 4, cost=0.25)
    assert checked_usage(usage_from(0, 0, cost=0.0), REQUEST, WORDS).usage.cost is None
    assert checked_usage(usage_from(0, 0, cost=0.5), REQUEST, WORDS).usage.cost == 0.5
    assert checked_usage(usage_from(5, 5, cost=0.0), REQUEST, WORDS).usage.cost == 0.0, "a free model"


def test_an_agents_empty_usage_is_not_believed():
    output = AgentOutput()
    AGENTS["claude-cli"].read_line({"type": "result", "subtype": "success", "result": WORDS}, output)
    assert output.usage is not None and checked_usage(output.usage, REQUEST, WORDS).estimated


def test_nothing_is_estimated_where_nothing_is():
    assert not checked_usage(usage_from(7, 0), REQUEST, "").estimated
    assert not checked_usage(Usage(cached_calls=1), REQUEST, WORDS).estimated
    empty = ChatRequest("openai:gpt-4o", ())
    assert checked_usage(usage_from(0, 3), empty, "hi") == (usage_from(0, 3), False)


class Careless:
    """A provider of somebody else's that leaves the usage out."""

    name = "careless"

    def __init__(self, **answer):
        self.answer = answer

    async def chat(self, request, *, on_text=None):
        return ChatResponse(**self.answer)


async def test_a_provider_that_counts_nothing_is_counted_and_priced():
    prices = PriceBook()
    chat = JournaledChat(lambda ref: Careless(text=WORDS), MemoryJournal(), prices=prices)
    scope = chat.scope("t")
    answer = await scope.chat(REQUEST)
    assert answer.estimated and answer.usage.output_tokens == estimate(WORDS)
    assert scope.usage.calls == 1 and scope.usage.cost > 0
    recorded = chat.journal.records[-1]["outcome"]["response"]
    assert recorded["estimated"] and recorded["usage"]["output_tokens"] == estimate(WORDS)


async def test_a_provider_whose_calls_of_tools_count_nothing_is_counted():
    calls = (ToolCall("1", "look", {"where": "x" * 400}),)
    chat = JournaledChat(lambda ref: Careless(text="", tool_calls=calls), MemoryJournal())
    request = ChatRequest("openai:gpt-4o", REQUEST.messages, tools=(Tool("look", "Look."),))
    answer = await chat.scope("t").chat(request)
    assert answer.estimated and answer.usage.output_tokens >= 100


@pytest.mark.parametrize(
    ("value", "tokens"),
    [("12", 12), (" 7 ", 7), ("3.0", 3), (True, 0), ("-3", 0), (None, 0), ([5], 0), ("inf", 0)],
)
def test_a_count_is_a_number_or_its_text(value, tokens):
    assert token_count(value) == tokens
