"""The bound of an answer and the room to think are two numbers (E4)."""

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.base.answer_bounds import default_answer_bound
from po_jupyter.errors import AnswerTruncated
from po_jupyter.llm.bounds import ROOM, model_limit, output_limit, thinking_room, thinks
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.catalogue import MODELS
from po_jupyter.llm.providers.compatible.chat_completions import chat_body
from po_jupyter.llm.providers.gemini.generate_content import request_body
from po_jupyter.llm.providers.openai.responses import responses_body
from po_jupyter.llm.specs import specs
from tests.llm.wire.test_response_reader import ToyReader, response_of


def ask(model, **more):
    return ChatRequest(model, (Message("user", "hi"),), **more)


THINKERS = [
    "openai:gpt-5-mini", "openai:o4-mini", "azure:gpt-5", "anthropic:claude-opus-5", "anthropic:claude-mythos-preview",
    "gemini:gemini-2.5-pro", "gemini:gemini-flash-latest", "deepseek:deepseek-reasoner", "moonshot:kimi-k2.5",
    "zai:glm-4.6", "openrouter:openai/gpt-5-mini", "openrouter:google/gemini-2.5-flash", "ollama:qwen3:4b",
    "groq:openai/gpt-oss-120b", "xai:grok-4", "mistral:magistral-medium", "perplexity:sonar-reasoning-pro",
]  # fmt: skip
NOT = [
    "openai:gpt-4o", "openai:gpt-5-chat-latest", "anthropic:claude-sonnet-4-5", "anthropic:claude-3-opus",
    "gemini:gemini-2.0-flash", "deepseek:deepseek-chat", "alibaba:qwen-plus", "local:smollm2-135m", "fake:echo",
    "ollama:llama3.2", "xai:grok-4-fast-non-reasoning", "mistral:mistral-small", "claude-cli:opus",
]  # fmt: skip


@pytest.mark.parametrize("ref", THINKERS)
def test_a_model_that_thinks_has_room_beside_its_answer(ref):
    assert output_limit(ask(ref, max_tokens=200)) == 200 + ROOM[None]
    assert output_limit(ask(ref, max_tokens=200, max_thinking_tokens=50)) == 250
    assert output_limit(ask(ref)) is None


@pytest.mark.parametrize("ref", NOT)
def test_a_model_that_does_not_think_has_its_answer_alone(ref):
    assert output_limit(ask(ref, max_tokens=200)) == 200


def test_an_effort_says_how_much_room():
    rooms = [
        thinking_room(ask("openai:gpt-5", effort=effort)) for effort in ("none", "low", "medium", "high", "max")
    ]
    assert rooms == sorted(rooms) and rooms[0] > 0
    assert thinks("anthropic:claude-sonnet-4-5", "high") and not thinks("anthropic:claude-opus-5", "none")
    assert thinks("gemini:gemini-2.5-pro", "none") and not thinks("gemini:gemini-2.5-flash", "none")
    assert not thinks("openai:gpt-5.1", "none")


def test_the_sum_is_sent_whatever_the_wire_calls_it():
    both = {"max_tokens": 200, "max_thinking_tokens": 800}
    assert responses_body(ask("openai:gpt-5-mini", **both), stream=False)["max_output_tokens"] == 1000
    assert chat_body(ask("openai:o4-mini", **both), stream=False)["max_completion_tokens"] == 1000
    assert request_body(ask("gemini:gemini-2.5-flash", **both))["generationConfig"]["maxOutputTokens"] == 1000


def test_no_more_is_asked_for_than_the_model_can():
    for ref, most in (
        ("openai:gpt-4-turbo", 4096),
        ("openai:gpt-4o-mini", 16_384),
        ("deepseek:deepseek-chat", 8192),
    ):
        assert output_limit(ask(ref, max_tokens=50_000)) == most
    assert model_limit("anthropic:claude-opus-4-1-20250805") == 32_000
    assert model_limit("anthropic:claude-opus-4-20250514") == 32_000
    assert model_limit("anthropic:claude-sonnet-4-5-20250929") == 64_000
    assert model_limit("anthropic:claude-opus-4-8") is None
    assert model_limit("openai:gpt-5-mini") is None


@pytest.mark.parametrize(
    "ref", [f"{name}:{model}" for name, models in MODELS.items() for model in models if not specs()[name].free]
)
def test_the_default_bound_does_not_cut_real_answers_of_the_catalogues_models(ref):
    """Of 79 recorded answers 27 had more than 1,024 tokens, with their thoughts."""
    limit = output_limit(ask(ref, max_tokens=default_answer_bound(ref, Settings())))
    assert limit >= (20_000 if thinks(ref, None) else 4096)


def test_a_setting_of_ones_own_is_taken_and_the_small_model_keeps_to_little():
    assert default_answer_bound("local:smollm2-135m", Settings()) == 1024
    assert default_answer_bound("local:smollm2-135m", Settings(default_max_tokens=9000)) == 9000
    assert default_answer_bound("openai:gpt-4o", Settings(default_max_tokens=300)) == 300


def test_a_default_that_grows_asks_nothing_again():
    old = ask("openai:gpt-4o", max_tokens=1024)
    assert ask("openai:gpt-4o", max_tokens=4096, hashed_max_tokens=1024).request_hash == old.request_hash
    assert ask("openai:gpt-4o", max_tokens=4096).request_hash != old.request_hash
    room = ask("openai:gpt-5", max_tokens=9, max_thinking_tokens=9)
    assert room.request_hash != ask("openai:gpt-5", max_tokens=9).request_hash


@pytest.mark.parametrize(
    ("model", "usage", "reasoning", "text", "spent", "words"),
    [
        (
            "gpt-5-mini",
            [3, 1000],
            1000,
            "",
            "thinking",
            r"the thinking of gpt-5-mini stopped at max_thinking_tokens",
        ),
        ("gpt-5-mini", [3, 1000], 0, "", "thinking", "max_thinking_tokens"),
        ("gpt-5-mini", [3, 1000], 900, "half", "thinking", "max_thinking_tokens"),
        (
            "gpt-5-mini",
            [3, 1000],
            100,
            "half",
            "answer",
            r"the answer of gpt-5-mini stopped at max_tokens \(200\)",
        ),
        ("gpt-5-mini", [3, 1000], 0, "half", "answer", r"max_tokens \(200\)"),
        ("gpt-4o", [3, 200], 0, "half", "answer", r"max_tokens \(200\)"),
    ],
)
def test_a_truncated_answer_says_which_of_the_two_was_spent(model, usage, reasoning, text, spent, words):
    toy = ToyReader("openai", ask(f"openai:{model}", max_tokens=200, max_thinking_tokens=800), None, "K")
    with pytest.raises(AnswerTruncated, match=words) as caught:
        toy.read_response(
            response_of({"text": text, "usage": usage, "reasoning": reasoning, "finish": "length"})
        )
    assert caught.value.details["spent"] == spent
    named = "llm.max_thinking_tokens" if spent == "thinking" else "llm.max_tokens"
    assert named in caught.value.hint
