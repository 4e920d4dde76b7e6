"""A bill that is right: tokens as the vendors count them, money as their price lists say."""

import gzip
import hashlib
import importlib.metadata
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest

from po_jupyter.llm.money import pricing
from po_jupyter.llm.money.pricing import LIST_PRICES
from po_jupyter.llm.money.tokens import count, count_messages, encoding_of, estimate
from po_jupyter.model.run.usage import Usage

URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
MODELS = {"o200k_base": "openai:gpt-5-mini", "cl100k_base": "openai:gpt-4"}


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """OpenAI's own tiktoken with OpenAI's own ranks: its cache is filled from files whose sha256 it checks."""
    import tiktoken

    cache = tmp_path_factory.mktemp("tiktoken")
    for name in MODELS:
        (package,) = find_spec("bpe_openai").submodule_search_locations
        ranks = gzip.decompress((Path(package) / "data" / f"{name}.tiktoken.gz").read_bytes())
        (cache / hashlib.sha1(URL.format(name).encode()).hexdigest()).write_bytes(ranks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        from tiktoken_ext import openai_public

        yield {name: tiktoken.Encoding(**getattr(openai_public, name)()) for name in MODELS}


def corpus():
    """Text that every machine has: descriptions of installed packages; and what is hard to split."""
    for package in list(importlib.metadata.distributions())[:60]:
        text = package.read_text("METADATA")
        if isinstance(text, str) and text:
            yield text[:20_000]
    yield Path(__file__).read_text()
    yield from (
        "",
        " ",
        "a",
        "Hello, world!",
        "  leading and trailing  ",
        "line\r\nbreaks\n\n\n and\ttabs\t\t",
        "1234567890 1,234.56 0x1F 3.14159",
        "Grüße, Straße, naïve façade",
        "日本語のテキスト、漢字かな交じり文。",
        "Привет, как дела? Ελληνικά. עברית العربية",
        "🎉👩‍👩‍👧‍👦🏳️‍🌈 emoji",
        "don't I'll we've they'd IT'S",
        '{"json": [1, 2.5, null, true], "nested": {"a": "b"}}',
        "def f(x):\n    return x ** 2  # comment\n",
        "<|endoftext|> is text here, and so is <|fim_prefix|>",
        "a" * 3000,
        "ab " * 1000,
        "\u200b\u00a0\u3000 odd spaces",
        "CamelCaseWords and snake_case_words and kebab-case-words",
    )


@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_official_encoding(official, name):
    """Done when 6: equal on the corpus, not near."""
    texts = list(corpus())
    assert len(texts) > 40
    for text in texts:
        assert count(text, MODELS[name]) == (len(official[name].encode_ordinary(text)), True), text[:60]


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"), ("gpt-4o-mini-2024-07-18", "o200k_base"), ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5", "o200k_base"), ("gpt-5.2-pro", "o200k_base"), ("o1", "o200k_base"), ("o4-mini", "o200k_base"),
        ("gpt-oss-20b", "o200k_base"), ("ft:gpt-4o:org::id", "o200k_base"), ("chatgpt-4o-latest", "o200k_base"),
        ("gpt-4", "cl100k_base"), ("gpt-4-turbo", "cl100k_base"), ("gpt-3.5-turbo", "cl100k_base"),
        ("ft:gpt-3.5-turbo:x", "cl100k_base"), ("llama-3", None), ("my-gpt-4o", None),
    ],
)  # fmt: skip
def test_the_map_of_encodings(model, encoding):
    assert encoding_of(f"openai:{model}") == encoding


def test_other_makers_models_are_estimates_and_say_so():
    assert count("some words here", "anthropic:claude-sonnet-4-5") == (estimate("some words here"), False)
    assert encoding_of("openrouter:openai/gpt-5-mini") == "o200k_base"
    assert encoding_of("openrouter:meta/llama") is None


def test_a_conversation_is_its_texts_and_what_holds_them():
    assert count_messages(["Hello", "world"], "openai:gpt-4o") == (1 + 1 + 2 * 4 + 3, True)
    assert not count_messages(["Hello"], "gemini:gemini-2.5-flash").exact
    assert count("half \ud83d of a sign", "openai:gpt-4o").tokens > 0


