"""Sounds in messages: what they are, by content; what they weigh, cost and how they are told from PDFs."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from po_jupyter.config import Price
from po_jupyter.engine.budgets.guard import worst_of
from po_jupyter.errors import BudgetExceeded, InvalidInput, ModelRefused
from po_jupyter.llm.audio import Audio, documents_in, file_from_json
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.documents import Document
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.money.tokens import audio_bound, bound_request
from po_jupyter.llm.providers.refs import files_problem
from po_jupyter.llm.wire.usage import chat_usage, checked_usage, gemini_usage
from po_jupyter.model.run.usage import Usage
from tests.support.sound import mp3, wav

WAV = b64encode(wav(1.0)).decode()
PDF = b64encode(b"%PDF-1.4\n%%EOF\n").decode()
HOUR = Audio(WAV, 3600.0)


def asked(model: str, *files: Any) -> ChatRequest:
    return ChatRequest(model, (Message("user", "What is said?", files=files),), max_tokens=100)


@pytest.mark.parametrize(
    ("data", "seconds", "message"),
    [
        ("!!!!", 1, "base64"),
        (PDF, 1, "no sound"),
        (WAV, 0, "more than 0"),
        (WAV, 10 * 3600, "34,200"),
        ("A" * 20 * 1024**2, 1, "14 MB"),
    ],
)
def test_what_is_no_sound_is_refused(data: str, seconds: float, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Audio(data, seconds)


def test_a_format_is_known_by_its_content() -> None:
    assert (Audio(WAV, 1).format, Audio(WAV, 1).mime) == ("wav", "audio/wav")
    assert (sound := Audio(b64encode(mp3(2)).decode(), 1)).format == "mp3"
    assert sound.mime == "audio/mp3"


def test_a_file_comes_back_from_its_json_and_changes_the_hash() -> None:
    for file in (Audio(WAV, 1.5), Document(PDF, 2), Document(PDF, 2, 9000)):
        assert file_from_json(dict(file.to_json())) == file
    assert asked("fake:echo", Audio(WAV, 1.5)).request_hash != asked("fake:echo").request_hash


@pytest.mark.parametrize(
    ("model", "tokens"), [("gemini:x", 1920), ("vertex:x", 1920), ("openai:gpt-audio", 600)]
)
def test_a_budget_sets_aside_what_a_minute_takes(model: str, tokens: int) -> None:
    plain, heard = bound_request(asked(model)), bound_request(asked(model, Audio(WAV, 60.0)))
    assert tokens <= heard - plain <= tokens * 1.2


def test_voxtral_hears_windows_of_30_seconds() -> None:
    assert (
        audio_bound(1, "mistral:voxtral-small-latest") == audio_bound(30, "mistral:voxtral-small-latest") >= 375
    )


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("openai:gpt-audio", 36_000 * 32e-6),
        ("gemini:gemini-2.5-flash", 115_200 * 1e-6),
        ("gemini:gemini-2.0-flash", 115_200 * 0.7e-6),
    ],
)
def test_a_reservation_is_at_the_price_of_sound(model: str, dollars: float) -> None:
    most, plain = (worst_of(asked(model, *files), LIST_PRICES).usd for files in ((HOUR,), ()))
    assert dollars < most - plain < dollars * 1.25


@pytest.mark.parametrize("model", ["openrouter:google/gemini-2.5-flash", "mistral:voxtral-small-latest"])
def test_a_price_of_sound_that_is_not_known_is_no_price_of_text(model: str) -> None:
    with pytest.raises(BudgetExceeded, match="price"):
        worst_of(asked(model, HOUR), LIST_PRICES)
    assert worst_of(asked(model), LIST_PRICES).usd > 0
    own = PriceBook({model: Price(input=1, output=1, audio=5)})
    assert worst_of(asked(model, HOUR), own).usd > 40_000 * 5e-6


def test_a_call_costs_what_its_sound_costs() -> None:
    usage = Usage(input_tokens=1000, audio_tokens=900, output_tokens=10, cost=None)
    assert LIST_PRICES.cost_of(usage, "gemini:gemini-2.5-flash") == pytest.approx(
        100 * 0.3e-6 + 900 * 1e-6 + 10 * 2.5e-6
    )


def test_usage_tells_sound_where_the_vendor_does() -> None:
    openai = {"prompt_tokens": 50, "completion_tokens": 3, "prompt_tokens_details": {"audio_tokens": 40}}
    assert chat_usage(openai).audio_tokens == 40
    mistral = {"prompt_tokens": 500, "completion_tokens": 3, "prompt_audio_seconds": 30}
    assert chat_usage(mistral).audio_tokens == 375
    details = [{"modality": "TEXT", "tokenCount": 5}, {"modality": "AUDIO", "tokenCount": 64}]
    assert gemini_usage({"promptTokenCount": 69, "promptTokensDetails": details}).audio_tokens == 64
    assert chat_usage({"prompt_tokens": 5, "prompt_tokens_details": {"audio_tokens": 900}}).audio_tokens == 5


def test_sound_that_a_vendor_does_not_tell_counts_as_sound() -> None:
    usage = Usage(input_tokens=2000, output_tokens=5, cost=None, calls=1)
    checked = checked_usage(usage, asked("gemini:x", Audio(WAV, 60.0)), "Hi")
    assert (checked.usage.audio_tokens, checked.estimated) == (1930, True)
    assert not checked_usage(usage, asked("gemini:x"), "Hi").estimated


def test_a_usage_without_sound_is_as_before() -> None:
    assert "audio_tokens" not in Usage().to_json()
    assert (Usage(audio_tokens=2) + Usage(audio_tokens=3)).to_json()["audio_tokens"] == 5


@pytest.mark.parametrize(
    "model",
    ["openai:gpt-audio-mini", "gemini:gemini-2.5-flash", "vertex:gemini-2.5-flash", "mistral:voxtral-small-latest",
     "openrouter:google/gemini-3-flash-preview", "vllm:mistralai/Voxtral-Mini-3B-2507", "fake:echo"],
)  # fmt: skip
def test_models_that_hear(model: str) -> None:
    assert files_problem(model, ["audio"]) is None


@pytest.mark.parametrize(
    "model",
    ["anthropic:claude-sonnet-4-5", "bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0", "openai:gpt-5-mini",
     "openai:gpt-4o-audio-preview", "deepseek:deepseek-chat", "local:smollm2-135m", "mistral:voxtral-mini-latest"],
)  # fmt: skip
def test_models_that_do_not_are_refused_with_what_does(model: str) -> None:
    assert "is not known to take sound; models that do are, for example, gemini:" in (
        files_problem(model, ["audio"]) or ""
    )


def test_a_wire_without_a_part_for_sound_sends_none() -> None:
    with pytest.raises(ModelRefused, match="anthropic takes no sound"):
        documents_in([Document(PDF, 1), Audio(WAV, 1)], "anthropic")
    assert documents_in([Document(PDF, 1)], "anthropic") == [Document(PDF, 1)]
