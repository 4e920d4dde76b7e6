"""Tokens, counted as the vendors count them (done when 6)."""

import gzip
import hashlib
import importlib.metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.documents import Document
from po_jupyter.llm.money.tokens import bound_request, count, count_messages, encoding_of, estimate

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


def test_estimates_are_near_a_token_for_four_characters():
    assert estimate("") == 0 and estimate("word" * 10) == 10 and estimate("日本語") >= 2


@pytest.mark.parametrize(
    ("ref", "more"), [("anthropic:claude-sonnet-4-5", 17_000), ("gemini:gemini-2.5-pro", 0)]
)
def test_a_budget_sets_aside_for_the_text_of_a_dense_pdf(ref, more):
    """A page with 20,000 tokens of text; Gemini bills the picture of the page alone."""

    def bound(text_tokens):
        pdf = Document("JVBERi0xLjQ=", 1, text_tokens)
        return bound_request(ChatRequest(ref, (Message("user", "Read", files=(pdf,)),)))

    assert bound(20_000) - bound(0) == pytest.approx(more, rel=0.11)


def test_what_a_document_is_known_by_is_the_same_for_ordinary_ones():
    assert Document("JVBERi0xLjQ=", 1).to_json() == {
        "mime": "application/pdf",
        "data": "JVBERi0xLjQ=",
        "pages": 1,
    }
    assert Document("JVBERi0xLjQ=", 1, 9000).to_json()["text_tokens"] == 9000