# USD per million tokens: (input, cache read, cache write, output), by the vendors' price pages as genai-prices
# 0.2.3 has them; the sums below are written out by hand.
M = 1e-6
HAND = [
    # 10,000 input of which 4,000 from the cache; 2,000 output of which 1,500 reasoning
    ("openai:gpt-5-mini", 0, 6_000 * 0.25 * M + 4_000 * 0.025 * M + 2_000 * 2.00 * M),
    ("openai:gpt-5.2", 0, 6_000 * 1.75 * M + 4_000 * 0.175 * M + 2_000 * 14.00 * M),
    ("openai:o3", 0, 6_000 * 2.00 * M + 4_000 * 0.50 * M + 2_000 * 8.00 * M),
    ("openai:gpt-4o-mini", 0, 6_000 * 0.15 * M + 4_000 * 0.075 * M + 2_000 * 0.60 * M),
    ("anthropic:claude-haiku-4-5", 1_000, 5_000 * 1 * M + 4_000 * 0.1 * M + 1_000 * 1.25 * M + 2_000 * 5 * M),
    ("anthropic:claude-opus-4-5", 1_000, 5_000 * 5 * M + 4_000 * 0.5 * M + 1_000 * 6.25 * M + 2_000 * 25 * M),
    ("anthropic:claude-sonnet-4-5", 1_000, 5_000 * 3 * M + 4_000 * 0.3 * M + 1_000 * 3.75 * M + 2_000 * 15 * M),
    ("gemini:gemini-2.5-flash", 0, 6_000 * 0.30 * M + 4_000 * 0.03 * M + 2_000 * 2.50 * M),
    ("gemini:gemini-2.5-pro", 0, 6_000 * 1.25 * M + 4_000 * 0.125 * M + 2_000 * 10.00 * M),
    ("deepseek:deepseek-chat", 0, 6_000 * 0.27 * M + 4_000 * 0.07 * M + 2_000 * 1.10 * M),
    ("moonshot:kimi-k2.5", 0, 6_000 * 0.60 * M + 4_000 * 0.10 * M + 2_000 * 3.00 * M),
    ("zai:glm-4.6", 0, 6_000 * 0.60 * M + 4_000 * 0.11 * M + 2_000 * 2.20 * M),
]  # fmt: skip


def at_noon(monkeypatch, hour=12):
    """A moment of which the prices are known, whenever the test runs."""
    monkeypatch.setattr(pricing, "_now", lambda: datetime(2026, 11, 20, hour, tzinfo=UTC))


@pytest.mark.parametrize(("ref", "written", "dollars"), HAND)
def test_a_call_costs_what_the_price_list_says(ref, written, dollars, monkeypatch):
    """Done when 6: cached, written and reasoning tokens, each at its price, none twice."""
    at_noon(monkeypatch)
    usage = Usage(
        input_tokens=10_000,
        cached_tokens=4_000,
        cache_write_tokens=written,
        output_tokens=2_000,
        reasoning_tokens=1_500,
        cost=None,
        calls=1,
    )
    assert LIST_PRICES.cost_of(usage, ref) == pytest.approx(dollars, rel=1e-9)
    assert LIST_PRICES.priced(usage, ref).cost == pytest.approx(dollars, rel=1e-9)


def test_a_price_that_depends_on_the_hour_is_asked_for_each_time(monkeypatch):
    """DeepSeek's list has half the price from 16:30 to 00:30 UTC."""
    at_noon(monkeypatch)
    assert LIST_PRICES.cost_of(Usage(input_tokens=1_000_000), "deepseek:deepseek-chat") == pytest.approx(0.27)
    at_noon(monkeypatch, hour=20)
    assert LIST_PRICES.cost_of(Usage(input_tokens=1_000_000), "deepseek:deepseek-chat") == pytest.approx(0.135)


def test_a_price_in_tiers_is_asked_for_each_time():
    """Gemini 2.5 Pro costs twice as much for prompts beyond 200,000 tokens."""
    assert LIST_PRICES.cost_of(Usage(input_tokens=100_000), "gemini:gemini-2.5-pro") == pytest.approx(0.125)
    assert LIST_PRICES.cost_of(Usage(input_tokens=300_000), "gemini:gemini-2.5-pro") == pytest.approx(0.75)


def test_what_a_provider_says_it_cost_is_what_it_cost():
    assert (
        LIST_PRICES.priced(Usage(input_tokens=9, cost=0.00014), "openrouter:openai/gpt-5-mini").cost == 0.00014
    )


@pytest.mark.parametrize("ref", ["alibaba:qwen-plus", "openai:nobody-knows", "claude-cli:sonnet", "nobody:x"])
def test_an_unknown_price_is_unknown_and_never_zero(ref):
    assert LIST_PRICES.cost_of(Usage(input_tokens=10), ref) is None
    assert not LIST_PRICES.is_priced(ref)
    assert LIST_PRICES.per_million(ref) is None


@pytest.mark.parametrize(
    "ref", ["local:smollm2-135m", "fake:echo", "ollama:qwen3:4b", "vllm:x", "llamacpp:any"]
)
def test_what_runs_on_ones_own_machine_costs_nothing(ref):
    assert LIST_PRICES.cost_of(Usage(input_tokens=10), ref) == 0.0


def test_prices_for_a_list_are_per_million_tokens():
    assert LIST_PRICES.per_million("openai:gpt-5-mini") == {"input": 0.25, "output": 2.0}
    assert LIST_PRICES.per_million("local:smollm2-135m") == {"input": 0.0, "output": 0.0}
